"""Entries of the table: reload and restart on request. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jvmbind.lifecycle.actions import ClearTimer, Drain, Report, ReportReload, Undrain
from jvmbind.lifecycle.state import Member, Phase, Role, Stage, State
from jvmbind.lifecycle.steps import SIGQUIT, SIGTERM, START_TIMERS, end, replace_member, spawn

if TYPE_CHECKING:
    from jvmbind.lifecycle.events import Event
    from jvmbind.lifecycle.steps import Step
    from jvmbind.spec import ServiceSpec


def keep_old(state: State, old: Member, failed: int, why: str) -> Step:
    """A reload has failed: the old generation gets its listeners back and serves on."""
    state = replace_member(state, old)._replace(phase=Phase.UP, reloading=False)
    return state, (Undrain(old.number), ReportReload(failed, failure=why))


def abort_reload(state: State, why: str) -> Step:
    """End the new generation of a reload; the old one serves on."""
    incoming, old = state.one(Role.INCOMING), state.one(Role.SERVING)
    if incoming is None or old is None:
        return state, ()
    # Gone from its role at once; its death is then that of a drained generation.
    state = replace_member(state, incoming._replace(role=Role.DRAINING, stage=Stage.TERMINATING))
    state, actions = keep_old(state, old, incoming.number, why)
    timers = tuple(ClearTimer(name, incoming.number) for name in START_TIMERS)
    # It may have the listeners already, and must not take what waits in them into its end.
    actions = (Drain(incoming.number), *actions)
    return state, (Report("dump", incoming.number), *timers, *actions, *end(incoming.number, 2.0, SIGQUIT))


def reload(spec: ServiceSpec, state: State, event: Event) -> Step:
    """Start a new generation beside the one that serves."""
    return spawn(spec, state._replace(phase=Phase.RELOADING, reloading=True), Role.INCOMING, event.now, parked=True)


def refuse_reload(_spec: ServiceSpec, state: State, _event: Event) -> Step:
    """Say why there is no reload now."""
    return state, (ReportReload(0, f"the service is {state.phase.value}; a reload needs one that is up"),)


def restart(spec: ServiceSpec, state: State, _event: Event) -> Step:
    """End the serving generation, to be started anew."""
    serving = state.one(Role.SERVING)
    if serving is None or state.restarting:
        return state, ()
    state = replace_member(state._replace(restarting=True, stop_signal=SIGTERM), serving._replace(stage=Stage.TERMINATING))
    return state, (Drain(serving.number), *end(serving.number, spec.stop_timeout))
