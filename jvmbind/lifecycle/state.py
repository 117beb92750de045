"""Where a service is: its phase, its living generations and what is remembered of those before. Pure."""

from __future__ import annotations

import enum

from jvmbind.record import NamedTuple


class Phase(enum.Enum):
    """Where the service is."""

    STARTING = "starting"  # nobody serves, a generation is on its way
    UP = "up"
    RELOADING = "reloading"  # one serves, the next is on its way
    RESTARTING = "restarting"  # on request: the old one ends, or has ended and the next is on its way
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
    CLOSING = 7  # sees the end of input on the connections that it has left
    TERMINATING = 8  # was told to end


class Change(enum.Enum):
    """What was asked for."""

    NONE = ""
    RELOAD = "reload"
    RESTART = "restart"


class Member(NamedTuple):
    """A living generation."""

    number: int
    role: Role
    stage: Stage
    started: float
    ready_at: float = 0.0  # of a standby: when it was parked
    serves: bool = False  # takes clients, on one listener at least
    waits: bool = False  # of a reload's new generation: at its first bind, for the old one to make room
    let_go: bool = False  # of a reload's old generation: it has idle sockets in the place of its listeners


class State(NamedTuple):
    """All that a decision depends on."""

    phase: Phase = Phase.STARTING
    members: tuple[Member, ...] = ()
    next_number: int = 1
    crashes: int = 0  # in a row
    failed_starts: int = 0  # in a row
    told: int = 0  # the generation whose failure has been reported as that of a reload or a restart
    standby_deaths: int = 0  # in a row
    late_starts: int = 0  # in a row, that were ended for their time-out
    slowest_start: float = 0.0  # seconds, of those that came to serve
    paused_at: float = 0.0  # when the back-off began
    served: bool = False  # a client could be served, on one listener at least: from then on the service is not given up
    owed: bool = False  # a generation that served was ended by request, and none has served since
    change: Change = Change.NONE  # somebody waits for the result of it
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
