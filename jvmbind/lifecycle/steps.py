"""Steps that several entries of the table are made of. Pure."""

from __future__ import annotations

from jvmbind.lifecycle.actions import (
    Action,
    ClearTimer,
    Drain,
    Kill,
    Notice,
    Probe,
    Release,
    Report,
    ReportChange,
    SetTimer,
    Spawn,
    Timer,
    Undrain,
)
from jvmbind.lifecycle.state import Change, Member, Phase, Role, Stage, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvmbind.spec import ServiceSpec

DUMP_SECONDS = 1.0  # between the thread dump of a JVM that does not stop and SIGKILL
LATE_DUMP_SECONDS = 2.0  # the same, of one that does not get ready
CLOSE_SECONDS = 2.0  # for the last connections of a drained generation to end after they were half closed
MOVE_SECONDS = 1.0  # for the old generation of a reload to make room: a program that hangs must not keep the new one waiting
SETTLE_SECONDS = 1.0  # a new generation that fails so soon after it has begun to accept has not had a client yet
SLOW_SECONDS = 5.0  # after which a start that is not ready says what it waits for
PROBE_SECONDS = 5.0  # for a new generation to take the probe while nobody else accepts
STANDBY_SECONDS = 2.0  # a starting JVM takes the processor that the first answers of another need
SLOWER = 2.0  # so many times the slowest start before may a later start take
LONGEST_START = 3600.0  # to which starts that are late again and again can lengthen the time of the next one
_DOUBLINGS = 16  # 2.0 ** 1024 is no float
Step = tuple[State, tuple[Action, ...]]
SIGKILL, SIGQUIT, SIGTERM = 9, 3, 15
START_TIMERS = (Timer.START, Timer.SLOW, Timer.LATE, Timer.SERVED, Timer.SETTLE, Timer.PROBE, Timer.MOVE)
TIMERS = (*START_TIMERS, Timer.DRAIN, Timer.CLOSE, Timer.STOP, Timer.DUMP)


def shell_status(status: int, number: int) -> int:
    """Return the exit status that stands for a death, as the shell and `java` have it: 128 plus the signal."""
    return 128 + number if number else status


def replace_member(state: State, member: Member) -> State:
    """Return the state with this member in the place of the one of its number."""
    others = tuple(other for other in state.members if other.number != member.number)
    return state._replace(members=tuple(sorted((*others, member))))


def without(state: State, number: int) -> State:
    """Return the state without a member."""
    return state._replace(members=tuple(member for member in state.members if member.number != number))


def patience(spec: ServiceSpec, state: State) -> float:
    """Return the seconds that a start may take: a server that was slow once may be so again, and slower.

    Each start that is ended for being late doubles it, so that one that only needs more time gets through in the end; up to
    an hour, as one that hangs must be followed by another some time.
    """
    usual = max(spec.start_timeout, SLOWER * state.slowest_start)
    return max(usual, min(usual * 2.0 ** min(state.late_starts, _DOUBLINGS), LONGEST_START))


def spawn(spec: ServiceSpec, state: State, role: Role, now: float, *, parked: bool) -> Step:
    """Start a generation; a reload, beside one that serves, waits no longer for it than `start_timeout`."""
    number = state.next_number
    after = replace_member(state._replace(next_number=number + 1), Member(number, role, Stage.STARTING, now))
    if role is Role.STANDBY:
        return after, (Spawn(number, parked=True), SetTimer(Timer.START, number, patience(spec, state)))
    seconds = spec.start_timeout if parked else patience(spec, state)
    return after, (Spawn(number, parked=parked), *start_timers(number, seconds))


def release(state: State, member: Member, *, rehearse: bool) -> Step:
    """Let a generation that waits at its first bind go on."""
    timer = (ClearTimer(Timer.MOVE, member.number),) if member.waits else ()
    # With "notify" it may have said that it is ready before it binds.
    state = replace_member(state, member._replace(stage=max(member.stage, Stage.RELEASED), waits=False))
    return state, (*timer, Release(member.number, rehearse))


def start_timers(number: int, seconds: float) -> tuple[Action, ...]:
    """Give a start its time; one that has more than a moment says meanwhile what it waits for."""
    slow = (SetTimer(Timer.SLOW, number, SLOW_SECONDS),) if seconds > SLOW_SECONDS else ()
    return SetTimer(Timer.START, number, seconds), *slow


def fill_standby(spec: ServiceSpec, state: State, now: float) -> Step:
    """Start what is missing of the standby generations."""
    actions: tuple[Action, ...] = ()
    while len(state.all(Role.STANDBY)) < spec.standby:
        state, more = spawn(spec, state, Role.STANDBY, now, parked=True)
        actions += more
    return state, actions


def end_standby(spec: ServiceSpec, state: State) -> Step:
    """End the standby generations: they have the configuration of before."""
    actions: tuple[Action, ...] = ()
    for standby in state.all(Role.STANDBY):
        state = replace_member(state, standby._replace(role=Role.DRAINING, stage=Stage.TERMINATING))
        actions += (ClearTimer(Timer.START, standby.number), *end(standby.number, spec.stop_timeout))
    return state, actions


def delay(spec: ServiceSpec, deaths: int) -> float:
    """Return the wait before the next start: none after the first death, then doubling from `backoff_first`."""
    return 0.0 if deaths <= 1 else min(spec.backoff_first * 2.0 ** min(deaths - 2, 32), spec.backoff_max)


def again(spec: ServiceSpec, state: State, now: float, seconds: float) -> Step:
    """Start the next generation: a standby at once, a new one after the back-off."""
    standby = next((member for member in state.all(Role.STANDBY) if member.stage is Stage.PARKED), None)
    if standby is not None:
        state = replace_member(state, standby._replace(role=Role.INCOMING, stage=Stage.RELEASED, started=now, ready_at=0.0))
        timers = start_timers(standby.number, patience(spec, state))
        return state._replace(phase=Phase.STARTING), (Release(standby.number), *timers)
    if seconds <= 0:
        return spawn(spec, state._replace(phase=Phase.STARTING), Role.INCOMING, now, parked=False)
    state = state._replace(phase=Phase.BACKING_OFF, paused_at=now)
    return state, (Report(Notice.BACK_OFF, 0, seconds), SetTimer(Timer.BACK_OFF, 0, seconds))


def end(number: int, seconds: float, signal: int = SIGTERM) -> tuple[Action, ...]:
    """Send a signal; a thread dump after `seconds`, then SIGKILL."""
    return (Kill(number, signal), SetTimer(Timer.DUMP if signal == SIGQUIT else Timer.STOP, number, seconds))


def end_late(state: State, member: Member) -> Step:
    """End a generation that is not ready in time, with a thread dump that shows what it waits for."""
    state = replace_member(state, member._replace(stage=Stage.TERMINATING))._replace(late_starts=state.late_starts + 1)
    reports = (Report(Notice.UNCLAIMED, member.number), Report(Notice.DUMP, member.number))
    return state, (*reports, *end(member.number, LATE_DUMP_SECONDS, SIGQUIT))


def terminate(spec: ServiceSpec, state: State, member: Member, signal: int) -> Step:
    """Tell a generation to end."""
    state = replace_member(state, member._replace(stage=Stage.TERMINATING))
    timers = (ClearTimer(Timer.DRAIN, member.number), ClearTimer(Timer.CLOSE, member.number))
    return state, (*timers, *end(member.number, spec.stop_timeout, signal))


def probe_seconds(spec: ServiceSpec, stage: Stage) -> float:
    """Return the time of a new generation to take the probe; one that has is ready, and waits for the old one's listeners.

    The old one looks through all its descriptors for each listener: with many connections that takes a while.
    """
    return max(PROBE_SECONDS, spec.drain_timeout) if stage is Stage.READY else PROBE_SECONDS


def take_over(spec: ServiceSpec, state: State, member: Member) -> tuple[Action, ...]:
    """Give the listeners to the new generation; the old one steps back, so that the probe can only reach the new one."""
    number = member.number
    old = state.one(Role.SERVING)
    if old is None:
        return Undrain(number), Probe(number)
    return Drain(old.number), Undrain(number), Probe(number), SetTimer(Timer.PROBE, number, probe_seconds(spec, member.stage))


def no_change(state: State) -> tuple[Action, ...]:
    """Tell who waits for a reload or a restart that the service ends."""
    return (ReportChange(0, failure="the service ends"),) if state.change is not Change.NONE else ()
