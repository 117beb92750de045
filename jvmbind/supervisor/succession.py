"""How one version of the supervisor follows another: when that is tried, what waits meanwhile, and where the next one goes on.

Runs in the supervisor as the service user: a part of its loop. `jvmbind.supervisor.upgrade` has what is done.
"""

from __future__ import annotations

import gc

import jvmbind
from jvmbind import lifecycle
from jvmbind.lifecycle import Change, Phase
from jvmbind.supervisor.log import fields_of
from jvmbind.supervisor.upgrade import Trial, differs, files, let_go, load, state_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from typing import Any

    from jvmbind.supervisor.actions import Actions
    from jvmbind.supervisor.control import Control
    from jvmbind.supervisor.dump import Dump
    from jvmbind.supervisor.looking import Looking
    from jvmbind.supervisor.program import Program
    from jvmbind.supervisor.replan import Planning
    from jvmbind.supervisor.requests import Answer, Requests
    from jvmbind.supervisor.upgrade import Work


class Upgrading:
    """At most one trial, and what follows from it."""

    def __init__(self, world: Actions) -> None:
        """Nobody has asked for it."""
        self._world = world
        self._trial: Trial | None = None
        self._is_over = False
        self._failed = 0  # the files with which it has failed: without being asked they are not tried again

    @property
    def is_on(self) -> bool:
        """Whether a version is being tried."""
        return self._trial is not None

    @property
    def is_over(self) -> bool:
        """Whether `result` has something to say."""
        return self._trial is not None and self._is_over

    @property
    def holds(self) -> bool:
        """Whether no worker is to be started now."""
        return self._trial is not None and differs()

    def is_wanted(self) -> bool:
        """Whether the version on disk is another, and has not been found wanting yet."""
        return differs() and (not self._failed or files() != self._failed)

    def is_due(self, event: lifecycle.Event) -> bool:
        """Whether the version on disk is to be tried before an event, as that may start a worker."""
        starts = isinstance(event, lifecycle.Died | lifecycle.StandbyDue)
        return (starts or (isinstance(event, lifecycle.Timeout) and event.name == "back-off")) and self.is_wanted()

    def begin(self, state: bytes, who: str) -> None:
        """Try the version on disk; `who` asks, "" where it is tried because another one was installed. Raises OSError."""
        self._is_over = False
        self._trial = Trial(state)
        self._world.planning_pid = self._trial.pid
        why = f"{who} asks" if who else "other files were installed"
        text = "upgrade: %s; trying version %s"
        self._world.log.info(text, why, self._trial.version or "(unknown)", extra=fields_of("upgrade"))

    def fds(self) -> list[int]:
        """Return the descriptors to wait for."""
        return [self._trial.fd] if self._trial is not None and not self._is_over else []

    def deadline(self) -> float | None:
        """Return when `look` is to be called at the latest (monotonic)."""
        return self._trial.deadline if self._trial is not None else None

    def look(self, ready: Collection[int]) -> None:
        """Read what the trial says."""
        if self._trial is not None and not self._is_over:
            self._is_over = self._trial.is_done(readable=self._trial.fd in ready)

    def result(self) -> str:
        """Return why the version on disk cannot go on, or ""."""
        return self._trial.result() if self._trial is not None else "nothing was tried"

    def refuse(self, requests: Requests, why: str, *, busy: bool) -> None:
        """Say that this version goes on."""
        version, tried = (self._trial.version, self._trial.files) if self._trial is not None else ("", 0)
        self.close()
        self._failed = 0 if busy else tried
        failure = f"version {version or '(unknown)'} cannot take over: {why}; version {jvmbind.__version__} goes on"
        self._world.log.error("upgrade failed: %s", failure, extra=fields_of("upgrade-failed"))
        requests.done("upgrade", {"ok": False, "error": failure, "busy": busy})

    def done(self, requests: Requests, before: str) -> None:
        """Say that this version goes on in the place of another."""
        now = jvmbind.__version__
        self._world.log.info("upgrade done: version %s goes on in the place of %s", now, before, extra=fields_of("upgrade-done"))
        requests.done("upgrade", {"ok": True, "error": "", "version": now, "before": before})

    def close(self) -> None:
        """End a trial."""
        if self._trial is not None:
            self._trial.close()
            self._trial, self._world.planning_pid = None, 0


class Succession:
    """The part of the loop that lets another version follow."""

    if TYPE_CHECKING:
        _state: lifecycle.State
        _world: Actions
        _control: Control | None
        _program: Program
        _requests: Requests
        _looking: Looking
        _dump: Dump | None
        _planning: Planning | None
        _asked: Change
        _survive: Callable[..., None]
        _begin: Callable[[Change], dict[str, Any]]
        run: Callable[[], int | Work]

    def __init__(self) -> None:
        """No other version is tried."""
        self._upgrading = Upgrading(self._world)
        self._deferred: list[Change] = []  # what is begun once the version on disk has been tried
        self._probes = False  # the version before has given up a probe

    def resume_requests(self, waiters: Sequence[tuple[tuple[str, int], str]], death: int, told: bool, *, probes: bool) -> None:
        """Take over who waits, and what the program has been told: the death of that place, and the last change."""
        for (kind, number), what in waiters:
            if kind == "program":
                self._requests.resume(self._program.reply(number), what)
            elif self._control is not None and self._control.knows(number):
                self._requests.resume(self._control.reply(number), what)
            if what == "status":
                self._looking.want()
        self._program.resume(self._world, death, change_was_told=told)
        self._probes = probes

    def resume(self, before: str) -> int | Work:
        """Go on in the place of version `before`, which has let everything go; as `run`."""
        self._survive(self._world.open_log)
        self._survive(self._upgrading.done, self._requests, before)
        if self._probes:
            self._survive(self._probe_again)
        self._survive(self._begin_deferred)
        gc.collect()  # the version before
        return self.run()

    @property
    def world(self) -> Actions:
        """What this supervisor touches."""
        return self._world

    def _begin_deferred(self) -> None:
        deferred, self._deferred = self._deferred, []
        for asked in deferred:
            refusal = self._begin(asked)
            if refusal:
                self._requests.done(asked.value, refusal)

    def _probe_again(self) -> None:
        generation = self._world.generations.get(self._world.probed)
        if generation is not None:
            self._world.start_probe(generation, rehearsal=False)

    def _answer_upgrade(self, answer: Answer) -> None:
        busy = self._busy()
        if busy:
            answer({"ok": False, "error": f"{busy}; one at a time", "busy": True})
            return
        if not self._upgrading.is_on:
            self._begin_upgrade(answer.who)
        self._requests.add(answer, "upgrade", begun=True)

    def _busy(self) -> str:
        """Return what is on its way that no other version can go on with, or ""."""
        phase = self._state.phase
        if self._planning is not None or self._world.changes.asked is not Change.NONE or self._state.change is not Change.NONE:
            asked = next((one for one in (self._world.changes.asked, self._state.change) if one is not Change.NONE), self._asked)
            return f"a {asked.value} is on its way"
        if phase not in {Phase.STARTING, Phase.UP, Phase.BACKING_OFF}:
            return f"the service is {phase.value}"
        return "a thread dump is being written" if self._dump is not None else ""

    def _waits_for_trial(self) -> bool:
        """Whether the first event waits: it may start a worker, which the version on disk is to do where that is another."""
        events = self._world.events
        if any(isinstance(one, lifecycle.Stop) for one in events):
            self._upgrading.close()
        elif not self._upgrading.is_on and self._upgrading.is_due(events[0]) and not self._busy():
            self._survive(self._begin_upgrade, "")
        return self._upgrading.holds

    def _begin_upgrade(self, who: str) -> None:
        self._upgrading.begin(state_of(self), who)

    def _make_way(self) -> Work | None:
        """Let the version on disk go on, once it has been found that it can; return it, None where it does not."""
        if not self._upgrading.is_over:
            return None
        work: Work | None = None
        busy = ""
        try:
            failure = self._upgrading.result()
            busy = "" if failure else self._busy()
            if not failure and not busy:
                work, failure = load(self)
        except Exception as error:  # noqa: BLE001 - see _survive
            failure = f"{type(error).__name__}: {error}"
        if work is None:
            self._survive(self._upgrading.refuse, self._requests, failure or f"{busy}; ask again", busy=bool(busy))
            self._survive(self._begin_deferred)
            return None
        self._survive(let_go, self)
        return work

    def _is_deferred(self, asked: Change, given: Sequence[int]) -> bool:
        """Whether a reload or a restart waits for the version on disk; one for which something was `given` does not."""
        if given and self._upgrading.is_on:
            self._upgrading.refuse(self._requests, "another reload was asked for meanwhile; ask again", busy=True)
        elif self._upgrading.is_on or (not given and self._upgrading.is_wanted() and not self._busy()):
            self._survive(self._defer, asked)
        return not given and asked in self._deferred

    def _defer(self, asked: Change) -> None:
        """Let the version on disk do it, if it can go on."""
        if not self._upgrading.is_on:
            self._begin_upgrade("")
        if self._upgrading.is_on and asked not in self._deferred:
            self._deferred.append(asked)
