"""What can happen to a service. Pure. Times are seconds of a monotonic clock."""

from __future__ import annotations

from jvmbind.lifecycle.actions import Timer  # noqa: TC001 - the types of the fields are looked at by the tests
from jvmbind.record import NamedTuple


class Parked(NamedTuple):
    """A generation waits at its first bind on a declared listener."""

    now: float
    generation: int


class Accepting(NamedTuple):
    """A generation has all its listeners and would take a connection (or said so itself, or there are no listeners)."""

    now: float
    generation: int


class Serves(NamedTuple):
    """A generation takes clients on at least one listener."""

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


class LetGo(NamedTuple):
    """A generation that was to be drained has its listeners no more, whatever connections it has left."""

    now: float
    generation: int


class Moved(NamedTuple):
    """A generation has made room for the next one: it receives no datagrams any more, and shares what is not a listener."""

    now: float
    generation: int


class DrainFailed(NamedTuple):
    """A generation could not be drained, or not on each of its listeners."""

    now: float
    generation: int
    why: str


class UndrainFailed(NamedTuple):
    """A generation could not be given its listeners back, or not each of them."""

    now: float
    generation: int
    why: str


class Left(NamedTuple):
    """A drained generation has connections left: on so many the client is in the middle of an answer, or may be of a request."""

    now: float
    generation: int
    busy: int
    asking: int


class Reload(NamedTuple):
    """A new generation is wanted beside the serving one; `alone`: why there may not be two at once, "" where there may."""

    now: float
    alone: str = ""
    generation: int = 0


class Restart(NamedTuple):
    """The serving generation is to be stopped and started anew."""

    now: float
    generation: int = 0


class Stop(NamedTuple):
    """The service is to end; `signal` is what the workers get."""

    now: float
    signal: int
    generation: int = 0


class StandbyDue(NamedTuple):
    """It is time for the standby generations; `alone`: why there may not be two instances at once, "" where there may."""

    now: float
    alone: str = ""
    generation: int = 0


class Wanted(NamedTuple):
    """Nobody serves, and a client waits in the queue of a listener."""

    now: float
    generation: int = 0


class Timeout(NamedTuple):
    """The time that SetTimer asked for has come."""

    now: float
    name: Timer
    generation: int


Event = (
    Parked
    | Accepting
    | Serves
    | Ready
    | Died
    | SpawnFailed
    | Drained
    | Left
    | LetGo
    | Moved
    | DrainFailed
    | UndrainFailed
    | Reload
    | Restart
    | Stop
    | StandbyDue
    | Wanted
    | Timeout
)
