"""`jvmbind.Service` and `jvmbind.AsyncService`: what is to be run, and how it is started.

Runs in any program, with any number of threads; the program keeps its privilege, for the service is started by exec as
`jvmbind run` is. Asks this machine nothing before the start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from jvmbind.service.description import Description
from jvmbind.service.running import RunningService
from jvmbind.service.start import StartArguments  # noqa: TC001 - typing.get_type_hints finds it

if TYPE_CHECKING:
    from jvmbind.service.asynchronous import AsyncRunningService


class Service(Description):
    """What is to be run. The keyword arguments are the keys and tables of the configuration file, one to one."""

    def start(self, **how: Unpack[StartArguments]) -> RunningService:
        """Start the service in a child process with a session of its own, and return at once.

        `how` is described at `StartArguments`. Raises ArgumentTypeError, ArgumentValueError, OSError where no process can be
        started, PortUnavailableError where there is no free port; what the launcher refuses (a port in use, a user that does
        not exist) is raised by the calls that wait for more than the end.
        """
        return RunningService(*self._prepare(how))


class AsyncService(Description):
    """`Service` for asyncio: `async with await AsyncService(...).start() as running`."""

    async def start(self, **how: Unpack[StartArguments]) -> AsyncRunningService:
        """Start the service as `Service.start` does; the ends of pipes are an asyncio.StreamReader or StreamWriter."""
        from jvmbind.service.asynchronous import AsyncRunningService  # noqa: PLC0415 - asyncio takes 40 ms to load

        service, start, sockets = self._prepare(how)
        running = AsyncRunningService(service, start, sockets)
        try:
            await running._open(start)  # noqa: SLF001 - what __init__ cannot await
        except BaseException:
            running._end_now()  # noqa: SLF001 - nothing is left of a start that was cancelled
            running.close()
            raise
        return running
