"""What jvmbind costs, as ratios to plain `java` in one run: requests a second, and the time to the first answer.

    python benchmarks/speed.py throughput --seconds 10 --rounds 5
    python benchmarks/speed.py pairs --count 60
    python benchmarks/speed.py first-answer --count 20

Plain `java` binds port 80 as root in the same namespace. The ways take turns, so that what else the machine does falls
on each alike. The load client is a Python program: the figures are ratios, not what the server can do. `pairs` keeps all ways
running, each in a namespace of its own, and lets them take turns of some milliseconds; one of them is plain `java` once more,
whose ratio to itself shows what this machine can tell apart. Run as root.
"""

# ruff: noqa: INP001 - programs of their own, no package
from __future__ import annotations

import argparse
import contextlib
import http.client
import random
import re
import signal
import statistics
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from stage import JVMBIND, SERVERS, Stage, show

from support.clients import http_get

if TYPE_CHECKING:
    from support.network import Network


def commands(stage: Stage, server: str) -> dict[str, list[str]]:
    """Return how the server is started: by java, by jvmbind, and by jvmbind without a supervisor."""
    java = stage.java_arguments(server)
    run = [*JVMBIND, "run", "--java-home", str(stage.jdk.home), "-n", "bench", "-l", "80", "-u", stage.user.name]
    if server == "tomcat":  # its folders belong to the service user, and root may write there too
        return {"java": [stage.jdk.java, *java], "jvmbind": [*run, "--", *java]}
    return {"java": [stage.jdk.java, *java], "jvmbind": [*run, "--", *java], "direct": [*run, "--direct", "--", *java]}


def throughput(options: argparse.Namespace, server: str) -> None:
    """Compare requests a second."""
    with Stage(options.java) as stage:
        rates: dict[str, list[float]] = {}
        for _ in range(options.rounds):
            for name, command in commands(stage, server).items():
                service = stage.start(command)
                for seconds in (options.seconds / 2, options.seconds):  # the first one warms the JVM up
                    with stage.load(server, options.threads, "--mode", "keep", "--requests", "1000") as load:
                        time.sleep(seconds)
                rates.setdefault(name, []).append(load["ok"] / load["seconds"])
                service.stop(signal.SIGTERM)
        medians = {name: round(statistics.median(found)) for name, found in rates.items()}
        ratio = round(medians["jvmbind"] / medians["java"], 3)
        show("throughput", server=server, per_second=medians, ratio=ratio)


def turn(network: Network, requests: int, *, keep: bool) -> tuple[float, float]:
    """Return the seconds, and the processor seconds of the service, that so many requests take, one after the other."""
    head = b"GET / HTTP/1.1\r\nHost: x\r\n" + (b"" if keep else b"Connection: close\r\n") + b"\r\n"
    before, begun = processor(network), time.monotonic()
    sock = None
    for _ in range(requests):
        sock = sock or network.connect("127.0.0.1", 80)
        sock.sendall(head)
        answer = sock.recv(65536)
        if not answer.startswith(b"HTTP/1.1 200"):
            msg = f"an answer that is none: {answer[:60]!r}"
            raise ValueError(msg)
        if not keep:
            sock.close()
            sock = None
    if sock is not None:
        sock.close()
    return time.monotonic() - begun, processor(network) - before


def processor(network: Network) -> float:
    """Return the processor time that the living threads of a namespace have had, to the nanosecond: proc_pid_schedstat(5).

    That of the compilers is left out: they work when they like.
    """
    total = 0
    for pid in network.processes():
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                if not re.match(r"C[12] Compiler", (task / "comm").read_text()):
                    total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def pairs(options: argparse.Namespace, server: str) -> None:
    """Compare the time of a request in turns that follow each other at once."""
    names = ("java", "java again", "jvmbind", "direct")
    with contextlib.ExitStack() as stack:
        stages = {name: stack.enter_context(Stage(options.java)) for name in names}
        for name, stage in stages.items():
            stage.start(commands(stage, server)[name.partition(" ")[0]])
        for keep, requests in ((True, options.requests), (False, max(1, options.requests // 4))):
            for stage in stages.values():
                turn(stage.network, 40 * requests, keep=keep)  # warms the JVM up
            ratios: dict[str, dict[str, list[float]]] = {what: {name: [] for name in names[1:]} for what in ("wall", "processor")}
            for _ in range(options.count):
                # One turn of each, in any order: who had more of them would be warmer.
                took = {name: turn(stages[name].network, requests, keep=keep) for name in random.sample(names, len(names))}
                for position, found in enumerate(ratios.values()):
                    for name, values in found.items():
                        values.append(took[names[0]][position] / took[name][position])
            quartiles = {
                what: {name: [round(one, 3) for one in statistics.quantiles(values, n=4)] for name, values in found.items()}
                for what, found in ratios.items()
            }
            show("pairs", server=server, keep_alive=keep, pairs=options.count, requests=requests, ratio_quartiles=quartiles)


def first_answer(options: argparse.Namespace, server: str) -> None:
    """Compare the time from the start of the command to the first answer."""
    with Stage(options.java) as stage:
        times: dict[str, list[float]] = {}
        for _ in range(options.count):
            for name, command in commands(stage, server).items():
                begun = time.monotonic()
                with stage.network.entered():
                    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                while True:
                    try:
                        http_get(stage.network, 80, timeout=30)
                        break
                    except (OSError, http.client.HTTPException):
                        time.sleep(0.001)
                times.setdefault(name, []).append((time.monotonic() - begun) * 1000)
                process.terminate()
                process.wait(30)
        medians = {name: round(statistics.median(found)) for name, found in times.items()}
        more = {name: found - medians["java"] for name, found in medians.items() if name != "java"}
        show("first-answer", server=server, count=options.count, median_ms=medians, more_than_java_ms=more)


def main() -> None:
    """Run one of them."""
    runs = {"throughput": throughput, "pairs": pairs, "first-answer": first_answer}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", choices=runs)
    parser.add_argument("--server", default=",".join(SERVERS))
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--requests", type=int, default=200, help="of a turn of pairs")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--java", default="", help="feature version of the JDK; default the newest")
    options = parser.parse_args()
    for server in options.server.split(","):
        runs[options.run](options, server)


if __name__ == "__main__":
    main()
