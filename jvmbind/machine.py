"""The supervisor's decisions as a pure table: (state, event) -> (state, actions).

Used by the supervisor's loop, which only waits, reports events and carries the actions out. No clock, no I/O: times are
seconds of a monotonic clock that the loop passes in. Every pair of phase and event has an entry; a test walks them all.

    starting --Ready--> up --Reload--> reloading --Ready--> up (the old generation drains and stops)
        |                |                 +-- any failure --> up (the old generation serves on)
        |                +--Died--> backing off --Timeout--> starting (at once with a standby)
        +---- Stop from anywhere --> stopping --the last Died--> ended
"""

from __future__ import annotations  # noqa: I001 - packed, to leave room for the table

from typing import TYPE_CHECKING

from jvmbind.errors import EX_TEMPFAIL
from jvmbind.lifecycle import (
    Accepting, Action, ClearTimer, Died, Drain, Drained, Event, Exit, HalfClose, Kill, Member, Parked, Phase, Probe,
    Quiet, Ready, Release, Reload, Report, ReportReload, Restart, Role, SetTimer, Spawn, SpawnFailed, Stage, State,
    Step, Stop, Timeout, Undrain, shell_status,
)  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Callable

    from jvmbind.spec import ServiceSpec

    Handler = Callable[[ServiceSpec, State, Event], Step]
    Handlers = dict[type, Handler]

DUMP_SECONDS = 1.0  # between the thread dump of a JVM that does not stop and SIGKILL
CLOSE_SECONDS = 2.0  # for the last connections of a drained generation to end after they were half closed
SETTLE_SECONDS = 1.0  # a new generation that fails so soon after it has begun to accept has not had a client yet
PROBE_SECONDS = 5.0  # for a new generation to take the probe while nobody else accepts
STANDBY_SECONDS = 2.0  # a starting JVM takes the processor that the first answers of another need
SIGKILL, SIGQUIT, SIGTERM = 9, 3, 15
_START_TIMERS = ("start", "settle", "probe")
_TIMERS = (*_START_TIMERS, "drain", "close", "stop", "dump")


def begin(spec: ServiceSpec, now: float) -> Step:
    """Return the first state and what to do in it."""
    first = Member(1, Role.INCOMING, Stage.STARTING, now)
    return State(members=(first,), next_number=2), (Spawn(1, parked=False), SetTimer("start", 1, spec.start_timeout))


def _with(state: State, member: Member) -> State:
    others = tuple(other for other in state.members if other.number != member.number)
    return state._replace(members=tuple(sorted((*others, member))))


def _without(state: State, number: int) -> State:
    return state._replace(members=tuple(member for member in state.members if member.number != number))


def _spawn(spec: ServiceSpec, state: State, role: Role, now: float, *, parked: bool) -> Step:
    number = state.next_number
    after = _with(state._replace(next_number=number + 1), Member(number, role, Stage.STARTING, now))
    timer = () if role is Role.STANDBY else (SetTimer("start", number, spec.start_timeout),)
    return after, (Spawn(number, parked=parked), *timer)


def _fill_standby(spec: ServiceSpec, state: State, now: float) -> Step:
    actions: tuple[Action, ...] = ()
    while len(state.all(Role.STANDBY)) < spec.standby:
        state, more = _spawn(spec, state, Role.STANDBY, now, parked=True)
        actions += more
    return state, actions


def _ignore(_spec: ServiceSpec, state: State, _event: Event) -> Step:
    return state, ()


def _parked(_spec: ServiceSpec, state: State, event: Event) -> Step:
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
        return _with(state, member._replace(stage=max(member.stage, Stage.RELEASED))), (*step_back, release)
    return _with(state, member._replace(stage=Stage.PARKED)), ()


def _accepting(_spec: ServiceSpec, state: State, event: Event) -> Step:
    """The new generation takes connections: it serves at once where nobody else does, or rehearses for a moment."""
    member = state.get(event.generation)
    if member is None or member.role is not Role.INCOMING or member.stage >= Stage.ACCEPTING:
        return state, ()
    state = _with(state, member._replace(stage=Stage.ACCEPTING))
    if state.one(Role.SERVING) is None:
        return state, _take_over(state, member.number)
    return state, (Probe(member.number, rehearsal=True),)


def _take_over(state: State, number: int) -> tuple[Action, ...]:
    """Give the listeners to the new generation; the old one steps back, so that the probe can only reach the new one."""
    old = state.one(Role.SERVING)
    if old is None:
        return Undrain(number), Probe(number)
    return Drain(old.number), Undrain(number), Probe(number), SetTimer("probe", number, PROBE_SECONDS)


def _ready(spec: ServiceSpec, state: State, event: Event) -> Step:
    member = state.get(event.generation)
    if member is None or member.role is not Role.INCOMING or member.stage is Stage.TERMINATING:
        return state, ()
    old = state.one(Role.SERVING)
    if old is not None and member.stage is Stage.ACCEPTING:
        state = _with(state, member._replace(stage=Stage.REHEARSED))
        return state, (ClearTimer("start", member.number), SetTimer("settle", member.number, SETTLE_SECONDS))
    actions: list[Action] = [ClearTimer(name, member.number) for name in _START_TIMERS]
    if old is not None:
        state = _with(state, old._replace(role=Role.DRAINING))
        # Told again, it counts its connections again: it may have said that there are none before this was known.
        actions += [Drain(old.number), SetTimer("drain", old.number, spec.drain_timeout)]
    reloaded = state.reloading
    if reloaded:
        actions.append(ReportReload(member.number, failure=""))
    state = _with(state._replace(reloading=False), member._replace(role=Role.SERVING, stage=Stage.READY, ready_at=event.now))
    state = state._replace(phase=Phase.UP, ever_ready=True, failed_starts=0, restarting=False)
    if reloaded:  # what is parked has the configuration of before
        for standby in state.all(Role.STANDBY):
            state = _with(state, standby._replace(role=Role.DRAINING, stage=Stage.TERMINATING))
            actions += _end(standby.number, spec.stop_timeout)
    actions.append(Report("ready", member.number))
    if spec.standby:
        actions.append(SetTimer("standby", 0, STANDBY_SECONDS))
    return state, tuple(actions)


def _died(spec: ServiceSpec, state: State, event: Event) -> Step:
    member = state.get(event.generation)
    if member is None or not isinstance(event, Died):
        return state, ()
    state = _without(state, member.number)
    gone = tuple(ClearTimer(name, member.number) for name in _TIMERS)
    if member.role is Role.DRAINING:
        return state, gone
    if member.role is Role.STANDBY:
        state = state._replace(standby_deaths=state.standby_deaths + 1)
        return state, (*gone, SetTimer("standby", 0, _delay(spec, state.standby_deaths + 1)))
    state, actions = _lost(spec, state, member, event)
    return state, (*gone, *actions)


def _lost(spec: ServiceSpec, state: State, member: Member, event: Died) -> Step:
    """The serving or the incoming generation has died."""
    old = state.one(Role.SERVING)
    if member.role is Role.INCOMING and old is not None:
        return _keep_old(state, old, member.number, f"generation {member.number} ended before it was ready")
    incoming = state.one(Role.INCOMING)
    if incoming is not None:  # the old generation died during a reload: the new one is all there is
        takes = _take_over(state, incoming.number) if incoming.stage >= Stage.ACCEPTING else (Undrain(incoming.number),)
        return state._replace(phase=Phase.STARTING), (ClearTimer("settle", incoming.number), *takes)
    if state.reloading:  # and the old one died before: back to what it ran, as after its own death
        state = state._replace(reloading=False, crashes=state.crashes + 1)
        state, actions = _again(spec, state, event.now, _delay(spec, state.crashes))
        return state, (ReportReload(member.number, failure="neither generation lived to serve"), *actions)
    if state.restarting:
        return _again(spec, state._replace(restarting=False), event.now, 0.0)
    if not _must_restart(spec, state, member, event):
        return state._replace(phase=Phase.ENDED), (
            *_no_reload(state),
            Exit(shell_status(event.status, event.signal)),
        )
    if member.role is Role.INCOMING:
        state = state._replace(failed_starts=state.failed_starts + 1)
        if state.failed_starts >= spec.start_limit:
            return state._replace(phase=Phase.ENDED), (Report("start-limit", member.number), *_no_reload(state), Exit(EX_TEMPFAIL))
    healthy = member.ready_at > 0 and event.now - member.ready_at >= spec.backoff_reset
    state = state._replace(crashes=1 if healthy else state.crashes + 1)
    return _again(spec, state, event.now, _delay(spec, state.crashes))


def _must_restart(spec: ServiceSpec, state: State, member: Member, event: Died) -> bool:
    started = state.ever_ready or member.stage is Stage.ACCEPTING
    if not started and member.role is Role.INCOMING and spec.restart != "always":
        return False  # what never worked is not repeated
    if spec.restart == "on-crash":
        return event.signal != 0
    return spec.restart == "always" or (spec.restart == "on-failure" and (event.status != 0 or event.signal != 0))


def _delay(spec: ServiceSpec, deaths: int) -> float:
    """Return the wait before the next start: none after the first death, then doubling from `backoff_first`."""
    return 0.0 if deaths <= 1 else min(spec.backoff_first * 2.0 ** min(deaths - 2, 32), spec.backoff_max)


def _again(spec: ServiceSpec, state: State, now: float, seconds: float) -> Step:
    """Start the next generation: a standby at once, a new one after the back-off."""
    standby = next((member for member in state.all(Role.STANDBY) if member.stage is Stage.PARKED), None)
    if standby is not None:
        state = _with(state, standby._replace(role=Role.INCOMING, stage=Stage.RELEASED))
        start = SetTimer("start", standby.number, spec.start_timeout)
        return state._replace(phase=Phase.STARTING), (Release(standby.number), start)
    if seconds <= 0:
        return _spawn(spec, state._replace(phase=Phase.STARTING), Role.INCOMING, now, parked=False)
    return state._replace(phase=Phase.BACKING_OFF), (Report("back-off", 0, seconds), SetTimer("back-off", 0, seconds))


def _keep_old(state: State, old: Member, failed: int, why: str) -> Step:
    """A reload has failed: the old generation gets its listeners back and serves on."""
    state = _with(state, old)._replace(phase=Phase.UP, reloading=False)
    return state, (Undrain(old.number), ReportReload(failed, failure=why))


def _abort_reload(state: State, why: str) -> Step:
    incoming, old = state.one(Role.INCOMING), state.one(Role.SERVING)
    if incoming is None or old is None:
        return state, ()
    # Gone from its role at once; its death is then that of a drained generation.
    state = _with(state, incoming._replace(role=Role.DRAINING, stage=Stage.TERMINATING))
    state, actions = _keep_old(state, old, incoming.number, why)
    timers = tuple(ClearTimer(name, incoming.number) for name in _START_TIMERS)
    # It may have the listeners already, and must not take what waits in them into its end.
    actions = (Drain(incoming.number), *actions)
    return state, (Report("dump", incoming.number), *timers, *actions, *_end(incoming.number, 2.0, SIGQUIT))


def _end(number: int, seconds: float, signal: int = SIGTERM) -> tuple[Action, ...]:
    """Send a signal; a thread dump after `seconds`, then SIGKILL."""
    return (Kill(number, signal), SetTimer("dump" if signal == SIGQUIT else "stop", number, seconds))


def _spawn_failed(spec: ServiceSpec, state: State, event: Event) -> Step:
    if not isinstance(event, SpawnFailed):
        return state, ()
    if not state.ever_ready and state.phase is Phase.STARTING:
        return _without(state, event.generation)._replace(phase=Phase.ENDED), (Exit(event.status),)
    return _died(spec, state, Died(event.now, event.generation, event.status, SIGKILL))


def _timeout(spec: ServiceSpec, state: State, event: Event) -> Step:
    if not isinstance(event, Timeout):
        return state, ()
    number = event.generation
    member = state.get(number)
    if event.name == "standby":
        if state.phase is Phase.RELOADING:
            return state, (SetTimer("standby", 0, STANDBY_SECONDS),)
        return _fill_standby(spec, state, event.now) if state.phase is Phase.UP else (state, ())
    if event.name == "back-off":
        if state.phase is not Phase.BACKING_OFF:
            return state, ()
        return _spawn(spec, state._replace(phase=Phase.STARTING), Role.INCOMING, event.now, parked=False)
    if member is None:
        return state, ()
    if event.name == "settle":
        return state, _take_over(state, number) if member.role is Role.INCOMING and member.stage is Stage.REHEARSED else ()
    if event.name in {"start", "probe"}:
        return _start_timeout(spec, state, member, event.name)
    if event.name == "drain" and member.stage is not Stage.TERMINATING:
        return state, (HalfClose(number), SetTimer("close", number, CLOSE_SECONDS))
    if event.name == "close" and member.stage is not Stage.TERMINATING:
        return _terminate(spec, state, member, state.stop_signal or SIGTERM)
    if event.name == "stop":
        return state, (Report("hangs", number, spec.stop_timeout), Kill(number, SIGQUIT), SetTimer("dump", number, DUMP_SECONDS))
    return (state, (Kill(number, SIGKILL),)) if event.name == "dump" else (state, ())


def _start_timeout(spec: ServiceSpec, state: State, member: Member, name: str) -> Step:
    if state.phase is Phase.RELOADING and member.role is Role.INCOMING:
        seconds = PROBE_SECONDS if name == "probe" else spec.start_timeout
        what = "did not take the probe connection" if name == "probe" else "was not ready"
        state, actions = _abort_reload(state, f"generation {member.number} {what} within {seconds:g} s")
        return state, (Report("unclaimed", member.number), *actions)
    if name != "start" or member.role is not Role.INCOMING or member.stage is Stage.TERMINATING:
        return state, ()
    if not state.ever_ready:
        return state, (Report("unclaimed", member.number), Kill(member.number, SIGQUIT))
    # One that hangs in its start, after others have served, is ended like a crash.
    state = _with(state, member._replace(stage=Stage.TERMINATING))
    return state, (Report("unclaimed", member.number), Report("dump", member.number), *_end(member.number, 2.0, SIGQUIT))


def _terminate(spec: ServiceSpec, state: State, member: Member, signal: int) -> Step:
    state = _with(state, member._replace(stage=Stage.TERMINATING))
    timers = (ClearTimer("drain", member.number), ClearTimer("close", member.number))
    return state, (*timers, *_end(member.number, spec.stop_timeout, signal))


def _drained(spec: ServiceSpec, state: State, event: Event) -> Step:
    member = state.get(event.generation)
    if member is None or member.role is not Role.DRAINING or member.stage is Stage.TERMINATING:
        return state, ()
    return _terminate(spec, state, member, SIGTERM)


def _quiet(spec: ServiceSpec, state: State, event: Event) -> Step:
    """While stopping, a generation with no request in work is asked to end at once."""
    member = state.get(event.generation)
    if member is None or member.stage is Stage.TERMINATING:
        return state, ()
    return _terminate(spec, state, member, state.stop_signal)


def _reload(spec: ServiceSpec, state: State, event: Event) -> Step:
    return _spawn(spec, state._replace(phase=Phase.RELOADING, reloading=True), Role.INCOMING, event.now, parked=True)


def _refuse_reload(_spec: ServiceSpec, state: State, _event: Event) -> Step:
    return state, (ReportReload(0, f"the service is {state.phase.value}; a reload needs one that is up"),)


def _restart(spec: ServiceSpec, state: State, _event: Event) -> Step:
    serving = state.one(Role.SERVING)
    if serving is None or state.restarting:
        return state, ()
    state = _with(state._replace(restarting=True, stop_signal=SIGTERM), serving._replace(stage=Stage.TERMINATING))
    return state, (Drain(serving.number), *_end(serving.number, spec.stop_timeout))


def _stop(spec: ServiceSpec, state: State, event: Event) -> Step:
    """Drain whoever serves and end it once no request is in work; end the others at once."""
    if not isinstance(event, Stop):
        return state, ()
    state = state._replace(phase=Phase.STOPPING, stop_signal=event.signal)
    if not state.members:
        return state._replace(phase=Phase.ENDED), (Exit(128 + event.signal),)
    actions: list[Action] = [ClearTimer("back-off", 0), ClearTimer("standby", 0), *_no_reload(state)]
    state = state._replace(reloading=False)
    for member in state.members:
        actions += [ClearTimer(name, member.number) for name in _START_TIMERS]
        if member.stage is Stage.TERMINATING:
            continue
        if event.delivered:
            state = _with(state, member._replace(stage=Stage.TERMINATING))
            actions.append(SetTimer("stop", member.number, spec.stop_timeout))
        elif member.role in {Role.SERVING, Role.DRAINING}:
            actions += [Drain(member.number), SetTimer("drain", member.number, spec.drain_timeout)]
        else:
            state, more = _terminate(spec, state, member, event.signal)
            actions += more
    return state, tuple(actions)


def _no_reload(state: State) -> tuple[Action, ...]:
    return (ReportReload(0, failure="the service ends"),) if state.reloading else ()


def _stop_again(spec: ServiceSpec, state: State, event: Event) -> Step:
    """A second request does not wait for connections any more."""
    if not isinstance(event, Stop):
        return state, ()
    actions: list[Action] = []
    for member in state.members:
        if member.stage is not Stage.TERMINATING:
            state, more = _terminate(spec, state, member, event.signal)
            actions += more
        elif not event.delivered:
            actions.append(Kill(member.number, event.signal))
    return state, tuple(actions)


def _died_stopping(_spec: ServiceSpec, state: State, event: Event) -> Step:
    """The status is that of the generation that served; the last death ends the service."""
    member = state.get(event.generation)
    if member is None or not isinstance(event, Died):
        return state, ()
    state = _without(state, member.number)
    if member.role in {Role.SERVING, Role.INCOMING} or state.status is None:
        state = state._replace(status=shell_status(event.status, event.signal))
    if state.members:
        return state, ()
    return state._replace(phase=Phase.ENDED), (Exit(state.status or 0),)


def _spawn_failed_stopping(spec: ServiceSpec, state: State, event: Event) -> Step:
    status = event.status if isinstance(event, SpawnFailed) else 0
    return _died_stopping(spec, state, Died(event.now, event.generation, status, 0))


def _table() -> dict[tuple[Phase, type], Handler]:
    living: Handlers = {
        Parked: _parked, Accepting: _accepting, Ready: _ready, Died: _died, Timeout: _timeout, Drained: _drained,
        Quiet: _ignore, Reload: _refuse_reload, Restart: _ignore, Stop: _stop, SpawnFailed: _spawn_failed,
    }  # fmt: skip
    up: Handlers = {**living, Reload: _reload, Restart: _restart}
    stopping: Handlers = {
        **dict.fromkeys(living, _ignore),
        Timeout: _timeout, Drained: _quiet, Quiet: _quiet, Died: _died_stopping, Stop: _stop_again,
        SpawnFailed: _spawn_failed_stopping, Reload: _refuse_reload,
    }  # fmt: skip
    phases: dict[Phase, Handlers] = {Phase.UP: up, Phase.STOPPING: stopping, Phase.ENDED: dict.fromkeys(living, _ignore)}
    return {(phase, event): handler for phase in Phase for event, handler in phases.get(phase, living).items()}


TABLE = _table()


def step(spec: ServiceSpec, state: State, event: Event) -> Step:
    """Return what becomes of `state` by `event`, and what to do; total over all phases and events."""
    return TABLE[state.phase, type(event)](spec, state, event)
