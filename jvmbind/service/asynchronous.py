"""The handle on a running service for asyncio: the same calls as those of `RunningService`, awaited.

Runs in the program, in the thread of its event loop. No thread is started, and the loop watches the descriptors only while
somebody waits: after a cancellation nothing of a wait is left. What the service was asked for goes on in the service.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Self

from jvmbind.service.failures import ServiceTimeoutError
from jvmbind.service.handle import SILENCE, Deadline, Handle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from jvmbind.service.operations import OperationKind, Outcome
    from jvmbind.service.start import Start
    from jvmbind.service.values import ChangeResult, Event, State, Status


class AsyncOperation:
    """A reload, a restart or a dump that was asked for."""

    def __init__(self, service: AsyncRunningService, outcome: Outcome) -> None:
        """`AsyncRunningService.begin_reload` and its kin make it."""
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
        self._service._read()  # noqa: SLF001 - one design in two classes
        return self._outcome.done

    @property
    def waits_for(self) -> str:
        """What the service last said that it waits for."""
        return self._outcome.waits_for

    async def result(self, timeout: float | None = None) -> ChangeResult:  # noqa: ASYNC109 - as in RunningService
        """Wait for the outcome and return it; may be called again, also after a time-out or a cancellation.

        Without `timeout` it waits for as long as the supervisor says that it works on it. Raises BusyError,
        ReloadFailedError, RestartFailedError, OperationFailedError, ServiceTimeoutError, ServiceEndedError.
        """
        await self._service._finish(self._outcome, timeout, self)  # noqa: SLF001 - as above
        return self._outcome.change()

    def __repr__(self) -> str:
        """Return what it is."""
        return f"<{type(self).__name__} {self.kind} {self.number}, {'done' if self._outcome.done else 'on its way'}>"


class AsyncRunningService(Handle):
    """A started service. As an asynchronous context manager it stops the service at the end of the block.

    Its calls are made in the thread of an event loop. A call that is cancelled waits no more, and leaves what the service was
    asked for as it is.
    """

    stdin: asyncio.StreamWriter | None = None
    """What the service reads, with stdin=PIPE; None otherwise."""
    stdout: asyncio.StreamReader | None = None
    """What the service prints, with stdout=PIPE; a program that does not read it holds the service up once the pipe is full."""
    stderr: asyncio.StreamReader | None = None
    """As `stdout`."""

    async def _open(self, start: Start) -> None:
        """Connect the program's ends of pipes to the loop."""
        loop = asyncio.get_running_loop()
        writer, *readers = start.take_ends()
        self._pipes = [stream for stream in (writer, *readers) if stream is not None]
        streams: list[asyncio.StreamReader | None] = []
        for reader in readers:
            stream = None if reader is None else asyncio.StreamReader()
            if stream is not None:
                transport, _ = await loop.connect_read_pipe(functools.partial(asyncio.StreamReaderProtocol, stream), reader)
                self._transports.append(transport)
            streams.append(stream)
        self.stdout, self.stderr = streams
        if writer is not None:
            pipe, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, writer)
            self._transports.append(pipe)
            self.stdin = asyncio.StreamWriter(pipe, protocol, None, loop)

    @property
    def state(self) -> State:
        """How it is, by its last word; never waits."""
        self._check()
        self._read()
        return self._ledger.state

    async def status(self, timeout: float = SILENCE) -> Status:  # noqa: ASYNC109 - as in RunningService
        """Return all that `jvmbind status --json` shows; of a service that has not begun or has ended, what is known.

        Raises ServiceTimeoutError where the supervisor does not answer for `timeout` seconds.
        """
        self._check()
        self._read()
        ledger = self._ledger
        if ledger.ended or ledger.direct or not ledger.has_spoken:
            return ledger.status(None)
        outcome = self._begin("status")
        if not await self._until(lambda: outcome.done, Deadline(timeout)):
            raise self._timeout("has not answered", timeout)
        return ledger.status(None if outcome.answer is None or not outcome.answer["ok"] else outcome.answer)

    async def wait_ready(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as in RunningService
        """Wait until clients are served, during a back-off too.

        The default of `timeout` is the service's own start_timeout. Raises ServiceTimeoutError with what the service lacks,
        ServiceEndedError, and what the launcher refused (PortUnavailableError and so on).
        """
        patience = self._start_timeout if timeout is None else timeout
        try:
            await self.wait_for("ready", "reloading", timeout=patience)
        except ServiceTimeoutError as error:
            raise self._timeout("is not ready", patience) from error

    async def wait_for(self, *states: State, timeout: float | None = None) -> State:  # noqa: ASYNC109 - as in RunningService
        """Wait until the service is in one of `states`, or has been since the call, and return which.

        Raises ServiceTimeoutError after `timeout` seconds (default: never), ServiceEndedError unless "ended" is among the
        states, and what the launcher refused.
        """
        self._check()
        self._read()
        ledger = self._ledger
        reached = self._reached(states, ledger.dropped + len(ledger.events))
        if not await self._until(lambda: reached() is not None or ledger.ended, Deadline(timeout)) and timeout is not None:
            raise self._timeout(f"is not {' or '.join(states)}", timeout)
        found = reached()
        if found is None:
            raise ledger.ended_error()
        return found

    async def events(self, timeout: float | None = None) -> AsyncIterator[Event]:  # noqa: ASYNC109 - as in RunningService
        """Return what happens as it happens, from the start of the service on; the last one is its end.

        Of a program that does not ask for long the oldest are dropped (1000 are kept). Raises ServiceTimeoutError where
        nothing happens for `timeout` seconds.
        """
        self._check()
        place, ledger = 0, self._ledger
        while True:
            place = max(place, ledger.dropped)
            if await self._until(lambda: ledger.dropped + len(ledger.events) > place, Deadline(timeout)):  # noqa: B023 - called here
                for event in ledger.events[place - ledger.dropped :]:
                    place += 1
                    yield event
                    if event.kind == "ended":
                        return
            elif timeout is not None:
                raise self._timeout("has not changed", timeout)

    def begin_reload(self) -> AsyncOperation:
        """Ask for a new generation beside the old one, and return at once; raises ServiceEndedError."""
        return AsyncOperation(self, self._begin("reload"))

    def begin_restart(self) -> AsyncOperation:
        """Ask for a new generation in the place of the old one, and return at once; raises ServiceEndedError."""
        return AsyncOperation(self, self._begin("restart"))

    def begin_dump(self) -> AsyncOperation:
        """Ask for a thread dump in the service's output, and return at once; raises ServiceEndedError."""
        return AsyncOperation(self, self._begin("dump"))

    async def reload(self, timeout: float | None = None) -> ChangeResult:  # noqa: ASYNC109 - as in RunningService
        """Start a new generation beside the old one, and wait until it serves or has failed.

        Raises BusyError where another change is on its way, which is not touched; ReloadFailedError with the reason, while
        the old generation serves on; ServiceTimeoutError, whose `operation` can be asked later; ServiceEndedError.
        """
        return await self.begin_reload().result(timeout)

    async def restart(self, timeout: float | None = None) -> ChangeResult:  # noqa: ASYNC109 - as in RunningService
        """Check what is to run, end the serving generation, and wait until the next one serves; clients wait meanwhile.

        Raises BusyError, RestartFailedError, ServiceTimeoutError, ServiceEndedError.
        """
        return await self.begin_restart().result(timeout)

    async def dump(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as in RunningService
        """Have the JVM write a thread dump to the service's output, and wait until it is there.

        Raises OperationFailedError, ServiceTimeoutError, ServiceEndedError.
        """
        await self.begin_dump().result(timeout)

    async def stop(self, timeout: float | None = None) -> int:  # noqa: ASYNC109 - as in RunningService
        """Ask the service to end (SIGTERM), wait for it and return its exit status; one that has ended is no error.

        The default of `timeout` is the service's own drain and stop time-outs and a margin. Raises ServiceTimeoutError, and
        ServiceEndedError where the status cannot be known.
        """
        self._check()
        self._stop_signal()
        return await self.wait(self._patience if timeout is None else timeout)

    async def wait(self, timeout: float | None = None) -> int:  # noqa: ASYNC109 - as in RunningService
        """Wait for the end and return the exit status (128 plus the signal after a signal).

        Raises ServiceTimeoutError, and ServiceEndedError where the status cannot be known (see `RunningService.wait`).
        """
        self._check()
        if not await self._until(lambda: self._ledger.ended, Deadline(timeout)) and timeout is not None:
            raise self._timeout("has not ended", timeout)
        return self._status()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop the service; one that does not end in its time is killed, as it is where this call is cancelled."""
        if self._is_foreign:
            self.close()
            return
        if self._closed:
            return
        try:
            self._stop_signal()
            await self._until(lambda: self._ledger.ended, Deadline(self._patience))
        finally:
            # Not awaited: a second cancellation would leave the process to nobody. A killed process ends in milliseconds.
            self._end_now()
            self.close()

    def _read(self) -> bool:
        """Understand what has come; whoever else waits for it looks again, for the loop will not say so a second time."""
        found = super()._read()
        if found:
            self._wake()
        return found

    def _begin(self, kind: OperationKind) -> Outcome:
        self._check()
        self._read()
        return self._send(kind)

    async def _finish(self, outcome: Outcome, timeout: float | None, operation: AsyncOperation) -> None:  # noqa: ASYNC109
        self._check()
        deadline = Deadline(timeout)
        while not await self._until(lambda: outcome.done, Deadline(SILENCE) if timeout is None else deadline):
            if timeout is None and outcome.silent_for() < SILENCE:
                continue
            error = self._timeout(f"has not finished the {outcome.kind}", SILENCE if timeout is None else timeout)
            error.reason = outcome.waits_for or error.reason
            error.operation = operation
            raise error

    async def _until(self, condition: Callable[[], bool], deadline: Deadline) -> bool:
        """Wait for a condition that what the service says can bring about; return whether it holds."""
        loop = asyncio.get_running_loop()
        while True:
            self._read()
            if not self._child.is_open and not self._closed:
                loop.remove_reader(self._child.socket)  # its end would be readable for ever
            if condition():
                return True
            left = deadline.left()
            if self._ledger.ended or self._closed or left == 0:
                return False
            waiter: asyncio.Future[None] = loop.create_future()
            self._watch(loop, waiter)
            timer = loop.call_later(left, _finish_waiter, waiter) if left is not None else None
            try:
                await waiter
            finally:
                if timer is not None:
                    timer.cancel()
                self._unwatch(loop, waiter)

    def _watch(self, loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[None]) -> None:
        if not self._waiters:
            loop.add_reader(self._child.pidfd, self._wake)
            if self._child.is_open:
                loop.add_reader(self._child.socket, self._wake)
        self._waiters.add(waiter)

    def _unwatch(self, loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[None]) -> None:
        self._waiters.discard(waiter)
        if not self._waiters and not self._closed:
            loop.remove_reader(self._child.pidfd)
            loop.remove_reader(self._child.socket)

    def _wake(self) -> None:
        """Let everybody who waits look again: what has come is read by the first of them."""
        for waiter in self._waiters:
            _finish_waiter(waiter)

    def close(self) -> None:
        """Give up the descriptors of this handle. The service runs on; after its end `wait` and `status` still answer."""
        if self._waiters:
            loop = next(iter(self._waiters)).get_loop()
            loop.remove_reader(self._child.pidfd)
            loop.remove_reader(self._child.socket)
            self._closed = True
            self._wake()
        for transport in self._transports:
            transport.close()
        self._transports.clear()
        super().close()


def _finish_waiter(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
