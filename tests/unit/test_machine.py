"""The supervisor's table: every pair has an entry, and whatever happens in whatever order keeps the promises.

Phases, events and actions are taken from the module, so that what is added there is walked here as well.
"""

from __future__ import annotations

import signal
import typing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from jvmbind import machine
from jvmbind.machine import Died, Exit, Kill, Phase, SetTimer, Spawn, SpawnFailed, State, Stop, Timeout, begin, step
from jvmbind.spec import RESTART_POLICIES, ServiceSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

EVENTS: tuple[type, ...] = typing.get_args(machine.Event)
ACTIONS: tuple[type, ...] = typing.get_args(machine.Action)
STOP_SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


def service(**more: Any) -> ServiceSpec:
    """Return a service with round numbers for its times."""
    spec = ServiceSpec("x", "/java", (), (), start_timeout=60.0, stop_timeout=30.0)
    return spec._replace(backoff_first=0.5, backoff_max=30.0, backoff_reset=60.0, **more)


def an_event(kind: type, now: st.SearchStrategy[float]) -> st.SearchStrategy[Any]:
    """Return events of one kind with any sensible content."""
    fields: dict[str, st.SearchStrategy[Any]] = {
        "now": now,
        "status": st.integers(0, 255),
        "signal": st.sampled_from([0, signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM]),
    }
    if kind is Stop:
        fields["signal"] = st.sampled_from(STOP_SIGNALS)
    defaults: dict[str, Any] = getattr(kind, "_field_defaults", {})
    known = {name: fields[name] for name in typing.get_type_hints(kind) if name in fields}
    booleans = {name: st.booleans() for name, hint in typing.get_type_hints(kind).items() if hint is bool}
    other = set(typing.get_type_hints(kind)) - set(known) - set(booleans) - set(defaults)
    hints = {name: st.from_type(typing.get_type_hints(kind)[name]) for name in other}
    return st.builds(kind, **known, **booleans, **hints)


@pytest.mark.parametrize("kind", EVENTS)
@pytest.mark.parametrize("phase", Phase)
def test_every_pair_has_an_entry(phase: Phase, kind: type) -> None:
    """The table says what to do for each event in each phase."""
    assert (phase, kind) in machine.TABLE


def test_the_table_holds_nothing_else() -> None:
    """The table has no entry for a phase or an event that does not exist."""
    assert set(machine.TABLE) == {(phase, kind) for phase in Phase for kind in EVENTS}


@pytest.mark.parametrize("kind", EVENTS)
@pytest.mark.parametrize("phase", Phase)
@settings(max_examples=20)
@given(policy=st.sampled_from(RESTART_POLICIES), data=st.data())
def test_every_pair_gives_a_step(policy: str, phase: Phase, kind: type, data: st.DataObject) -> None:
    """Each entry answers any state and any content of its event with a state and known actions, and never raises."""
    state = State(
        phase=phase,
        generation=data.draw(st.integers(1, 10**6)),
        started=0.0,
        crashes=data.draw(st.integers(0, 10**6)),
        ever_up=data.draw(st.booleans()),
    )
    event = data.draw(an_event(kind, st.floats(0, 1e9)))

    after, actions = step(service(restart=policy), state, event)

    assert isinstance(after, State)
    assert all(type(action) in ACTIONS for action in actions)
    assert (after.phase is Phase.ENDED) == (phase is Phase.ENDED or any(isinstance(a, Exit) for a in actions))
    assert after.generation >= state.generation
    assert sum(isinstance(action, Spawn) for action in actions) <= 1


@given(st.data())
def test_ended_absorbs(data: st.DataObject) -> None:
    """Once a service has ended, nothing happens any more."""
    state = State(phase=Phase.ENDED)
    for _ in range(5):
        event = data.draw(st.sampled_from(EVENTS).flatmap(lambda kind: an_event(kind, st.floats(0, 1e9))))
        assert step(service(), state, event) == (state, ())


class World(RuleBasedStateMachine):
    """Plays the loop: carries actions out, and lets happen what can happen."""

    def __init__(self) -> None:
        """Begin with any policy."""
        super().__init__()
        self.now = 0.0
        self.spec = service()
        self.alive = False
        self.spawn_can_fail = False
        self.exits: list[int] = []
        self.spawned: list[int] = []
        self.kills: list[int] = []
        self.timer: float | None = None
        self.stopped = False
        self.state = State()
        self.begun = False

    @precondition(lambda self: not self.begun)
    @rule(policy=st.sampled_from(RESTART_POLICIES))
    def begin(self, policy: str) -> None:
        """Start the service."""
        self.begun = True
        self.spec = service(restart=policy)
        self.state, actions = begin(self.spec, self.now)
        self.carry_out(actions)

    def happen(self, event: machine.Event) -> None:
        """Let one event happen."""
        self.state, actions = step(self.spec, self.state, event)
        self.carry_out(actions)

    def carry_out(self, actions: Iterable[machine.Action]) -> None:
        """Do what the table says, and check that it can be done."""
        for action in actions:
            assert not self.exits, "nothing is done after Exit"
            if isinstance(action, Spawn):
                assert not self.alive, "a second worker beside a living one"
                assert action.generation > (self.spawned[-1] if self.spawned else 0)
                assert not self.stopped, "no worker is started once the service is to stop"
                self.spawned.append(action.generation)
                self.alive = True
            elif isinstance(action, Kill):
                assert self.alive, "a signal to no worker"
                self.kills.append(action.signal)
            elif isinstance(action, SetTimer):
                assert action.seconds >= 0
                self.timer = self.now + action.seconds
            elif isinstance(action, machine.ClearTimer):
                self.timer = None
            elif isinstance(action, Exit):
                assert not self.alive, "the supervisor leaves a living worker"
                self.exits.append(action.status)

    @precondition(lambda self: self.begun)
    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 59.0, 61.0, 3600.0]))
    def time_passes(self, seconds: float) -> None:
        """Let time pass, up to the timer."""
        self.now += seconds
        if self.timer is not None and self.now >= self.timer:
            self.timer = None
            self.happen(Timeout(self.now))

    @precondition(lambda self: self.timer is not None)
    @rule()
    def timer_comes(self) -> None:
        """Let the timer come."""
        assert self.timer is not None
        self.now = max(self.now, self.timer)
        self.timer = None
        self.happen(Timeout(self.now))

    @precondition(lambda self: self.alive)
    @rule()
    def claims(self) -> None:
        """Let the worker claim all listeners (again)."""
        self.happen(machine.Claimed(self.now))

    @precondition(lambda self: self.alive)
    @rule(status=st.sampled_from([0, 1, 3, 143]))
    def exits_itself(self, status: int) -> None:
        """Let the worker exit."""
        self.alive = False
        self.happen(Died(self.now, status, 0))

    @precondition(lambda self: self.alive)
    @rule(number=st.sampled_from([signal.SIGKILL, signal.SIGSEGV]))
    def dies(self, number: int) -> None:
        """Let a signal kill the worker."""
        self.alive = False
        self.happen(Died(self.now, 0, number))

    @precondition(lambda self: self.alive and self.state.phase is Phase.STARTING)
    @rule()
    def spawn_fails(self) -> None:
        """Let the start of a worker fail."""
        self.alive = False
        self.happen(SpawnFailed(self.now, 71))

    @precondition(lambda self: self.begun)
    @rule(number=st.sampled_from(STOP_SIGNALS), delivered=st.booleans())
    def stop(self, number: int, delivered: bool) -> None:
        """Ask for the end."""
        self.stopped = True
        kills = len(self.kills)
        alive = self.alive
        self.happen(Stop(self.now, number, delivered))
        assert self.kills[kills:] == ([number] if alive and not delivered else [])

    @precondition(lambda self: self.begun)
    @rule(kind=st.sampled_from(EVENTS), data=st.data())
    def stale_event(self, kind: type, data: st.DataObject) -> None:
        """Any event after the end changes nothing."""
        if not self.exits:
            return
        before = self.state
        self.happen(data.draw(an_event(kind, st.just(self.now))))
        assert self.state == before

    @invariant()
    def ended_means_exit(self) -> None:
        """Exit is said once, in the moment of the end."""
        assert len(self.exits) == (self.state.phase is Phase.ENDED)

    @invariant()
    def never_forgotten(self) -> None:
        """Without a worker and without a timer only the end is left: no service hangs for ever with nothing running."""
        if self.begun and not self.exits:
            assert self.alive or self.timer is not None

    @invariant()
    def a_stop_ends(self) -> None:
        """While a worker is asked to stop there is a timer, or SIGKILL was sent."""
        if self.stopped and self.alive:
            assert self.timer is not None or self.kills[-1] == signal.SIGKILL or signal.SIGKILL in self.kills


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


def up(spec: ServiceSpec, now: float = 0.0) -> State:
    """Return the state of a service whose first generation is up."""
    state, _ = begin(spec, now)
    state, _ = step(spec, state, machine.Claimed(now))
    assert state.phase is Phase.UP
    return state


def timers(actions: Iterable[machine.Action]) -> list[float]:
    """Return the seconds of every timer that is set."""
    return [action.seconds for action in actions if isinstance(action, SetTimer)]


def test_back_off_doubles_to_its_maximum() -> None:
    """The first crash is followed at once by a new generation, the next after 0.5 s, then 1, 2, 4 ... to 30 s."""
    spec = service()
    state = up(spec)
    pauses = []
    now = 0.0
    for _ in range(12):
        state, actions = step(spec, state, Died(now, 0, signal.SIGSEGV))
        assert state.phase is Phase.BACKING_OFF
        (pause,) = timers(actions)
        assert machine.ReportBackoff(pause) in actions
        pauses.append(pause)
        now += pause
        state, actions = step(spec, state, Timeout(now))
        assert Spawn(state.generation) in actions
    assert pauses == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0, 30.0]
    assert state.generation == 13


@given(st.integers(0, 10**9))
def test_back_off_never_overflows(crashes: int) -> None:
    """After any number of crashes the pause is between none and the maximum."""
    spec = service()
    state = up(spec)._replace(crashes=crashes)

    (pause,) = timers(step(spec, state, Died(1.0, 0, signal.SIGSEGV))[1])

    assert 0 <= pause <= spec.backoff_max


@pytest.mark.parametrize(("lived", "pause"), [(59.9, 8.0), (60.0, 0.0), (86400.0, 0.0)])
def test_back_off_starts_anew_after_a_healthy_life(lived: float, pause: float) -> None:
    """A generation that was up for the reset time makes the next crash count as the first."""
    spec = service()
    state = up(spec, 100.0)._replace(crashes=5)

    after, actions = step(spec, state, Died(100.0 + lived, 0, signal.SIGSEGV))

    assert timers(actions) == [pause]
    assert after.crashes == (1 if pause == 0 else 6)


def test_a_long_start_is_no_healthy_life() -> None:
    """A generation that never claimed its listeners does not reset the back-off, however long it lived."""
    spec = service(restart="always")
    state = up(spec)._replace(phase=Phase.STARTING, crashes=5)

    assert timers(step(spec, state, Died(1e6, 0, signal.SIGSEGV))[1]) == [8.0]


@pytest.mark.parametrize("delivered", [False, True])
@pytest.mark.parametrize("number", STOP_SIGNALS)
@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.UP])
def test_stop_sequence(phase: Phase, number: int, delivered: bool) -> None:
    """A stop sends its signal once (never what the terminal delivered), then SIGQUIT for a thread dump, then SIGKILL."""
    spec = service()
    state = up(spec)._replace(phase=phase)

    state, actions = step(spec, state, Stop(0.0, number, delivered))
    assert [a.signal for a in actions if isinstance(a, Kill)] == ([] if delivered else [number])
    assert timers(actions) == [spec.stop_timeout]
    state, actions = step(spec, state, Timeout(30.0))
    assert [a.signal for a in actions if isinstance(a, Kill)] == [signal.SIGQUIT]
    assert timers(actions) == [machine.DUMP_SECONDS]
    state, actions = step(spec, state, Timeout(31.0))
    assert actions == (Kill(signal.SIGKILL),)
    state, actions = step(spec, state, Died(31.0, 0, signal.SIGKILL))
    assert actions == (Exit(137),)
    assert state.phase is Phase.ENDED


@pytest.mark.parametrize(("status", "number", "expected"), [(0, 0, 0), (143, 0, 143), (7, 0, 7), (0, 9, 137), (0, 11, 139)])
def test_stop_gives_the_workers_status(status: int, number: int, expected: int) -> None:
    """After a stop the service ends with the worker's own status, as the shell writes it."""
    spec = service(restart="always")
    state, _ = step(spec, up(spec), Stop(0.0, signal.SIGTERM))

    assert step(spec, state, Died(1.0, status, number))[1] == (Exit(expected),)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_stop_while_no_worker_runs(number: int) -> None:
    """A stop between two generations ends at once with the status of that signal, and starts nothing."""
    spec = service()
    state, _ = step(spec, up(spec), Died(0.0, 0, signal.SIGSEGV))

    assert step(spec, state, Stop(0.0, number))[1] == (Exit(128 + number),)


RESTARTS = {
    # policy: (exit 0, exit 3, SIGKILL) of a generation that was up
    "never": (False, False, False),
    "on-crash": (False, False, True),
    "on-failure": (False, True, True),
    "always": (True, True, True),
}


@pytest.mark.parametrize("which", [0, 1, 2], ids=["exit-0", "exit-3", "SIGKILL"])
@pytest.mark.parametrize("policy", RESTARTS)
def test_restart_policy(policy: str, which: int) -> None:
    """Each policy restarts after exactly the ends that its name says, and else ends with the worker's status."""
    assert set(RESTARTS) == set(RESTART_POLICIES)
    spec = service(restart=policy)
    status, number = [(0, 0), (3, 0), (0, 9)][which]

    state, actions = step(spec, up(spec), Died(1.0, status, number))

    if RESTARTS[policy][which]:
        assert state.phase is Phase.BACKING_OFF
    else:
        assert actions == (Exit(machine.shell_status(status, number)),)


@pytest.mark.parametrize("policy", RESTART_POLICIES)
def test_what_never_worked_is_not_repeated(policy: str) -> None:
    """A first generation that dies during its start ends the service, unless the policy is `always`."""
    spec = service(restart=policy)
    state, _ = begin(spec, 0.0)

    after, actions = step(spec, state, Died(1.0, 0, signal.SIGSEGV))

    if policy == "always":
        assert after.phase is Phase.BACKING_OFF
    else:
        assert actions == (Exit(139),)


@pytest.mark.parametrize("ever_up", [False, True])
def test_spawn_failure(ever_up: bool) -> None:
    """A worker that cannot be started ends a new service with that status, and makes one that has worked wait."""
    spec = service()
    state = begin(spec, 0.0)[0]._replace(ever_up=ever_up)

    after, actions = step(spec, state, SpawnFailed(1.0, 71))

    if ever_up:
        assert after.phase is Phase.BACKING_OFF
        assert len(timers(actions)) == 1
    else:
        assert actions == (Exit(71),)


def test_start_timeout_reports_and_waits() -> None:
    """The start time-out has the unclaimed listeners reported and kills nothing: a slow start is no failure."""
    spec = service()
    state, actions = begin(spec, 0.0)
    assert actions == (Spawn(1), SetTimer(spec.start_timeout))

    after, actions = step(spec, state, Timeout(60.0))

    assert actions == (machine.ReportUnclaimed(),)
    assert after == state
    assert machine.ClearTimer() in step(spec, after, machine.Claimed(61.0))[1]


@given(st.integers(0, 255), st.integers(0, 64))
def test_shell_status(status: int, number: int) -> None:
    """A death by a signal is 128 plus its number, an exit its own status."""
    assume(number == 0 or status == 0)
    assert machine.shell_status(status, number) == (128 + number if number else status)
