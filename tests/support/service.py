"""A running service under test: started in a network namespace, its output in files, ended whatever happens.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from . import procfs
from .waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .network import Network

# What must never be seen in anybody's output: tracebacks of ours, crash reports, warnings of JPype or about it.
_NOISE = re.compile(
    r"Traceback \(most recent call last\)|jpype|Fatal Python error|Exception ignored in"
    r"|terminate called|Segmentation fault",
    re.IGNORECASE,
)


class Service:
    """One command running in a network namespace, with stdout and stderr in files of `directory`."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        network: Network,
        directory: Path,
        name: str = "service",
        environment: Mapping[str, str] | None = None,
        cwd: Path | str = "/",
        stdin: int = subprocess.DEVNULL,
        pass_fds: Sequence[int] = (),
    ) -> None:
        """Start it; the command's own session lets a terminal's signals pass by."""
        self.command = list(command)
        self.network = network
        self.quiet = True
        """Whether the end of the test asserts that nothing but Java's own words was printed."""
        self.stdout_path = directory / f"{name}.stdout"
        self.stderr_path = directory / f"{name}.stderr"
        (directory / f"{name}.command").write_text(" ".join(self.command) + "\n")
        with self.stdout_path.open("wb") as out, self.stderr_path.open("wb") as err, network.entered():
            self.process = subprocess.Popen(
                self.command,
                stdin=stdin,
                stdout=out,
                stderr=err,
                env=None if environment is None else dict(environment),
                cwd=cwd,
                pass_fds=pass_fds,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The pid that the caller of jvmbind sees."""
        return self.process.pid

    @property
    def stdout(self) -> str:
        """What was printed to stdout so far."""
        return self.stdout_path.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        """What was printed to stderr so far."""
        return self.stderr_path.read_text(errors="replace")

    def running(self) -> bool:
        """Tell whether the process that was started still lives."""
        return self.process.poll() is None

    def expect(self, pattern: str, *, timeout: float = 40.0, stream: str = "stdout") -> re.Match[str]:
        """Wait for a line matching `pattern` and return the match; fails at once when the process has ended without."""
        compiled = re.compile(pattern, re.MULTILINE)

        def seen() -> re.Match[str] | None:
            ended = not self.running()
            match = compiled.search(getattr(self, stream))
            if match is None and ended:
                message = f"ended with {self.process.returncode} before {pattern!r} came on {stream}\n{self.report()}"
                raise AssertionError(message)
            return match

        try:
            match = wait_until(seen, timeout, f"{pattern!r} on {stream}")
        except AssertionError as failure:
            if "ended with" in str(failure):
                raise
            message = f"{failure}\n{self.report()}"
            raise AssertionError(message) from None
        assert match is not None
        return match

    def wait(self, timeout: float = 30.0) -> int:
        """Wait for the end; return the exit status as a shell shows it (128 + signal)."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            message = f"still running after {timeout:g} s: {self.command}\n{self.report()}"
            raise AssertionError(message) from None
        return status if status >= 0 else 128 - status

    def stop(self, number: int = signal.SIGTERM, timeout: float = 30.0) -> int:
        """Send a signal, wait for the end, return the exit status."""
        self.process.send_signal(number)
        return self.wait(timeout)

    def send_line(self, text: str) -> None:
        """Write a line to the service's stdin (started with stdin=subprocess.PIPE)."""
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def processes(self) -> list[int]:
        """Return every living process of the namespace."""
        return self.network.processes()

    def worker(self) -> int:
        """Return the pid of the one process with a JVM in it, waiting for it to be there."""

        def found() -> list[int]:
            # Not a `java` that Java itself started: the worker is a Python process.
            return [pid for pid in self.processes() if procfs.is_jvm(pid)]

        pids = wait_until(found, 20, "a process with a JVM")
        assert len(pids) == 1, [procfs.command_line(pid) for pid in pids]
        return pids[0]

    def report(self) -> str:
        """Return the command and the end of both streams, for messages."""
        return f"--- command\n{' '.join(self.command)}\n--- stdout\n{self.stdout[-4000:]}\n--- stderr\n{self.stderr[-4000:]}"

    def assert_quiet(self) -> None:
        """Assert that neither stream holds a Python traceback, a crash report or a warning that JPype causes."""
        for stream in ("stdout", "stderr"):
            noise = _NOISE.findall(getattr(self, stream))
            assert noise == [], f"{noise[0]!r} on {stream}\n{self.report()}"

    def assert_nothing_left(self, timeout: float = 5.0) -> None:
        """Assert that no process and no reachable socket of the service is left in its namespace."""
        wait_until(lambda: not self.processes(), timeout, f"the end of all processes ({self._left()})")
        wait_until(lambda: not self.network.bound(), timeout, f"the release of {self.network.bound()}")

    def _left(self) -> list[tuple[int, list[str]]]:
        return [(pid, procfs.command_line(pid)) for pid in self.processes()]

    def end(self) -> None:
        """Kill the process if it still runs and close its stdin."""
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        if self.running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self.process.wait(10)
