"""Long runs under load: what clients see of reloads, crashes and failed reloads. Run as root.

    python benchmarks/soak.py reload --count 100            reloads under load, descriptors and memory before and after
    python benchmarks/soak.py kill --count 20               kill -9 of the serving JVM under load
    python benchmarks/soak.py broken --count 5              reloads into a broken jar, one that never binds, one that exits
    python benchmarks/soak.py supervisor --count 20         kill -9 of the supervisor under systemd, with its descriptor store
    python benchmarks/soak.py failover --count 20           from kill -9 to the next answer, without and with a standby

Each prints a line of JSON for each server; `--server jdk,tomcat,jetty,netty` chooses. Traffic stays in a network
namespace of its own. The servers come from Maven Central (tests/support/artifacts.py).
"""

# ruff: noqa: INP001 - programs of their own, no package
from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import tempfile
import time

from stage import JVMBIND, SERVERS, LabNetwork, Stage, boot_lab, show

from support.clients import http_get, http_get_when_served


def reload_soak(options: argparse.Namespace, server: str) -> bool:
    """Reload again and again under load."""
    with Stage(options.java) as stage:
        stage.configure(stage.java_arguments(server))
        service = stage.start()
        for _ in range(2):  # what is loaded at the first reload stays
            stage.ask("reload")
        stage.settle()
        before, failed, times = stage.census(service), [], []
        with stage.load(server, options.threads) as load:
            for _ in range(options.count):
                begun = time.monotonic()
                done = stage.ask("reload")
                times.append(time.monotonic() - begun)
                if done.returncode:
                    failed.append(done.stderr)
        stage.settle()
        after = stage.census(service)
        median = round(statistics.median(times), 2)
        show("reload", server=server, count=options.count, seconds=median, failed=failed, load=load, before=before, after=after)
        return not failed and not any(load[kind] for kind in ("refused", "reset", "timeout", "wrong"))


def kill_soak(options: argparse.Namespace, server: str) -> bool:
    """Kill the serving JVM again and again under load."""
    with Stage(options.java) as stage:
        stage.configure(stage.java_arguments(server), standby=options.standby, backoff={"first": 0.05, "max": 0.1})
        stage.start()
        stage.settle(options.standby)
        with stage.load(server, options.threads, "--timeout", "60") as load:
            for _ in range(options.count):
                (pid,) = stage.pids("serving")
                os.kill(pid, signal.SIGKILL)
                while stage.pids("serving") in ([], [pid]):
                    time.sleep(0.02)
                stage.settle(options.standby)
        most = options.count * options.threads
        show("kill", server=server, count=options.count, standby=options.standby, load=load, at_most_lost=most)
        return not load["refused"] and not load["timeout"] and load["reset"] + load["wrong"] <= most


def broken_soak(options: argparse.Namespace, server: str) -> bool:
    """Reload into programs that cannot take over, under load."""
    with Stage(options.java) as stage:
        good = stage.java_arguments(server)
        stage.configure(good, start_timeout=30)
        stage.start()
        (serving,) = stage.pids("serving")
        wrong, reasons = [], {}
        with stage.load(server, options.threads) as load:
            for kind in ("jar", "never-binds", "exits"):
                stage.configure(stage.broken(kind), start_timeout=2)
                for _ in range(options.count):
                    done = stage.ask("reload")
                    reasons[kind] = done.stderr.strip()
                    if done.returncode == 0 or stage.pids("serving") != [serving]:
                        wrong.append(kind)
        stage.settle()
        show("broken", server=server, count=options.count, unexpected=wrong, reasons=reasons, load=load)
        return not wrong and not any(load[kind] for kind in ("refused", "reset", "timeout", "wrong"))


def supervisor_soak(options: argparse.Namespace, server: str) -> bool:
    """Kill the supervisor again and again under load; systemd keeps the listeners and starts it anew."""
    tempfile.tempdir = "/var/tmp"  # noqa: S108 - the lab has a /tmp of its own
    with Stage(options.java) as stage:
        stage.configure(stage.java_arguments(server))
        lab = boot_lab({})
        stage.network, before = LabNetwork(lab), stage.network
        try:
            run = " ".join([*JVMBIND, "run", "-c", str(stage.config)])
            service = f"[Service]\nType=notify\nExecStart={run}\nRestart=always\nRestartSec=50ms\nFileDescriptorStoreMax=16\n"
            lab.write_unit("soak.service", f"[Unit]\nStartLimitIntervalSec=0\n{service}")
            lab.run("systemctl", "start", "soak.service")
            with stage.load(server, options.threads, "--timeout", "60") as load:
                for _ in range(options.count):
                    http_get_when_served(stage.network, 80, timeout=60)
                    main = lab.main_pid("soak.service")
                    os.kill(main, signal.SIGKILL)
                    while lab.main_pid("soak.service") in {0, main} or lab.property("soak.service", "ActiveState") != "active":
                        time.sleep(0.05)
            restarts = int(lab.property("soak.service", "NRestarts"))
        finally:
            lab.power_off()
            stage.network = before
        most = options.count * options.threads
        show("supervisor", server=server, count=options.count, restarts=restarts, load=load, at_most_lost=most)
        return not load["refused"] and not load["timeout"] and load["reset"] + load["wrong"] <= most


def failover(options: argparse.Namespace, server: str) -> bool:
    """Time the first answer after kill -9."""
    for standby in (0, 1):
        with Stage(options.java) as stage:
            stage.configure(stage.java_arguments(server), standby=standby, backoff={"first": 0.001, "max": 0.001})
            stage.start()
            times = []
            for _ in range(options.count):
                stage.settle(standby)
                (pid,) = stage.pids("serving")
                begun = time.monotonic()
                os.kill(pid, signal.SIGKILL)
                while True:
                    try:
                        http_get(stage.network, 80, timeout=60)
                        break
                    except OSError:
                        continue  # this connection was the dead JVM's
                times.append((time.monotonic() - begun) * 1000)
            median, worst = round(statistics.median(times), 1), round(max(times), 1)
            show("failover", server=server, standby=standby, count=options.count, median_ms=median, max_ms=worst)
    return True


def main() -> None:
    """Run one of them on each server; status 1 where a server lost what it must not lose."""
    runs = {"reload": (reload_soak, 100), "kill": (kill_soak, 20), "broken": (broken_soak, 5)}
    runs |= {"supervisor": (supervisor_soak, 20), "failover": (failover, 20)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", choices=runs)
    parser.add_argument("--count", type=int, default=None)
    parser.add_argument("--server", default=",".join(SERVERS))
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--standby", type=int, default=0, help="with kill")
    parser.add_argument("--java", default="", help="feature version of the JDK; default the newest")
    options = parser.parse_args()
    function, count = runs[options.run]
    options.count = options.count or count
    results = [function(options, server) for server in options.server.split(",")]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
