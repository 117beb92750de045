"""What jvmbind costs, as ratios to plain `java` in one run: requests a second, and the time to the first answer.

    python benchmarks/speed.py throughput --seconds 10 --rounds 5
    python benchmarks/speed.py first-answer --count 20

Plain `java` binds port 80 as root in the same namespace. The ways take turns, so that what else the machine does falls
on each alike. The load client is a Python program: the figures are ratios, not what the server can do. Run as root.
"""

# ruff: noqa: INP001 - programs of their own, no package
from __future__ import annotations

import argparse
import http.client
import signal
import statistics
import subprocess
import time

from stage import JVMBIND, SERVERS, Stage, show

from support.clients import http_get


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
    runs = {"throughput": throughput, "first-answer": first_answer}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", choices=runs)
    parser.add_argument("--server", default=",".join(SERVERS))
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--java", default="", help="feature version of the JDK; default the newest")
    options = parser.parse_args()
    for server in options.server.split(","):
        runs[options.run](options, server)


if __name__ == "__main__":
    main()
