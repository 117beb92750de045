"""One loop of the worker: answers the application's system calls, and does what the supervisor says.

Runs in the responder, the process that shares the worker's descriptors (see `responder`).
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time

from jvmbind import wire
from jvmbind.handover.connections import somebody_waits
from jvmbind.handover.drained import Drained
from jvmbind.handover.priority import may_change
from jvmbind.posix import seccomp
from jvmbind.posix.shortage import is_shortage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

    from jvmbind.handover.binds import HandOver
    from jvmbind.handover.lifecycle_pipes import LifecyclePipes
    from jvmbind.spec import ListenSpec

_LOOK_FIRST, _LOOK_LAST = 5, 250  # milliseconds between two looks while nobody waits on the listeners yet
_HIDE_FIRST, _HIDE_LAST = 1, 20  # between two looks whether an application that rehearses waits on its listeners
_CONNECTING = 5  # between two looks whether the application has closed a connection of a bind-only listener
_COUNT_FIRST, _COUNT_AGAIN = 10, 50  # milliseconds, while drained; a connection that is just being accepted has no descriptor yet
_COMPLAIN_AGAIN = 10  # seconds between two times that the same is said
# Milliseconds between two looks whether an application that ends has connected to a listener of its own: when something
# has come to one, and at any rate (with TCP_DEFER_ACCEPT nobody is told).
_WAKE_SOON, _WAKE_AGAIN = 1, 20


class Attendant:
    """Answers and obeys. `control` is -1 where there is no supervisor."""

    def __init__(
        self,
        handover: HandOver,
        specs: Sequence[ListenSpec],
        control: int,
        *,
        memory: int,
        pid: int,
        pipes: LifecyclePipes | None,
        report: Callable[[wire.Message], None],
    ) -> None:
        """Prepare; `memory` reads the worker's memory, `pid` is the worker, `pipes` lead to the Java API."""
        self._notify = -1
        self._told = -1
        self._channel: socket.socket | None = None  # `control`
        self._complaint, self._complain_again = "", 0.0
        self._handover = handover
        self._specs = specs
        self._control = control
        self._memory = memory
        self._pid = pid
        self._machine = seccomp.this_machine()
        self._pipes = pipes
        self._report = report
        self._waiting: list[seccomp.Notification] = []  # parked calls
        self._said_waiting = False
        self._knocked = False
        self._hide_again: float = _HIDE_FIRST
        self._look_again: float = _LOOK_FIRST
        self._look_at = 0.0
        self._drained: Drained | None = None
        self._ends = False
        self._called = -1  # readable when something has come to a listener, while it ends
        self._was_called = False
        self._look_took = 0.0

    @property
    def obeys(self) -> bool:
        """Whether there is a supervisor."""
        return self._control >= 0

    def report(self, text: str) -> None:
        """Say something that belongs into the log."""
        self._report(wire.Note(text))

    def run(self, notify: int, told: int) -> NoReturn:
        """Answer and obey for ever. `notify` is -1 where there is no filter; `told` is readable once the JVM is up."""
        self._notify, self._told = notify, told
        if self._control >= 0:
            self._channel = socket.socket(fileno=self._control)
        self._handover.reserve.fill()
        poll = select.poll()
        for fd in (notify, told, self._control, -1 if self._pipes is None else self._pipes.from_java):
            if fd >= 0:
                poll.register(fd, select.POLLIN)
        while True:
            try:
                self._turn(poll)
            except Exception as error:  # noqa: BLE001 - a dead responder would leave every later bind without an answer
                self._complain(f"hand-over: {type(error).__name__}: {error}")
                time.sleep(0.05)

    def _complain(self, text: str) -> None:
        """Say what went wrong; should it be there to stay, that must not fill the log."""
        now = time.monotonic()
        if text != self._complaint or now >= self._complain_again:
            self._complaint, self._complain_again = text, now + _COMPLAIN_AGAIN
            self.report(text)

    def _turn(self, poll: select.poll) -> None:
        """Wait once and do what has come."""
        sleepers = self._handover.given.sleepers()
        watched = {*sleepers, -1 if self._was_called else self._called} - {-1}
        for fd in watched:
            poll.register(fd, select.POLLIN)
        ready = dict(poll.poll(self._patience()))
        for fd in watched:
            poll.unregister(fd)
        if not ready:
            self._handover.reserve.use(self._handover.given.settle)
        if self._told >= 0:
            self._hear_of_jvm(poll)
        if self._notify in ready:
            if ready[self._notify] & (select.POLLHUP | select.POLLERR):
                poll.unregister(self._notify)  # no thread is covered by the filter any more
            else:
                self._answer_next()
        if self._pipes is not None and self._pipes.from_java in ready:
            self._hear(self._pipes)
        if self._control in ready:
            self._obey_next(poll)
        if self._handover.hides:
            self._handover.reserve.use(self._handover.hide)
        if self._handover.connecting.is_busy and self._handover.connecting.look():
            self._answer_parked()
        if not ready.keys().isdisjoint(sleepers):
            self._handover.given.rouse()
        begun = time.monotonic()
        if self._called in ready:
            # A look costs a read of many descriptors: not more than half of the time, which the application needs to end.
            self._look_at = min(self._look_at, begun + max(_WAKE_SOON / 1000, self._look_took))
            self._was_called = True
        if self._control >= 0 and begun >= self._look_at:
            try:
                self._handover.reserve.use(self._look)
            finally:
                now = time.monotonic()
                self._look_took, self._look_at, self._was_called = now - begun, now + self._pause() / 1000, False

    def _hear(self, pipes: LifecyclePipes) -> None:
        """Pass on what the application says by the Java API."""
        waited = pipes.callbacks
        for message in pipes.read():
            self._report(message)
        if waited and not pipes.callbacks:
            self._look_at = 0.0

    def _hear_of_jvm(self, poll: select.poll) -> None:
        """Notice that the JVM is up, before main's first call is answered: poll(2) may have looked here before it came."""
        try:
            os.eventfd_read(self._told)
        except BlockingIOError:
            return
        poll.unregister(self._told)
        os.close(self._told)
        self._told = -1
        self._handover.jvm_is_up()

    def _patience(self) -> int | None:
        patience = self._own_patience()
        if self._handover.connecting.is_busy:
            return _CONNECTING if patience is None else min(patience, _CONNECTING)
        return patience

    def _own_patience(self) -> int | None:
        if self._handover.given.unsettled:
            return 1
        if self._handover.hides:
            self._hide_again = min(self._hide_again * 1.01, _HIDE_LAST)
            return int(self._hide_again)
        self._hide_again = _HIDE_FIRST
        if self._control < 0:
            return None
        if self._drained is not None or (not self._said_waiting and self._handover.any_accepts):
            return max(1, int((self._look_at - time.monotonic()) * 1000) + 1)
        return None

    def _pause(self) -> float:
        """Return milliseconds until the next look."""
        if self._ends:
            return _WAKE_AGAIN
        if self._drained is not None:
            return _COUNT_AGAIN
        self._look_again = min(self._look_again * 1.2, _LOOK_LAST)
        return self._look_again

    def _answer_next(self) -> None:
        call = seccomp.receive(self._notify)
        if call is not None:
            self._answer(call)

    def _answer(self, call: seccomp.Notification) -> None:
        if call.number in {*self._machine.scheduling.all, self._machine.prctl}:
            may = may_change(call, self._machine, self._pid)
            seccomp.send(self._notify, call.id, error=0 if may else errno.EPERM, proceed=may)
            return
        answer = self._handover.answer(call)
        if answer is None:
            self._waiting.append(call)
        else:
            seccomp.send(self._notify, call.id, value=answer.value, error=answer.error, proceed=answer.proceed)

    def _obey_next(self, poll: select.poll) -> None:
        packet = b""
        try:
            if self._channel is not None:
                packet = self._channel.recv(wire.MAX_SIZE + 1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError as error:
            if is_shortage(error):
                raise
        if not packet:
            poll.unregister(self._control)  # the supervisor is gone; PR_SET_PDEATHSIG ends this process
            return
        try:
            command = wire.decode_command(packet)
        except ValueError as error:
            self._report(wire.Note(f"the supervisor sent {error}"))
            return
        try:
            self._obey(command)
        except OSError as error:
            self._report(wire.Note(f"{type(command).__name__.lower()}: {error}"))

    def _obey(self, command: wire.Command) -> None:
        if isinstance(command, wire.Release):
            self._handover.release(rehearse=bool(command.rehearse))
            self._answer_parked()
        elif isinstance(command, wire.Drain):
            datagrams_only, last = bool(command.datagrams_only), bool(command.last)
            try:
                self._handover.reserve.use(lambda: self._handover.drain(datagrams_only=datagrams_only, last=last))
            except OSError as error:
                self._report(wire.DrainFailed(str(error)))
            else:
                self._report(wire.Moved() if command.datagrams_only else wire.LetGo())
            if not command.datagrams_only:  # also where it failed: it is to end once its clients are served
                if self._drained is None:
                    self._drained = Drained(self._specs, self._memory, self._pid)
                self._drained.begin_again()
                self._look_at = time.monotonic() + _COUNT_FIRST / 1000
                if self._pipes is not None and command.ends:
                    self._hear(self._pipes)  # that it has callbacks may have been said just before
                    self._pipes.drain()
        elif isinstance(command, wire.Undrain):
            self._drained = None
            try:
                self._handover.reserve.use(self._handover.undrain)
            except OSError as error:
                self._report(wire.UndrainFailed(str(error)))
            self._answer_parked()
        elif isinstance(command, wire.Reloading):
            if self._pipes is not None:
                self._pipes.reload()
        elif isinstance(command, wire.Ending):
            self._ends, self._look_at = self._drained is not None, 0.0
            if self._ends and self._called < 0:
                self._called = self._handover.given.watch_own_connections()
        elif self._drained is not None:
            self._drained.close(idle_only=bool(command.idle_only))
            self._look_at = min(self._look_at, time.monotonic() + _COUNT_FIRST / 1000)

    def _answer_parked(self) -> None:
        calls, self._waiting = self._waiting, []
        for call in calls:
            self._answer(call)

    def _look(self) -> None:
        """Report what nobody tells: that somebody waits for connections, and how many there are while drained."""
        if not self._said_waiting and self._drained is None:
            self._said_waiting = self._would_accept()
            if self._said_waiting:
                self._report(wire.Waiting())
        if self._ends:
            self._handover.given.wake_who_is_called()
        elif self._drained is not None:
            callbacks = self._pipes is not None and self._pipes.callbacks
            news = self._drained.look(self._handover.given.known_fds(), callbacks=callbacks)
            if news is not None:
                self._report(news)

    def _would_accept(self) -> bool:
        """Whether somebody waits on every listener; one that rehearses must have taken a connection on each idle socket."""
        fds, given = self._handover.accepting_fds(), self._handover.given
        if self._knocked:
            return given.answered()
        expected = sum(spec.required for spec in self._specs)
        if self._handover.hides or len(fds) < expected or not all(somebody_waits(one, self._memory, self._pid) for one in fds):
            return False
        self._knocked, self._look_again = True, _LOOK_FIRST
        given.knock()
        return given.answered()
