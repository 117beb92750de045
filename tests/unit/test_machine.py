"""The supervisor's table: every pair has an entry, and whatever happens in whatever order keeps the promises.

Phases, events and actions are taken from the modules, so that what is added there is walked here as well.
"""

from __future__ import annotations

import itertools
import random
import signal
import typing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from jvmbind import lifecycle
from jvmbind.lifecycle import (
    Accepting,
    Change,
    ClearTimer,
    Died,
    Drain,
    Drained,
    DrainFailed,
    Exit,
    HalfClose,
    Kill,
    Left,
    LetGo,
    Member,
    Moved,
    Notice,
    Parked,
    Phase,
    Probe,
    Ready,
    Release,
    Reload,
    ReportChange,
    Restart,
    Role,
    Serves,
    SetTimer,
    Spawn,
    SpawnFailed,
    Stage,
    StandbyDue,
    State,
    Stop,
    Timeout,
    Timer,
    Undrain,
    UndrainFailed,
    Wanted,
    steps,
    table,
)
from jvmbind.lifecycle.start import begin
from jvmbind.lifecycle.table import step
from jvmbind.spec import RELOAD_MODES, RESTART_POLICIES, ServiceSpec, parse_listen

if TYPE_CHECKING:
    from collections.abc import Iterable

EVENTS: tuple[type, ...] = typing.get_args(lifecycle.Event)
ACTIONS: tuple[type, ...] = typing.get_args(lifecycle.Action)
STOP_SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
TIMERS = list(Timer)


def service(**more: Any) -> ServiceSpec:
    """Return a service with round numbers for its times."""
    spec = ServiceSpec("x", "/java", (), (parse_listen("80"),), start_timeout=60.0, stop_timeout=30.0)
    return spec._replace(drain_timeout=20.0, backoff_first=0.5, backoff_max=30.0, backoff_reset=60.0, **more)


ROUNDS = 60
"""So many states and events are tried for each pair of a phase and a kind of event."""


def a_number(chance: random.Random, most: float) -> float:
    """Return a number from 0 to `most`, often one of the two or near the first."""
    return chance.choice([0.0, most, most * chance.random(), chance.random()])


def an_event(chance: random.Random, kind: type) -> lifecycle.Event:
    """Return an event of one kind with any content that its fields can have."""
    known: dict[str, typing.Callable[[], Any]] = {
        "now": lambda: a_number(chance, 1e9),
        "generation": lambda: chance.randint(0, 7),
        "status": lambda: chance.choice([0, 255, chance.randint(0, 255)]),
        "signal": lambda: chance.choice(STOP_SIGNALS if kind is Stop else [0, signal.SIGKILL, signal.SIGSEGV]),
        "name": lambda: chance.choice(TIMERS),
        "alone": lambda: chance.choice(["", "generation 1 has /a locked"]),
        "why": lambda: chance.choice(["", "x", 'listener "80" is gone\nünïcode']),
        "busy": lambda: chance.choice([0, 1, 10**6]),
        "asking": lambda: chance.choice([0, 1, 10**6]),
    }
    event: lifecycle.Event = kind(**{name: known[name]() for name in typing.get_type_hints(kind)})
    return event


def members(chance: random.Random) -> tuple[Member, ...]:
    """Return up to four generations in any role and stage."""
    roles, stages = list(Role), list(Stage)
    return tuple(
        Member(
            number,
            chance.choice(roles),
            chance.choice(stages),
            a_number(chance, 100),
            a_number(chance, 100),
            *(chance.random() < 0.5 for _ in range(3)),
        )
        for number in sorted(chance.sample(range(1, 6), chance.randint(0, 4)))
    )


def a_state(chance: random.Random, phase: Phase) -> State:
    """Return a state of one phase with any content, also such as no service gets into."""
    return State(
        phase=phase,
        members=members(chance),
        next_number=6,
        crashes=int(a_number(chance, 10**6)),
        failed_starts=chance.randint(0, 10),
        standby_deaths=int(a_number(chance, 10**6)),
        late_starts=int(a_number(chance, 10**6)),
        slowest_start=a_number(chance, 1e6),
        paused_at=a_number(chance, 1e9),
        served=chance.random() < 0.5,
        owed=chance.random() < 0.5,
        change=chance.choice(list(Change)),
        stop_signal=chance.choice([0, *STOP_SIGNALS]),
    )


def test_the_table_is_complete() -> None:
    """The table says what to do for each event in each phase, and holds nothing else."""
    assert set(table.TABLE) == {(phase, kind) for phase in Phase for kind in EVENTS}


@pytest.mark.parametrize("kind", EVENTS)
@pytest.mark.parametrize("phase", Phase)
def test_every_pair_gives_a_step(phase: Phase, kind: type) -> None:
    """Each entry answers any state and any content of its event with a state and known actions, and never raises."""
    chance = random.Random()
    for _ in range(ROUNDS):
        state, event = a_state(chance, phase), an_event(chance, kind)
        spec = service(restart=chance.choice(RESTART_POLICIES), standby=chance.randint(0, 2), reload=chance.choice(RELOAD_MODES))
        case = f"{spec.restart}, {spec.standby}, {spec.reload}: {state}, {event}"

        try:
            after, actions = step(spec, state, event)
        except Exception as error:
            error.add_note(case)
            raise

        assert isinstance(after, State), case
        assert all(type(action) in ACTIONS for action in actions), case
        assert (after.phase is Phase.ENDED) == (phase is Phase.ENDED or any(isinstance(a, Exit) for a in actions)), case
        numbers = {member.number for member in state.members} | set(range(state.next_number, after.next_number))
        assert {member.number for member in after.members} <= numbers, case
        if phase is Phase.ENDED:
            assert (after, actions) == (state, ()), f"once a service has ended, nothing happens any more: {case}"


class World(RuleBasedStateMachine):
    """Plays the loop and the workers: carries actions out, and lets happen what can happen."""

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__()
        self.now = 1.0
        self.spec = service()
        self.state = State()
        self.begun = False
        self.stopped = False
        self.exits: list[int] = []
        self.numbers: list[int] = []
        self.alive: set[int] = set()
        self.must_park: set[int] = set()  # started parked and not released
        self.drained: set[int] = set()
        self.moving: set[int] = set()  # were told to make room for the next
        self.holding: set[int] = set()  # were given the listeners, and not drained since
        self.failed_changes: set[int] = set()  # generations with which a reload or a restart has failed
        self.probed: set[int] = set()
        self.killed: set[int] = set()
        self.timers: dict[tuple[Timer, int], float] = {}
        self.asked = 0
        self.reports = 0

    def a_living_one(self, data: st.DataObject, among: set[int]) -> int:
        """Draw a generation."""
        return data.draw(st.sampled_from(sorted(among)))

    @precondition(lambda self: not self.begun)
    @rule(
        policy=st.sampled_from(RESTART_POLICIES),
        standby=st.integers(0, 2),
        limit=st.integers(0, 5),
        reload=st.sampled_from(RELOAD_MODES),
    )
    def begin(self, policy: str, standby: int, limit: int, reload: str) -> None:
        """Start the service."""
        self.begun = True
        self.spec = service(restart=policy, standby=standby, start_limit=limit, reload=reload)
        self.state, actions = begin(self.spec, self.now)
        self.carry_out(actions)

    def happen(self, event: lifecycle.Event) -> tuple[lifecycle.Action, ...]:
        """Let one event happen."""
        self.state, actions = step(self.spec, self.state, event)
        self.carry_out(actions)
        return actions

    def carry_out(self, actions: Iterable[lifecycle.Action]) -> None:
        """Do what the table says, and check that it can be done."""
        for action in actions:
            assert not self.exits, "nothing is done after Exit"
            if isinstance(action, Spawn):
                assert action.generation not in self.numbers, "a number is used once"
                assert not self.stopped, "no worker is started once the service is to stop"
                if self.state.phase is Phase.RESTARTING:
                    assert not self.alive, "a restart begins the next life when every other has ended"
                self.numbers.append(action.generation)
                self.alive.add(action.generation)
                if action.parked:
                    self.must_park.add(action.generation)
            elif isinstance(action, SetTimer):
                assert action.seconds >= 0
                self.timers[action.name, action.generation] = self.now + action.seconds
            elif isinstance(action, ClearTimer):
                self.timers.pop((action.name, action.generation), None)
            elif isinstance(action, Exit):
                assert not self.alive, "the last of a service to end is the supervisor"
                self.exits.append(action.status)
            elif isinstance(action, ReportChange):
                self.reports += 1
                self.failed_changes |= {action.generation} if action.failure else set()
            elif isinstance(action, Kill | Release | Drain | Undrain | HalfClose | Probe):
                assert action.generation in self.alive, f"{action} to no worker"
                self.act_on_worker(action)

    def act_on_worker(self, action: Kill | Release | Drain | Undrain | HalfClose | Probe) -> None:
        """Remember what a worker was told."""
        if isinstance(action, Kill) and action.signal == signal.SIGKILL:
            self.killed.add(action.generation)
        elif isinstance(action, Kill) and self.state.phase is Phase.STOPPING:
            assert action.generation not in self.holding, "a stop drains who has the listeners before it ends it"
        elif isinstance(action, Release):
            self.must_park.discard(action.generation)
            self.holding |= {action.generation} if not action.rehearse else set()
        elif isinstance(action, Drain) and action.datagrams_only:
            self.moving.add(action.generation)
        elif isinstance(action, Drain):
            self.drained.add(action.generation)
            self.holding.discard(action.generation)
        elif isinstance(action, Undrain):
            self.drained.discard(action.generation)
            self.holding.add(action.generation)
        elif isinstance(action, Probe):
            self.probed.add(action.generation)

    @precondition(lambda self: self.timers)
    @rule(data=st.data())
    def timer_comes(self, data: st.DataObject) -> None:
        """Let the first timer come, or one that is due at the same time."""
        first = min(self.timers.values())
        key = data.draw(st.sampled_from(sorted(key for key, when in self.timers.items() if when == first)))
        self.now = max(self.now, self.timers.pop(key))
        if key[0] is Timer.STANDBY:
            self.happen(StandbyDue(self.now, data.draw(st.sampled_from(["", "generation 1 has /a locked"]))))
        else:
            self.happen(Timeout(self.now, *key))

    @precondition(lambda self: self.begun)
    @rule(seconds=st.sampled_from([0.01, 1.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        """Let time pass, up to the first timer."""
        self.now = min([self.now + seconds, *self.timers.values()])

    @precondition(lambda self: self.must_park & self.alive)
    @rule(data=st.data())
    def parks(self, data: st.DataObject) -> None:
        """Let a worker reach its first bind."""
        self.happen(Parked(self.now, self.a_living_one(data, self.must_park & self.alive)))

    @precondition(lambda self: self.moving & self.alive)
    @rule(data=st.data())
    def makes_room(self, data: st.DataObject) -> None:
        """Let a worker have moved its datagram listeners, however late."""
        number = self.a_living_one(data, self.moving & self.alive)
        self.moving.remove(number)
        self.happen(Moved(self.now, number))

    @precondition(lambda self: self.alive - self.must_park)
    @rule(data=st.data())
    def accepts(self, data: st.DataObject) -> None:
        """Let a worker have its listeners (again)."""
        number = self.a_living_one(data, self.alive - self.must_park)
        member = self.state.get(number)
        coming = member is not None and member.role is Role.INCOMING and member.stage is not Stage.TERMINATING
        if coming and number not in self.drained and not self.state.one(Role.SERVING):
            self.holding.add(number)
        self.happen(Accepting(self.now, number))

    @precondition(lambda self: self.alive - self.must_park)
    @rule(data=st.data())
    def serves(self, data: st.DataObject) -> None:
        """Let a worker take clients on one listener."""
        self.happen(Serves(self.now, self.a_living_one(data, self.alive - self.must_park)))

    @precondition(lambda self: self.state.phase is Phase.BACKING_OFF)
    @rule()
    def is_wanted(self) -> None:
        """Let a client wait while nobody serves."""
        before = self.timers[Timer.BACK_OFF, 0]
        self.happen(Wanted(self.now))
        assert self.timers[Timer.BACK_OFF, 0] <= before, "a client never lengthens the pause"
        assert self.timers[Timer.BACK_OFF, 0] <= max(self.now, self.state.paused_at + self.spec.backoff_waiting)

    @precondition(lambda self: self.probed & self.alive)
    @rule(data=st.data())
    def is_ready(self, data: st.DataObject) -> None:
        """Let a probe succeed."""
        self.happen(Ready(self.now, self.a_living_one(data, self.probed & self.alive)))

    @precondition(lambda self: self.drained & self.alive)
    @rule(data=st.data())
    def lets_go(self, data: st.DataObject) -> None:
        """Let a worker have given its listeners up."""
        self.happen(LetGo(self.now, self.a_living_one(data, self.drained & self.alive)))

    @precondition(lambda self: self.drained & self.alive)
    @rule(data=st.data())
    def drain_fails(self, data: st.DataObject) -> None:
        """Let a worker have some of its listeners still."""
        self.happen(DrainFailed(self.now, self.a_living_one(data, self.drained & self.alive), "Too many open files"))

    @precondition(lambda self: self.alive - self.drained)
    @rule(data=st.data())
    def undrain_fails(self, data: st.DataObject) -> None:
        """Let a worker not have got its listeners back."""
        self.happen(UndrainFailed(self.now, self.a_living_one(data, self.alive - self.drained), "Too many open files"))

    @precondition(lambda self: self.drained & self.alive)
    @rule(data=st.data(), left=st.sampled_from([None, (0, 0), (0, 1), (1, 0)]))
    def is_drained(self, data: st.DataObject, left: tuple[int, int] | None) -> None:
        """Let a drained worker have no connection left, or some, of which clients ask or are answered on so many."""
        number = self.a_living_one(data, self.drained & self.alive)
        self.happen(Drained(self.now, number) if left is None else Left(self.now, number, *left))

    @precondition(lambda self: self.alive)
    @rule(data=st.data(), how=st.sampled_from([(0, 0), (3, 0), (143, 0), (0, signal.SIGKILL), (0, signal.SIGSEGV)]))
    def dies(self, data: st.DataObject, how: tuple[int, int]) -> None:
        """Let a worker end."""
        number = self.a_living_one(data, self.alive)
        self.alive.remove(number)
        member, serving = self.state.get(number), self.state.one(Role.SERVING)
        served, owed, ended = self.state.served, self.state.owed, self.ends
        self.holding.discard(number)
        self.happen(Died(self.now, number, *how))
        assert member is not None
        if self.ends and not ended:
            assert number not in self.failed_changes, "a reload or a restart that failed ends no service"
            # The port is given up for what the application did by itself, and never for what was done to it.
            assert not owed or self.spec.start_limit, "a restart ends no service"
            assert member.role in {Role.SERVING, Role.INCOMING}
            assert serving is None or serving.number == number, "somebody serves"
            if served and self.spec.restart in {"on-failure", "always"} and not self.spec.start_limit:
                assert self.spec.restart == "on-failure"
                assert how in {(0, 0), (143, 0)}

    @precondition(lambda self: any(m.stage is Stage.STARTING for m in self.state.members))
    @rule()
    def spawn_fails(self) -> None:
        """Let the newest start fail."""
        number = max(self.numbers)
        if number in self.alive:
            ended, policy = self.ends, self.spec.restart
            self.alive.remove(number)
            self.happen(SpawnFailed(self.now, number, 71))
            if self.ends and not ended and not self.spec.start_limit:
                assert policy != "always", "with that policy every end is followed by a start"

    @property
    def ends(self) -> bool:
        """Whether the service ends, or has ended, without being asked to."""
        return not self.stopped and self.state.phase in {Phase.STOPPING, Phase.ENDED}

    @precondition(lambda self: self.begun)
    @rule(alone=st.sampled_from(["", "generation 1 has /a locked"]))
    def reload(self, alone: str) -> None:
        """Ask for a reload."""
        self.asked += not self.exits
        self.happen(Reload(self.now, alone))

    @precondition(lambda self: self.begun)
    @rule()
    def restart(self) -> None:
        """Ask for a restart."""
        self.asked += not self.exits
        self.happen(Restart(self.now))

    @precondition(lambda self: self.begun and len(self.numbers) > 2)
    @rule(number=st.sampled_from(STOP_SIGNALS))
    def stop(self, number: int) -> None:
        """Ask for the end."""
        self.stopped |= not self.exits
        actions = self.happen(Stop(self.now, number))
        sent = [action.generation for action in actions if isinstance(action, Kill)]
        assert len(sent) == len(set(sent)), "one signal for one request"

    @invariant()
    def members_are_the_living(self) -> None:
        """What the table believes to live is what lives."""
        if not self.exits:
            assert {member.number for member in self.state.members} == self.alive

    @invariant()
    def one_of_each(self) -> None:
        """One generation serves and one is on its way, at most."""
        assert len(self.state.all(Role.SERVING)) <= 1
        assert len(self.state.all(Role.INCOMING)) <= 1
        assert len(self.state.all(Role.STANDBY)) <= self.spec.standby

    @invariant()
    def ended_means_exit(self) -> None:
        """Exit is said once, in the moment of the end; after a stop nobody lives then."""
        assert len(self.exits) == (self.state.phase is Phase.ENDED)
        if self.exits and self.stopped:
            assert not self.alive

    @invariant()
    def never_forgotten(self) -> None:
        """Without a worker and without a timer only the end is left: no service hangs with nothing running."""
        if self.begun and not self.exits:
            assert self.alive or self.timers

    @invariant()
    def somebody_is_meant_to_serve(self) -> None:
        """While a service is not ending somebody serves, or is on the way, or the next start has its time."""
        if self.begun and self.state.phase not in {Phase.STOPPING, Phase.ENDED}:
            coming = self.state.one(Role.SERVING) or self.state.one(Role.INCOMING)
            old_ends = self.state.phase is Phase.RESTARTING and self.alive
            assert coming or (Timer.BACK_OFF, 0) in self.timers or old_ends

    @invariant()
    def who_serves_has_the_listeners(self) -> None:
        """Outside a reload, a restart and a stop the serving generation is not drained."""
        serving = self.state.one(Role.SERVING)
        if self.state.phase is Phase.UP and serving is not None:
            assert serving.number not in self.drained

    @invariant()
    def one_at_a_time_where_two_would_harm(self) -> None:
        """With `reload = restart` and no standby there is never a second generation beside another."""
        if self.spec.reload == "restart" and not self.spec.standby:
            assert len(self.alive) <= 1

    @invariant()
    def every_wait_has_an_end(self) -> None:
        """Nothing is waited for that may never come, but for a serving generation: a timer ends each wait, or SIGKILL was sent."""
        for member in self.state.members if not self.exits else ():
            found = {name for name, number in self.timers if number == member.number}
            ends = {Timer.DRAIN, Timer.CLOSE}
            if member.stage is Stage.TERMINATING:
                ends = {Timer.STOP, Timer.DUMP}
            elif member.role is Role.INCOMING and self.state.phase is not Phase.STOPPING:
                rehearses = self.state.phase is Phase.RELOADING
                ends = {Timer.START, Timer.SETTLE, Timer.PROBE} if rehearses else {Timer.START, Timer.LATE}
            elif member.role is Role.STANDBY:
                ends = {Timer.START}
            waits = member.stage is not Stage.PARKED or member.role is not Role.STANDBY
            waits &= member.role is not Role.SERVING or self.state.phase in {Phase.RESTARTING, Phase.STOPPING}
            assert not waits or found & ends or member.number in self.killed, member

    @invariant()
    def room_is_made_for_one(self) -> None:
        """Only the next generation waits for room, beside one that serves and for a moment; nobody is left at its first bind."""
        waiting = [member for member in self.state.members if member.waits and member.stage is not Stage.TERMINATING]
        if self.state.phase is Phase.RELOADING and not self.exits:
            assert all((Timer.MOVE, member.number) in self.timers and member.role is Role.INCOMING for member in waiting)
        elif self.state.phase is not Phase.STOPPING and not self.exits:
            assert not waiting
        parked = {one.number for one in self.state.members if one.role is Role.INCOMING and one.stage is Stage.PARKED}
        assert parked <= {member.number for member in waiting}

    @invariant()
    def changes_are_reported(self) -> None:
        """Each request for a reload or a restart gets one report: at once where it is refused, else when it has ended."""
        if not self.stopped and not self.exits:
            assert self.reports == self.asked - (self.state.change is not Change.NONE)


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=3 * settings().max_examples // 2, stateful_step_count=40)


def up(spec: ServiceSpec, now: float = 1.0) -> State:
    """Return the state of a service whose first generation serves."""
    state, _ = begin(spec, now)
    for event in (Accepting(now, 1), Ready(now, 1)):
        state, _ = step(spec, state, event)
    assert state.phase is Phase.UP
    return state


def pauses(actions: Iterable[lifecycle.Action]) -> list[float]:
    """Return the seconds of each back-off that is asked for."""
    return [action.seconds for action in actions if isinstance(action, SetTimer) and action.name is Timer.BACK_OFF]


def kills(actions: Iterable[lifecycle.Action]) -> list[int]:
    """Return the signals that are sent."""
    return [action.signal for action in actions if isinstance(action, Kill)]


def serve_again(spec: ServiceSpec, state: State, now: float) -> State:
    """Let the newest generation become ready."""
    number = state.next_number - 1
    for event in (Accepting(now, number), Ready(now, number)):
        state, _ = step(spec, state, event)
    assert state.phase is Phase.UP
    return state


def test_back_off_doubles_to_its_maximum() -> None:
    """The first crash is followed at once by a new generation, the next after 0.5 s, then 1, 2, 4 ... to 30 s."""
    spec = service()
    state = up(spec)
    seen: list[float] = []
    now = 1.0
    for _ in range(12):
        state, actions = step(spec, state, Died(now, state.next_number - 1, 0, signal.SIGSEGV))
        pause = (pauses(actions) or [0.0])[0]
        seen.append(pause)
        now += pause
        if pause:
            assert state.phase is Phase.BACKING_OFF
            state, actions = step(spec, state, Timeout(now, Timer.BACK_OFF, 0))
        assert Spawn(state.next_number - 1, parked=False) in actions
        state = serve_again(spec, state, now)
    assert seen == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0, 30.0]


DEFAULTS = ServiceSpec("x", "/java", (), (parse_listen("80"),))


def deaths(spec: ServiceSpec, lives: Iterable[tuple[float, float]], *, wanted: bool = False) -> list[float]:
    """Return the pause after each life, by the table: (seconds until it is ready, seconds that it is ready; 0: never)."""
    state, now, found = up(spec), 1.0, []
    for starting, ready in lives:
        number = state.next_number - 1
        if ready:
            state = serve_again(spec, state, now + starting)
        now += starting + ready
        state, actions = step(spec, state, Died(now, number, 0, signal.SIGSEGV))
        pause = (pauses(actions) or [0.0])[0]
        if pause and wanted:
            state, actions = step(spec, state, Wanted(now))
            pause = min(pause, *(action.seconds for action in actions if isinstance(action, SetTimer)))
        now += pause
        if pause:
            state, _ = step(spec, state, Timeout(now, Timer.BACK_OFF, 0))
        found.append(pause)
    return found


def test_back_off_of_a_healthy_service() -> None:
    """By default a service that crashes once a minute for a day is back at once each time, also where a start takes 45 s."""
    for starting in (0.5, 5.0, 45.0):
        assert deaths(DEFAULTS, [(starting, 60.0 - starting)] * 1440) == [0.0] * 1440


def test_back_off_of_a_broken_service() -> None:
    """By default one that dies at once is started at most 370 times an hour, or 1,210 times while clients wait, 3 s each."""
    alone, wanted = deaths(DEFAULTS, [(0.0, 0.0)] * 2000), deaths(DEFAULTS, [(0.0, 0.0)] * 2000, wanted=True)

    assert [round(pause, 1) for pause in alone[:10]] == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert [round(pause, 1) for pause in wanted[:10]] == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.0, 3.0, 3.0, 3.0]
    assert sum(total <= 3600 for total in itertools.accumulate(alone)) <= 370
    assert sum(total <= 3600 for total in itertools.accumulate(wanted)) <= 1210


LIVES = st.lists(st.tuples(st.floats(0, 100), st.one_of(st.just(0.0), st.floats(0.001, 100))), max_size=30)


@given(LIVES, st.booleans())
def test_back_off_for_any_lives(lives: list[tuple[float, float]], wanted: bool) -> None:
    """Whatever lives a service has, a healthy one is followed by no pause, and no pause is longer than its limit."""
    longest = DEFAULTS.backoff_waiting if wanted else DEFAULTS.backoff_max
    found = deaths(DEFAULTS, lives, wanted=wanted)

    for (_, ready), before, pause in zip(lives, [0.0, *found], found, strict=False):
        if ready > DEFAULTS.backoff_reset:
            assert pause == 0
        elif ready < DEFAULTS.backoff_reset:
            assert before <= pause <= longest


@given(st.integers(1, 10**9))
def test_back_off_never_overflows(crashes: int) -> None:
    """After any number of crashes the pause is between the first and the maximum."""
    spec = service()
    state = up(spec)._replace(crashes=crashes)

    (pause,) = pauses(step(spec, state, Died(2.0, 1, 0, signal.SIGSEGV))[1])

    assert spec.backoff_first <= pause <= spec.backoff_max


@pytest.mark.parametrize(("lived", "expected"), [(59.9, [8.0]), (60.0, []), (86400.0, [])])
def test_back_off_starts_anew_after_a_healthy_life(lived: float, expected: list[float]) -> None:
    """A generation that was ready for the reset time makes the next crash count as the first."""
    spec = service()
    state = up(spec, 100.0)._replace(crashes=5)

    after, actions = step(spec, state, Died(100.0 + lived, 1, 0, signal.SIGSEGV))

    assert pauses(actions) == expected
    assert after.crashes == (6 if expected else 1)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_stop_sequence(number: int) -> None:
    """A stop drains, sends its signal, SIGQUIT for a thread dump after the stop time-out, then SIGKILL."""
    spec = service()
    state, actions = step(spec, up(spec), Stop(2.0, number))
    assert Drain(1, last=True, ends=True) in actions
    assert kills(actions) == []
    state, actions = step(spec, state, Left(2.5, 1, busy=1, asking=0))
    assert kills(actions) == []
    state, actions = step(spec, state, Left(3.0, 1, busy=0, asking=1))
    assert kills(actions) == [number]
    assert SetTimer(Timer.STOP, 1, spec.stop_timeout) in actions
    state, actions = step(spec, state, Timeout(33.0, Timer.STOP, 1))
    assert kills(actions) == [signal.SIGQUIT]
    assert SetTimer(Timer.DUMP, 1, steps.DUMP_SECONDS) in actions
    state, actions = step(spec, state, Timeout(34.0, Timer.DUMP, 1))
    assert kills(actions) == [signal.SIGKILL]
    state, actions = step(spec, state, Died(34.0, 1, 0, signal.SIGKILL))
    assert actions == (Exit(137),)
    assert state.phase is Phase.ENDED


def test_stop_waits_no_longer_than_its_own_drain_timeout() -> None:
    """A stop gives the answers that are being made a time of its own, which is not that of a reload; then it sends the signal."""
    spec = service()._replace(stop_drain_timeout=3.0)
    state, actions = step(spec, up(spec), Stop(2.0, signal.SIGTERM))
    assert SetTimer(Timer.DRAIN, 1, 3.0) in actions
    _, actions = step(spec, state, Timeout(5.0, Timer.DRAIN, 1))
    assert kills(actions) == [signal.SIGTERM]


@pytest.mark.parametrize(("status", "number", "expected"), [(0, 0, 0), (143, 0, 143), (7, 0, 7), (0, 9, 137), (0, 11, 139)])
def test_stop_gives_the_workers_status(status: int, number: int, expected: int) -> None:
    """After a stop the service ends with the worker's own status, as the shell writes it, whatever the policy."""
    spec = service(restart="always")
    state, _ = step(spec, up(spec), Stop(2.0, signal.SIGTERM))

    assert step(spec, state, Died(3.0, 1, status, number))[1] == (Exit(expected),)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_stop_while_no_worker_runs(number: int) -> None:
    """A stop between two generations ends at once with the status of that signal, and starts nothing."""
    spec = service()
    state, _ = step(spec, up(spec)._replace(crashes=3), Died(2.0, 1, 0, signal.SIGSEGV))
    assert state.phase is Phase.BACKING_OFF

    assert step(spec, state, Stop(2.0, number))[1] == (Exit(128 + number),)


RESTARTS = {
    # policy: (exit 0, exit 3, SIGKILL) of a generation that was ready
    "never": (False, False, False),
    "on-crash": (False, False, True),
    "on-failure": (False, True, True),
    "always": (True, True, True),
}


def test_a_program_without_listeners_has_a_result() -> None:
    """Where no port is to be held a status is the program's result and ends the service; a signal is a crash all the same."""
    spec = service(restart="on-failure", listeners=())

    assert Exit(3) in step(spec, up(spec), Died(2.0, 1, 3, 0))[1]
    assert Spawn(2, parked=False) in step(spec, up(spec), Died(2.0, 1, 0, 9))[1]


@pytest.mark.parametrize("which", [0, 1, 2], ids=["exit-0", "exit-3", "SIGKILL"])
@pytest.mark.parametrize("policy", RESTARTS)
def test_restart_policy(policy: str, which: int) -> None:
    """Each policy restarts after exactly the ends that its name says, and else ends with the worker's status."""
    assert set(RESTARTS) == set(RESTART_POLICIES)
    spec = service(restart=policy)
    status, number = [(0, 0), (3, 0), (0, 9)][which]

    _, actions = step(spec, up(spec), Died(2.0, 1, status, number))

    if RESTARTS[policy][which]:
        assert Spawn(2, parked=False) in actions
    else:
        assert Exit(steps.shell_status(status, number)) in actions


@pytest.mark.parametrize("policy", RESTART_POLICIES)
def test_what_never_worked_is_not_repeated(policy: str) -> None:
    """A first generation that dies during its start ends the service, unless the policy is `always`."""
    spec = service(restart=policy)

    after, actions = step(spec, begin(spec, 1.0)[0], Died(2.0, 1, 0, signal.SIGSEGV))

    if policy == "always":
        assert after.phase is not Phase.ENDED
    else:
        assert Exit(139) in actions


def test_failed_starts_end_with_their_own_status() -> None:
    """A service that worked once and then fails at each start ends with EX_TEMPFAIL once the limit is reached."""
    spec = service(restart="on-crash", start_limit=3)
    state, _ = step(spec, up(spec), Died(100.0, 1, 0, signal.SIGSEGV))
    starts = 0
    now = 100.0
    while state.phase is not Phase.ENDED:
        starts += 1
        now += 100
        state, actions = step(spec, state, Died(now, state.next_number - 1, 0, signal.SIGSEGV))
        if state.phase is Phase.BACKING_OFF:
            state, _ = step(spec, state, Timeout(now, Timer.BACK_OFF, 0))
        elif state.phase is Phase.ENDED:
            assert Exit(75) in actions
    assert starts == 3


@pytest.mark.parametrize("served", [False, True])
def test_spawn_failure(served: bool) -> None:
    """A worker that cannot be started ends a new service with that status, and one that has worked tries again."""
    spec = service(start_limit=5)
    state = begin(spec, 1.0)[0]._replace(served=served)

    after, actions = step(spec, state, SpawnFailed(2.0, 1, 71))

    assert (Exit(71) in actions) == (not served)
    assert (after.phase is Phase.ENDED) == (not served)


def test_start_timeout_reports_and_waits() -> None:
    """The start time-out has the unclaimed listeners reported with a thread dump; it ends nothing: slow is no failure."""
    spec = service()
    state, actions = begin(spec, 1.0)
    assert actions[:2] == (Spawn(1, parked=False), SetTimer(Timer.START, 1, spec.start_timeout))

    after, actions = step(spec, state, Timeout(61.0, Timer.START, 1))

    assert actions == (lifecycle.Report(Notice.UNCLAIMED, 1), Kill(1, signal.SIGQUIT), SetTimer(Timer.LATE, 1, spec.start_timeout))
    assert after == state


@pytest.mark.parametrize("seconds", [4.0, 5.0, 6.0])
def test_a_slow_start_says_so_once(seconds: float) -> None:
    """A start that has more than a moment of time says once what it waits for, whatever it is: the first, a reload, a standby's."""
    spec = service(reload="overlap", standby=1)._replace(start_timeout=seconds)
    first, begun = begin(spec, 1.0)
    reload, begun_by_reload = step(spec, up(spec), Reload(2.0))
    waiting, _ = step(spec, up(spec), StandbyDue(2.0))
    waiting, _ = step(spec, waiting, Parked(3.0, 2))
    released, by_standby = step(spec, waiting, Died(4.0, 1, 0, signal.SIGKILL))

    for state, number, actions in ((first, 1, begun), (reload, 2, begun_by_reload), (released, 2, by_standby)):
        slow = SetTimer(Timer.SLOW, number, steps.SLOW_SECONDS)
        assert (slow in actions) == (seconds > steps.SLOW_SECONDS)
        after, said = step(spec, state, Timeout(10.0, Timer.SLOW, number))
        assert (after, said) == (state, (lifecycle.Report(Notice.SLOW, number, steps.SLOW_SECONDS),))
    assert step(spec, up(spec), Timeout(10.0, Timer.SLOW, 1))[1] == ()


REHEARSED: list[lifecycle.Event] = [Parked(3.0, 2), Accepting(4.0, 2), Ready(4.2, 2), Timeout(4.3, Timer.SETTLE, 2)]
FAILURES: dict[str, list[lifecycle.Event]] = {
    "dies before its first bind": [Died(3.0, 2, 1, 0)],
    "dies parked": [Parked(3.0, 2), Died(4.0, 2, 1, 0)],
    "dies while it is probed": [Parked(3.0, 2), Accepting(4.0, 2), Died(5.0, 2, 0, 9)],
    "cannot be started": [SpawnFailed(3.0, 2, 71)],
    "is not ready in time": [Timeout(62.0, Timer.START, 2)],
    "does not take the probe": [Parked(3.0, 2), Accepting(4.0, 2), Timeout(9.0, Timer.PROBE, 2)],
    "gets no listener": [*REHEARSED, UndrainFailed(4.5, 2, "Too many open files")],
    "finds the old one with its listeners": [*REHEARSED, Ready(4.4, 2), DrainFailed(4.5, 1, "Too many open files")],
    "finds the old one silent": [*REHEARSED, Ready(4.4, 2), Timeout(9.0, Timer.PROBE, 2)],
    "cannot share datagrams with the old one": [Parked(3.0, 2), DrainFailed(3.1, 1, "Too many open files")],
}


@pytest.mark.parametrize("how", FAILURES)
def test_failed_reload_leaves_the_old_generation(how: str) -> None:
    """Whatever happens to the new generation, the old one has the listeners again, serves on, and the failure is reported."""
    spec = service()
    state, actions = step(spec, up(spec), Reload(2.0))
    assert Spawn(2, parked=True) in actions
    everything = list(actions)
    for event in FAILURES[how]:
        state, actions = step(spec, state, event)
        everything += actions

    assert state.phase is Phase.UP
    serving = state.one(Role.SERVING)
    assert serving is not None
    assert serving.number == 1
    (report,) = [action for action in everything if isinstance(action, ReportChange)]
    assert report.failure
    drains = [type(action) for action in everything if isinstance(action, Drain | Undrain) and action.generation == 1]
    assert not drains or drains[-1] is Undrain
    assert not [action for action in everything if isinstance(action, Kill) and action.generation == 1]


def test_reload() -> None:
    """A new generation is parked and rehearses; then the old is drained for the probe alone, finishes, and is ended."""
    spec = service()
    state, _ = step(spec, up(spec), Reload(2.0))
    state, actions = step(spec, state, Parked(3.0, 2))
    assert actions == (Drain(1, datagrams_only=True), SetTimer(Timer.MOVE, 2, steps.MOVE_SECONDS))
    state, actions = step(spec, state, Moved(3.1, 1))
    assert actions == (ClearTimer(Timer.MOVE, 2), Release(2, rehearse=True))
    state, actions = step(spec, state, Accepting(4.0, 2))
    assert actions == (Probe(2, rehearsal=True),)
    state, actions = step(spec, state, Ready(4.2, 2))
    assert actions == (ClearTimer(Timer.START, 2), ClearTimer(Timer.SLOW, 2), SetTimer(Timer.SETTLE, 2, steps.SETTLE_SECONDS))
    state, actions = step(spec, state, Timeout(4.5, Timer.SETTLE, 2))
    assert actions[:3] == (Drain(1), Undrain(2), Probe(2))
    state, _ = step(spec, state, LetGo(4.6, 1))
    state, actions = step(spec, state, Ready(5.0, 2))
    assert ReportChange(2, failure="") in actions
    assert SetTimer(Timer.DRAIN, 1, spec.drain_timeout) in actions
    assert kills(actions) == []
    state, actions = step(spec, state, Drained(6.0, 1))
    assert kills(actions) == [signal.SIGTERM]
    state, actions = step(spec, state, Died(7.0, 1, 143, 0))
    assert state.phase is Phase.UP
    assert [member.number for member in state.members] == [2]


ROOM: dict[str, tuple[lifecycle.Event, Phase]] = {
    "made": (Moved(3.1, 1), Phase.RELOADING),
    "late": (Timeout(4.0, Timer.MOVE, 2), Phase.RELOADING),
    "dead": (Died(3.1, 1, 0, signal.SIGKILL), Phase.STARTING),
}


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("how", ROOM)
def test_room_for_the_next(how: str, early: bool) -> None:
    """What waits at its first bind is released once: when the old one has made room, is late, or has died; also if ready before."""
    event, phase = ROOM[how]
    spec = service()
    state, _ = step(spec, up(spec), Reload(2.0))
    if early:
        state, _ = step(spec, state, Accepting(2.5, 2))
    state, actions = step(spec, state, Parked(3.0, 2))
    assert not any(isinstance(action, Release) for action in actions)

    state, actions = step(spec, state, event)

    assert [action for action in actions if isinstance(action, Release)] == [Release(2, rehearse=True)]
    assert state.phase is phase
    assert step(spec, state, Moved(5.0, 1)) == (state, ())
    assert step(spec, state, Timeout(5.0, Timer.MOVE, 2)) == (state, ())


def test_room_for_nobody() -> None:
    """A generation that waits for room when its reload is given up is not released any more, however late that room is made."""
    spec = service()
    state, _ = step(spec, up(spec), Reload(2.0))
    state, _ = step(spec, state, Parked(3.0, 2))
    state, actions = step(spec, state, Timeout(62.0, Timer.START, 2))
    assert ClearTimer(Timer.MOVE, 2) in actions

    assert step(spec, state, Moved(63.0, 1)) == (state, ())
    state, _ = step(spec, state, Died(64.0, 2, 0, signal.SIGKILL))
    assert step(spec, state, Moved(65.0, 1)) == (state, ())


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase not in {Phase.UP, Phase.ENDED}])
def test_one_reload_at_a_time(phase: Phase) -> None:
    """Where no generation serves undisturbed a reload is refused with the reason, and changes nothing."""
    state = up(service())._replace(phase=phase)

    after, (report,) = step(service(), state, Reload(2.0))

    assert after == state
    assert isinstance(report, ReportChange)
    assert phase.value in report.failure


def test_standby_takes_over_at_once() -> None:
    """A parked standby is released in the very step in which the serving generation's death is learnt."""
    spec = service(standby=1)
    state, _ = begin(spec, 1.0)
    state, _ = step(spec, state, Accepting(1.0, 1))
    state, actions = step(spec, state, Ready(1.0, 1))
    assert SetTimer(Timer.STANDBY, 0, steps.STANDBY_SECONDS) in actions
    state, actions = step(spec, state, StandbyDue(3.0))
    assert Spawn(2, parked=True) in actions
    state, _ = step(spec, state, Parked(4.0, 2))

    state, actions = step(spec, state, Died(5.0, 1, 0, signal.SIGKILL))

    assert Release(2) in actions
    assert not [action for action in actions if isinstance(action, Spawn)]
    state, actions = step(spec, state, Accepting(5.0, 2))
    state, actions = step(spec, state, Ready(5.0, 2))
    state, actions = step(spec, state, StandbyDue(7.0))
    assert Spawn(3, parked=True) in actions


def test_standby_that_dies_during_a_reload() -> None:
    """Its replacement waits for the end of the reload, however that ends."""
    spec = service(standby=1)
    state, _ = step(spec, up(spec), Reload(2.0))

    after, actions = step(spec, state, StandbyDue(3.0))

    assert (after, actions) == (state, (SetTimer(Timer.STANDBY, 0, steps.STANDBY_SECONDS),))


def test_reload_is_done_when_the_old_one_has_let_go() -> None:
    """A new generation that was found ready serves, and is said to, once the old one has given its listeners up."""
    spec = service()
    state, _ = step(spec, up(spec), Reload(2.0))
    for event in REHEARSED:
        state, _ = step(spec, state, event)
    state, _ = step(spec, state, Ready(4.4, 2))
    assert state.phase is Phase.RELOADING

    state, actions = step(spec, state, LetGo(4.5, 1))

    assert state.phase is Phase.UP
    assert ReportChange(2, failure="") in actions


@pytest.mark.parametrize(("drain_timeout", "patience"), [(20.0, 20.0), (0.0, steps.PROBE_SECONDS)])
@pytest.mark.parametrize("settled", [True, False])
def test_patience_with_an_old_one_that_lets_go_slowly(settled: bool, drain_timeout: float, patience: float) -> None:
    """A new generation that is ready, before or after it is probed, waits `drain_timeout` for the old one's listeners."""
    spec = service()._replace(drain_timeout=drain_timeout)
    state, timers = taken_over(spec, up(spec), settled=False), []
    settle, ready = Timeout(5.2, Timer.SETTLE, 2), Ready(5.3, 2)
    for event in (settle, ready, ready) if settled else (ready, settle):
        state, actions = step(spec, state, event)
        timers += [action for action in actions if isinstance(action, SetTimer) and action.name is Timer.PROBE]

    assert timers[-1] == SetTimer(Timer.PROBE, 2, patience)
    assert timers[0].seconds == (steps.PROBE_SECONDS if settled else patience)
    assert len(timers) == 2
    actions = step(spec, state, Timeout(5.3 + patience, Timer.PROBE, 2))[1]
    (report,) = (action for action in actions if isinstance(action, ReportChange))
    assert report.failure == f"generation 2 was ready, but the old one did not give up its listeners within {patience:g} s"


def test_no_listeners_for_the_only_generation() -> None:
    """One that alone is to serve, and has not got its listeners back, is killed and so replaced."""
    spec = service()

    _, actions = step(spec, up(spec), UndrainFailed(2.0, 1, "Too many open files"))

    assert kills(actions) == [signal.SIGKILL]


def test_reload_given_up_after_the_take_over() -> None:
    """A new generation that has the listeners loses them before it is ended: it must not take clients into its end."""
    spec = service()
    state, _ = step(spec, up(spec), Reload(2.0))
    for event in (Parked(3.0, 2), Accepting(4.0, 2), Ready(4.2, 2), Timeout(5.2, Timer.SETTLE, 2)):
        state, _ = step(spec, state, event)

    _, actions = step(spec, state, Timeout(10.2, Timer.PROBE, 2))

    order = [action for action in actions if isinstance(action, Drain | Undrain)]
    assert order == [Drain(2), Undrain(1)]


def test_ready_before_the_first_bind() -> None:
    """With "notify" a generation may be ready before it binds; it is released all the same when it does."""
    spec = service(ready="notify")
    state, _ = step(spec, up(spec), Reload(2.0))
    state, _ = step(spec, state, Accepting(3.0, 2))
    state, _ = step(spec, state, Ready(3.1, 2))

    state, _ = step(spec, state, Parked(3.2, 2))
    state, actions = step(spec, state, Moved(3.3, 1))

    assert Release(2, rehearse=True) in actions
    assert Undrain(2) in step(spec, state, Timeout(4.1, Timer.SETTLE, 2))[1]


def test_death_during_the_rehearsal() -> None:
    """When the old generation dies, one that rehearses gets the listeners at once, whether or not it accepts already."""
    spec = service()
    state, _ = step(spec, up(spec), Reload(2.0))
    state, _ = step(spec, state, Parked(3.0, 2))
    _, actions = step(spec, state, Died(3.5, 1, 0, signal.SIGKILL))
    assert Undrain(2) in actions
    state, _ = step(spec, state, Accepting(4.0, 2))

    state, actions = step(spec, state, Died(4.5, 1, 0, signal.SIGKILL))

    assert actions[-2:] == (Undrain(2), Probe(2))
    assert step(spec, state, Ready(5.0, 2))[0].phase is Phase.UP


def taken_over(spec: ServiceSpec, state: State, *, settled: bool = True) -> State:
    """Let a reload go on to where the new generation has rehearsed, or has the listeners and is probed."""
    state, _ = step(spec, state, Reload(2.0))
    for event in (Parked(3.0, 2), Accepting(4.0, 2), Ready(4.2, 2)):
        state, _ = step(spec, state, event)
    return step(spec, state, Timeout(5.2, Timer.SETTLE, 2))[0] if settled else state


@pytest.mark.parametrize("settled", [False, True])
def test_death_beside_one_that_is_never_ready(settled: bool) -> None:
    """When the old generation dies after the rehearsal of the new one, that has the time of a start and is then given up."""
    spec = service(start_limit=1)
    state = taken_over(spec, up(spec), settled=settled)

    state, actions = step(spec, state, Died(5.5, 1, 0, signal.SIGKILL))

    assert SetTimer(Timer.START, 2, spec.start_timeout) in actions
    assert actions[-2:] == (Undrain(2), Probe(2))
    state, actions = step(spec, state, Timeout(65.5, Timer.START, 2))
    (report,) = [action for action in actions if isinstance(action, ReportChange)]
    assert "not ready within" in report.failure
    state, _ = step(spec, state, Timeout(67.5, Timer.DUMP, 2))
    state, actions = step(spec, state, Died(67.6, 2, 0, signal.SIGKILL))
    assert state.phase is not Phase.ENDED
    assert not [action for action in actions if isinstance(action, Exit)]


def test_restart_that_is_late_is_no_failed_start() -> None:
    """With `start_limit` a restart that is not ready in time does not count: the previous version is started first."""
    spec = service(start_limit=1)
    state, _ = step(spec, up(spec), Restart(2.0))
    for event in (Drained(3.0, 1), Died(4.0, 1, 143, 0), Timeout(64.0, Timer.START, 2), Timeout(66.0, Timer.DUMP, 2)):
        state, _ = step(spec, state, event)

    state, actions = step(spec, state, Died(66.0, 2, 0, signal.SIGKILL))
    assert Spawn(3, parked=False) in actions
    state, actions = step(spec, state, Died(67.0, 3, 1, 0))
    assert Exit(75) in actions


@pytest.mark.parametrize(("limit", "status"), [(0, 0), (1, 75)], ids=["its own end", "start limit"])
def test_service_that_ends_waits_for_those_that_drain(limit: int, status: int) -> None:
    """When the application ends by itself a generation that still drains finishes its answers, and a standby its hooks."""
    spec = service(start_limit=limit, standby=1)
    state = taken_over(spec, up(spec))
    for event in (LetGo(5.5, 1), Ready(6.0, 2), StandbyDue(8.0), Parked(9.0, 3)):
        state, actions = step(spec, state, event)
    if limit:  # the next one is the standby, and fails
        state, _ = step(spec, state, Died(9.5, 2, 0, signal.SIGKILL))

    state, actions = step(spec, state, Died(10.0, 3 if limit else 2, 1 if limit else 0, 0))

    assert state.phase is Phase.STOPPING
    assert Drain(1, last=True, ends=True) in actions
    assert not [action for action in actions if isinstance(action, Exit)]
    assert [action for action in actions if isinstance(action, Kill)] == ([] if limit else [Kill(3, signal.SIGTERM)])
    if not limit:
        state, actions = step(spec, state, Died(11.0, 3, 143, 0))
        assert actions == ()
    state, actions = step(spec, state, Left(12.0, 1, busy=1, asking=0))
    assert kills(actions) == []
    state, actions = step(spec, state, Left(13.0, 1, busy=0, asking=0))
    assert kills(actions) == [signal.SIGTERM]
    assert step(spec, state, Died(14.0, 1, 143, 0))[1] == (Exit(status),)


def test_stop_drains_who_was_given_the_listeners_early() -> None:
    """The old generation of a reload dies while the new one starts, which then need not wait at its bind: a stop drains it."""
    spec = service(restart="never")
    state = State(
        phase=Phase.RELOADING,
        members=(Member(1, Role.SERVING, Stage.READY, 0.0), Member(2, Role.INCOMING, Stage.STARTING, 0.0)),
        served=True,
    )
    state, actions = step(spec, state, lifecycle.Died(1.0, 1, 0, 0))
    assert Undrain(2) in actions
    _, actions = step(spec, state, lifecycle.Stop(2.0, signal.SIGTERM))
    assert Drain(2, last=True, ends=True) in actions
    assert not [one for one in actions if isinstance(one, Kill)]


def test_stop_drains_who_has_just_taken_over() -> None:
    """A stop while a new generation has the listeners and is probed drains it as well: it has clients already."""
    spec = service()
    state = taken_over(spec, up(spec))

    state, actions = step(spec, state, Stop(5.5, signal.SIGTERM))

    assert {Drain(1, last=True, ends=True), Drain(2, last=True, ends=True)} <= set(actions)
    assert kills(actions) == []
    assert kills(step(spec, state, Left(5.6, 2, busy=0, asking=0))[1]) == [signal.SIGTERM]


def test_spawn_failure_with_the_policy_always() -> None:
    """With `restart = "always"` a first process that could not be made is followed by another."""
    spec = service(restart="always")

    _, actions = step(spec, begin(spec, 1.0)[0], SpawnFailed(2.0, 1, 71))

    assert Spawn(2, parked=False) in actions


@given(st.integers(0, 10**6), st.floats(0, 10**5), st.floats(1, 10**5))
def test_patience_has_an_end(late: int, slowest: float, seconds: float) -> None:
    """However many starts were late, the next one has an hour at most, or what it would have without them."""
    spec = service()._replace(start_timeout=seconds)
    usual = steps.patience(spec, State(slowest_start=slowest))

    found = steps.patience(spec, State(slowest_start=slowest, late_starts=late))

    assert usual <= found <= max(usual, 3600.0)
    assert found >= min(usual * 2 ** min(late, 20), 3600.0)


def test_standby_that_never_comes_to_its_bind() -> None:
    """A standby that is not parked in the time of a start is ended, with a thread dump, and another takes its place."""
    spec = service(standby=1)
    state, actions = step(spec, up(spec), StandbyDue(2.0))
    assert actions == (Spawn(2, parked=True), SetTimer(Timer.START, 2, spec.start_timeout))
    assert step(spec, state, Parked(3.0, 2))[1] == (ClearTimer(Timer.START, 2),)

    state, actions = step(spec, state, Timeout(62.0, Timer.START, 2))

    assert kills(actions) == [signal.SIGQUIT]
    assert kills(step(spec, state, Timeout(64.0, Timer.DUMP, 2))[1]) == [signal.SIGKILL]
    assert state.late_starts == 0
    state, actions = step(spec, state, Died(64.0, 2, 0, signal.SIGKILL))
    assert SetTimer(Timer.STANDBY, 0, spec.backoff_first) in actions
    assert Spawn(3, parked=True) in step(spec, state, StandbyDue(64.5))[1]


def test_standby_deaths_in_a_row() -> None:
    """The pause before another standby grows with deaths in a row, and is short again after one that was parked for long."""
    spec = service(standby=1)
    state, now, pauses_seen = up(spec), 2.0, []
    for lived in (0.0, 0.0, 0.0, 59.0, 60.0, 0.0):
        state, _ = step(spec, state, StandbyDue(now))
        state, _ = step(spec, state, Parked(now + 100, state.next_number - 1))
        now += 100 + lived
        state, actions = step(spec, state, Died(now, state.next_number - 1, 0, signal.SIGKILL))
        pauses_seen += [one.seconds for one in actions if isinstance(one, SetTimer) and one.name is Timer.STANDBY]
    assert pauses_seen == [0.5, 1.0, 2.0, 4.0, 0.5, 1.0]


@given(st.integers(0, 255))
def test_shell_status(status: int) -> None:
    """A death by a signal is 128 plus its number, an exit its own status."""
    assert steps.shell_status(status, 0) == status
    assert steps.shell_status(0, 9) == 137
