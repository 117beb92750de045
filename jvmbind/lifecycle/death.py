"""Entries of the table: a generation has ended, or could not be started. Pure."""

from __future__ import annotations

from jvmbind.errors import EX_TEMPFAIL
from jvmbind.lifecycle.actions import Action, ClearTimer, Notice, Report, ReportChange, SetTimer, Timer, Undrain
from jvmbind.lifecycle.events import Died, SpawnFailed
from jvmbind.lifecycle.reload import keep_old
from jvmbind.lifecycle.state import Change, Member, Phase, Role, Stage, State
from jvmbind.lifecycle.steps import (
    SIGKILL,
    SIGTERM,
    TIMERS,
    again,
    delay,
    patience,
    release,
    replace_member,
    shell_status,
    start_timers,
    take_over,
    without,
)
from jvmbind.lifecycle.stop import leave

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvmbind.lifecycle.events import Event
    from jvmbind.lifecycle.steps import Step
    from jvmbind.spec import ServiceSpec

_SIGHUP, _SIGINT = 1, 2
# What an application ends with by itself when all is well, or when a signal asked it to: `java` gives 128 plus the signal.
ENDED_WELL = {0, *(128 + number for number in (_SIGHUP, _SIGINT, SIGTERM))}


def died(spec: ServiceSpec, state: State, event: Event) -> Step:
    """A generation has ended."""
    member = state.get(event.generation)
    if member is None or not isinstance(event, Died):
        return state, ()
    state = without(state, member.number)
    gone = tuple(ClearTimer(name, member.number) for name in TIMERS)
    if member.role is Role.DRAINING:
        return state, gone
    if member.role is Role.STANDBY:
        healthy = member.ready_at > 0 and event.now - member.ready_at >= spec.backoff_reset
        state = state._replace(standby_deaths=1 if healthy else state.standby_deaths + 1)
        return state, (*gone, SetTimer(Timer.STANDBY, 0, delay(spec, state.standby_deaths + 1)))
    state, actions = lost(spec, state, member, event)
    return state, (*gone, *actions)


def lost(spec: ServiceSpec, state: State, member: Member, event: Died) -> Step:
    """The serving or the incoming generation has died."""
    old = state.one(Role.SERVING)
    if member.role is Role.INCOMING and old is not None:
        return keep_old(state, old, member.number, f"generation {member.number} ended before it was ready")
    incoming = state.one(Role.INCOMING)
    if incoming is not None:  # the old generation died during a reload: the new one is all there is
        takes = take_over(spec, state, incoming) if incoming.stage >= Stage.ACCEPTING else (Undrain(incoming.number),)
        released: tuple[Action, ...] = ()
        if incoming.waits:
            state, released = release(state, incoming, rehearse=True)
            incoming = incoming._replace(waits=False)
        # The time of its start may have ended with the rehearsal; nobody serves beside it any more, so it has that of one alone.
        timers: tuple[Action, ...] = (ClearTimer(Timer.SETTLE, incoming.number), ClearTimer(Timer.PROBE, incoming.number))
        timers += start_timers(incoming.number, patience(spec, state))
        # It need not wait at its first bind any more, so a stop that comes now drains it first.
        state = replace_member(state, incoming._replace(stage=max(incoming.stage, Stage.RELEASED)))
        return state._replace(phase=Phase.STARTING), (*timers, *released, *takes)
    if state.change is not Change.NONE:  # and the old one died before: back to what it ran, as after its own death
        state = state._replace(change=Change.NONE, crashes=state.crashes + 1)
        state, actions = again(spec, state, event.now, delay(spec, state.crashes))
        return state, (ReportChange(member.number, failure="neither generation lived to serve"), *actions)
    if member.serves and event.signal:
        state = state._replace(served=True)
    if not must_restart(spec, state, member, event):
        return leave(spec, state, shell_status(event.status, event.signal))
    if member.role is Role.INCOMING and not member.serves and member.number != state.told:
        state = state._replace(failed_starts=state.failed_starts + 1)
        if spec.start_limit and state.failed_starts >= spec.start_limit:
            state, actions = leave(spec, state, EX_TEMPFAIL)
            return state, (Report(Notice.START_LIMIT, member.number), *actions)
    healthy = member.ready_at > 0 and event.now - member.ready_at >= spec.backoff_reset
    state = state._replace(crashes=1 if healthy else state.crashes + 1)
    return again(spec, state, event.now, delay(spec, state.crashes))


def must_restart(spec: ServiceSpec, state: State, member: Member, event: Died) -> bool:
    """Return whether another generation follows this one."""
    if state.owed or (member.role is Role.INCOMING and member.stage is Stage.TERMINATING):
        return True  # it was ended by the supervisor, or takes the place of one that was
    if not state.served and spec.restart != "always":
        return False  # what never worked is not repeated
    # Without a listener there is no port to hold, and a status is the program's result, which the caller waits for.
    if spec.restart == "on-crash" or (spec.restart == "on-failure" and not spec.listeners):
        return event.signal != 0
    ended_well = event.signal in {_SIGHUP, _SIGINT, SIGTERM} or (not event.signal and event.status in ENDED_WELL)
    return spec.restart == "always" or (spec.restart == "on-failure" and not ended_well)


def spawn_failed(spec: ServiceSpec, state: State, event: Event) -> Step:
    """No process could be made for a generation."""
    if not isinstance(event, SpawnFailed):
        return state, ()
    if not (state.served or state.owed) and spec.restart != "always" and state.phase is Phase.STARTING:
        return leave(spec, without(state, event.generation), event.status)
    return died(spec, state, Died(event.now, event.generation, event.status, SIGKILL))
