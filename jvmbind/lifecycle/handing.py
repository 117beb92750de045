"""Entries of the table: whether a generation could give up its listeners, or take them back. Pure."""

from __future__ import annotations

from jvmbind.lifecycle.actions import Kill
from jvmbind.lifecycle.events import DrainFailed, LetGo, Ready, UndrainFailed
from jvmbind.lifecycle.reload import abort_reload
from jvmbind.lifecycle.start import ready
from jvmbind.lifecycle.state import Phase, Role, Stage
from jvmbind.lifecycle.steps import SIGKILL, replace_member

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvmbind.lifecycle.events import Event
    from jvmbind.lifecycle.state import State
    from jvmbind.lifecycle.steps import Step
    from jvmbind.spec import ServiceSpec


def let_go(spec: ServiceSpec, state: State, event: Event) -> Step:
    """The old generation of a reload takes no clients any more: the new one serves, if it was found ready already."""
    old, incoming = state.get(event.generation), state.one(Role.INCOMING)
    if not isinstance(event, LetGo) or state.phase is not Phase.RELOADING or old is None or old.role is not Role.SERVING:
        return state, ()
    if incoming is None or incoming.stage < Stage.REHEARSED:
        return state, ()  # of a reload before, that was given up
    state = replace_member(state, old._replace(let_go=True))
    if incoming.stage is not Stage.READY:
        return state, ()
    return ready(spec, state, Ready(event.now, incoming.number))


def drain_failed(_spec: ServiceSpec, state: State, event: Event) -> Step:
    """The old generation of a reload still takes clients: the new one would be taken for what serves, and is not.

    Elsewhere nothing comes of it: a generation that is to end ends all the same.
    """
    old = state.get(event.generation)
    if not isinstance(event, DrainFailed) or state.phase is not Phase.RELOADING or old is None or old.role is not Role.SERVING:
        return state, ()
    return abort_reload(state, f"generation {old.number} could not give up its listeners", event.why)


def undrain_failed(_spec: ServiceSpec, state: State, event: Event) -> Step:
    """A generation has not got the listeners: a reload goes back to the old one, and one that is to serve is replaced."""
    member = state.get(event.generation)
    if not isinstance(event, UndrainFailed) or member is None or member.role not in {Role.SERVING, Role.INCOMING}:
        return state, ()
    if member.role is Role.INCOMING and state.one(Role.SERVING) is not None:
        return abort_reload(state, f"generation {member.number} could not take the listeners", event.why)
    if state.phase in {Phase.STOPPING, Phase.RESTARTING} or member.stage is Stage.TERMINATING:
        return state, ()
    return state, (Kill(member.number, SIGKILL),)
