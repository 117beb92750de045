"""Entries of the table: a moment has come. Pure."""

from __future__ import annotations

from jvmbind.lifecycle.actions import HalfClose, Kill, Report, SetTimer
from jvmbind.lifecycle.events import Event, StandbyDue, Timeout
from jvmbind.lifecycle.start import start_timeout
from jvmbind.lifecycle.state import Phase, Role, Stage, State
from jvmbind.lifecycle.steps import (
    CLOSE_SECONDS,
    DUMP_SECONDS,
    SIGKILL,
    SIGQUIT,
    SIGTERM,
    SLOW_SECONDS,
    STANDBY_SECONDS,
    delay,
    fill_standby,
    release,
    replace_member,
    spawn,
    take_over,
    terminate,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvmbind.lifecycle.steps import Step
    from jvmbind.spec import ServiceSpec


def ignore(_spec: ServiceSpec, state: State, _event: Event) -> Step:
    """Do nothing."""
    return state, ()


def standby_due(spec: ServiceSpec, state: State, event: Event) -> Step:
    """Start the standby generations, unless two instances may not be there at once."""
    if not isinstance(event, StandbyDue) or not spec.standby:
        return state, ()
    if state.phase is Phase.RELOADING:
        return state, (SetTimer("standby", 0, STANDBY_SECONDS),)
    if state.phase is not Phase.UP:
        return state, ()
    if spec.reload == "auto" and event.alone:
        serving = state.one(Role.SERVING)
        return state, (Report("alone", serving.number if serving is not None else 0),)
    return fill_standby(spec, state, event.now)


def wanted(spec: ServiceSpec, state: State, event: Event) -> Step:
    """A client waits while nobody serves: the pause before the next start is a short one."""
    pause = min(delay(spec, state.crashes), spec.backoff_waiting)
    return state, (SetTimer("back-off", 0, max(0.0, state.paused_at + pause - event.now)),)


def timeout(spec: ServiceSpec, state: State, event: Event) -> Step:
    """A timer has come."""
    if not isinstance(event, Timeout):
        return state, ()
    number = event.generation
    member = state.get(number)
    if event.name == "back-off":
        if state.phase is not Phase.BACKING_OFF:
            return state, ()
        return spawn(spec, state._replace(phase=Phase.STARTING), Role.INCOMING, event.now, parked=False)
    if member is None:
        return state, ()
    if event.name == "served":
        return state._replace(served=True), ()
    if event.name == "settle":
        return state, take_over(
            spec, state, member
        ) if member.role is Role.INCOMING and Stage.REHEARSED <= member.stage <= Stage.READY else ()
    if event.name == "move":
        waits = member.role is Role.INCOMING and member.waits
        return release(state, member, rehearse=state.one(Role.SERVING) is not None) if waits else (state, ())
    if event.name == "slow":
        return state, (Report("slow", number, SLOW_SECONDS),) if member.role is Role.INCOMING and member.stage < Stage.READY else ()
    if event.name in {"start", "late", "probe"}:
        return start_timeout(spec, state, member, event.name, event.now)
    if event.name == "drain" and state.phase is Phase.STOPPING and member.stage is not Stage.TERMINATING:
        return terminate(spec, state, member, state.stop_signal)
    if event.name == "drain" and member.stage < Stage.CLOSING:
        state = replace_member(state, member._replace(stage=Stage.CLOSING))
        return state, (HalfClose(number), SetTimer("close", number, CLOSE_SECONDS))
    if event.name == "close" and member.stage is not Stage.TERMINATING:
        return terminate(spec, state, member, state.stop_signal or SIGTERM)
    if event.name == "stop":
        return state, (Report("hangs", number, spec.stop_timeout), Kill(number, SIGQUIT), SetTimer("dump", number, DUMP_SECONDS))
    return (state, (Kill(number, SIGKILL),)) if event.name == "dump" else (state, ())
