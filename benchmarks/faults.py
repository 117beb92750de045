"""Faults at random instants under a real systemd: SIGKILL or SIGSTOP of the supervisor or a JVM, again and again.

    python benchmarks/faults.py --rounds 200 --seed 1

All the time another user tries to bind the service's port (one that needs no privilege, so that nothing but the held
listener keeps it out). After each round the service must answer again, with one JVM that serves, and no zombie and no
orphan may be left. Run as root; prints a line of JSON, status 1 where anything of that did not hold.
"""

# ruff: noqa: INP001 - programs of their own, no package
from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from stage import CHECKOUT, JVM, JVMBIND, LabNetwork, boot_lab, show

from support import procfs
from support.clients import http_get
from support.jdks import compile_java, tested_jdks
from support.runner import as_user
from support.users import OTHER_USER, SERVICE_USER

if TYPE_CHECKING:
    from support.lab import Lab
    from support.network import Network

PORT = 8080
UNIT = "faults.service"
_PATIENCE = 90.0

# Tries the wildcard and the loopback address, with and without SO_REUSEPORT, until it is told to end.
_RIVAL = """
import signal, socket, sys
tries = taken = 0
end = []
signal.signal(signal.SIGTERM, lambda *_: end.append(1))
while not end:
    for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::")):
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            with socket.socket(family) as rival:
                rival.setsockopt(socket.SOL_SOCKET, option, 1)
                tries += 1
                try:
                    rival.bind((host, @PORT@))
                    taken += 1
                except OSError:
                    pass
    signal.sigtimedwait([], 0.002)
print(tries, taken)
"""


def unit_file(standby: int) -> str:
    """Return a unit that survives everything that is done to it."""
    jdk = tested_jdks()[-1]
    options = ["--standby", str(standby), "--heartbeat-timeout", "1.5", "--backoff-first", "0.05", "--backoff-max", "0.2"]
    run = [*JVMBIND, "run", "--java-home", str(jdk.home), "-n", "faults", "-l", str(PORT), "-u", SERVICE_USER, *options]
    java = ["--", *JVM, "-Dversion=1", "-cp", "/faults/app", "service.App", f"http={PORT}"]
    return (
        f"[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=notify\nExecStart={' '.join([*run, *java])}\nRestart=always\n"
        "RestartSec=50ms\nFileDescriptorStoreMax=16\nWatchdogSec=3\nWatchdogSignal=SIGKILL\nTimeoutStartSec=60\n"
    )


def jvms(network: Network) -> list[int]:
    """Return the living processes with a JVM."""
    return [pid for pid in network.processes() if procfs.is_jvm(pid)]


def zombies(lab: Lab, main: int) -> int:
    """Count the dead children of PID 1 and of the supervisor that nobody collected."""
    found = 0
    for parent in (lab.pid, main):
        with contextlib.suppress(OSError):
            for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
                found += Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return found


def answers(network: Network) -> bool:
    """Whether the service answers now."""
    try:
        return http_get(network, PORT, timeout=15).status == 200
    except (OSError, http.client.HTTPException):
        return False


def healed(lab: Lab, network: Network, standby: int) -> str:
    """Return "" once the service is whole again, else what was missing when patience ended."""
    deadline = time.monotonic() + _PATIENCE
    missing = ""
    while time.monotonic() < deadline:
        main = lab.main_pid(UNIT)
        if lab.property(UNIT, "ActiveState") != "active" or not main:
            missing = "the unit is not active"
        elif not answers(network):
            missing = "no answer"
        elif len(jvms(network)) != 1 + standby or any(procfs.parent(pid) != main for pid in jvms(network)):
            missing = f"{len(jvms(network))} JVMs"
        elif zombies(lab, main):
            missing = "a zombie"
        else:
            return ""
        time.sleep(0.05)
    return missing


def hit(lab: Lab, network: Network, chance: random.Random) -> str:
    """Do something to somebody at some moment; return what."""
    time.sleep(chance.uniform(0, 0.6))
    main = lab.main_pid(UNIT)
    targets = [("supervisor", main), *(("jvm", pid) for pid in jvms(network))]
    name, pid = chance.choice([target for target in targets if target[1]] or [("nobody", 0)])
    number = chance.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP))
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    return f"{name} {number.name}"


def run(lab: Lab, network: Network, options: argparse.Namespace) -> bool:
    """Run all rounds."""
    lab.write_unit(UNIT, unit_file(options.standby))
    lab.run("systemctl", "start", UNIT)
    chance = random.Random(options.seed)  # noqa: S311 - repeatable, not secret
    with network.entered():
        rival = subprocess.Popen(
            [*as_user(OTHER_USER), sys.executable, "-I", "-c", _RIVAL.replace("@PORT@", str(PORT))],
            stdout=subprocess.PIPE,
            text=True,
        )
    counts: dict[str, int] = {}
    broken: list[str] = []
    times: list[float] = []
    for number in range(options.rounds):
        hits = [hit(lab, network, chance) for _ in range(chance.choice((1, 1, 1, 2)))]
        begun = time.monotonic()
        missing = healed(lab, network, options.standby)
        times.append(time.monotonic() - begun)
        for what in hits:
            counts[what] = counts.get(what, 0) + 1
        if missing:
            broken.append(f"round {number}, {hits}: {missing}")
            break
    rival.terminate()
    tries, taken = map(int, rival.communicate(timeout=30)[0].split())
    show("faults", rounds=len(times), hits=counts, broken=broken, worst_seconds=round(max(times), 1),
         mean_seconds=round(sum(times) / len(times), 2), rival_tries=tries, rival_taken=taken,
         restarts=int(lab.property(UNIT, "NRestarts")))  # fmt: skip
    return not broken and taken == 0 and tries > 0


def main() -> None:
    """Boot the lab and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--standby", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jvmbind-faults-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        compile_java(sorted((CHECKOUT / "tests/supervision/java").glob("*.java")), folder / "app")
        lab = boot_lab({folder: "/faults"})
        try:
            good = run(lab, LabNetwork(lab), options)
            if not good:
                sys.stderr.write(lab.run("journalctl", "--no-pager", "-u", UNIT, "-n", "60", check=False).stdout)
        finally:
            lab.power_off()
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
