"""The words of the state table: phases, roles, events and actions. Pure; used by the supervisor."""

from __future__ import annotations

import enum
from typing import NamedTuple


class Phase(enum.Enum):
    """Where the service is."""

    STARTING = "starting"  # nobody serves, a generation is on its way
    UP = "up"
    RELOADING = "reloading"  # one serves, the next is on its way
    BACKING_OFF = "backing off"  # nobody serves, the next start waits
    STOPPING = "stopping"
    ENDED = "ended"


class Role(enum.IntEnum):
    """What a generation is there for."""

    SERVING = 1
    INCOMING = 2
    DRAINING = 3  # no new connections, finishes the old; or ended after a failed reload
    STANDBY = 4


class Stage(enum.IntEnum):
    """How far a generation has come."""

    STARTING = 1
    PARKED = 2  # waits at its first bind on a declared listener
    RELEASED = 3
    ACCEPTING = 4  # has all listeners, or idle sockets while it rehearses, and takes connections
    REHEARSED = 5  # did so on idle sockets, beside the one that serves
    READY = 6
    TERMINATING = 7  # was told to end


class Member(NamedTuple):
    """A living generation."""

    number: int
    role: Role
    stage: Stage
    started: float
    ready_at: float = 0.0


class State(NamedTuple):
    """All that a decision depends on."""

    phase: Phase = Phase.STARTING
    members: tuple[Member, ...] = ()
    next_number: int = 1
    crashes: int = 0  # in a row
    failed_starts: int = 0  # in a row
    standby_deaths: int = 0
    ever_ready: bool = False
    reloading: bool = False  # somebody waits for the result of a reload
    restarting: bool = False  # the serving generation was told to end, to be started anew
    stop_signal: int = 0
    status: int | None = None

    def get(self, number: int) -> Member | None:
        """Return the living generation of that number."""
        return next((member for member in self.members if member.number == number), None)

    def all(self, role: Role) -> list[Member]:
        """Return the generations of a role, oldest first."""
        return [member for member in self.members if member.role is role]

    def one(self, role: Role) -> Member | None:
        """Return the oldest generation of a role."""
        return next(iter(self.all(role)), None)


class Parked(NamedTuple):
    """A generation waits at its first bind on a declared listener."""

    now: float
    generation: int


class Accepting(NamedTuple):
    """A generation has all its listeners and would take a connection (or said so itself, or there are no listeners)."""

    now: float
    generation: int


class Ready(NamedTuple):
    """A client gets served by this generation, or would be, by how its rehearsal went."""

    now: float
    generation: int


class Died(NamedTuple):
    """The worker has ended: with an exit `status`, or by a signal (then `signal` is not 0)."""

    now: float
    generation: int
    status: int
    signal: int


class SpawnFailed(NamedTuple):
    """No worker could be started; `status` is what to end with if that is final."""

    now: float
    generation: int
    status: int


class Drained(NamedTuple):
    """A drained generation has no connection left."""

    now: float
    generation: int


class Quiet(NamedTuple):
    """A drained generation has connections at most on which no request is in work."""

    now: float
    generation: int


class Reload(NamedTuple):
    """A new generation is wanted beside the serving one."""

    now: float
    generation: int = 0


class Restart(NamedTuple):
    """The serving generation is to be stopped and started anew."""

    now: float
    generation: int = 0


class Stop(NamedTuple):
    """The service is to end; `signal` is what the worker gets, unless the terminal has `delivered` it there already."""

    now: float
    signal: int
    delivered: bool = False
    generation: int = 0


class Timeout(NamedTuple):
    """The time that SetTimer asked for has come."""

    now: float
    name: str
    generation: int


Event = Parked | Accepting | Ready | Died | SpawnFailed | Drained | Quiet | Reload | Restart | Stop | Timeout


class Spawn(NamedTuple):
    """Start the worker of a generation; `parked`: it waits at its first bind until it is released."""

    generation: int
    parked: bool


class Release(NamedTuple):
    """Let a parked generation have the listeners; `rehearse`: idle sockets in their place until Undrain."""

    generation: int
    rehearse: bool = False


class Drain(NamedTuple):
    """Take the listeners away from a generation without its noticing, and tell how many connections it has."""

    generation: int
    datagrams_only: bool = False


class Undrain(NamedTuple):
    """Give the listeners back."""

    generation: int


class HalfClose(NamedTuple):
    """Let a generation see the end of input on every connection that it has left."""

    generation: int


class Probe(NamedTuple):
    """Find out whether a client gets served, and report Ready; `rehearsal`: on the idle sockets."""

    generation: int
    rehearsal: bool = False


class Kill(NamedTuple):
    """Send `signal` to the worker."""

    generation: int
    signal: int


class SetTimer(NamedTuple):
    """Report Timeout after `seconds`; replaces an earlier timer of that name and generation."""

    name: str
    generation: int
    seconds: float


class ClearTimer(NamedTuple):
    """Forget a timer."""

    name: str
    generation: int


class Report(NamedTuple):
    """Something for the log and the manager: ready, back-off, unclaimed, hangs, dump, start-limit."""

    what: str
    generation: int
    seconds: float = 0.0


class ReportReload(NamedTuple):
    """How a reload ended: `failure` is "" when the new generation serves."""

    generation: int
    failure: str


class Exit(NamedTuple):
    """End the supervisor with `status`; the listeners are closed by that."""

    status: int


Action = Spawn | Release | Drain | Undrain | HalfClose | Probe | Kill | SetTimer | ClearTimer | Report | ReportReload | Exit
Step = tuple[State, tuple[Action, ...]]


def shell_status(status: int, number: int) -> int:
    """Return the exit status that stands for a death, as the shell and `java` have it: 128 plus the signal."""
    return 128 + number if number else status
