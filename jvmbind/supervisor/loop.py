"""The supervisor's loop: waits, tells the state table what happened, carries out what it says.

Runs in the supervisor as the service user. One thread, no callbacks: signals, deaths, messages and requests are
descriptors. What happens to the world is in `jvmbind.supervisor.actions`.
"""

from __future__ import annotations

import os
import select
import signal
import time

from jvmbind import lifecycle
from jvmbind.lifecycle import Change, Phase
from jvmbind.lifecycle.start import begin
from jvmbind.lifecycle.table import step
from jvmbind.posix.process import reap_strangers
from jvmbind.posix.signals import read_signals
from jvmbind.supervisor.actions import Actions
from jvmbind.supervisor.control import Control
from jvmbind.supervisor.log import fields_of
from jvmbind.supervisor.looking import Looking
from jvmbind.supervisor.probe import PROBE_INTERVAL
from jvmbind.supervisor.program import RELOAD_TO, Program
from jvmbind.supervisor.reports import unclaimed
from jvmbind.supervisor.requests import Requests
from jvmbind.supervisor.status import status_of
from jvmbind.supervisor.succession import Succession
from jvmbind.supervisor.terminal import KEYS, STOPS, SUSPENDS, Terminal, resume, suspend
from jvmbind.supervisor.upgrade import versions
from jvmbind.supervisor.waiting import waits_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from jvmbind.spec import ServiceSpec
    from jvmbind.supervisor.dump import Dump
    from jvmbind.supervisor.generation import Generation
    from jvmbind.supervisor.replan import Planning
    from jvmbind.supervisor.requests import Answer
    from jvmbind.supervisor.starting import Starter
    from jvmbind.supervisor.upgrade import Work

_PAUSE = 0.02  # seconds after a failure
_DUMP_INTERVAL = 0.05  # seconds between two looks at a thread dump that is being written


class Loop(Succession):
    """Supervises one service until it ends."""

    def __init__(
        self,
        spec: ServiceSpec,
        listeners: Sequence[int],
        signals: int,
        starter: Starter,
        *,
        resumed: dict[str, Any] | None = None,
    ) -> None:
        """Let `starter` start the first generation of `spec`, with the descriptors of its listeners.

        `signals` is a signalfd for FORWARDED. `resumed` is the state of another version, of which `jvmbind.supervisor.resume`
        fills in the rest: nothing is started then.
        """
        self._signals = signals
        self._terminal = Terminal()
        self._next_complaint = 0.0
        self._state, actions = begin(spec, time.monotonic())
        self._world = Actions(spec, listeners, starter)
        carried = None
        if resumed is None:
            self._carry_out(actions)
            self._world.open_log()
        else:
            carried = resumed["control"]
        socket_is_there = spec.control and (resumed is None or carried is not None)
        self._control = Control(spec.control, self._world.log, self._delegated, carried) if socket_is_there else None
        self._program = Program(self._world.notifier)
        self._requests = Requests()
        self._world.changes.tell = self._requests.done
        self._looking = Looking()
        self._dump: Dump | None = None  # that somebody waits for
        self._planning: Planning | None = None  # what a reload or a restart is to run is being read
        self._asked = Change.NONE  # which of the two
        Succession.__init__(self)

    @property
    def never_started(self) -> bool:
        """Whether there has been no worker at all."""
        return not self._world.deaths and not self._world.generations

    def _delegated(self) -> tuple[int, tuple[str, ...]]:
        return self._world.spec.control_gid, self._world.spec.control_allow

    def run(self) -> int | Work:
        """Return the exit status of the service once it has ended, or what goes on with it in the place of this version."""
        while True:
            work = self._make_way()
            if work is not None:
                return work
            # Before the first wait too: a worker that could not be started is no longer waited for.
            while self._world.events and self._world.status is None and not self._waits_for_trial():
                self._survive(self._step, self._world.events.pop(0))
            if self._world.status is not None:
                break
            self._survive(self._program.tell, self._world, self._state)
            self._survive(self._wait)
        if self._planning is not None:
            self._survive(self._planning.close)
        self._survive(self._upgrading.close)
        self._survive(self._world.close)
        self._survive(self._requests.done, "stop", {"ok": True, "error": "", "status": self._world.status})
        for what in (Change.RELOAD.value, Change.RESTART.value, "dump", "status", "upgrade"):
            self._survive(self._requests.done, what, {"ok": False, "error": "the service ends"})
        self._survive(self._program.ended, self._world, self._state)
        if self._control is not None:
            self._survive(self._control.close)
        self._survive(self._world.outlet.close)
        return self._world.status

    def _survive(self, work: Callable[..., None], *arguments: object, **named: object) -> None:
        """Do one thing; whatever the kernel answers to it, the listeners are not given up for it.

        What was not done is seen again: descriptors stay readable, timers due. A failure that lasts costs little of the
        processor and a line a second.
        """
        try:
            work(*arguments, **named)
        except Exception as error:  # noqa: BLE001 - see above
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        now = time.monotonic()
        if now >= self._next_complaint:
            self._next_complaint = now + 1
            what = f"{type(error).__name__}: {error}".rstrip(": ")
            self._world.log.error("%s; the service goes on", what, extra=fields_of("failure"))
        time.sleep(_PAUSE)

    def _step(self, event: lifecycle.Event) -> None:
        self._state, actions = step(self._world.planned_spec, self._state, event)
        if self._state.phase is not self._world.phase and self._state.phase is lifecycle.Phase.STOPPING:
            self._world.stopping()
        self._world.phase = self._state.phase
        serving = self._state.one(lifecycle.Role.SERVING)
        self._world.serving = serving.number if serving is not None else 0
        self._world.last_serving = self._world.serving or self._world.last_serving
        self._carry_out(actions)

    def _carry_out(self, actions: Sequence[lifecycle.Action]) -> None:
        for action in actions:
            self._survive(self._world.do, action)

    def _wait(self) -> None:
        world = self._world
        poll = select.poll()
        poll.register(self._signals, select.POLLIN)
        by_socket: dict[int, Generation] = {}
        by_pidfd: dict[int, Generation] = {}
        for generation in world.generations.values():
            by_pidfd[generation.process.pidfd] = generation
            if generation.socket.fileno() >= 0 and time.monotonic() >= generation.paused_until:
                by_socket[generation.socket.fileno()] = generation
        for fd in (*by_socket, *by_pidfd, *(self._control.fds() if self._control else ()), *self._program.fds()):
            poll.register(fd, select.POLLIN)
        for fd in world.unserved.fds():
            poll.register(fd, select.POLLIN)
        if self._planning is not None and self._planning.fd >= 0:
            poll.register(self._planning.fd, select.POLLIN)
        for fd in self._upgrading.fds():
            poll.register(fd, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(self._patience())}
        if self._signals in ready:
            self._survive(self._take_signals)
        for fd, generation in by_socket.items():
            if fd in ready:
                self._guarded(world.take_messages, generation)
        for fd, generation in by_pidfd.items():
            if fd in ready:
                self._survive(world.take_death, generation)
        self._survive(world.unserved.look, self._state)
        self._survive(world.unserved.refuse, ready)
        if self._program.has_died(ready):
            world.log.info("the program that started this service has ended; so does the service", extra=fields_of("orphan"))
            world.events.append(lifecycle.Stop(time.monotonic(), signal.SIGTERM))
        self._survive(self._serve, ready)
        if self._planning is not None and self._planning.is_done(readable=self._planning.fd in ready):
            self._survive(self._end_planning, self._planning)
        self._survive(self._upgrading.look, ready)
        world.look()

    def _serve(self, ready: set[int]) -> None:
        """Answer who asks, and tell who waits."""
        asked: list[tuple[Answer, str, list[int]]] = [
            (self._program.reply(number), word, fds) for number, word, fds in self._program.requests(ready)
        ]
        if self._control is not None:
            asked += [(self._control.reply(client), word, []) for client, word in self._control.requests(ready)]
        for answer, command, fds in asked:
            try:
                self._answer(answer, command, fds)
            except Exception as error:  # noqa: BLE001 - see _survive; who asked does not wait for ever
                self._complain(error)
                answer({"ok": False, "error": f"{type(error).__name__}: {error}"})
        requests = self._requests
        if self._dump is not None:
            self._survive(self._look_at_dump, requests, self._dump)
        try:
            looks = self._looking.turn(self._world.generations.values())
            if looks is not None:
                requests.done("status", {"ok": True, **status_of(self._world, self._state, looks), **versions()})
        except Exception as error:  # noqa: BLE001 - see _survive
            self._complain(error)
            requests.done("status", {"ok": False, "error": f"{type(error).__name__}: {error}"})
        requests.speak(self._waits_for)

    def _guarded(self, work: Callable[[Generation], None], generation: Generation) -> None:
        """Do what a worker's words ask for; whatever they bring about, the listeners are not given up for it."""
        try:
            work(generation)
        except OSError as error:  # the kernel's word, not the worker's; what it has said can still be read
            self._complain(error)
        except Exception as error:  # noqa: BLE001 - see above
            self._world.log.error("generation %d: %s: %s; ending it", generation.number, type(error).__name__, error)
            generation.process.kill(signal.SIGKILL)

    def _waits_for(self) -> str:
        if self._planning is not None:
            return "for the configuration to be read"
        if self._upgrading.is_on:
            return "for the installed version to be tried"
        found = waits_for(self._world, self._state)
        if self._dump is None:
            return found
        dump = f"for the thread dump to be written, {max(0.0, self._dump.deadline - time.monotonic()):.0f} s left"
        return f"{found}; {dump}" if found else dump

    def _patience(self) -> float | None:
        """Return milliseconds until something is due, None for ever."""
        world = self._world
        if world.probe is not None:
            return PROBE_INTERVAL * 1000
        deadlines = [world.next_deadline(), world.unserved.deadline(), self._looking.deadline()]
        deadlines += [self._planning.deadline] if self._planning is not None else []
        deadlines += [self._upgrading.deadline()]
        deadlines += [time.monotonic() + _DUMP_INTERVAL] if self._dump is not None else []
        deadlines.append(self._requests.deadline())
        now = time.monotonic()
        pauses = [generation.paused_until for generation in world.generations.values()]
        pauses += [self._control.paused_until, self._control.root_paused_until] if self._control is not None else []
        deadlines += [moment for moment in pauses if moment > now]
        deadline = min((one for one in deadlines if one is not None), default=None)
        return None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000 + 1

    def _take_signals(self) -> None:
        for received in read_signals(self._signals):
            now = time.monotonic()
            by_key = received.from_kernel and received.number in KEYS
            if received.number in STOPS or (received.number == signal.SIGHUP and self._terminal.is_hang_up(received)):
                if by_key:
                    self._world.keys.add(received.number)
                self._world.events.append(lifecycle.Stop(now, received.number))
            elif received.number == signal.SIGHUP:
                self._begin(Change.RELOAD)
            elif received.number == signal.SIGCHLD:
                reap_strangers(self._world.own_pids())
            elif received.number in SUSPENDS:
                workers = {one.process: bool(one.spec.script) for one in self._world.generations.values()}
                self._world.skip(suspend(received.number, workers))
            elif received.number == signal.SIGCONT:
                resume(one.process for one in self._world.generations.values())
            elif (by_key or not received.from_kernel) and not self._world.pass_on(received.number, by_key=by_key):
                # Of the signals that are passed on, this is the one that every JVM answers, with nothing of the application's.
                self._world.dump_waits |= received.number == signal.SIGQUIT

    def _begin(self, asked: Change, given: Sequence[int] = ()) -> dict[str, Any]:
        """Begin a reload or a restart by reading the configuration again; return the answer where that cannot be, or {}.

        `given` is the new version in a memory file, and the sockets of its listeners, where the program has sent one.
        """
        if self._is_deferred(asked, given):
            return {}
        phase, change, word, busy, other = self._state.phase, self._state.change, asked.value, True, True
        if self._planning is not None:
            failure = f"the service is {'reloading' if self._asked is Change.RELOAD else 'restarting'}; one at a time"
        elif phase in {Phase.RELOADING, Phase.RESTARTING, Phase.STOPPING, Phase.ENDED}:
            failure = f"the service is {phase.value}; one at a time"
        elif change is not Change.NONE:  # its old generation has died
            failure = f"the service is {phase.value}, and a {change.value} is on its way; one at a time"
        elif asked is Change.RELOAD and phase is not Phase.UP:
            waits = waits_for(self._world, self._state)
            failure = f"the service is {phase.value}; a reload needs a service that is up{unclaimed(self._world)}; it waits {waits}"
            other = False
        else:
            try:
                from jvmbind.supervisor.replan import Planning  # noqa: PLC0415 - a reload or restart alone needs it

                self._planning, failure = Planning(self._world.spec, self._world.environ, given), ""
                self._world.planning_pid = self._planning.pid
                self._asked = asked
            except Exception as error:  # noqa: BLE001 - an upgrade may have changed the files; the listeners are not given up for it
                failure, busy = f"the configuration could not be read: {type(error).__name__}: {error}", False
        if failure:
            failure = self._world.changes.refuse(asked, failure, busy=busy)
            return {"ok": False, "error": failure, "busy": busy and other}
        self._world.log.info("%s: the configuration is read", word, extra={"EVENT": word})
        return {}

    def _end_planning(self, planning: Planning) -> None:
        self._planning, self._world.planning_pid = None, 0
        world, asked, phase = self._world, self._asked, self._state.phase
        needs = {Phase.UP} if asked is Change.RELOAD else {Phase.UP, Phase.STARTING, Phase.BACKING_OFF}
        fits = phase in needs and self._state.change is Change.NONE
        if fits:
            try:
                failure = world.changes.take(asked, planning.result(world.listeners), planning.next_environ)
            except Exception as error:  # noqa: BLE001 - see _begin
                failure = f"the configuration could not be used: {type(error).__name__}: {error}"
        else:
            planning.close()
            failure = f"the service is {phase.value}"
            failure += "; a reload needs a service that is up" if asked is Change.RELOAD else ""
        if failure:
            failure = world.changes.refuse(asked, failure, busy=not fits)
            world.changes.answer_waiting(asked, {"ok": False, "error": failure, **planning.refusal})
            return
        self._requests.begun(asked.value)
        if asked is Change.RESTART:
            self._step(lifecycle.Restart(time.monotonic()))
            return
        mode = world.planned_spec.reload
        alone = world.alone() if mode == "auto" else ""
        world.changes.alone = alone or ("reload = 'restart'" if mode == "restart" else "")
        if world.changes.alone:
            world.log.info(
                "reload by a restart, the listeners stay bound: %s", world.changes.alone, extra={"EVENT": "reload-alone"}
            )
        self._step(lifecycle.Reload(time.monotonic(), alone))

    def _begin_dump(self) -> str:
        """Ask the JVMs for a thread dump; return why not, or ""."""
        from jvmbind.supervisor.dump import Dump  # noqa: PLC0415 - a dump alone needs it

        asked = self._world.addressed()
        if not asked:
            return "no JVM is up yet"
        dump = Dump(asked)
        if not dump.refused:
            self._dump = dump
            self._world.pass_on(signal.SIGQUIT)
        return dump.refused

    def _look_at_dump(self, requests: Requests, dump: Dump) -> None:
        failure = dump.result()
        if failure is not None:
            self._dump = None
            requests.done("dump", {"ok": not failure, "error": failure})

    def _answer(self, answer: Answer, command: str, fds: Sequence[int]) -> None:
        if command == "status":
            self._requests.add(answer, command)
            self._looking.want()
        elif command == "dump":
            failure = self._begin_dump()
            if failure:
                answer({"ok": False, "error": failure})
            else:
                self._requests.add(answer, command, begun=True)
        elif command == "upgrade":
            self._answer_upgrade(answer)
        elif command == "stop":
            self._requests.add(answer, command, begun=True)
            self._world.events.append(lifecycle.Stop(time.monotonic(), signal.SIGTERM))
        else:
            asked = Change.RELOAD if command == RELOAD_TO else Change(command)
            try:
                if command == RELOAD_TO and not fds:  # this process has no room for more: EMFILE, recvmsg(2)
                    refusal = {
                        "ok": False,
                        "error": self._world.changes.refuse(
                            asked,
                            "the new version has not come with its request; expected room for more descriptors (limit nofile)",
                        ),
                    }
                else:
                    refusal = self._begin(asked, fds)
            finally:
                for fd in fds:
                    os.close(fd)
            if refusal:
                answer(refusal)
            else:
                self._requests.add(answer, asked.value)
