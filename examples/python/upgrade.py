"""Run several instances of a Java server, and replace its version in one after the other, without a refused client.

Each line of standard input is what stands after `java` of the next version; {port} is the port of the instance. Where an
instance does not get ready, those that were upgraded before go back, and the old version serves on.

sudo $(bash setup.sh)/bin/python examples/python/upgrade.py --user www-data --port 80 --port 81 -- -jar shop-1.jar {port}
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shlex
import signal
import sys

import jvmbind


def version(options: argparse.Namespace, port: int, words: list[str]) -> jvmbind.AsyncService:
    """Return one version for one instance."""
    java: jvmbind.Java = {"arguments": [word.replace("{port}", str(port)) for word in words]}
    if options.java_home:
        java["home"] = options.java_home
    return jvmbind.AsyncService(name=f"{options.name}-{port}", user=options.user, listen={"http": port}, java=java, quiet=True)


async def upgrade(
    options: argparse.Namespace, running: dict[int, jvmbind.AsyncRunningService], old: list[str], new: list[str]
) -> bool:
    """Replace the version of each instance; return whether all have it."""
    done: list[int] = []
    for port, service in running.items():
        try:
            result = await service.reload(version(options, port, new))
        except jvmbind.JvmbindError as error:
            print(f"port {port}: {error}", flush=True)
            for before in done:
                print(f"port {before}: back, {await running[before].reload(version(options, before, old))}", flush=True)
            return False
        done.append(port)
        print(f"port {port}: {result}; changed: {', '.join(result.changed) or 'nothing'}", flush=True)
    return True


async def main(options: argparse.Namespace) -> None:
    """Run the instances until the input ends, or until SIGTERM."""
    current: list[str] = options.java
    if task := asyncio.current_task():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with contextlib.AsyncExitStack() as stack:
        running = {}
        for port in options.port:
            running[port] = await stack.enter_async_context(
                await version(options, port, current).start(stdout=sys.stderr, die_with_parent=True)
            )
        await asyncio.gather(*(service.wait_ready() for service in running.values()))
        print("ready", flush=True)
        while line := await lines.readline():
            words = shlex.split(line.decode())
            if await upgrade(options, running, current, words):
                current = words
            print("all upgraded" if current is words else "kept", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="upgraded", help="the services are NAME-PORT")
    parser.add_argument("--user", help="who they run as")
    parser.add_argument("--port", type=int, action="append", required=True, help="the port of an instance; may be given again")
    parser.add_argument("--java-home", help="the Java runtime")
    parser.add_argument("java", nargs="+", help="what stands after `java` of the first version")
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(main(parser.parse_args()))
