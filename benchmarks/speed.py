"""What jvmbind costs, as ratios to plain `java` in one run: requests a second, and the time to the first answer.

    python benchmarks/speed.py throughput --seconds 10 --rounds 5
    python benchmarks/speed.py pairs --count 60
    python benchmarks/speed.py first-answer --count 20 --breakdown
    python benchmarks/speed.py memory --count 5

Plain `java` binds port 80 as root in the same namespace. The ways take turns, so that what else the machine does falls
on each alike. The load client is a Python program: the figures are ratios, not what the server can do. `pairs` keeps all ways
running, each in a namespace of its own, and lets them take turns of some milliseconds; one of them is plain `java` once more,
whose ratio to itself shows what this machine can tell apart. `first-answer` also gives the processor time of all processes
up to the first answer, which other work on the machine changes less than the time. Run as root.
"""

# ruff: noqa: INP001 - programs of their own, no package
from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from smaps import by_kind, by_role
from stage import JVMBIND, SERVERS, Stage, show
from timeline import VERBOSE, WORKER, Phase, Trace, imports, phases

from support.clients import http_get

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.network import Network

# Whose loading ends the JVM's own part of a start; what each role of jvmbind imports.
_MAIN = {"jdk": "servers.JdkServer", "tomcat": "org.apache.catalina.startup.Bootstrap", "netty": "servers.NettyServer"}
_ENTRIES = {
    "launcher": ("jvmbind.cli.run",),
    "supervisor": ("jvmbind.supervisor.main",),
    "worker": ("jvmbind.worker.main",),
}


def commands(stage: Stage, server: str, *options: str) -> dict[str, list[str]]:
    """Return how the server is started, with more `options` of the JVM: by java, by jvmbind, by jvmbind without a supervisor."""
    java = [*options, *stage.java_arguments(server)]
    run = [*JVMBIND, "run", "--java-home", str(stage.jdk.home), "-n", "bench", "-l", "80", "-u", stage.user.name]
    return {"java": [stage.jdk.java, *java], "jvmbind": [*run, "--", *java], "direct": [*run, "--direct", "--", *java]}


def with_another(ways: dict[str, list[str]], interpreter: str) -> dict[str, list[str]]:
    """Add the ways of the jvmbind that is installed for another interpreter, where one was named."""
    others = {f"other {name}": [interpreter, *command[1:]] for name, command in ways.items() if name != "java"}
    return ways | others if interpreter else ways


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


class Answered(NamedTuple):
    """A service that has answered: its process, and the moments of its start and of its first answer."""

    process: subprocess.Popen[bytes]
    output: IO[bytes]
    begun: float
    at: float

    def said(self) -> str:
        """Return what it has written."""
        return said(self.output)


def said(output: IO[bytes]) -> str:
    """Return what a service has written to a file whose place it shares: that is not moved."""
    size = os.fstat(output.fileno()).st_size
    return os.pread(output.fileno(), size, 0).decode(errors="replace")


def until_answered(network: Network, command: list[str], output: IO[bytes], trace: Trace | None) -> Answered:
    """Start the command and return it with its first answer; ends the program, with its output, where it dies before."""
    command = command if trace is None else trace.following(command)
    begun = time.monotonic()
    with network.entered():
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            http_get(network, 80, timeout=30)
            return Answered(process, output, begun, time.monotonic())
        if process.poll() is not None:
            sys.exit(f"{' '.join(command)}: ended with {process.returncode} before its first answer\n{said(output)}")
        time.sleep(0.001)


def spent(network: Network, process: subprocess.Popen[bytes]) -> float:
    """Return the milliseconds of processor time of all processes of a service, those that it has waited for included."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return processor(network) * 1000 + sum(map(int, fields[13:15])) * 1000 / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def answered(stage: Stage, command: list[str], trace: Trace | None = None) -> Iterator[Answered]:
    """Start the command, wait for its first answer, and end it at the end of the block."""
    with tempfile.TemporaryFile() as output:
        found = until_answered(stage.network, command, output, trace)
        yield found
        found.process.terminate()
        found.process.wait(60)


def first_answer(options: argparse.Namespace, server: str) -> None:
    """Compare the time from the start of the command to the first answer."""
    if options.breakdown:
        break_down(options, server)
        return
    with Stage(options.java) as stage:
        times: dict[str, list[float]] = {}
        processors: dict[str, list[float]] = {}
        ways = with_another(commands(stage, server), options.other)
        for _ in range(options.count):
            for name in random.sample(list(ways), len(ways)):
                with answered(stage, ways[name]) as service:
                    processors.setdefault(name, []).append(spent(stage.network, service.process))
                times.setdefault(name, []).append((service.at - service.begun) * 1000)
        figures = {}
        for what, values in (("ms", times), ("processor_ms", processors)):
            medians = {name: round(statistics.median(found), 1) for name, found in values.items()}
            more = {name: round(found - medians["java"], 1) for name, found in medians.items() if name != "java"}
            figures |= {what: medians, f"more_{what}": more}
        show(
            "first-answer", server=server, java=stage.jdk.feature, count=options.count, load=round(os.getloadavg()[0], 1), **figures
        )


def break_down(options: argparse.Namespace, server: str) -> None:
    """Show where each millisecond of a start goes, for each way beside plain java, and what each role imports."""
    runs: dict[str, list[list[Phase]]] = {}
    with Stage(options.java) as stage, Trace() as trace:
        ways = with_another(commands(stage, server, VERBOSE), options.other)
        for _ in range(options.count):
            for name in random.sample(list(ways), len(ways)):
                with answered(stage, ways[name], trace) as service:
                    events, output = trace.events(), service.said()
                runs.setdefault(name, []).append(phases(events, service.at, output, _MAIN.get(server, "")))
        java = stage.jdk.feature
    lines = [f"first answer: {server}, JDK {java}, medians of {options.count}, load {os.getloadavg()[0]:.1f}"]
    plain = medians_of(runs["java"])
    for name in ways:
        lines.append(f"\n{name + ':':<42}{'ms':>8}{'more than java':>16}{'processor ms':>14}   of which")
        for phase in medians_of(runs[name]).values():
            more = f"{phase.wall - plain[phase.name].wall:+.1f}" if name != "java" and phase.name in plain else ""
            shares = ", ".join(f"{role} {share:.1f}" for role, share in phase.processor.items() if share >= 0.05)
            lines.append(f"  {phase.name:<40}{phase.wall:>8.1f}{more:>16}{sum(phase.processor.values()):>14.1f}   {shares}")
    lines += [f"{name}, in all: {' and '.join(in_all(runs[name]))}" for name in ways]
    for name in ways:
        if name != "java":  # as every later generation is started
            after = [run[[phase.name for phase in run].index(WORKER) :] for run in runs[name]]
            lines.append(f"{name}, from the exec of the worker: {' and '.join(in_all(after))}")
    for role, entries in _ENTRIES.items():
        cost = imports(entries, options.count)
        lines.append(
            f"\nimports of the {role}: {cost.total:.1f} ms of processor time beyond the interpreter's {cost.interpreter:.1f}"
        )
        lines += [f"  {milliseconds:6.2f} ms  {module}" for module, milliseconds in cost.modules[: options.modules]]
    sys.stdout.write("\n".join(lines) + "\n")


def in_all(runs: list[list[Phase]]) -> list[str]:
    """Return the medians of the whole of each run: of the time and of the processor time."""
    wall = statistics.median(sum(phase.wall for phase in run) for run in runs)
    processor_ms = statistics.median(sum(sum(phase.processor.values()) for phase in run) for run in runs)
    return [f"{wall:.1f} ms", f"{processor_ms:.1f} ms of processor time"]


def medians_of(runs: list[list[Phase]]) -> dict[str, Phase]:
    """Return the phases that most of the runs had, in their order, each with the medians of its figures."""
    found: dict[str, list[Phase]] = {}
    for phase in (phase for run in sorted(runs, key=len, reverse=True) for phase in run):
        found.setdefault(phase.name, []).append(phase)
    medians = {}
    for name, values in found.items():
        roles = sorted({role for value in values for role in value.processor})
        shares = {role: statistics.median(value.processor.get(role, 0.0) for value in values) for role in roles}
        if len(values) * 2 > len(runs):
            medians[name] = Phase(name, statistics.median(value.wall for value in values), shares)
    return medians


def memory(options: argparse.Namespace, server: str) -> None:
    """Compare the memory of a service (PSS, MiB), by role and by what it is, with that of plain java."""
    with Stage(options.java) as stage:
        totals: dict[str, list[float]] = {}
        roles: dict[str, dict[str, list[float]]] = {}
        kinds: dict[str, dict[str, list[float]]] = {}
        ways = with_another(commands(stage, server), options.other)
        for _ in range(options.count):
            for name, command in ways.items():
                with answered(stage, command):
                    for _ in range(20):
                        http_get(stage.network, 80)
                    pids = stage.network.processes()
                    found = by_role(pids)
                    totals.setdefault(name, []).append(sum(found.values()))
                    for where, values in ((roles, found), (kinds, by_kind(pids))):
                        for key, value in values.items():
                            where.setdefault(name, {}).setdefault(key, []).append(value)
        medians = {name: round(statistics.median(values), 1) for name, values in totals.items()}
        show(
            "memory",
            server=server,
            java=stage.jdk.feature,
            count=options.count,
            pss_mib=medians,
            more_than_java={name: round(value - medians["java"], 1) for name, value in medians.items() if name != "java"},
            by_role=medians_below(roles),
            by_kind=medians_below(kinds),
        )


def medians_below(figures: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, float]]:
    """Return the medians of figures by way and role (or kind)."""
    return {name: {key: round(statistics.median(values), 1) for key, values in found.items()} for name, found in figures.items()}


def main() -> None:
    """Run one of them."""
    runs = {"throughput": throughput, "pairs": pairs, "first-answer": first_answer, "memory": memory}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", choices=runs)
    parser.add_argument("--server", default=",".join(SERVERS))
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--requests", type=int, default=200, help="of a turn of pairs")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--breakdown", action="store_true", help="first-answer: where each millisecond goes; needs tracefs")
    parser.add_argument("--other", default="", metavar="PYTHON", help="another jvmbind beside this one, by its interpreter")
    parser.add_argument("--modules", type=int, default=12, help="of --breakdown: how many of a role's imports are listed")
    parser.add_argument("--java", default="", help="feature version of the JDK; default the newest")
    options = parser.parse_args()
    for server in options.server.split(","):
        runs[options.run](options, server)


if __name__ == "__main__":
    main()
