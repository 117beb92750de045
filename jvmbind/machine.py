"""The supervisor's decisions as a pure table: (state, event) -> (state, actions).

Used by the supervisor's loop, which only waits, reports events and carries the actions out. No clock, no I/O: times are
seconds of a monotonic clock that the loop passes in. Every pair of phase and event has an entry; a test walks them all.

    starting --Claimed--> up --Died--> backing off --Timeout--> starting
        |                 |                |
        +----Stop---------+----> stopping -+--Died--> ended
"""

from __future__ import annotations

import enum
import signal
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from jvmbind.spec import ServiceSpec

DUMP_SECONDS = 1.0  # between the thread dump of a JVM that does not stop and SIGKILL


class Phase(enum.Enum):
    """Where the service is."""

    STARTING = "starting"
    UP = "up"
    BACKING_OFF = "backing off"
    STOPPING = "stopping"
    DUMPING = "dumping"  # the stop time-out has passed: a thread dump was asked for, SIGKILL follows
    ENDED = "ended"


class State(NamedTuple):
    """All that a decision depends on."""

    phase: Phase = Phase.STARTING
    generation: int = 1
    started: float = 0.0  # when this generation was started
    crashes: int = 0  # in a row
    ever_up: bool = False


class Claimed(NamedTuple):
    """Every declared listener is in the application's hands (or there is none and main runs)."""

    now: float


class Died(NamedTuple):
    """The worker has ended: with an exit `status`, or by a signal (then `signal` is not 0)."""

    now: float
    status: int
    signal: int


class Stop(NamedTuple):
    """The service is to end; `signal` is what the worker gets, unless the terminal has `delivered` it there already."""

    now: float
    signal: int
    delivered: bool = False


class Timeout(NamedTuple):
    """The time that SetTimer asked for has come."""

    now: float


class SpawnFailed(NamedTuple):
    """No worker could be started; `status` is what to end with if that is final."""

    now: float
    status: int


Event = Claimed | Died | Stop | Timeout | SpawnFailed


class Spawn(NamedTuple):
    """Start the worker of `generation`."""

    generation: int


class Kill(NamedTuple):
    """Send `signal` to the worker."""

    signal: int


class SetTimer(NamedTuple):
    """Report Timeout after `seconds`; replaces an earlier timer."""

    seconds: float


class ClearTimer(NamedTuple):
    """No Timeout any more."""


class ReportUnclaimed(NamedTuple):
    """Tell the log which declared listeners were not claimed, and what the application tried."""


class ReportBackoff(NamedTuple):
    """Tell the log that the worker died and when the next starts."""

    seconds: float


class Exit(NamedTuple):
    """End the supervisor with `status`; the listeners are closed by that."""

    status: int


Action = Spawn | Kill | SetTimer | ClearTimer | ReportUnclaimed | ReportBackoff | Exit
Step = tuple[State, tuple[Action, ...]]


def begin(spec: ServiceSpec, now: float) -> Step:
    """Return the first state and what to do in it."""
    return State(started=now), (Spawn(1), SetTimer(spec.start_timeout))


def shell_status(status: int, number: int) -> int:
    """Return the exit status that stands for a death, as the shell and `java` have it: 128 plus the signal."""
    return 128 + number if number else status


def _ignore(_spec: ServiceSpec, state: State, _event: Event) -> Step:
    return state, ()


def _claimed(_spec: ServiceSpec, state: State, _event: Event) -> Step:
    return state._replace(phase=Phase.UP, ever_up=True), (ClearTimer(),)


def _start_timeout(_spec: ServiceSpec, state: State, _event: Event) -> Step:
    return state, (ReportUnclaimed(),)


def _must_restart(spec: ServiceSpec, state: State, event: Died) -> bool:
    if not state.ever_up and state.phase is Phase.STARTING and spec.restart != "always":
        return False  # what never worked is not repeated
    if spec.restart == "on-crash":
        return event.signal != 0
    return spec.restart == "always" or (spec.restart == "on-failure" and (event.status != 0 or event.signal != 0))


def _died(spec: ServiceSpec, state: State, event: Event) -> Step:
    if not isinstance(event, Died):
        return state, ()
    if not _must_restart(spec, state, event):
        return state._replace(phase=Phase.ENDED), (Exit(shell_status(event.status, event.signal)),)
    return _back_off(spec, state, event.now)


def _back_off(spec: ServiceSpec, state: State, now: float) -> Step:
    """Wait before the next start: not at all after a healthy life, then doubling from `backoff_first` to `backoff_max`."""
    healthy = state.phase is Phase.UP and now - state.started >= spec.backoff_reset
    crashes = 1 if healthy else state.crashes + 1
    seconds = 0.0 if crashes == 1 else min(spec.backoff_first * 2.0 ** min(crashes - 2, 32), spec.backoff_max)
    after = state._replace(phase=Phase.BACKING_OFF, crashes=crashes)
    return after, (ReportBackoff(seconds), SetTimer(seconds))


def _spawn_failed(spec: ServiceSpec, state: State, event: Event) -> Step:
    if isinstance(event, SpawnFailed) and not state.ever_up:
        return state._replace(phase=Phase.ENDED), (Exit(event.status),)
    return _back_off(spec, state, event.now)


def _next(spec: ServiceSpec, state: State, event: Event) -> Step:
    generation = state.generation + 1
    after = state._replace(phase=Phase.STARTING, generation=generation, started=event.now)
    return after, (Spawn(generation), SetTimer(spec.start_timeout))


def _stop(spec: ServiceSpec, state: State, event: Event) -> Step:
    return state._replace(phase=Phase.STOPPING), (*_signal(event), SetTimer(spec.stop_timeout))


def _stop_again(_spec: ServiceSpec, state: State, event: Event) -> Step:
    return state, _signal(event)


def _signal(event: Event) -> tuple[Action, ...]:
    return (Kill(event.signal),) if isinstance(event, Stop) and not event.delivered else ()


def _stop_waiting(_spec: ServiceSpec, state: State, event: Event) -> Step:
    number = event.signal if isinstance(event, Stop) else signal.SIGTERM
    return state._replace(phase=Phase.ENDED), (Exit(128 + number),)


def _stop_timeout(_spec: ServiceSpec, state: State, _event: Event) -> Step:
    return state._replace(phase=Phase.DUMPING), (Kill(signal.SIGQUIT), SetTimer(DUMP_SECONDS))


def _kill(_spec: ServiceSpec, state: State, _event: Event) -> Step:
    return state, (Kill(signal.SIGKILL),)


def _stopped(_spec: ServiceSpec, state: State, event: Event) -> Step:
    status = shell_status(event.status, event.signal) if isinstance(event, Died) else 0
    return state._replace(phase=Phase.ENDED), (Exit(status),)


def _stop_spawning(_spec: ServiceSpec, state: State, event: Event) -> Step:
    status = event.status if isinstance(event, SpawnFailed) else 0
    return state._replace(phase=Phase.ENDED), (Exit(status),)


TABLE: dict[tuple[Phase, type], Callable[[ServiceSpec, State, Event], Step]] = {
    (Phase.STARTING, Claimed): _claimed,
    (Phase.STARTING, Died): _died,
    (Phase.STARTING, Stop): _stop,
    (Phase.STARTING, Timeout): _start_timeout,
    (Phase.STARTING, SpawnFailed): _spawn_failed,
    (Phase.UP, Claimed): _ignore,
    (Phase.UP, Died): _died,
    (Phase.UP, Stop): _stop,
    (Phase.UP, Timeout): _ignore,
    (Phase.UP, SpawnFailed): _ignore,
    (Phase.BACKING_OFF, Claimed): _ignore,
    (Phase.BACKING_OFF, Died): _ignore,
    (Phase.BACKING_OFF, Stop): _stop_waiting,
    (Phase.BACKING_OFF, Timeout): _next,
    (Phase.BACKING_OFF, SpawnFailed): _ignore,
    (Phase.STOPPING, Claimed): _ignore,
    (Phase.STOPPING, Died): _stopped,
    (Phase.STOPPING, Stop): _stop_again,
    (Phase.STOPPING, Timeout): _stop_timeout,
    (Phase.STOPPING, SpawnFailed): _stop_spawning,
    (Phase.DUMPING, Claimed): _ignore,
    (Phase.DUMPING, Died): _stopped,
    (Phase.DUMPING, Stop): _stop_again,
    (Phase.DUMPING, Timeout): _kill,
    (Phase.DUMPING, SpawnFailed): _stop_spawning,
    (Phase.ENDED, Claimed): _ignore,
    (Phase.ENDED, Died): _ignore,
    (Phase.ENDED, Stop): _ignore,
    (Phase.ENDED, Timeout): _ignore,
    (Phase.ENDED, SpawnFailed): _ignore,
}


def step(spec: ServiceSpec, state: State, event: Event) -> Step:
    """Return what becomes of `state` by `event`, and what to do; total over all phases and events."""
    return TABLE[state.phase, type(event)](spec, state, event)
