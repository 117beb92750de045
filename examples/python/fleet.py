"""Start ten services at once, each on a port that the kernel chooses, and stop all of them when one ends.

python examples/python/fleet.py --count 10 -- -jar server.jar 8080
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys

import jvmbind


async def run(count: int, java: list[str], app_port: int, user: str | None) -> int:
    """Return the greatest exit status."""
    async with contextlib.AsyncExitStack() as stack:
        services = [
            jvmbind.AsyncService(
                name=f"fleet-{i}", user=user, java={"arguments": java}, listen={"http": f"0:{app_port}"}, quiet=True
            )
            for i in range(count)
        ]
        # One after the other in the stack, so that each that was started is ended whatever happens to the next.
        fleet = [await stack.enter_async_context(await service.start(die_with_parent=True)) for service in services]
        await asyncio.gather(*(running.wait_ready() for running in fleet))
        for running in fleet:
            print(f"process {running.pid} serves port {running.ports['http']}", flush=True)

        asked = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, asked.set)
        waits = [asyncio.create_task(running.wait()) for running in fleet]
        end = asyncio.create_task(asked.wait())
        await asyncio.wait([end, *waits], return_when=asyncio.FIRST_COMPLETED)
        end.cancel()
        return max(await asyncio.gather(*(running.stop() for running in fleet)))


def main() -> int:
    """Run them; the status is that of a service, or of the first that was refused."""
    parser = argparse.ArgumentParser(description="start several services at once")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--app-port", type=int, default=8080, help="the port that each of them binds")
    parser.add_argument("--user", help="who they run as")
    parser.add_argument("java", nargs="+", help="what stands after `java`")
    options = parser.parse_args()
    try:
        return asyncio.run(run(options.count, options.java, options.app_port, options.user))
    except jvmbind.JvmbindError as error:  # which the launcher has said as well
        return error.status


if __name__ == "__main__":
    sys.exit(main())
