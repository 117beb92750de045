"""What the supervisor is to do. Pure."""

from __future__ import annotations

import enum

from jvmbind.record import NamedTuple


class Timer(enum.StrEnum):
    """What a moment is waited for; each has one timer, or one for each generation."""

    START = "start"  # it is ready, or waits at its first bind
    SLOW = "slow"  # a start says what it waits for
    LATE = "late"  # the same, again and again, of the first start of a service
    SERVED = "served"  # it has served for a moment
    SETTLE = "settle"  # a rehearsal has gone well for a moment
    PROBE = "probe"  # the probe has been served, or the old generation has let go
    MOVE = "move"  # the old generation of a reload has made room
    DRAIN = "drain"  # a drained generation has no connection left
    CLOSE = "close"  # the same, once clients have seen the end of input
    STOP = "stop"  # it has ended
    DUMP = "dump"  # its thread dump is written
    BACK_OFF = "back-off"  # the next start
    STANDBY = "standby"  # the standby generations are due


class Notice(enum.StrEnum):
    """What there is to be said."""

    READY = "ready"
    SLOW = "slow"
    PARTLY = "partly"  # it serves on a part of its listeners
    BACK_OFF = "back-off"
    UNCLAIMED = "unclaimed"
    HANGS = "hangs"
    DUMP = "dump"
    ALONE = "alone"  # no standby, as two instances may not be there at once
    STANDBY_LATE = "standby-late"
    START_LIMIT = "start-limit"


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

    name: Timer
    generation: int
    seconds: float


class ClearTimer(NamedTuple):
    """Forget a timer."""

    name: Timer
    generation: int


class Report(NamedTuple):
    """Something for the log and the manager."""

    what: Notice
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


ToGeneration = Release | Drain | Undrain | TellReload | HalfClose | Probe | Kill
Action = Spawn | ToGeneration | SetTimer | ClearTimer | Report | ReportChange | Exit
