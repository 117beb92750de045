"""Entries of the table: a timer has come. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jvmbind.lifecycle.actions import (
    HalfClose,
    Kill,
    Report,
    SetTimer,
)
from jvmbind.lifecycle.events import Event, Timeout
from jvmbind.lifecycle.start import start_timeout
from jvmbind.lifecycle.state import Phase, Role, Stage, State
from jvmbind.lifecycle.steps import (
    CLOSE_SECONDS,
    DUMP_SECONDS,
    SIGKILL,
    SIGQUIT,
    SIGTERM,
    STANDBY_SECONDS,
    fill_standby,
    spawn,
    take_over,
    terminate,
)

if TYPE_CHECKING:
    from jvmbind.lifecycle.steps import Step
    from jvmbind.spec import ServiceSpec


def ignore(_spec: ServiceSpec, state: State, _event: Event) -> Step:
    """Do nothing."""
    return state, ()


def timeout(spec: ServiceSpec, state: State, event: Event) -> Step:
    """A timer has come."""
    if not isinstance(event, Timeout):
        return state, ()
    number = event.generation
    member = state.get(number)
    if event.name == "standby":
        if state.phase is Phase.RELOADING:
            return state, (SetTimer("standby", 0, STANDBY_SECONDS),)
        return fill_standby(spec, state, event.now) if state.phase is Phase.UP else (state, ())
    if event.name == "back-off":
        if state.phase is not Phase.BACKING_OFF:
            return state, ()
        return spawn(spec, state._replace(phase=Phase.STARTING), Role.INCOMING, event.now, parked=False)
    if member is None:
        return state, ()
    if event.name == "settle":
        return state, take_over(state, number) if member.role is Role.INCOMING and member.stage is Stage.REHEARSED else ()
    if event.name in {"start", "probe"}:
        return start_timeout(spec, state, member, event.name)
    if event.name == "drain" and state.phase is Phase.STOPPING and member.stage is not Stage.TERMINATING:
        return terminate(spec, state, member, state.stop_signal)
    if event.name == "drain" and member.stage is not Stage.TERMINATING:
        return state, (HalfClose(number), SetTimer("close", number, CLOSE_SECONDS))
    if event.name == "close" and member.stage is not Stage.TERMINATING:
        return terminate(spec, state, member, state.stop_signal or SIGTERM)
    if event.name == "stop":
        return state, (Report("hangs", number, spec.stop_timeout), Kill(number, SIGQUIT), SetTimer("dump", number, DUMP_SECONDS))
    return (state, (Kill(number, SIGKILL),)) if event.name == "dump" else (state, ())
