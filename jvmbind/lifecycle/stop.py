"""Entries of the table: the service is to end. Pure."""

from __future__ import annotations

from jvmbind.lifecycle.actions import (
    Action,
    ClearTimer,
    Drain,
    Exit,
    Kill,
    SetTimer,
    Timer,
)
from jvmbind.lifecycle.events import Died, Event, Left, SpawnFailed, Stop
from jvmbind.lifecycle.state import Change, Member, Phase, Role, Stage, State
from jvmbind.lifecycle.steps import (
    SIGTERM,
    START_TIMERS,
    no_change,
    shell_status,
    terminate,
    without,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvmbind.lifecycle.steps import Step
    from jvmbind.spec import ServiceSpec


def drained(spec: ServiceSpec, state: State, event: Event) -> Step:
    """A drained generation has no connection left: it is ended."""
    member = state.get(event.generation)
    if member is None or member.role is not Role.DRAINING or member.stage is Stage.TERMINATING:
        return state, ()
    return terminate(spec, state, member, SIGTERM)


def drained_stopping(spec: ServiceSpec, state: State, event: Event) -> Step:
    """While stopping, a generation with no connection left is asked to end at once."""
    member = state.get(event.generation)
    if member is None or member.stage is Stage.TERMINATING:
        return state, ()
    return terminate(spec, state, member, state.stop_signal)


def left_stopping(spec: ServiceSpec, state: State, event: Event) -> Step:
    """The same where no client is in the middle of an answer."""
    return drained_stopping(spec, state, event) if isinstance(event, Left) and not event.busy else (state, ())


def stop(spec: ServiceSpec, state: State, event: Event) -> Step:
    """Drain whoever serves and end it once no client is in the middle of an answer; end the others at once."""
    if not isinstance(event, Stop):
        return state, ()
    state = state._replace(phase=Phase.STOPPING, stop_signal=event.signal)
    if not state.members:
        return state._replace(phase=Phase.ENDED), (Exit(128 + event.signal),)
    draining = tuple(SetTimer(Timer.DRAIN, one.number, spec.stop_drain_timeout) for one in state.members if _may_have_clients(one))
    state, actions = _end_all(spec, state)
    return state, (*actions, *draining)


def leave(spec: ServiceSpec, state: State, status: int) -> Step:
    """End the service with `status` by what has happened to it: at once, or when the others that are left have ended.

    One that drains has the time for it that it had.
    """
    if not state.members:
        return state._replace(phase=Phase.ENDED), (*no_change(state), Exit(status))
    return _end_all(spec, state._replace(phase=Phase.STOPPING, stop_signal=SIGTERM, status=status))


def _may_have_clients(member: Member) -> bool:
    """Whether a generation is drained before it is ended; one that is on its way may have taken the listeners over already."""
    if member.stage is Stage.TERMINATING:
        return False
    has_come_far = member.role is Role.INCOMING and member.stage >= Stage.RELEASED
    return member.serves or has_come_far or member.role in {Role.SERVING, Role.DRAINING}


def _end_all(spec: ServiceSpec, state: State) -> Step:
    actions: list[Action] = [ClearTimer(Timer.BACK_OFF, 0), ClearTimer(Timer.STANDBY, 0), *no_change(state)]
    state = state._replace(change=Change.NONE)
    for member in state.members:
        actions += [ClearTimer(name, member.number) for name in START_TIMERS]
        if _may_have_clients(member):
            actions.append(Drain(member.number, last=True, ends=True))
        elif member.stage is not Stage.TERMINATING:
            state, more = terminate(spec, state, member, state.stop_signal)
            actions += more
    return state, tuple(actions)


def stop_again(spec: ServiceSpec, state: State, event: Event) -> Step:
    """A second request does not wait for connections any more."""
    if not isinstance(event, Stop):
        return state, ()
    actions: list[Action] = []
    for member in state.members:
        if member.stage is not Stage.TERMINATING:
            state, more = terminate(spec, state, member, event.signal)
            actions += more
        else:
            actions.append(Kill(member.number, event.signal))
    return state, tuple(actions)


def died_stopping(_spec: ServiceSpec, state: State, event: Event) -> Step:
    """The status is that of the generation that served; the last death ends the service."""
    member = state.get(event.generation)
    if member is None or not isinstance(event, Died):
        return state, ()
    state = without(state, member.number)
    if member.role in {Role.SERVING, Role.INCOMING} or state.status is None:
        state = state._replace(status=shell_status(event.status, event.signal))
    if state.members:
        return state, ()
    return state._replace(phase=Phase.ENDED), (Exit(state.status or 0),)


def spawn_failed_stopping(spec: ServiceSpec, state: State, event: Event) -> Step:
    """A process that could not be made is one that has ended."""
    status = event.status if isinstance(event, SpawnFailed) else 0
    return died_stopping(spec, state, Died(event.now, event.generation, status, 0))
