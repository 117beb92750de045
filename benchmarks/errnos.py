"""Errno injection: each system call of the supervisor's loop fails once with each errno, at a random place.

    python benchmarks/errnos.py --seed 1
    python benchmarks/errnos.py --stages crash --calls poll,waitid --errnos EIO,ENOMEM

The supervisor of a real service is traced, as root, and one call after the other is answered with an errno in place of the
kernel's answer, while the service is asked for its status, its JVM is killed, or it is reloaded. After each it must live,
answer and serve a client; or have ended with a status of its own, a clear last line, and nothing left. Prints a line of
JSON with the counts, status 1 where anything of that did not hold. x86-64.
"""

# ruff: noqa: INP001 - programs of their own, no package
from __future__ import annotations

import argparse
import contextlib
import errno
import http.client
import json
import os
import random
import re
import signal
import socket
import sys
from typing import TYPE_CHECKING

from stage import Stage, show

from support import procfs
from support.clients import http_get
from support.injection import CALLS, ERRNOS, Tracer
from support.waiting import wait_until

if TYPE_CHECKING:
    from support.service import Service

_TRACEBACK = "Traceback"


class Victim:
    """One service, and what is done to it."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        stage.configure(
            stage.java_arguments("jdk"),
            ready="listen",
            restart="always",
            start_limit=1000,
            drain_timeout=2,
            backoff={"first": 0.05, "max": 0.1},
        )
        self.start()

    def start(self) -> None:
        """Start the service and trace its supervisor."""
        self.service: Service = self.stage.start()
        self.tracer = Tracer(self.service.pid)

    def serves(self) -> bool:
        """Whether a client is served."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return http_get(self.stage.network, 80, timeout=20).status == 200
        return False

    def ask(self, word: str) -> dict[str, object]:
        """Return the answer of the control socket, {} without one."""
        with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.settimeout(20)
            sock.connect(str(self.stage.socket))
            sock.send(word.encode())
            return json.loads(sock.recv(1 << 20))
        return {}

    def answers(self) -> bool:
        """Whether the status has been given, and is that of a service that is up; or the service has ended."""
        return not self.service.running() or (self.ask("status").get("phase") == "up" and self.serves())

    def jvms(self) -> list[int]:
        """Return the processes with a JVM in them."""
        return [pid for pid in self.service.processes() if procfs.is_jvm(pid)]

    def status(self) -> None:
        """Ask for the status."""
        self.ask("status")

    def crash(self) -> None:
        """Kill the JVM, and wait until the next one serves."""
        before = self.jvms()
        for pid in before:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.service.running() or set(self.jvms()) - set(before), 30, "another JVM")

    def reload(self) -> None:
        """Reload, whatever becomes of it."""
        self.ask("reload")

    def verdict(self) -> str:
        """Return "" where the service lives and works or has ended as it should, else what is wrong."""
        try:
            wait_until(self.answers, 60, "an answer")
        except AssertionError:
            return f"lives, but does not serve: {self.ask('status')}"
        if _TRACEBACK in self.service.stderr:
            return "traceback"
        if self.service.running():
            return ""
        last = (self.service.stderr.splitlines() or [""])[-1]
        status = self.service.wait(10)
        left = [
            *self.service.processes(),
            *self.stage.network.bound(),
            *([self.stage.socket] if self.stage.socket.exists() else []),
        ]
        ours = re.match(r"(\S+T\S+ )?jvmbind: ", last)
        return "" if ours and status in {71, 75} and not left else f"ended: {status}, {last!r}, left {left}"


def main() -> None:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--java", default="")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stages", default="status,crash,reload")
    parser.add_argument("--calls", default=",".join(CALLS))
    parser.add_argument("--errnos", default=",".join(ERRNOS))
    options = parser.parse_args()
    chance = random.Random(options.seed)  # noqa: S311 - repeatable, no secret
    counts = {"tried": 0, "injected": 0, "lived": 0, "ended": 0}
    wrong: list[str] = []
    calls: dict[str, dict[str, int]] = {}
    with Stage(options.java) as stage:
        victim = Victim(stage)
        for name in options.stages.split(","):
            do = getattr(victim, name)
            victim.tracer.counts()
            do()
            wait_until(victim.answers, 60, "an answer")
            seen = victim.tracer.counts()
            calls[name] = seen
            for call in options.calls.split(","):
                for word in options.errnos.split(",") if call in seen else ():
                    nth = chance.randint(1, seen[call])
                    counts["tried"] += 1
                    victim.tracer.arm(call, getattr(errno, word), nth)
                    do()
                    problem = victim.verdict()
                    counts["injected"] += victim.tracer.disarm()
                    if problem:
                        wrong.append(f"{name}: call {nth} of {call} -> {word}: {problem}")
                        print(wrong[-1], file=sys.stderr, flush=True)
                    if victim.service.running() and not problem:
                        counts["lived"] += 1
                        continue
                    counts["ended"] += not victim.service.running()
                    victim.tracer.close()
                    victim.service.end()
                    stage.network.kill_all()
                    victim.start()
        victim.tracer.close()
        show("errnos", seed=options.seed, calls=calls, **counts, wrong=wrong)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
