"""The handle for asyncio: its answers, its cancellations, and that it takes no thread.

Run by pytest as root; the program runs in a child, in a network namespace of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.jdks import Jdk
from support.runner import QUICK_JVM, Runner
from support.users import SERVICE_USER

pytestmark = [pytest.mark.root, pytest.mark.jvm]

PROGRAM = """
import asyncio, os, signal, sys, threading, time
import jvmbind

def service(**more):
    java = {{"main": "probe.ChannelServer", "classpath": {classes!r}, "args": ["*", "80"], "home": {home!r}}}
    java["options"] = {options!r}
    return jvmbind.AsyncService(user={user!r}, listen={{"http": 80}}, java=java, quiet=True, **more)

def fds():
    # Newer libffi keeps its own file open from the first use of ctypes on.
    links = (os.readlink(f"/proc/self/fd/{{fd}}") for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{{fd}}"))
    return len([link for link in links if "/libffi" not in link])

async def main():
    before = fds()
    async with await service(name="one").start() as running:
        kinds = []
        async def follow():
            async for event in running.events():
                kinds.append(event.kind)
        following = asyncio.create_task(follow())
        served = asyncio.create_task(running.wait_for("ready"))
        await asyncio.sleep(0)
        while running.state != "ready":
            time.sleep(0.01)  # the task that waits cannot read before this one
        print("both", await asyncio.wait_for(served, 20), flush=True)
        await running.wait_ready()
        waits = [asyncio.create_task(running.wait_for("backing off")) for _ in range(50)]
        await asyncio.sleep(0)
        print("threads", threading.active_count(), flush=True)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        operation = running.begin_reload()
        reload = asyncio.create_task(operation.result())
        await asyncio.sleep(0)
        reload.cancel()
        await asyncio.gather(reload, return_exceptions=True)
        try:
            await running.reload()
        except jvmbind.BusyError:
            print("busy", flush=True)
        print("result", (await operation.result()).generation, flush=True)
        try:
            await running.wait(0.01)
        except TimeoutError as error:
            print(type(error).__name__, error.state, flush=True)
        status = await running.status()
        os.kill(max(status.generations, key=lambda one: one.number).pid, signal.SIGKILL)
        while "death" not in kinds:
            await asyncio.sleep(0.01)
        await running.restart()
        print((await running.status()).last_change.kind, flush=True)
        try:
            async with asyncio.timeout(0):
                async with await service(name="two").start() as second:
                    await second.wait_ready()
        except TimeoutError:
            print("cancelled", second.state, flush=True)
        third = await service(name="three").start()
        try:
            await third.wait_ready()
        except jvmbind.PortUnavailableError as error:
            print("refused", error.listener, third.state, flush=True)
        third.close()
        script = jvmbind.AsyncService(user={user!r}, java={{"script": ["/bin/cat"], "home": {home!r}}}, quiet=True)
        async with await script.start(stdin=-1, stdout=-1) as cat:
            cat.stdin.write("päng\\n".encode())
            await cat.stdin.drain()
            print("cat", (await cat.stdout.readline()).decode().strip(), flush=True)
            cat.stdin.close()
            print("rest", await cat.stdout.read(), await cat.wait(), flush=True)
    await following
    print(kinds[-1], running.state, await running.wait(), fds() - before)

with asyncio.Runner(loop_factory={loop}) as loops:
    loops.run(main())
"""


def test_asyncio(runner: Runner, jdk: Jdk, probes: Path) -> None:
    """Fifty waits take no thread, a cancelled one leaves its operation to be asked for, and a cancelled start leaves nothing."""
    assert_true_answers(runner, jdk, probes, "None", own=0)


@pytest.mark.jdks(at_least=21)
def test_uvloop(runner: Runner, jdk: Jdk, probes: Path) -> None:
    """The same holds under the event loop of uvloop, which aborts where a descriptor is closed under it."""
    # libuv opens /dev/null with its first stream, and keeps it for a moment in which no descriptor is left.
    assert_true_answers(runner, jdk, probes, "__import__('uvloop').new_event_loop", own=1)


def assert_true_answers(runner: Runner, jdk: Jdk, probes: Path, loop: str, own: int) -> None:
    """Run the program in an event loop that this expression makes, and that has so many descriptors more in the end."""
    program = runner.workspace / "program.py"
    program.write_text(
        PROGRAM.format(classes=str(probes), home=str(jdk.home), options=list(QUICK_JVM), user=SERVICE_USER, loop=loop)
    )
    service = runner.start([sys.executable, "-I", "-W", "error", str(program)], stdin=subprocess.DEVNULL)

    assert service.wait(100) == 0, service.report()
    said = [line for line in service.stdout.splitlines() if not line.startswith(("BOUND", "READY"))]
    assert said == [
        "both ready",
        "threads 1",
        "busy",
        "result 2",
        "ServiceTimeoutError ready",
        "restart",
        "cancelled ended",
        "refused http ended",
        "cat päng",
        "rest b'' 0",
        f"ended ended 143 {own}",
    ]
    service.assert_nothing_left()
