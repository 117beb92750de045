"""What the handles for threads and for asyncio have in common: all that waits for nothing.

Runs in the program. Only the process that started a service may use its handle: a forked child has copies of the
descriptors, and would take the words of the service away from its parent.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
import warnings
from typing import TYPE_CHECKING

from jvmbind.config.arguments import check_type
from jvmbind.errors import ArgumentValueError
from jvmbind.service.child import Child
from jvmbind.service.failures import ForeignHandleError, ServiceTimeoutError
from jvmbind.service.ledger import Ledger
from jvmbind.service.sockets import ports_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from typing import TextIO

    from jvmbind.service.description import Description
    from jvmbind.service.operations import OperationKind, Outcome, Version
    from jvmbind.service.sockets import Sockets
    from jvmbind.service.start import Start
    from jvmbind.service.values import State

MARGIN = 10.0  # seconds beyond the service's own time-outs
SILENCE = 30.0  # seconds without a word of a supervisor that has something to do: it says one every two


class Handle:
    """A started service."""

    _lock: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
    """What keeps threads apart."""

    def __init__(self, service: Description, start: Start, sockets: Sockets) -> None:
        """Start it: see `Service.start`."""
        template = service.request.template
        self._patience = template.stop_timeout + template.stop_drain_timeout + MARGIN
        self._start_timeout = template.start_timeout
        self._closed = False
        self._pipes: list[TextIO] = []
        # Of the handle for asyncio:
        self._waiters: set[asyncio.Future[None]] = set()
        self._transports: list[asyncio.BaseTransport] = []
        try:
            self._child = Child(sockets.request, start, sockets.passed)
        finally:
            sockets.close()
        self._service, self._request = service, sockets.request
        self._environ = start.environ
        self._changed_user = os.geteuid() == 0  # as the launcher sees it
        self._ledger = Ledger(self._child.pid, direct=template.direct)

    @property
    def pid(self) -> int:
        """The process of the service: the supervisor, or with `direct` the JVM's."""
        return self._ledger.pid

    @property
    def ports(self) -> dict[str, int]:
        """The port of each listener that has one, by its name: of one that was declared as 0 that which the kernel has chosen."""
        return ports_of(self._request)

    def fileno(self) -> int:
        """Return a pidfd, which is readable once the service has ended; raises ValueError when the handle is closed."""
        if self._closed:
            msg = "the handle is closed"
            raise ValueError(msg)
        return self._child.pidfd

    @property
    def _is_foreign(self) -> bool:
        return os.getpid() != self._child.owner

    def _check(self) -> None:
        """Raise ForeignHandleError in a process that did not start the service; ValueError when the handle is closed."""
        if self._is_foreign:
            msg = f"{self._ledger.who} was started by process {self._child.owner}; expected a call there, not in {os.getpid()}"
            raise ForeignHandleError(msg)
        if self._closed and not self._ledger.ended:
            msg = "the handle is closed"
            raise ValueError(msg)

    def _read(self) -> bool:
        """Understand what has come; return whether anything has."""
        ledger, child = self._ledger, self._child
        if ledger.ended or self._closed:
            return False
        packets = child.read()
        has_ended = child.has_ended()
        # What it has said before its end is there by now.
        packets += child.read() if has_ended else []
        for packet in packets:
            ledger.take(packet)
        if has_ended:
            own = ledger.exit_status
            found = child.reap()
            ledger.end(own if own is not None and found is None else found)
        return bool(packets) or has_ended

    def _send(self, kind: OperationKind, version: Version | None = None) -> Outcome:
        outcome, packet = self._ledger.ask(kind, to=version is not None)
        outcome.version = version
        try:
            is_sent = self._child.send(packet, version.fds if version is not None else ())
        except BlockingIOError:
            reason = "its supervisor is stopped, or hangs"
            msg = f"{self._ledger.who} takes no more requests: {reason}"
            raise ServiceTimeoutError(msg, self._ledger.state, reason) from None
        if not is_sent:
            self._read()
            if not self._ledger.ended:
                outcome.lost = self._ledger.ended_error  # its process ends in a moment
        return outcome

    def send_signal(self, number: int) -> None:
        """Send a signal to the supervisor; 0 only asks whether it is there.

        Raises ServiceEndedError, and what the launcher refused.
        """
        check_type("number", number, int, "the number of a signal")
        if number and number not in signal.valid_signals():
            msg = f"number: expected the number of a signal, got {number!r}"
            raise ArgumentValueError(msg, "number")
        self._check()
        if not self._ledger.ended and self._child.kill(number):
            return
        self._read()
        raise self._ledger.ended_error()

    def _stop_signal(self) -> None:
        if not self._ledger.ended:
            self._child.kill(signal.SIGTERM)

    def _end_now(self) -> None:
        """Kill what has not ended and wait for that, which takes milliseconds unless the kernel holds it."""
        if self._ledger.ended:
            return
        self._child.kill(signal.SIGKILL)
        deadline = Deadline(MARGIN)
        while deadline.left() and not self._is_over():
            self._child.poller()(deadline.left())

    def _is_over(self) -> bool:
        self._read()
        return self._ledger.ended

    def _status(self) -> int:
        """Return the exit status, once it has ended."""
        if self._ledger.exit_status is None:
            raise self._ledger.ended_error()
        return self._ledger.exit_status

    def _timeout(self, what: str, deadline: Deadline) -> ServiceTimeoutError:
        reason = self._ledger.lacks()
        text = f"{self._ledger.who} {what} within {deadline.seconds or 0:g} s; it is {self._ledger.state}" + (
            f": {reason}" if reason else ""
        )
        return ServiceTimeoutError(text, self._ledger.state, reason)

    def _reached(self, states: tuple[State, ...], seen: int) -> Callable[[], State | None]:
        """Return what says which of `states` the service is in, or was in since `seen` events ago."""
        ledger = self._ledger

        def found() -> State | None:
            if ledger.state in states:
                return ledger.state
            later = ledger.events[max(0, seen - ledger.dropped) :]
            return next((event.state for event in later if event.state in states), None)

        return found

    def close(self) -> None:
        """Give up the descriptors of this handle. The service runs on; after its end `wait` and `status` still answer."""
        self._closed = True
        self._child.close()
        for stream in self._pipes:
            with contextlib.suppress(OSError):  # what was still to be written, and nobody reads
                stream.close()

    def __del__(self) -> None:
        """Warn, as `subprocess.Popen` does, of a service that nobody has stopped, waited for or closed."""
        child = getattr(self, "_child", None)
        if child is None or self._closed:
            return
        if os.getpid() == child.owner:
            self._read()
            if not self._ledger.ended:
                warnings.warn(f"{self._ledger.who} is still running", ResourceWarning, source=self, stacklevel=2)
        self.close()

    def __repr__(self) -> str:
        """Return what it is, with its last known state."""
        status = f", exit_status={self._ledger.exit_status}" if self._ledger.ended else ""
        return f"<{type(self).__name__} {self._ledger.who}, pid={self.pid}, {self._ledger.state}{status}>"


class Deadline:
    """A moment; None is never."""

    def __init__(self, timeout: float | None) -> None:
        self.seconds = timeout
        self._at = None if timeout is None else time.monotonic() + timeout

    def left(self) -> float | None:
        """Return the seconds until then, at least 0."""
        return None if self._at is None else max(0.0, self._at - time.monotonic())
