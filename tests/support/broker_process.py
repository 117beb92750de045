"""A broker that a test runs, its policy, and processes of other users that ask it.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from .broker import PROGRAM, Asked
from .runner import as_user

if TYPE_CHECKING:
    from .runner import Runner
    from .service import Service

BROKER_USER = "games"
"""Who the broker becomes here: no test asks as that user."""


class Broker:
    """A broker that a test can talk to."""

    def __init__(self, runner: Runner) -> None:
        """Nothing is started yet."""
        self.runner = runner
        self.network = runner.network
        self.policy = runner.workspace / "ports.d"
        self.path = str(runner.workspace / "run" / "broker.sock")
        self.service: Service
        self.policy.mkdir()
        # Other users may not enter a checkout below /root.
        self._program = runner.workspace / "tests" / "support" / PROGRAM.name
        self._program.parent.mkdir(parents=True)
        self._program.write_text(PROGRAM.read_text("utf-8"), "utf-8")

    def write(self, *rules: str, name: str = "10-test.conf") -> None:
        """Write a file of the policy."""
        (self.policy / name).write_text("".join(f"{rule}\n" for rule in rules))

    def command(self, *options: str) -> list[str]:
        """Return the words that start it."""
        return [*self.runner.jvmbind, "broker", "--policy", str(self.policy), "--socket", self.path, *options]

    def start(self, *rules: str, prefix: tuple[str, ...] = (), options: tuple[str, ...] = ("--user", BROKER_USER)) -> Service:
        """Start it and wait until it serves."""
        self.write(*rules)
        self.service = self.runner.start([*prefix, *self.command(*options)])
        self.service.expect(r"jvmbind broker: ready", stream="stderr")
        return self.service

    @property
    def pid(self) -> int:
        """Its process."""
        return self.service.process.pid

    def run_as(self, user: str, program: str, *words: str) -> subprocess.Popen[str]:
        """Start a Python program of the tests as a user in the namespace; its search path is the tests'."""
        code = f"import sys; sys.path.insert(0, {str(self._program.parent.parent)!r})\n{program}"
        prefix = as_user(user) if user != "root" else []
        with self.network.entered():
            return subprocess.Popen(
                [*prefix, sys.executable, "-I", "-c", code, self.path, *words], stdout=subprocess.PIPE, text=True
            )

    def ask_as(self, user: str, *asked: Asked) -> list[tuple[int, str, list[str]]]:
        """Return what the broker answers to requests of a user."""
        with self.network.entered():
            command = [*as_user(user), sys.executable, "-I", str(self._program), self.path, json.dumps(asked)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr + self.service.report()
        return [(verdict, rule, addresses) for verdict, rule, addresses in json.loads(done.stdout)]

    def descriptors(self) -> int:
        """Return how many descriptors it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))
