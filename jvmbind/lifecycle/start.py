"""Entries of the table: a generation on its way to serve. Pure."""

from __future__ import annotations

from jvmbind.lifecycle.actions import Action, ClearTimer, Drain, Kill, Notice, Probe, Report, ReportChange, SetTimer, Spawn, Timer
from jvmbind.lifecycle.reload import abort_reload, fail_restart
from jvmbind.lifecycle.state import Change, Member, Phase, Role, Stage, State
from jvmbind.lifecycle.steps import (
    LATE_DUMP_SECONDS,
    MOVE_SECONDS,
    SETTLE_SECONDS,
    SIGQUIT,
    STANDBY_SECONDS,
    START_TIMERS,
    end,
    end_late,
    end_standby,
    probe_seconds,
    release,
    replace_member,
    start_timers,
    take_over,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvmbind.lifecycle.events import Event
    from jvmbind.lifecycle.steps import Step
    from jvmbind.spec import ServiceSpec


def begin(spec: ServiceSpec, now: float) -> Step:
    """Return the first state and what to do in it."""
    first = Member(1, Role.INCOMING, Stage.STARTING, now)
    return State(members=(first,), next_number=2), (Spawn(1, parked=False), *start_timers(1, spec.start_timeout))


def parked(_spec: ServiceSpec, state: State, event: Event) -> Step:
    """A generation waits at its first bind: one that is to serve is released, a standby stays there."""
    member = state.get(event.generation)
    if member is None or member.stage not in {Stage.STARTING, Stage.ACCEPTING, Stage.REHEARSED}:
        return state, ()
    if member.role is Role.INCOMING:
        old = state.one(Role.SERVING)
        if old is None:
            return release(state, member, rehearse=False)
        # Datagrams cannot be shared: the old generation stops receiving in the moment in which the new one begins to.
        state = replace_member(state, member._replace(stage=max(member.stage, Stage.PARKED), waits=True))
        return state, (Drain(old.number, datagrams_only=True), SetTimer(Timer.MOVE, member.number, MOVE_SECONDS))
    if member.role is not Role.STANDBY:
        return state, ()
    return replace_member(state, member._replace(stage=Stage.PARKED, ready_at=event.now)), (ClearTimer(Timer.START, member.number),)


def moved(_spec: ServiceSpec, state: State, event: Event) -> Step:
    """The generation that serves has made room for the next one, which rehearses."""
    old, incoming = state.one(Role.SERVING), state.one(Role.INCOMING)
    if old is None or old.number != event.generation or incoming is None or not incoming.waits:
        return state, ()
    return release(state, incoming, rehearse=True)


def _may_serve(state: State, member: Member) -> bool:
    """Whether clients are to come to a generation: the next one, or one that serves on a part of the listeners so far."""
    return member.role is Role.INCOMING or (member.role is Role.SERVING and state.phase is not Phase.RESTARTING)


def accepting(spec: ServiceSpec, state: State, event: Event) -> Step:
    """The new generation takes connections: it serves at once where nobody else does, or rehearses for a moment."""
    member = state.get(event.generation)
    if member is None or not _may_serve(state, member) or member.stage >= Stage.ACCEPTING:
        return state, ()
    state = replace_member(state, member._replace(stage=Stage.ACCEPTING))
    if member.role is Role.SERVING:  # it has served on a part of the listeners so far
        return state, (Probe(member.number),)
    state = state._replace(served=True)
    if state.one(Role.SERVING) is None:
        return state, take_over(spec, state, member)
    return state, (Probe(member.number, rehearsal=True),)


def serves(_spec: ServiceSpec, state: State, event: Event) -> Step:
    """A generation takes clients on a part of the listeners: it is not ready, but the service is not given up any more."""
    member = state.get(event.generation)
    if member is None or member.role is not Role.INCOMING or member.stage is Stage.TERMINATING or state.one(Role.SERVING):
        return state, ()
    if member.serves:
        return state, ()
    state = replace_member(state, member._replace(serves=True))._replace(failed_starts=0)
    return state, (SetTimer(Timer.SERVED, member.number, SETTLE_SECONDS),)


def ready(spec: ServiceSpec, state: State, event: Event) -> Step:
    """A client gets served: by the first generation, or by the next one in the place of the old."""
    member = state.get(event.generation)
    if member is None or not _may_serve(state, member) or member.stage is Stage.TERMINATING:
        return state, ()
    if member.role is Role.SERVING:
        if member.stage is not Stage.ACCEPTING:
            return state, ()
        return replace_member(state, member._replace(stage=Stage.READY)), (Report(Notice.READY, member.number),)
    old = state.one(Role.SERVING)
    if old is not None and member.stage is Stage.ACCEPTING:
        state = replace_member(state, member._replace(stage=Stage.REHEARSED))
        timers = (ClearTimer(Timer.START, member.number), ClearTimer(Timer.SLOW, member.number))
        return state, (*timers, SetTimer(Timer.SETTLE, member.number, SETTLE_SECONDS))
    if old is not None and not old.let_go:  # the probe may have reached the old one
        if member.stage is Stage.READY:
            return state, ()
        wait = SetTimer(Timer.PROBE, member.number, probe_seconds(spec, Stage.READY))
        return replace_member(state, member._replace(stage=Stage.READY)), (wait,)
    actions: list[Action] = []
    if old is not None:
        state = replace_member(state, old._replace(role=Role.DRAINING))
        # Told again, it counts its connections again: it may have said that there are none before this was known.
        actions += [Drain(old.number, ends=True), SetTimer(Timer.DRAIN, old.number, spec.drain_timeout)]
    if state.change is not Change.NONE:
        actions.append(ReportChange(member.number, failure=""))
        state, ends = end_standby(spec, state)
        actions += ends
    state, more = _serve(spec, state, member, Stage.READY, event.now)
    return state, (*more, *actions, Report(Notice.READY, member.number))


def _serve(spec: ServiceSpec, state: State, member: Member, stage: Stage, now: float) -> Step:
    """Let a generation be the one that serves."""
    state = replace_member(state, member._replace(role=Role.SERVING, stage=stage, ready_at=now))
    state = state._replace(phase=Phase.UP, change=Change.NONE, served=True, owed=False, failed_starts=0, late_starts=0)
    state = state._replace(slowest_start=max(state.slowest_start, now - member.started))
    timers = [ClearTimer(name, member.number) for name in START_TIMERS]
    return state, (*timers, *([SetTimer(Timer.STANDBY, 0, STANDBY_SECONDS)] if spec.standby else []))


def start_timeout(spec: ServiceSpec, state: State, member: Member, name: Timer, now: float) -> Step:
    """A generation is not ready in time.

    During a reload the old one keeps serving; after a restart the previous version is started again. The first start of a
    service is only reported: its caller may be looking, and slow is no failure. A later one is ended and started again,
    unless it serves on a part of the listeners: then it goes on like that. A standby that hangs gives way to another.
    """
    if member.role is Role.STANDBY and member.stage is Stage.STARTING:
        state = replace_member(state, member._replace(stage=Stage.TERMINATING))
        reports = (Report(Notice.STANDBY_LATE, member.number, now - member.started), Report(Notice.DUMP, member.number))
        return state, (*reports, *end(member.number, LATE_DUMP_SECONDS, SIGQUIT))
    if member.role is not Role.INCOMING or member.stage is Stage.TERMINATING:
        return state, ()
    if state.phase is Phase.RELOADING:
        seconds = probe_seconds(spec, member.stage) if name == Timer.PROBE else spec.start_timeout
        what = "did not take the probe connection" if name == Timer.PROBE else "was not ready"
        if member.stage is Stage.READY:
            what = "was ready, but the old one did not give up its listeners"
        state, actions = abort_reload(state, f"generation {member.number} {what} within {seconds:g} s")
        return state, (Report(Notice.UNCLAIMED, member.number), *actions)
    if name == Timer.PROBE:
        return state, ()
    if state.change is not Change.NONE:
        return fail_restart(state, member, f"generation {member.number} was not ready within {now - member.started:.0f} s")
    if member.serves:
        state, actions = _serve(spec, state, member, member.stage, now)
        return state, (*actions, Report(Notice.UNCLAIMED, member.number), Report(Notice.PARTLY, member.number))
    if state.served:
        return end_late(state, member)
    told = (Report(Notice.UNCLAIMED, member.number), Kill(member.number, SIGQUIT)) if name == Timer.START else ()
    return state, (*told, SetTimer(Timer.LATE, member.number, spec.start_timeout))
