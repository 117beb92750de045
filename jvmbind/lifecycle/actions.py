"""What the supervisor is to do. Pure."""

from __future__ import annotations

from jvmbind.record import NamedTuple


class Spawn(NamedTuple):
    """Start the worker of a generation; `parked`: it waits at its first bind until it is released."""

    generation: int
    parked: bool


class Release(NamedTuple):
    """Let a parked generation have the listeners; `rehearse`: idle sockets in their place until Undrain."""

    generation: int
    rehearse: bool = False


class Drain(NamedTuple):
    """Take the listeners away from a generation without its noticing, and tell how many connections it has.

    `last`: none follows it. It keeps its datagram listeners then, from which the answers are sent that it still makes.
    `ends`: it is certain that it is to end, so the application's callbacks are run; until they have returned it is not drained.
    """

    generation: int
    datagrams_only: bool = False
    last: bool = False
    ends: bool = False


class Undrain(NamedTuple):
    """Give the listeners back."""

    generation: int


class TellReload(NamedTuple):
    """Let the application know, by its callbacks, that a reload begins."""

    generation: int


class HalfClose(NamedTuple):
    """Let a generation see the end of input on its connections: on all, or on each as soon as nobody asks or is answered there."""

    generation: int
    idle_only: bool = False


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
    """Something for the log and the manager.

    ready, slow, partly, back-off, unclaimed, hangs, late, dump, alone, standby-late, start-limit.
    """

    what: str
    generation: int
    seconds: float = 0.0


class ReportChange(NamedTuple):
    """How a reload or a restart ended: `failure` is "" when the new generation serves; `why` is the reason where it is known."""

    generation: int
    failure: str
    why: str = ""


class Exit(NamedTuple):
    """End the supervisor with `status`; the listeners are closed by that."""

    status: int


Action = (
    Spawn | Release | Drain | Undrain | HalfClose | Probe | Kill | SetTimer | ClearTimer | Report | ReportChange | TellReload | Exit
)
