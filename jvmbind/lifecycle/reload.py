"""Entries of the table: reload and restart on request. Pure."""

from __future__ import annotations

from jvmbind.lifecycle.actions import (
    Action,
    ClearTimer,
    Drain,
    HalfClose,
    Notice,
    Report,
    ReportChange,
    SetTimer,
    TellReload,
    Timer,
    Undrain,
)
from jvmbind.lifecycle.events import Died, Left, Reload, SpawnFailed
from jvmbind.lifecycle.state import Change, Member, Phase, Role, Stage, State
from jvmbind.lifecycle.steps import (
    LATE_DUMP_SECONDS,
    SIGQUIT,
    SIGTERM,
    START_TIMERS,
    TIMERS,
    again,
    delay,
    end,
    end_late,
    end_standby,
    replace_member,
    spawn,
    terminate,
    without,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvmbind.lifecycle.events import Event
    from jvmbind.lifecycle.steps import Step
    from jvmbind.spec import ServiceSpec

RESTART_CLOSE_SECONDS = 1.0  # for idle connections to end in order while the next generation waits for the end of the old


def keep_old(state: State, old: Member, failed: int, failure: str, why: str = "") -> Step:
    """A reload has failed: the old generation gets its listeners back and serves on."""
    state = replace_member(state, old._replace(let_go=False))._replace(phase=Phase.UP, change=Change.NONE)
    return state, (Undrain(old.number), ReportChange(failed, failure, why))


def abort_reload(state: State, failure: str, why: str = "") -> Step:
    """End the new generation of a reload; the old one keeps serving."""
    incoming, old = state.one(Role.INCOMING), state.one(Role.SERVING)
    if incoming is None or old is None:
        return state, ()
    # Gone from its role at once; its death is then that of a drained generation.
    state = replace_member(state, incoming._replace(role=Role.DRAINING, stage=Stage.TERMINATING))
    state, actions = keep_old(state, old, incoming.number, failure, why)
    timers = tuple(ClearTimer(name, incoming.number) for name in START_TIMERS)
    # It may have the listeners already, and must not take what waits in them into its end.
    actions = (Drain(incoming.number), *actions)
    return state, (Report(Notice.DUMP, incoming.number), *timers, *actions, *end(incoming.number, LATE_DUMP_SECONDS, SIGQUIT))


def reload(spec: ServiceSpec, state: State, event: Event) -> Step:
    """Start a new generation beside the one that serves; where two may not be there at once, in its place."""
    old = state.one(Role.SERVING)
    told = (TellReload(old.number),) if old is not None else ()
    if spec.reload == "restart" or (spec.reload == "auto" and isinstance(event, Reload) and event.alone):
        state, actions = _begin_restart(spec, state, event.now, Change.RELOAD)
    else:
        state = state._replace(phase=Phase.RELOADING, change=Change.RELOAD)
        state, actions = spawn(spec, state, Role.INCOMING, event.now, parked=True)
    return state, (*told, *actions)


def refuse(_spec: ServiceSpec, state: State, event: Event) -> Step:
    """Say why there is no reload or restart now."""
    what = "a reload needs a service that is up" if isinstance(event, Reload) else "one change at a time"
    return state, (ReportChange(0, f"the service is {state.phase.value}; {what}"),)


def restart(spec: ServiceSpec, state: State, event: Event) -> Step:
    """End what there is, with the listeners kept, and start anew."""
    if state.change is not Change.NONE:  # a reload whose old generation has died
        return refuse(spec, state, event)
    return _begin_restart(spec, state, event.now, Change.RESTART)


def _begin_restart(spec: ServiceSpec, state: State, now: float, change: Change) -> Step:
    state = state._replace(phase=Phase.RESTARTING, change=change, owed=True, stop_signal=SIGTERM, late_starts=0)
    state, ends = end_standby(spec, state)
    actions: list[Action] = [ClearTimer(Timer.BACK_OFF, 0), ClearTimer(Timer.STANDBY, 0), *ends]
    for member in state.members:
        actions += [ClearTimer(name, member.number) for name in START_TIMERS]
        if member.role is Role.INCOMING:  # it is the old one now, however far it has come
            member = member._replace(role=Role.SERVING)  # noqa: PLW2901
            state = replace_member(state, member)
        if member.stage < Stage.CLOSING:
            # A generation that drains already counts its connections again, when it is told again.
            # A client that keeps its connection may never be idle for long: each is ended on its own.
            actions += [Drain(member.number, ends=True), HalfClose(member.number, idle_only=True)]
            if member.role is Role.SERVING:
                actions.append(SetTimer(Timer.DRAIN, member.number, spec.drain_timeout))
    state, more = _next(spec, state, now)
    return state, (*actions, *more)


def _next(spec: ServiceSpec, state: State, now: float) -> Step:
    """Start the new generation once every other has ended: what they hold is free then."""
    return (state, ()) if state.members else spawn(spec, state, Role.INCOMING, now, parked=False)


def left_restarting(_spec: ServiceSpec, state: State, event: Event) -> Step:
    """Once all connections of the old generation are idle, and it sees the end of input on each, it has a moment to close them."""
    member = state.get(event.generation)
    if not isinstance(event, Left) or member is None or member.role is Role.INCOMING or member.stage >= Stage.CLOSING:
        return state, ()
    if event.busy or event.asking:
        return state, (ClearTimer(Timer.CLOSE, member.number),)
    return state, (SetTimer(Timer.CLOSE, member.number, RESTART_CLOSE_SECONDS),)


def drained_restarting(spec: ServiceSpec, state: State, event: Event) -> Step:
    """The old generation has no connection left."""
    member = state.get(event.generation)
    if member is None or member.role is Role.INCOMING or member.stage is Stage.TERMINATING:
        return state, ()
    return terminate(spec, state, member, SIGTERM)


def died_restarting(spec: ServiceSpec, state: State, event: Event) -> Step:
    """The old generation has ended, or the new one has failed: then the previous version is started again."""
    member = state.get(event.generation)
    if member is None or not isinstance(event, Died):
        return state, ()
    state = without(state, member.number)
    gone = tuple(ClearTimer(name, member.number) for name in TIMERS)
    if member.role is not Role.INCOMING:
        state, actions = _next(spec, state, event.now)
        return state, (*gone, *actions)
    state = state._replace(change=Change.NONE, crashes=state.crashes + 1)
    failure = ReportChange(member.number, failure=f"generation {member.number} ended before it was ready")
    state, actions = again(spec, state, event.now, delay(spec, state.crashes))
    return state, (*gone, failure, *actions)


def spawn_failed_restarting(spec: ServiceSpec, state: State, event: Event) -> Step:
    """A process that could not be made is one that has ended."""
    status = event.status if isinstance(event, SpawnFailed) else 0
    return died_restarting(spec, state, Died(event.now, event.generation, status, 0))


def fail_restart(state: State, member: Member, why: str) -> Step:
    """The new generation is not ready in time: it is ended, and the previous version is started again."""
    state, actions = end_late(state._replace(phase=Phase.STARTING, change=Change.NONE, told=member.number), member)
    # Its listeners go first: it must not take what waits in them into its end.
    return state, (*actions[:1], Drain(member.number), ReportChange(member.number, failure=why), *actions[1:])
