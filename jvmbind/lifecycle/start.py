"""Entries of the table: a generation on its way to serve. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jvmbind.lifecycle.actions import (
    Action,
    ClearTimer,
    Drain,
    Kill,
    Probe,
    Release,
    Report,
    ReportReload,
    SetTimer,
    Spawn,
)
from jvmbind.lifecycle.reload import abort_reload
from jvmbind.lifecycle.state import Member, Phase, Role, Stage, State
from jvmbind.lifecycle.steps import (
    PROBE_SECONDS,
    SETTLE_SECONDS,
    SIGQUIT,
    STANDBY_SECONDS,
    START_TIMERS,
    end,
    replace_member,
    take_over,
)

if TYPE_CHECKING:
    from jvmbind.lifecycle.events import Event
    from jvmbind.lifecycle.steps import Step
    from jvmbind.spec import ServiceSpec


def begin(spec: ServiceSpec, now: float) -> Step:
    """Return the first state and what to do in it."""
    first = Member(1, Role.INCOMING, Stage.STARTING, now)
    return State(members=(first,), next_number=2), (Spawn(1, parked=False), SetTimer("start", 1, spec.start_timeout))


def parked(_spec: ServiceSpec, state: State, event: Event) -> Step:
    """A generation waits at its first bind: one that is to serve is released, a standby stays there."""
    member = state.get(event.generation)
    if member is None or member.stage not in {Stage.STARTING, Stage.ACCEPTING, Stage.REHEARSED}:
        return state, ()
    if member.role is Role.INCOMING:
        old = state.one(Role.SERVING)
        # Datagrams cannot be shared: the old generation stops receiving in the moment in which the new one begins to.
        step_back = (Drain(old.number, datagrams_only=True),) if old is not None else ()
        release = Release(member.number, rehearse=old is not None)
        # With "notify" it may have said that it is ready before it binds.
        return replace_member(state, member._replace(stage=max(member.stage, Stage.RELEASED))), (*step_back, release)
    return replace_member(state, member._replace(stage=Stage.PARKED)), ()


def accepting(_spec: ServiceSpec, state: State, event: Event) -> Step:
    """The new generation takes connections: it serves at once where nobody else does, or rehearses for a moment."""
    member = state.get(event.generation)
    if member is None or member.role is not Role.INCOMING or member.stage >= Stage.ACCEPTING:
        return state, ()
    state = replace_member(state, member._replace(stage=Stage.ACCEPTING))
    if state.one(Role.SERVING) is None:
        return state, take_over(state, member.number)
    return state, (Probe(member.number, rehearsal=True),)


def ready(spec: ServiceSpec, state: State, event: Event) -> Step:
    """A client gets served: by the first generation, or by the next one in the place of the old."""
    member = state.get(event.generation)
    if member is None or member.role is not Role.INCOMING or member.stage is Stage.TERMINATING:
        return state, ()
    old = state.one(Role.SERVING)
    if old is not None and member.stage is Stage.ACCEPTING:
        state = replace_member(state, member._replace(stage=Stage.REHEARSED))
        return state, (ClearTimer("start", member.number), SetTimer("settle", member.number, SETTLE_SECONDS))
    actions: list[Action] = [ClearTimer(name, member.number) for name in START_TIMERS]
    if old is not None:
        state = replace_member(state, old._replace(role=Role.DRAINING))
        # Told again, it counts its connections again: it may have said that there are none before this was known.
        actions += [Drain(old.number), SetTimer("drain", old.number, spec.drain_timeout)]
    reloaded = state.reloading
    if reloaded:
        actions.append(ReportReload(member.number, failure=""))
    state = replace_member(
        state._replace(reloading=False), member._replace(role=Role.SERVING, stage=Stage.READY, ready_at=event.now)
    )
    state = state._replace(phase=Phase.UP, ever_ready=True, failed_starts=0, restarting=False)
    if reloaded:  # what is parked has the configuration of before
        for standby in state.all(Role.STANDBY):
            state = replace_member(state, standby._replace(role=Role.DRAINING, stage=Stage.TERMINATING))
            actions += end(standby.number, spec.stop_timeout)
    actions.append(Report("ready", member.number))
    if spec.standby:
        actions.append(SetTimer("standby", 0, STANDBY_SECONDS))
    return state, tuple(actions)


def start_timeout(spec: ServiceSpec, state: State, member: Member, name: str) -> Step:
    """A generation is not ready in time."""
    if state.phase is Phase.RELOADING and member.role is Role.INCOMING:
        seconds = PROBE_SECONDS if name == "probe" else spec.start_timeout
        what = "did not take the probe connection" if name == "probe" else "was not ready"
        state, actions = abort_reload(state, f"generation {member.number} {what} within {seconds:g} s")
        return state, (Report("unclaimed", member.number), *actions)
    if name != "start" or member.role is not Role.INCOMING or member.stage is Stage.TERMINATING:
        return state, ()
    if not state.ever_ready:
        return state, (Report("unclaimed", member.number), Kill(member.number, SIGQUIT))
    # One that hangs in its start, after others have served, is ended like a crash.
    state = replace_member(state, member._replace(stage=Stage.TERMINATING))
    return state, (Report("unclaimed", member.number), Report("dump", member.number), *end(member.number, 2.0, SIGQUIT))
