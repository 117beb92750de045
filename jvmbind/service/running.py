"""The handle on a running service for programs with threads: its calls wait.

Runs in the program, and starts no thread: of those that wait, one reads what the service says and wakes the others. A call
of a signal handler that interrupts the one that reads, reads itself.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from jvmbind.service.failures import ServiceTimeoutError
from jvmbind.service.handle import SILENCE, Deadline, Handle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TextIO

    from jvmbind.config.request import Request
    from jvmbind.service.operations import OperationKind, Outcome
    from jvmbind.service.sockets import Sockets
    from jvmbind.service.start import Start
    from jvmbind.service.values import ChangeResult, Event, State, Status

_LONGEST = 1.0  # seconds after which a thread that another reads for looks itself


class Operation:
    """A reload, a restart or a dump that was asked for."""

    def __init__(self, service: RunningService, outcome: Outcome) -> None:
        """`RunningService.begin_reload` and its kin make it."""
        self._service, self._outcome = service, outcome

    @property
    def number(self) -> int:
        """What tells it from the others of the same handle."""
        return self._outcome.number

    @property
    def kind(self) -> OperationKind:
        """What was asked for."""
        return self._outcome.kind

    @property
    def done(self) -> bool:
        """Whether the outcome is known; never waits."""
        self._service._until(lambda: self._outcome.done, Deadline(0))  # noqa: SLF001 - one design in two classes
        return self._outcome.done

    @property
    def waits_for(self) -> str:
        """What the service last said that it waits for."""
        return self._outcome.waits_for

    def result(self, timeout: float | None = None) -> ChangeResult:
        """Wait for the outcome and return it; may be called again, also after a time-out.

        Without `timeout` it waits for as long as the supervisor says that it works on it. Of a dump the result says that it
        was written. Raises BusyError, ReloadFailedError, RestartFailedError, OperationFailedError, ServiceTimeoutError,
        ServiceEndedError.
        """
        self._service._finish(self._outcome, timeout, self)  # noqa: SLF001 - as above
        return self._outcome.change()

    def __repr__(self) -> str:
        """Return what it is."""
        return f"<{type(self).__name__} {self.kind} {self.number}, {'done' if self._outcome.done else 'on its way'}>"


class RunningService(Handle):
    """A started service. As a context manager it stops the service at the end of the block.

    Nothing is stopped when the object or the program goes away, unless `die_with_parent` was asked for. All calls may be
    made by any thread and by signal handlers, in the process that started the service: in a forked child each raises
    ForeignHandleError, and the end of a `with` block leaves the service alone.
    """

    stdin: TextIO | None
    """What the service reads, with stdin=PIPE; None otherwise. UTF-8; `stdin.buffer` takes bytes."""
    stdout: TextIO | None
    """What the service prints, with stdout=PIPE; a program that does not read it holds the service up once the pipe is full."""
    stderr: TextIO | None
    """As `stdout`."""

    def __init__(self, request: Request, start: Start, sockets: Sockets) -> None:
        """Start it: see `Service.start`."""
        self._changed = threading.Condition()
        self._reader = 0  # the thread that reads for all
        super().__init__(request, start, sockets)
        try:
            self.stdin, self.stdout, self.stderr = start.take_ends()
        except BaseException:
            self._end_now()
            self.close()
            raise
        self._pipes = [stream for stream in (self.stdin, self.stdout, self.stderr) if stream is not None]

    @property
    def state(self) -> State:
        """How it is, by its last word; never waits."""
        self._check()
        self._until(lambda: True, Deadline(0))
        return self._ledger.state

    def status(self, timeout: float = SILENCE) -> Status:
        """Return all that `jvmbind status --json` shows; of a service that has not begun or has ended, what is known.

        Raises ServiceTimeoutError where the supervisor does not answer for `timeout` seconds.
        """
        self._check()
        self._until(lambda: True, Deadline(0))
        ledger = self._ledger
        if ledger.ended or ledger.direct or not ledger.has_spoken:
            return ledger.status(None)
        outcome = self._begin("status")
        if not self._until(lambda: outcome.done, Deadline(timeout)):
            raise self._timeout("has not answered", timeout)
        return ledger.status(None if outcome.answer is None or not outcome.answer["ok"] else outcome.answer)

    def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until clients are served, during a back-off too.

        The default of `timeout` is the service's own start_timeout. Raises ServiceTimeoutError with what the service lacks,
        ServiceEndedError, and what the launcher refused (PortUnavailableError and so on).
        """
        patience = self._start_timeout if timeout is None else timeout
        try:
            self.wait_for("ready", "reloading", timeout=patience)
        except ServiceTimeoutError as error:
            raise self._timeout("is not ready", patience) from error

    def wait_for(self, *states: State, timeout: float | None = None) -> State:
        """Wait until the service is in one of `states`, or has been since the call, and return which.

        Raises ServiceTimeoutError after `timeout` seconds (default: never), ServiceEndedError unless "ended" is among the
        states, and what the launcher refused.
        """
        self._check()
        ledger = self._ledger
        self._until(lambda: True, Deadline(0))
        reached = self._reached(states, ledger.dropped + len(ledger.events))
        if not self._until(lambda: reached() is not None or ledger.ended, Deadline(timeout)) and timeout is not None:
            raise self._timeout(f"is not {' or '.join(states)}", timeout)
        found = reached()
        if found is None:
            raise ledger.ended_error()
        return found

    def events(self, timeout: float | None = None) -> Iterator[Event]:
        """Return what happens as it happens, from the start of the service on; the last one is its end.

        Of a program that does not ask for long the oldest are dropped (1000 are kept). Raises ServiceTimeoutError where
        nothing happens for `timeout` seconds.
        """
        self._check()
        place, ledger = 0, self._ledger
        while True:
            place = max(place, ledger.dropped)
            if self._until(lambda: ledger.dropped + len(ledger.events) > place, Deadline(timeout)):  # noqa: B023 - called here
                with self._changed:
                    new = ledger.events[place - ledger.dropped :]
                place += len(new)
                yield from new
                if new[-1].kind == "ended":
                    return
            elif timeout is not None:
                raise self._timeout("has not changed", timeout)

    def begin_reload(self) -> Operation:
        """Ask for a new generation beside the old one, and return at once; raises ServiceEndedError."""
        return Operation(self, self._begin("reload"))

    def begin_restart(self) -> Operation:
        """Ask for a new generation in the place of the old one, and return at once; raises ServiceEndedError."""
        return Operation(self, self._begin("restart"))

    def begin_dump(self) -> Operation:
        """Ask for a thread dump in the service's output, and return at once; raises ServiceEndedError."""
        return Operation(self, self._begin("dump"))

    def reload(self, timeout: float | None = None) -> ChangeResult:
        """Start a new generation beside the old one, and wait until it serves or has failed.

        Raises BusyError where another change is on its way, which is not touched; ReloadFailedError with the reason, while
        the old generation serves on; ServiceTimeoutError, whose `operation` can be asked later; ServiceEndedError.
        """
        return self.begin_reload().result(timeout)

    def restart(self, timeout: float | None = None) -> ChangeResult:
        """Check what is to run, end the serving generation, and wait until the next one serves; clients wait meanwhile.

        Raises BusyError, RestartFailedError, ServiceTimeoutError, ServiceEndedError.
        """
        return self.begin_restart().result(timeout)

    def dump(self, timeout: float | None = None) -> None:
        """Have the JVM write a thread dump to the service's output, and wait until it is there.

        Raises OperationFailedError, ServiceTimeoutError, ServiceEndedError.
        """
        self.begin_dump().result(timeout)

    def stop(self, timeout: float | None = None) -> int:
        """Ask the service to end (SIGTERM), wait for it and return its exit status; one that has ended is no error.

        The default of `timeout` is the service's own drain and stop time-outs and a margin. Raises ServiceTimeoutError, and
        ServiceEndedError where the status cannot be known.
        """
        self._check()
        self._stop_signal()
        return self.wait(self._patience if timeout is None else timeout)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit status (128 plus the signal after a signal).

        Raises ServiceTimeoutError, and ServiceEndedError where the status cannot be known: where the program ignores
        SIGCHLD or has reaped it, and the supervisor was killed, and Linux is older than 6.15.
        """
        self._check()
        if not self._until(lambda: self._ledger.ended, Deadline(timeout)) and timeout is not None:
            raise self._timeout("has not ended", timeout)
        return self._status()

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

    def _read(self) -> bool:
        """Understand what has come, one thread at a time; whoever else waits for it looks again."""
        with self._changed:
            found = super()._read()
            if found:
                self._changed.notify_all()
            return found

    def _begin(self, kind: OperationKind) -> Outcome:
        self._check()
        with self._changed:
            self._read()
            return self._send(kind)

    def _finish(self, outcome: Outcome, timeout: float | None, operation: Operation | None) -> None:
        self._check()
        deadline = Deadline(timeout)
        while not self._until(lambda: outcome.done, Deadline(SILENCE) if timeout is None else deadline):
            if timeout is None and outcome.silent_for() < SILENCE:
                continue
            error = self._timeout(f"has not finished the {outcome.kind}", SILENCE if timeout is None else timeout)
            error.reason = outcome.waits_for or error.reason
            error.operation = operation
            raise error

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
            try:
                self._child.poll(left)
            finally:
                with self._changed:
                    self._reader = before
                    self._changed.notify_all()
