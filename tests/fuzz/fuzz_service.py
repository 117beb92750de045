"""Random sequences of public calls: `python tests/fuzz/fuzz_service.py [SEQUENCES] [SEED] [SECONDS]`.

Anybody may run it; it needs JDK 18 or later, which FUZZ_JAVA_HOME may name. Threads, tasks of an event loop and a signal
handler call what they like on two services (the JDK's own web server), one with a `RunningService` and one with an
`AsyncRunningService`, while their JVMs and supervisors are killed. Whatever a call raises is in its documentation, no call
takes longer than its time-out and a margin, and after each round what the handle says is compared with what the control
socket says. Once a service has ended nothing of it is left: no process, port, descriptor or thread. The first thing that does
not hold ends this with status 1.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import random
import re
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import jvmbind

if TYPE_CHECKING:
    from collections.abc import Callable

SEQUENCES = 10_000
LENGTH = 2, 6  # calls of a sequence
THREADS, TASKS = 4, 4
SLACK = 30.0  # seconds beyond a time-out, on a machine that has much else to do
MARK = f"JVMBIND_FUZZ={os.getpid()}"
OPTIONS = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx32m", "-Xshare:auto"]
SERVER = ["-m", "jdk.httpserver", "-b", "127.0.0.1", "-p", "8080", "-o", "none"]

counts: collections.Counter[str] = collections.Counter()
wrong: list[str] = []


def service(kind: Any, number: int, **more: Any) -> Any:
    """Return a service on a free port."""
    java = {"arguments": [*OPTIONS, *more.pop("options", ()), *SERVER], **({"home": HOME} if HOME else {})}
    supervise = {"stop_timeout": 5, "stop_drain_timeout": 0.2, "drain_timeout": 0.2, "backoff": {"first": 0.05, "max": 0.5}}
    return kind(
        name=f"fuzz-{os.getpid()}-{number}",
        user="nobody" if os.geteuid() == 0 else None,
        listen={"http": "127.0.0.1:0:8080"},
        java=java,
        env=[MARK],
        supervise={**supervise, "start_timeout": 60},
        quiet=True,
        **more,
    )


def documented(name: str) -> set[str]:
    """Return the classes that a call may raise: those of its docstring and of the class's."""
    text = "".join(
        str(one.__doc__).partition("Raises ")[2] for one in (getattr(jvmbind.RunningService, name), jvmbind.RunningService)
    )
    found = set(re.findall(r"\b(?:[A-Z]\w+Error|OSError)\b", text))
    if "what the launcher refused" in " ".join(text.split()):
        found |= {"PortUnavailableError", "NotPermittedError", "ConfigurationError", "SystemFailureError", "JavaLaunchError"}
    return found


def choose(chance: random.Random, *, waits: bool) -> tuple[str, list[Any], dict[str, Any], float]:
    """Return a call, its arguments, and the seconds after which it must be over."""
    timeout = chance.choice((0, 0.01, 0.1, 0.5, 2.0))
    cheap: list[tuple[str, list[Any], dict[str, Any]]] = [
        ("state", [], {}),
        ("begin_dump", [], {}),
        ("send_signal", [0], {}),
        ("status", [], {"timeout": timeout}),
        ("wait_for", [chance.choice(("ready", "reloading", "backing off", "restarting"))], {"timeout": timeout}),
        ("wait_ready", [], {"timeout": timeout}),
        ("wait", [], {"timeout": min(timeout, 0.1)}),
        ("dump", [], {"timeout": timeout}),
    ]
    dear: list[tuple[str, list[Any], dict[str, Any]]] = [
        ("reload", [], {"timeout": timeout}),
        ("restart", [], {"timeout": timeout}),
        ("begin_reload", [], {}),
        ("begin_restart", [], {}),
        ("reload", ["another"], {"timeout": 20.0}),
        ("kill jvm", [], {}),
        ("kill jvm", [], {}),
    ]
    end: list[tuple[str, list[Any], dict[str, Any]]] = [
        ("stop", [], {"timeout": 20.0}),
        ("send_signal", [signal.SIGKILL], {}),
        ("send_signal", [signal.SIGTERM], {}),
    ]
    dice = chance.random()
    if not waits:
        name, arguments, more = chance.choice(cheap[:3])
    else:
        name, arguments, more = chance.choice(end if dice < 0.004 else dear if dice < 0.05 else cheap)
    return name, arguments, more, float(more.get("timeout", 0.0)) + SLACK


def judge(name: str, error: BaseException | None, seconds: float, most: float) -> None:
    """Count an answer, and note what is not as documented."""
    counts[f"{name}: {type(error).__name__ if error else 'answered'}"] += 1
    if error is not None and type(error).__name__ not in documented(name):
        wrong.append(f"{name} raised {type(error).__name__}: {error}")
    if seconds > most:
        wrong.append(f"{name} took {seconds:.1f} s; expected at most {most:.1f} s")


def serving_pid(status: Any) -> int:
    """Return the pid of the generation that serves, 0 without."""
    return next((one.pid for one in status.generations if one.role == "serving"), 0)


def call(running: Any, chance: random.Random, number: int, *, waits: bool = True) -> None:
    """Make one random call of a `RunningService`."""
    name, arguments, more, most = choose(chance, waits=waits)
    begun, error = time.monotonic(), None
    try:
        if name == "kill jvm":
            name = "status"
            kill(serving_pid(running.status()))
        elif name == "state":
            _ = running.state
        else:
            getattr(running, name)(*another(arguments, chance, jvmbind.Service, number), **more)
    except BaseException as raised:  # noqa: BLE001 - that is the question
        error = raised
    judge(name, error, time.monotonic() - begun, most)


async def acall(running: Any, chance: random.Random, number: int) -> None:
    """Make one random call of an `AsyncRunningService`; some are cancelled."""
    name, arguments, more, most = choose(chance, waits=True)
    error: BaseException | None = None
    begun = time.monotonic()
    try:
        async with asyncio.timeout(0.02 if chance.random() < 0.1 else None):
            if name == "kill jvm":
                name = "status"
                kill(serving_pid(await running.status()))
            elif name == "state":
                _ = running.state
            else:
                answer = getattr(running, name)(*another(arguments, chance, jvmbind.AsyncService, number), **more)
                if asyncio.iscoroutine(answer):
                    await answer
    except TimeoutError as raised:
        error = raised if isinstance(raised, jvmbind.JvmbindError) else None
    except BaseException as raised:  # noqa: BLE001 - as above
        error = raised
    judge(name, error, time.monotonic() - begun, most)


def another(arguments: list[Any], chance: random.Random, kind: Any, number: int) -> list[Any]:
    """Return the arguments, where the word stands for another version that serves, or one that cannot."""
    if arguments != ["another"]:
        return arguments
    options = ["-Dversion=2"] if chance.random() < 0.7 else ["-XX:NoSuchOption"]
    return [service(kind, number, options=options)]


def kill(pid: int) -> None:
    """Kill a JVM of ours, if it is there still."""
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/environ", "rb") as file:
            is_ours = MARK.encode() in file.read().split(b"\0")
        if is_ours:
            os.kill(pid, signal.SIGKILL)


def left() -> list[int]:
    """Return our processes."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal() and int(name) != os.getpid():
            with contextlib.suppress(OSError), open(f"/proc/{name}/environ", "rb") as file:
                found += [int(name)] if MARK.encode() in file.read().split(b"\0") else []
    return found


def until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Wait for a condition that must come."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            wrong.append(f"not within {seconds:.0f} s: {what}")
            return
        time.sleep(0.02)


def says(status: jvmbind.Status) -> tuple[object, ...]:
    """Return what two looks at one service must agree on."""
    change = status.last_change
    return (
        status.state,
        status.ready,
        sorted((one.number, one.role, one.pid) for one in status.generations),
        sorted((one.name, one.port) for one in status.listeners),
        len(status.deaths),
        None if change is None else (change.kind, change.ok, change.generation),
    )


def agree(look: Callable[[], Any], name: str, ports: dict[str, int]) -> None:
    """Compare what a handle says with what the control socket says, once both stand still for a moment."""
    seen: list[object] = []

    def same() -> bool:
        seen.clear()
        with contextlib.suppress(jvmbind.PortUnavailableError, jvmbind.ServiceEndedError), jvmbind.connect(name) as other:
            before, own, state = says(other.status()), look(), None
            after = says(other.status())
            own, state = own
            seen.extend((own, state, before, after))
            if before != after or own is None:
                return own is None
            if dict(after[3]) != ports:  # type: ignore[call-overload]
                return False
            return bool(own == after and state == after[0])
        return look()[0] is None  # both say that it has ended

    until(same, f"the handle and the control socket of {name} say the same: {seen}", 120.0)
    counts["compared with the control socket"] += 1


def gone(ports: dict[str, int]) -> None:
    """See that nothing of a service that has ended is left."""
    for port in ports.values():

        def refused(port: int = port) -> bool:
            with socket.socket() as client:
                return client.connect_ex(("127.0.0.1", port)) != 0

        until(refused, f"port {port} is free")


class Round:
    """Both services, for as long as they live."""

    def __init__(self, seed: int) -> None:
        """Nothing is started yet."""
        self.chance = random.Random(seed)
        self.number = 0
        self.sync: Any = None
        self.asynchronous: Any = None
        self.names = ["", ""]
        self.done = 0

    async def start(self) -> None:
        """Start what is not running."""
        if self.sync is None:
            self.number += 1
            self.names[0] = f"fuzz-{os.getpid()}-{self.number}"
            self.sync = service(jvmbind.Service, self.number).start(stdout=-3, stderr=-3, die_with_parent=True)
            counts["services started"] += 1
        if self.asynchronous is None:
            self.number += 1
            self.names[1] = f"fuzz-{os.getpid()}-{self.number}"
            described = service(jvmbind.AsyncService, self.number)
            self.asynchronous = await described.start(stdout=-3, stderr=-3, die_with_parent=True)
            counts["services started"] += 1

    def sequence(self, seed: int, stop: threading.Event) -> None:
        """Make the calls of one sequence, in a thread."""
        chance = random.Random(seed)
        for _ in range(chance.randint(*LENGTH)):
            if not stop.is_set():
                call(self.sync, chance, int(self.names[0].rpartition("-")[2]))

    async def asequence(self, seed: int) -> None:
        """Make the calls of one sequence, in a task."""
        chance = random.Random(seed)
        for _ in range(chance.randint(*LENGTH)):
            await acall(self.asynchronous, chance, int(self.names[1].rpartition("-")[2]))

    async def run(self) -> None:
        """Let threads, tasks and a signal handler work at once, then look whether all is as it must be."""
        await self.start()
        stop = threading.Event()
        seeds = [self.chance.getrandbits(32) for _ in range(THREADS + TASKS + 1)]
        handled = random.Random(seeds[-1])
        if self.chance.random() < 0.1:  # the one that nothing has been said to yet is of use too
            await self.asynchronous.wait_for("ready", "ended", timeout=60)
        signal.signal(signal.SIGALRM, lambda *_: call(self.sync, handled, 0, waits=False))
        signal.setitimer(signal.ITIMER_REAL, 0.003, 0.01)
        threads = [threading.Thread(target=self.sequence, args=[seed, stop]) for seed in seeds[:THREADS]]
        for thread in threads:
            thread.start()
        await asyncio.gather(*(self.asequence(seed) for seed in seeds[THREADS:-1]))
        for thread in threads:
            await asyncio.to_thread(thread.join)
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.done += THREADS + TASKS
        await self.settle()

    async def settle(self) -> None:
        """Compare, and give up what has ended."""
        running, other = self.sync, self.asynchronous
        if running.state != "ended":
            await asyncio.to_thread(agree, lambda: look(running), self.names[0], running.ports)
        if running.state == "ended":
            running.close()
            gone(running.ports)
            self.sync = None
        if other.state != "ended":
            loop = asyncio.get_running_loop()

            def ask() -> Any:
                return asyncio.run_coroutine_threadsafe(alook(other), loop).result(120)

            await asyncio.to_thread(agree, ask, self.names[1], other.ports)
        if other.state == "ended":
            other.close()
            gone(other.ports)
            self.asynchronous = None

    async def end(self) -> None:
        """Stop both."""
        for running in (self.sync, self.asynchronous):
            if running is not None:
                answer = running.stop(60)
                _ = await answer if asyncio.iscoroutine(answer) else answer
                running.close()
                gone(running.ports)


def look(running: Any) -> tuple[Any, Any]:
    """Return what a handle says, None for one whose service has ended."""
    try:
        status = running.status(30)
    except jvmbind.ServiceTimeoutError:
        return (), None
    if running.state == "ended":
        return None, None
    return says(status), running.state


async def alook(running: Any) -> tuple[Any, Any]:
    """As `look`."""
    try:
        status = await running.status(30)
    except jvmbind.ServiceTimeoutError:
        return (), None
    if running.state == "ended":
        return None, None
    return says(status), running.state


def _fds() -> int:
    """Count the open descriptors; newer libffi keeps its own file open from the first use of ctypes on."""
    links = (os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}"))
    return len([link for link in links if "/libffi" not in link])


async def main(sequences: int, seed: int, seconds: int) -> None:
    """Run so many sequences, at most for so long, or until something is wrong."""
    begun = time.monotonic()
    fds, threads = _fds(), -1
    rounds = Round(seed)
    last = begun
    while rounds.done < sequences and not wrong and time.monotonic() < begun + seconds:
        await rounds.run()
        if time.monotonic() - last > 60:
            last = time.monotonic()
            print(f"{rounds.done} sequences, {sum(counts.values())} answers, {last - begun:.0f} s", file=sys.stderr, flush=True)
    await rounds.end()
    executor = asyncio.get_running_loop()
    await executor.shutdown_default_executor()
    threads = threading.active_count()
    if threads != 1:
        wrong.append(f"{threads} threads are left: {threading.enumerate()}")
    more = _fds() - fds
    if more > 0:
        wrong.append(f"{more} descriptors are left")
    until(lambda: not left(), f"the end of all processes: {left()}")
    for name, count in sorted(counts.items()):
        print(f"{count:9,}  {name}")
    print(f"{rounds.done} sequences, seed {seed}, {time.monotonic() - begun:.0f} s, {len(wrong)} wrong", flush=True)
    for text in wrong:
        print(f"wrong: {text}")


HOME = os.environ.get("FUZZ_JAVA_HOME", "")

if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:4]]
    asyncio.run(main(*[*given, *(SEQUENCES, 1, 86400)[len(given) :]]))
    sys.exit(1 if wrong else 0)
