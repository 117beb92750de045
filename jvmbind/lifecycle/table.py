"""The supervisor's decisions as a pure table: (state, event) -> (state, actions).

Used by the supervisor's loop, which only waits, reports events and carries the actions out. No clock, no I/O: times are
seconds of a monotonic clock that the loop passes in. Every pair of phase and event has an entry; a test walks them all.

    starting --Ready--> up --Reload--> reloading --Ready--> up (the old generation drains and stops)
        |                |                 +-- any failure --> up (the old generation keeps serving)
        |                +--Restart, or a Reload of one that must be alone--> restarting --Ready--> up
        |                |                 +-- any failure --> starting (the previous version)
        |                +--Died--> backing off --Timeout--> starting (at once with a standby)
        +---- Stop from anywhere --> stopping --the last Died--> ended
"""

from __future__ import annotations

from jvmbind.lifecycle.death import died, spawn_failed
from jvmbind.lifecycle.events import (
    Accepting,
    Died,
    Drained,
    DrainFailed,
    Event,
    Left,
    LetGo,
    Moved,
    Parked,
    Ready,
    Reload,
    Restart,
    Serves,
    SpawnFailed,
    StandbyDue,
    Stop,
    Timeout,
    UndrainFailed,
    Wanted,
)
from jvmbind.lifecycle.handing import drain_failed, let_go, undrain_failed
from jvmbind.lifecycle.reload import (
    died_restarting,
    drained_restarting,
    left_restarting,
    refuse,
    reload,
    restart,
    spawn_failed_restarting,
)
from jvmbind.lifecycle.start import accepting, moved, parked, ready, serves
from jvmbind.lifecycle.state import Phase, State
from jvmbind.lifecycle.stop import died_stopping, drained, drained_stopping, left_stopping, spawn_failed_stopping, stop, stop_again
from jvmbind.lifecycle.timers import ignore, standby_due, timeout, wanted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jvmbind.lifecycle.steps import Step
    from jvmbind.spec import ServiceSpec

    Handler = Callable[[ServiceSpec, State, Event], Step]
    Handlers = dict[type, Handler]


def _table() -> dict[tuple[Phase, type], Handler]:
    living: Handlers = {
        Parked: parked, Accepting: accepting, Serves: serves, Ready: ready, Died: died, Timeout: timeout, Drained: drained,
        Left: ignore, Reload: refuse, Restart: restart, Stop: stop, SpawnFailed: spawn_failed,
        StandbyDue: standby_due, Wanted: ignore, LetGo: let_go, Moved: moved, DrainFailed: drain_failed,
        UndrainFailed: undrain_failed,
    }  # fmt: skip
    reloading: Handlers = {**living, Restart: refuse}
    restarting: Handlers = {
        **living,
        Died: died_restarting, SpawnFailed: spawn_failed_restarting, Drained: drained_restarting, Left: left_restarting,
        Restart: refuse, StandbyDue: ignore,
    }  # fmt: skip
    stopping: Handlers = {
        **dict.fromkeys(living, ignore),
        Timeout: timeout, Drained: drained_stopping, Left: left_stopping, Died: died_stopping, Stop: stop_again,
        SpawnFailed: spawn_failed_stopping, Reload: refuse, Restart: refuse,
    }  # fmt: skip
    phases: dict[Phase, Handlers] = {
        Phase.UP: {**living, Reload: reload},
        Phase.RELOADING: reloading,
        Phase.RESTARTING: restarting,
        Phase.BACKING_OFF: {**living, Wanted: wanted},
        Phase.STOPPING: stopping,
        Phase.ENDED: dict.fromkeys(living, ignore),
    }
    return {(phase, event): handler for phase in Phase for event, handler in phases.get(phase, living).items()}


TABLE = _table()


def step(spec: ServiceSpec, state: State, event: Event) -> Step:
    """Return what becomes of `state` by `event`, and what to do; total over all phases and events."""
    return TABLE[state.phase, type(event)](spec, state, event)
