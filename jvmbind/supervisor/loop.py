"""The supervisor's loop: waits, tells the state table what happened, carries out what it says.

Runs in the supervisor as the service user. One thread, no callbacks: signals, deaths and messages are descriptors.
"""

from __future__ import annotations

import os
import select
import signal
import time
from typing import TYPE_CHECKING

from jvmbind import machine, wire
from jvmbind.errors import EX_OSERR
from jvmbind.posix.signals import read_signals
from jvmbind.supervisor.crash import describe_death
from jvmbind.supervisor.generation import Generation

if TYPE_CHECKING:
    import logging
    from collections.abc import Sequence

    from jvmbind.posix.process import Ended
    from jvmbind.spec import ServiceSpec

_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_PASSED_ON = (signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
FORWARDED = tuple(number for number in (*_STOPS, *_PASSED_ON) if signal.getsignal(number) is not signal.SIG_IGN)


class Loop:
    """Supervises one service until it ends."""

    def __init__(self, spec: ServiceSpec, listeners: Sequence[int], signals: int) -> None:
        """Prepare for `spec` with the descriptors of its listeners and a signalfd for FORWARDED."""
        self._spec = spec
        self._listeners = listeners
        self._signals = signals
        self._generation: Generation | None = None
        self._deadline: float | None = None
        self._status: int | None = None
        self._events: list[machine.Event] = []
        self._state, actions = machine.begin(spec, time.monotonic())
        self._carry_out(actions)
        self._log = self._open_log()

    def _open_log(self) -> logging.Logger:
        from jvmbind.supervisor.log import open_log  # noqa: PLC0415 - after the worker was started: see jvmbind.supervisor.log

        return open_log(quiet=self._spec.quiet)

    def run(self) -> int:
        """Return the exit status of the service once it has ended."""
        while self._status is None:
            self._wait()
            while self._events and self._status is None:
                self._state, actions = machine.step(self._spec, self._state, self._events.pop(0))
                self._carry_out(actions)
        return self._status

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._signals, select.POLLIN)
        generation = self._generation
        if generation is not None:
            poll.register(generation.process.pidfd, select.POLLIN)
            if generation.socket.fileno() >= 0:
                poll.register(generation.socket, select.POLLIN)
        milliseconds = None
        if self._deadline is not None:
            milliseconds = max(0.0, self._deadline - time.monotonic()) * 1000 + 1
        ready = {fd for fd, _ in poll.poll(milliseconds)}
        if self._signals in ready:
            self._take_signals()
        if generation is not None:
            if generation.socket.fileno() in ready:
                self._take_messages(generation)
            if generation.process.pidfd in ready:
                self._take_death(generation)
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self._deadline = None
            self._events.append(machine.Timeout(time.monotonic()))

    def _take_signals(self) -> None:
        for received in read_signals(self._signals):
            # The terminal sends its signals to the whole foreground group, so to the worker as well.
            if received.number in _STOPS:
                stop = machine.Stop(time.monotonic(), received.number, delivered=received.from_kernel)
                self._events.append(stop)
            elif self._generation is not None and not received.from_kernel:
                self._generation.process.kill(received.number)

    def _take_messages(self, generation: Generation) -> None:
        try:
            messages = generation.messages()
        except ValueError as error:
            self._log.error("generation %d sent %s; its messages are no longer read", generation.number, error)
            generation.socket.close()
            return
        was_up = generation.has_claimed_all
        for message in messages:
            self._take_message(generation, message)
        if generation.has_claimed_all and not was_up:
            self._events.append(machine.Claimed(time.monotonic()))

    def _take_message(self, generation: Generation, message: wire.Message) -> None:
        if isinstance(message, wire.Main):
            generation.main_runs = True
        elif isinstance(message, wire.Claimed):
            generation.claimed.add(message.listener)
            listener = self._spec.listeners[message.listener]
            self._log.info(
                "listener %r (%s/%s) handed over to generation %d, fd %d",
                listener.name,
                listener.address,
                listener.protocol,
                generation.number,
                message.fd,
            )
        elif isinstance(message, wire.Tried):
            generation.remember_tried(message.text)
            if "refused" in message.text:
                self._log.warning("generation %d: bind of %s", generation.number, message.text)
        elif isinstance(message, wire.Note):
            self._log.warning("generation %d: %s", generation.number, message.text)

    def _take_death(self, generation: Generation) -> None:
        ended = generation.process.reap()
        if ended is None:
            return
        if generation.socket.fileno() >= 0:
            self._take_messages(generation)
            generation.socket.close()
        self._generation = None
        self._report_death(generation, ended)
        self._events.append(machine.Died(time.monotonic(), ended.status, ended.signal))

    def _report_death(self, generation: Generation, ended: Ended) -> None:
        asked = self._state.phase in {machine.Phase.STOPPING, machine.Phase.DUMPING}
        if ended.signal and not (asked and ended.signal == signal.SIGKILL):
            uptime = time.monotonic() - generation.started
            text = describe_death(generation.process.pid, ended, self._spec.java_arguments)
            when = "" if generation.main_runs else " during its start"
            self._log.error(
                "generation %d (pid %d) died%s after %.1f s: %s",
                generation.number,
                generation.process.pid,
                when,
                uptime,
                text,
            )

    def _carry_out(self, actions: Sequence[machine.Action]) -> None:
        for action in actions:
            if isinstance(action, machine.Spawn):
                self._spawn(action.generation)
            elif isinstance(action, machine.Kill):
                self._kill(action.signal)
            elif isinstance(action, machine.SetTimer):
                self._deadline = time.monotonic() + action.seconds
            elif isinstance(action, machine.ClearTimer):
                self._deadline = None
            elif isinstance(action, machine.ReportUnclaimed):
                self._report_unclaimed()
            elif isinstance(action, machine.ReportBackoff):
                self._log.info("the next generation starts in %.1f s; the listeners stay bound", action.seconds)
            else:
                self._status = action.status

    def _spawn(self, number: int) -> None:
        try:
            self._generation = Generation(number, self._spec, self._listeners)
        except OSError as error:
            os.write(2, f"jvmbind: cannot start a worker: {error}\n".encode())
            self._events.append(machine.SpawnFailed(time.monotonic(), EX_OSERR))

    def _kill(self, number: int) -> None:
        if self._generation is None:
            return
        if number == signal.SIGQUIT:
            self._log.warning(
                "generation %d has not stopped after %.0f s; thread dump, then SIGKILL",
                self._generation.number,
                self._spec.stop_timeout,
            )
        self._generation.process.kill(number)

    def _report_unclaimed(self) -> None:
        generation = self._generation
        if generation is None:
            return
        tried = ", ".join(generation.tried) or "none"
        for index, listener in enumerate(self._spec.listeners):
            if index not in generation.claimed:
                self._log.warning(
                    "listener %r (%s/%s) was not claimed within %.0f s; other addresses that the application bound: %s",
                    listener.name,
                    listener.address if listener.app_port == listener.port else f"{listener.address}:{listener.app_port}",
                    listener.protocol,
                    self._spec.start_timeout,
                    tried,
                )
