"""The supervisor's decisions as a pure table: (state, event) -> (state, actions).

Used by the supervisor's loop, which only waits, reports events and carries the actions out. No clock, no I/O: times are
seconds of a monotonic clock that the loop passes in. Every pair of phase and event has an entry; a test walks them all.

    starting --Ready--> up --Reload--> reloading --Ready--> up (the old generation drains and stops)
        |                |                 +-- any failure --> up (the old generation serves on)
        |                +--Died--> backing off --Timeout--> starting (at once with a standby)
        +---- Stop from anywhere --> stopping --the last Died--> ended
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jvmbind.lifecycle.death import died, spawn_failed
from jvmbind.lifecycle.events import (
    Accepting,
    Died,
    Drained,
    Event,
    Parked,
    Quiet,
    Ready,
    Reload,
    Restart,
    SpawnFailed,
    Stop,
    Timeout,
)
from jvmbind.lifecycle.reload import refuse_reload, reload, restart
from jvmbind.lifecycle.start import accepting, parked, ready
from jvmbind.lifecycle.state import Phase, State
from jvmbind.lifecycle.stop import died_stopping, drained, quiet, spawn_failed_stopping, stop, stop_again
from jvmbind.lifecycle.timers import ignore, timeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from jvmbind.lifecycle.steps import Step
    from jvmbind.spec import ServiceSpec

    Handler = Callable[[ServiceSpec, State, Event], Step]
    Handlers = dict[type, Handler]


def _table() -> dict[tuple[Phase, type], Handler]:
    living: Handlers = {
        Parked: parked, Accepting: accepting, Ready: ready, Died: died, Timeout: timeout, Drained: drained,
        Quiet: ignore, Reload: refuse_reload, Restart: ignore, Stop: stop, SpawnFailed: spawn_failed,
    }  # fmt: skip
    up: Handlers = {**living, Reload: reload, Restart: restart}
    stopping: Handlers = {
        **dict.fromkeys(living, ignore),
        Timeout: timeout, Drained: quiet, Quiet: quiet, Died: died_stopping, Stop: stop_again,
        SpawnFailed: spawn_failed_stopping, Reload: refuse_reload,
    }  # fmt: skip
    phases: dict[Phase, Handlers] = {Phase.UP: up, Phase.STOPPING: stopping, Phase.ENDED: dict.fromkeys(living, ignore)}
    return {(phase, event): handler for phase in Phase for event, handler in phases.get(phase, living).items()}


TABLE = _table()


def step(spec: ServiceSpec, state: State, event: Event) -> Step:
    """Return what becomes of `state` by `event`, and what to do; total over all phases and events."""
    return TABLE[state.phase, type(event)](spec, state, event)
