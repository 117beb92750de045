"""The supervisor's loop: waits, tells the state table what happened, carries out what it says.

Runs in the supervisor as the service user. One thread, no callbacks: signals, deaths, messages and requests are
descriptors. What happens to the world is in `jvmbind.supervisor.actions`.
"""

from __future__ import annotations

import os
import select
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

from jvmbind import lifecycle
from jvmbind.lifecycle.start import begin
from jvmbind.lifecycle.table import step
from jvmbind.posix.process import reap_strangers
from jvmbind.posix.signals import read_signals
from jvmbind.supervisor.actions import Actions
from jvmbind.supervisor.control import Control
from jvmbind.supervisor.log import fields_of
from jvmbind.supervisor.probe import PROBE_INTERVAL
from jvmbind.supervisor.status import status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jvmbind.spec import ServiceSpec
    from jvmbind.supervisor.generation import Generation
    from jvmbind.supervisor.replan import Planning

_STOPS = (signal.SIGTERM, signal.SIGINT)
_PASSED_ON = (signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_CHILD = (signal.SIGCHLD,) if os.getpid() == 1 else ()  # PID 1 inherits every orphan of its namespace: pid_namespaces(7)
FORWARDED = tuple(
    number for number in (*_STOPS, signal.SIGHUP, *_PASSED_ON, *_CHILD) if signal.getsignal(number) is not signal.SIG_IGN
)


_PAUSE = 0.02  # seconds after a failure


class Loop:
    """Supervises one service until it ends."""

    def __init__(self, spec: ServiceSpec, listeners: Sequence[int], signals: int) -> None:
        """Start the first generation of `spec` with the descriptors of its listeners; `signals` is a signalfd for FORWARDED."""
        self._signals = signals
        self._next_complaint = 0.0
        self._state, actions = begin(spec, time.monotonic())
        self._world = Actions(spec, listeners)
        self._carry_out(actions)
        self._world.open_log()
        self._control = Control(spec.control, self._world.log, self._delegated) if spec.control else None
        self._planning: Planning | None = None  # what a reload is to run is being read

    def _delegated(self) -> tuple[int, tuple[str, ...]]:
        return self._world.spec.control_gid, self._world.spec.control_allow

    def run(self) -> int:
        """Return the exit status of the service once it has ended."""
        while self._world.status is None:
            self._survive(self._wait)
            while self._world.events and self._world.status is None:
                self._survive(self._step, self._world.events.pop(0))
        if self._planning is not None:
            self._survive(self._planning.close)
        if self._control is not None:
            self._survive(self._control.close)
        self._survive(self._world.close)
        return self._world.status

    def _survive(self, work: Callable[..., None], *arguments: object) -> None:
        """Do one thing; whatever the kernel answers to it, the listeners are not given up for it.

        What was not done is seen again: descriptors stay readable, timers due. A failure that lasts costs little of the
        processor and a line a second.
        """
        try:
            work(*arguments)
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
        for fd in (*by_socket, *by_pidfd, *(self._control.fds() if self._control else ())):
            poll.register(fd, select.POLLIN)
        if self._planning is not None and self._planning.fd >= 0:
            poll.register(self._planning.fd, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(self._patience())}
        if self._signals in ready:
            self._survive(self._take_signals)
        for fd, generation in by_socket.items():
            if fd in ready:
                self._guarded(world.take_messages, generation)
        for fd, generation in by_pidfd.items():
            if fd in ready:
                self._survive(world.take_death, generation)
        if self._control is not None:
            for client, command in self._control.requests(ready):
                try:
                    self._answer_requests([(client, command)])
                except Exception as error:  # noqa: BLE001 - see _survive; who asked does not wait for ever
                    self._complain(error)
                    self._control.answer(client, {"ok": False, "error": f"{type(error).__name__}: {error}"})
        if self._planning is not None and self._planning.is_done(readable=self._planning.fd in ready):
            self._end_planning(self._planning)
        world.look()

    def _guarded(self, work: Callable[[Generation], None], generation: Generation) -> None:
        """Do what a worker's words ask for; whatever they bring about, the listeners are not given up for it."""
        try:
            work(generation)
        except OSError as error:  # the kernel's word, not the worker's; what it has said can still be read
            self._complain(error)
        except Exception as error:  # noqa: BLE001 - see above
            self._world.log.error("generation %d: %s: %s; it is ended", generation.number, type(error).__name__, error)
            generation.process.kill(signal.SIGKILL)

    def _patience(self) -> float | None:
        """Return milliseconds until something is due, None for ever."""
        world = self._world
        if world.probe is not None:
            return PROBE_INTERVAL * 1000
        deadlines = [world.next_deadline(), self._planning.deadline if self._planning is not None else None]
        now = time.monotonic()
        pauses = [generation.paused_until for generation in world.generations.values()]
        pauses += [self._control.paused_until] if self._control is not None else []
        deadlines += [moment for moment in pauses if moment > now]
        deadline = min((one for one in deadlines if one is not None), default=None)
        return None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000 + 1

    def _take_signals(self) -> None:
        for received in read_signals(self._signals):
            now = time.monotonic()
            # The terminal sends its signals to the whole foreground group, so to the workers as well; but a hang-up to
            # the leader of the session alone: setpgid(2), tty_ioctl(4).
            if received.number in _STOPS or (received.number == signal.SIGHUP and received.from_kernel):
                stop = lifecycle.Stop(now, received.number, delivered=received.from_kernel and received.number != signal.SIGHUP)
                self._world.events.append(stop)
            elif received.number == signal.SIGHUP:
                self._reload()
            elif received.number == signal.SIGCHLD:
                planning = {self._planning.pid} if self._planning is not None else set()
                reap_strangers(self._world.own_pids() | planning)
            elif not received.from_kernel:
                self._world.pass_on(received.number)

    def _reload(self) -> str:
        """Begin a reload by reading the configuration again; return why not, or ""."""
        if self._planning is not None:
            failure = "the service is reloading; one at a time"
        elif self._state.phase is not lifecycle.Phase.UP:
            failure = f"the service is {self._state.phase.value}; a reload needs one that is up{self._world.unclaimed()}"
        else:
            try:
                from jvmbind.supervisor.replan import Planning  # noqa: PLC0415 - a reload alone needs it

                self._planning, failure = Planning(self._world.spec, self._world.environ), ""
            except Exception as error:  # noqa: BLE001 - an upgrade may have changed the files; the listeners are not given up for it
                failure = f"the configuration could not be read: {type(error).__name__}: {error}"
        if failure:
            self._world.refuse_reload(failure)
        return failure

    def _end_planning(self, planning: Planning) -> None:
        self._planning = None
        if self._state.phase is lifecycle.Phase.UP:
            try:
                failure = self._world.take_plan(planning.result(self._world.listeners))
            except Exception as error:  # noqa: BLE001 - see _reload
                failure = f"the configuration could not be used: {type(error).__name__}: {error}"
        else:
            planning.close()
            failure = f"the service is {self._state.phase.value}; a reload needs one that is up"
        if failure:
            self._world.refuse_reload(failure)
            self._world.answer_waiting(failure)
        else:
            self._step(lifecycle.Reload(time.monotonic()))

    def _answer_requests(self, requests: Sequence[tuple[int, str]]) -> None:
        control = self._control
        if control is None:
            return
        for client, command in requests:
            if command == "status":
                control.answer(client, {"ok": True, **status_of(self._world, self._state)})
            elif command == "dump":
                ok = self._world.pass_on(signal.SIGQUIT)
                control.answer(client, {"ok": ok, "error": "" if ok else "no JVM is up yet"})
            elif command == "stop":
                control.answer(client, {"ok": True})
                self._world.events.append(lifecycle.Stop(time.monotonic(), signal.SIGTERM))
            elif command == "restart":
                ok = self._state.phase is lifecycle.Phase.UP
                control.answer(client, {"ok": ok, "error": "" if ok else f"the service is {self._state.phase.value}"})
                self._world.events.append(lifecycle.Restart(time.monotonic()))
            elif command == "reload":
                failure = self._reload()
                if failure:
                    control.answer(client, {"ok": False, "error": failure})
                else:
                    self._world.when_reloaded.append(partial(control.answer, client, asked_by=control.client(client)))
