"""What one hand-over takes, from the application's bind to its return, with 1 and with many listeners.

    sudo python benchmarks/hand_over.py [--listeners 1 100 1000] [--count 300]

The real filter and kernel, without a JVM; the application is a thread beside the one that answers, so both share the
interpreter's lock, which a responder does not share with Java. Prints the median and the tenth percentile of a bind,
and of a bind that goes on to the kernel, in milliseconds. Run in a network namespace: unshare --net.
"""

# ruff: noqa: INP001 - a program of its own, no package
from __future__ import annotations

import argparse
import os
import resource
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from support.stage import Stage

FIRST = 10000


def measure(listeners: int, count: int) -> None:
    """Print one line: the binds are spread over all listeners, and each closes its socket again."""
    stage = Stage(" ".join(f"127.0.0.1:{FIRST + number}" for number in range(listeners)))
    times: dict[str, list[float]] = {"handed over": [], "passed on": []}

    def application() -> None:
        for turn in range(count):
            for what, port in (("handed over", FIRST + turn * 7 % listeners), ("passed on", 0)):
                with socket.socket() as sock:
                    begin = time.perf_counter()
                    sock.bind(("127.0.0.1", port))
                    times[what].append((time.perf_counter() - begin) * 1000)

    stage.play(application)
    found = [f"{what} {statistics.median(all_):.3f} ({statistics.quantiles(all_, n=10)[0]:.3f})" for what, all_ in times.items()]
    print(f"{listeners} listeners: {', '.join(found)}; load {os.getloadavg()[0]:.1f}", flush=True)


def main() -> None:
    """Measure each number of listeners in a process of its own, since a filter stays."""
    parser = argparse.ArgumentParser(description="What one hand-over takes.")
    parser.add_argument("--listeners", type=int, nargs="+", default=[1, 100, 1000])
    parser.add_argument("--count", type=int, default=300, help="binds of each kind, default %(default)s")
    options = parser.parse_args()
    if len(options.listeners) == 1:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        measure(options.listeners[0], options.count)
        return
    for number in options.listeners:
        command = [sys.executable, __file__, "--listeners", str(number), "--count", str(options.count)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
