"""The handle on a running service for programs with threads: its calls wait.

Runs in the program, and starts no thread of itself: of those that wait, one reads what the service says and wakes the
others. A call of a signal handler that interrupts the one that reads, reads itself.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Self, cast

from jvmbind.service.calls import AnyOperation, Calls, check_callback, deliver, seconds
from jvmbind.service.failures import ForeignHandleError
from jvmbind.service.handle import SILENCE, Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import TextIO

    from jvmbind.config.tables import Seconds
    from jvmbind.service.calls import Steps, T
    from jvmbind.service.description import Description
    from jvmbind.service.lines import Followers
    from jvmbind.service.sockets import Sockets
    from jvmbind.service.start import Start
    from jvmbind.service.values import ChangeResult, Event, State, Status

_PATIENCE = 10.0  # seconds for a callback of the program's that hangs
_LONGEST = 1.0  # seconds after which a thread that another reads for looks itself


class Operation(AnyOperation):
    """A reload, a restart or a dump that was asked for."""

    def result(self, timeout: Seconds | None = None) -> ChangeResult:
        """Wait for the outcome and return it; may be called again, also after a time-out.

        Without `timeout` it waits for as long as the supervisor says that it works on it. Of a dump the result says that it
        was written. Raises BusyError, ReloadFailedError, RestartFailedError, OperationFailedError, ServiceTimeoutError,
        ServiceEndedError, ForeignHandleError, ValueError when the handle is closed, ArgumentTypeError and ArgumentValueError
        for a wrong `timeout`, and what the launcher refused.
        """
        service = cast("RunningService", self._service)
        return service._run(self._steps(timeout))  # noqa: SLF001 - one design in two classes


class RunningService(Calls[Operation]):
    """A started service. As a context manager it stops the service at the end of the block.

    Nothing is stopped when the object or the program goes away, unless `die_with_parent` was asked for. All calls may be
    made by any thread and by signal handlers, in the process that started the service: the end of a `with` block in a forked
    child leaves the service alone.

    Each call Raises ForeignHandleError in a forked child, ValueError once the handle is closed and its service has not ended,
    and ArgumentTypeError or ArgumentValueError for a wrong argument. A time-out is a number of seconds or a timedelta.
    """

    stdin: TextIO | None
    """What the service reads, with stdin=PIPE; None otherwise. UTF-8; `stdin.buffer` takes bytes."""
    stdout: TextIO | None
    """What the service prints, with stdout=PIPE; a program that does not read it holds the service up once the pipe is full."""
    stderr: TextIO | None
    """As `stdout`."""

    _operation = Operation

    def __init__(self, service: Description, start: Start, sockets: Sockets) -> None:
        """Start it: see `Service.start`."""
        self._lock = self._changed = threading.Condition()
        self._reader = 0  # the thread that reads for all
        super().__init__(service, start, sockets)
        self._followers: Followers | None = None
        self._callers: list[threading.Thread] = []
        try:
            lines = start.take_lines()
            if lines:
                from jvmbind.service.lines import Followers  # noqa: PLC0415 - few programs need it

                self._followers = Followers(lines)
            self.stdin, self.stdout, self.stderr = start.take_ends()
        except BaseException:
            self._end_now()
            self.close()
            raise
        self._pipes = [stream for stream in (self.stdin, self.stdout, self.stderr) if stream is not None]

    def status(self, timeout: Seconds = SILENCE) -> Status:
        """Return all that `jvmbind status --json` shows; of a service that has not begun or has ended, what is known.

        Raises ServiceTimeoutError where the supervisor does not answer for `timeout` seconds, and SystemFailureError where it
        is of another version that answers otherwise.
        """
        return self._run(self._status_steps(timeout))

    def wait_ready(self, timeout: Seconds | None = None) -> None:
        """Wait until clients are served, during a back-off too.

        The default of `timeout` is the service's own start_timeout. Raises ServiceTimeoutError with what the service lacks,
        ServiceEndedError, and what the launcher refused.
        """
        self._run(self._wait_ready_steps(timeout))

    def wait_for(self, *states: State, timeout: Seconds | None = None) -> State:
        """Wait until the service is in one of `states`, or has been since the call, and return which.

        Raises ServiceTimeoutError after `timeout` seconds (default: never), ServiceEndedError unless "ended" is among the
        states, and what the launcher refused.
        """
        return self._run(self._wait_for_steps(states, Deadline(seconds("timeout", timeout))))

    def events(self, timeout: Seconds | None = None) -> Iterator[Event]:
        """Return what happens as it happens, from the start of the service on; the last one is its end.

        Of a program that does not ask for long the oldest are dropped (1000 are kept). Raises ServiceTimeoutError where
        nothing happens for `timeout` seconds.
        """
        seconds("timeout", timeout)
        self._check()
        return self._events(timeout)

    def _events(self, timeout: Seconds | None) -> Iterator[Event]:
        place = 0
        while True:
            place, new = self._run(self._next_steps(place, timeout))
            yield from new
            if new[-1].kind == "ended":
                return

    def add_callback(self, function: Callable[[Event], object]) -> None:
        """Have `function` called with each event, from the start of the service on, one after the other.

        The calls are made in a thread of their own, which ends with the service or with the handle; what `function` raises is
        logged to the logger "jvmbind", and the next event comes all the same. Raises RuntimeError where no thread can be
        started.
        """
        check_callback(function)
        self._check()
        thread = threading.Thread(target=self._call, args=[function], name="jvmbind-events", daemon=True)
        self._callers.append(thread)
        thread.start()

    def _call(self, function: Callable[[Event], object]) -> None:
        with contextlib.suppress(ValueError, ForeignHandleError):  # the handle was closed
            for event in self._events(None):
                deliver(function, event)

    def reload(
        self, service: Description | None = None, *, environ: Mapping[str, str] | None = None, timeout: Seconds | None = None
    ) -> ChangeResult:
        """Start a new generation beside the old one, and wait until it serves or has failed.

        `service` is another version to run from now on, and `environ` what its environment is made of, default what it
        was before: see `begin_reload`. Raises BusyError where another change is on its way, which is not touched; ReloadFailedError
        with the reason, while the old generation serves on; ServiceTimeoutError, whose `operation` can be asked later;
        ServiceEndedError; OSError where a descriptor cannot be had; and what the launcher refused.
        """
        return self.begin_reload(service, environ=environ).result(timeout)

    def restart(self, timeout: Seconds | None = None) -> ChangeResult:
        """Check what is to run, end the serving generation, and wait until the next one serves; clients wait meanwhile.

        Raises BusyError, RestartFailedError, ServiceTimeoutError, ServiceEndedError, and what the launcher refused.
        """
        return self.begin_restart().result(timeout)

    def dump(self, timeout: Seconds | None = None) -> None:
        """Have the JVM write a thread dump to the service's output, and wait until it is there.

        Raises OperationFailedError, ServiceTimeoutError, ServiceEndedError, and what the launcher refused.
        """
        self.begin_dump().result(timeout)

    def stop(self, timeout: Seconds | None = None) -> int:
        """Ask the service to end (SIGTERM), wait for it and return its exit status; one that has ended is no error.

        The default of `timeout` is the service's own drain and stop time-outs and a margin. Raises ServiceTimeoutError, and
        ServiceEndedError where the status cannot be known.
        """
        return self._run(self._stop_steps(timeout))

    def wait(self, timeout: Seconds | None = None) -> int:
        """Wait for the end and return the exit status (128 plus the signal after a signal).

        Raises ServiceTimeoutError, and ServiceEndedError where the status cannot be known: where the program ignores
        SIGCHLD or has reaped it, and the supervisor was killed, and Linux is older than 6.15.
        """
        return self._run(self._wait_steps(Deadline(seconds("timeout", timeout))))

    def close(self) -> None:
        """Give up the descriptors of this handle. The service runs on; after its end `wait` and `status` still answer.

        A call that waits in another thread ends with ValueError.
        """
        if self._is_foreign:
            super().close()
            return
        with self._changed:
            self._closed = True
            self._child.wake()
            while self._reader not in {0, threading.get_ident()}:  # it looks at least once a second
                self._changed.wait(_LONGEST)
            super().close()
            self._changed.notify_all()
        if self._followers is not None:
            self._followers.close()
        for thread in self._callers:
            if thread is not threading.current_thread():
                thread.join(_PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the service; one that does not end in its time is killed, and its JVM with it (PR_SET_PDEATHSIG)."""
        if self._is_foreign:
            self.close()
            return
        if self._closed:
            return
        try:
            self._stop_signal()
            self._until(lambda: self._ledger.ended, Deadline(self._patience))
        finally:  # an interrupt too leaves nothing running
            self._end_now()
            self.close()

    def _run(self, steps: Steps[T]) -> T:
        """Wait for what a call waits for, and return what it returns."""
        try:
            condition, deadline = next(steps)
            while True:
                condition, deadline = steps.send(self._until(condition, deadline))
        except StopIteration as end:
            value: T = end.value
            return value

    def _read(self) -> bool:
        """Understand what has come, one thread at a time; whoever else waits for it looks again."""
        with self._changed:
            found = super()._read()
            if found:
                self._changed.notify_all()
            return found

    def _until(self, condition: Callable[[], bool], deadline: Deadline) -> bool:
        """Wait for a condition that what the service says can bring about; return whether it holds."""
        me = threading.get_ident()
        while True:
            with self._changed:
                self._read()
                if condition():
                    return True
                left = deadline.left()
                if self._ledger.ended or self._closed or left == 0:
                    return False
                before = self._reader
                if before not in {0, me}:
                    self._changed.wait(_LONGEST if left is None else min(left, _LONGEST))
                    continue
                self._reader = me
                poll = self._child.poller()
            try:
                poll(left)
            finally:
                with self._changed:
                    self._reader = before
                    self._changed.notify_all()
