"""The handle on a running service for asyncio: the same calls as those of `RunningService`, awaited.

Runs in the program, in the thread of its event loop. No thread is started, and the loop watches the descriptors only while
somebody waits: after a cancellation nothing of a wait is left. What the service was asked for goes on in the service.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import TYPE_CHECKING, Self, cast

from jvmbind.service.calls import AnyOperation, Calls, check_callback, deliver, seconds
from jvmbind.service.handle import SILENCE, Deadline

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from typing import TextIO

    from jvmbind.config.tables import Seconds
    from jvmbind.service.calls import Steps, T
    from jvmbind.service.description import Description
    from jvmbind.service.lines import Lines
    from jvmbind.service.sockets import Sockets
    from jvmbind.service.start import Start
    from jvmbind.service.values import ChangeResult, Event, State, Status


class AsyncOperation(AnyOperation):
    """A reload, a restart or a dump that was asked for."""

    async def result(self, timeout: Seconds | None = None) -> ChangeResult:  # noqa: ASYNC109 - as in RunningService
        """Wait for the outcome as `Operation.result` does; may be awaited again, also after a time-out or a cancellation."""
        service = cast("AsyncRunningService", self._service)
        return await service._run(self._steps(timeout))  # noqa: SLF001 - one design in two classes


class AsyncRunningService(Calls[AsyncOperation]):
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

    _operation = AsyncOperation

    def __init__(self, service: Description, start: Start, sockets: Sockets) -> None:
        """Start it: see `AsyncService.start`."""
        self._lines: list[Lines] = []
        self._callbacks: list[tuple[asyncio.Task[None], Callable[[], None]]] = []
        super().__init__(service, start, sockets)

    def _log(self, lines: Lines) -> None:
        if not lines.read():
            asyncio.get_running_loop().remove_reader(lines.fd)

    async def _open(self, start: Start) -> None:
        """Connect the program's ends of pipes to the loop."""
        loop = asyncio.get_running_loop()
        for lines in start.take_lines():
            self._lines.append(lines)
            loop.add_reader(lines.fd, self._log, lines)
        writer, *readers = start.take_ends()
        self._pipes = [stream for stream in (writer, *readers) if stream is not None]
        streams: list[asyncio.StreamReader | None] = []
        for reader in readers:
            stream = None if reader is None else asyncio.StreamReader()
            if stream is not None:
                transport, _ = await loop.connect_read_pipe(functools.partial(asyncio.StreamReaderProtocol, stream), reader)
                self._give(transport, reader)
            streams.append(stream)
        self.stdout, self.stderr = streams
        if writer is not None:
            pipe, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, writer)
            self._give(pipe, writer)
            self.stdin = asyncio.StreamWriter(pipe, protocol, None, loop)

    def _give(self, transport: asyncio.BaseTransport, pipe: TextIO | None) -> None:
        """Leave a pipe to its transport, which closes it: a second close of its number aborts the process under uvloop."""
        self._transports.append(transport)
        self._pipes = [one for one in self._pipes if one is not pipe]

    async def status(self, timeout: Seconds = SILENCE) -> Status:  # noqa: ASYNC109 - as in RunningService
        """As `RunningService.status`."""
        return await self._run(self._status_steps(timeout))

    async def wait_ready(self, timeout: Seconds | None = None) -> None:  # noqa: ASYNC109 - as in RunningService
        """As `RunningService.wait_ready`."""
        await self._run(self._wait_ready_steps(timeout))

    async def wait_for(self, *states: State, timeout: Seconds | None = None) -> State:  # noqa: ASYNC109 - as in RunningService
        """As `RunningService.wait_for`."""
        return await self._run(self._wait_for_steps(states, Deadline(seconds("timeout", timeout))))

    def events(self, timeout: Seconds | None = None) -> AsyncIterator[Event]:
        """As `RunningService.events`, for `async for`."""
        seconds("timeout", timeout)
        self._check()
        return self._events(timeout)

    async def _events(self, timeout: Seconds | None) -> AsyncIterator[Event]:  # noqa: ASYNC109 - as in RunningService
        place = 0
        while True:
            place, new = await self._run(self._next_steps(place, timeout))
            for event in new:
                yield event
            if new[-1].kind == "ended":
                return

    def add_callback(self, function: Callable[[Event], object]) -> None:
        """Have `function` called in the event loop with each event, from the start of the service on.

        What it raises is logged to the logger "jvmbind", and the next event comes all the same.
        """
        check_callback(function)
        self._check()
        place = 0

        def call() -> None:
            nonlocal place
            place, new = self._ledger.since(place)
            for event in new:
                deliver(function, event)

        async def follow() -> None:
            with contextlib.suppress(ValueError):  # the handle was closed
                while not self._ledger.ended:
                    await self._run(self._next_steps(place, None))
                    call()

        self._callbacks.append((asyncio.get_running_loop().create_task(follow()), call))

    async def reload(
        self,
        service: Description | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        timeout: Seconds | None = None,  # noqa: ASYNC109 - as in RunningService
    ) -> ChangeResult:
        """As `RunningService.reload`."""
        return await self.begin_reload(service, environ=environ).result(timeout)

    async def restart(self, timeout: Seconds | None = None) -> ChangeResult:  # noqa: ASYNC109 - as in RunningService
        """As `RunningService.restart`."""
        return await self.begin_restart().result(timeout)

    async def dump(self, timeout: Seconds | None = None) -> None:  # noqa: ASYNC109 - as in RunningService
        """As `RunningService.dump`."""
        await self.begin_dump().result(timeout)

    async def stop(self, timeout: Seconds | None = None) -> int:  # noqa: ASYNC109 - as in RunningService
        """As `RunningService.stop`."""
        return await self._run(self._stop_steps(timeout))

    async def wait(self, timeout: Seconds | None = None) -> int:  # noqa: ASYNC109 - as in RunningService
        """As `RunningService.wait`."""
        return await self._run(self._wait_steps(Deadline(seconds("timeout", timeout))))

    async def _run(self, steps: Steps[T]) -> T:
        """Wait for what a call waits for, and return what it returns."""
        try:
            condition, deadline = next(steps)
            while True:
                condition, deadline = steps.send(await self._until(condition, deadline))
        except StopIteration as end:
            value: T = end.value
            return value

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
        for task, call in self._callbacks:
            call()
            task.cancel()
        for lines in self._lines:
            asyncio.get_running_loop().remove_reader(lines.fd)
            lines.close()
        self._callbacks, self._lines = [], []
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
