"""Entries of the table: a moment has come. Pure."""

from __future__ import annotations

from jvmbind.lifecycle.actions import HalfClose, Kill, Notice, Report, SetTimer, Timer
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
from jvmbind.record import assert_never

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvmbind.lifecycle.state import Member
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
        return state, (SetTimer(Timer.STANDBY, 0, STANDBY_SECONDS),)
    if state.phase is not Phase.UP:
        return state, ()
    if spec.reload == "auto" and event.alone:
        serving = state.one(Role.SERVING)
        return state, (Report(Notice.ALONE, serving.number if serving is not None else 0),)
    return fill_standby(spec, state, event.now)


def wanted(spec: ServiceSpec, state: State, event: Event) -> Step:
    """A client waits while nobody serves: the pause before the next start is a short one."""
    pause = min(delay(spec, state.crashes), spec.backoff_waiting)
    return state, (SetTimer(Timer.BACK_OFF, 0, max(0.0, state.paused_at + pause - event.now)),)


def timeout(spec: ServiceSpec, state: State, event: Event) -> Step:
    """A timer has come."""
    if not isinstance(event, Timeout):
        return state, ()
    if event.name == Timer.BACK_OFF and state.phase is Phase.BACKING_OFF:
        return spawn(spec, state._replace(phase=Phase.STARTING), Role.INCOMING, event.now, parked=False)
    member = state.get(event.generation)
    return _of_member(spec, state, member, event) if member is not None else (state, ())


def _of_member(spec: ServiceSpec, state: State, member: Member, event: Timeout) -> Step:  # noqa: RET503 - each timer returns
    number, incoming = member.number, member.role is Role.INCOMING
    match event.name:
        case Timer.SERVED:
            return state._replace(served=True), ()
        case Timer.SETTLE:
            rehearsed = incoming and Stage.REHEARSED <= member.stage <= Stage.READY
            return state, take_over(spec, state, member) if rehearsed else ()
        case Timer.MOVE:
            waits = incoming and member.waits
            return release(state, member, rehearse=state.one(Role.SERVING) is not None) if waits else (state, ())
        case Timer.SLOW:
            return state, (Report(Notice.SLOW, number, SLOW_SECONDS),) if incoming and member.stage < Stage.READY else ()
        case Timer.START | Timer.LATE | Timer.PROBE:
            return start_timeout(spec, state, member, event.name, event.now)
        case Timer.DRAIN:
            return _drained_too_long(spec, state, member)
        case Timer.CLOSE:
            closing = member.stage is not Stage.TERMINATING
            return terminate(spec, state, member, state.stop_signal or SIGTERM) if closing else (state, ())
        case Timer.STOP:
            hangs = Report(Notice.HANGS, number, spec.stop_timeout)
            return state, (hangs, Kill(number, SIGQUIT), SetTimer(Timer.DUMP, number, DUMP_SECONDS))
        case Timer.DUMP:
            return state, (Kill(number, SIGKILL),)
        case Timer.BACK_OFF | Timer.STANDBY:  # of no generation; the second is reported as StandbyDue
            return state, ()
        case unknown:
            assert_never(unknown)


def _drained_too_long(spec: ServiceSpec, state: State, member: Member) -> Step:
    if state.phase is Phase.STOPPING and member.stage is not Stage.TERMINATING:
        return terminate(spec, state, member, state.stop_signal)
    if member.stage >= Stage.CLOSING:
        return state, ()
    state = replace_member(state, member._replace(stage=Stage.CLOSING))
    return state, (HalfClose(member.number), SetTimer(Timer.CLOSE, member.number, CLOSE_SECONDS))
