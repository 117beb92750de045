"""The server of this folder, services that run it, and the load client of benchmarks/.

Run by pytest as root for the namespaces; jvmbind is started by the service user. Must not import jvmbind.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support import procfs
from support.clients import http_get
from support.jdks import Jdk, compile_java, tested_jdks, write_jar
from support.marks import mark_below
from support.runner import PLAIN, QUICK_JVM, Runner, as_user
from support.users import SERVICE_USER
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.service import Service

LOAD = Path(__file__).parent.parent.parent / "benchmarks" / "load.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder; java has no supervisor to compare with."""
    mark_below(
        Path(__file__).parent, items, pytest.mark.root, pytest.mark.jvm, pytest.mark.skipif(PLAIN, reason="java has no supervisor")
    )


@pytest.fixture(scope="session")
def app_jar(shared_directory: Path) -> Path:
    """The server of this folder as a jar."""
    sources = sorted((Path(__file__).parent / "java").glob("*.java"))
    classes = compile_java(sources, shared_directory / "supervised")
    return write_jar(shared_directory / "app.jar", classes, {"Main-Class": "service.App"})


class Supervised:
    """A supervised service whose configuration file a test can change."""

    def __init__(self, runner: Runner, jar: Path) -> None:
        """Nothing is started yet."""
        self.runner = runner
        self.network = runner.network
        self.jdk: Jdk = tested_jdks()[-1]
        self.jar = jar
        self.folder = runner.workspace
        self.config = self.folder / "service.toml"
        self.socket = self.folder / "run" / "control"
        self.jvmbind = [sys.executable, "-I", "-m", "jvmbind"]
        self.service: Service
        self.socket.parent.mkdir()
        os.chmod(self.socket.parent, 0o777)

    def configure(
        self,
        *app: str,
        version: str = "1",
        listen: str = "'8080'",
        jar: Path | str | None = None,
        jvm: tuple[str, ...] = (),
        more: str = "",
    ) -> None:
        """Write the configuration: what runs, on what, and further lines of [supervise]."""
        options = json.dumps([*QUICK_JVM, f"-Dversion={version}", *jvm])
        text = (
            f"listen = [{listen}]\n[java]\nhome = '{self.jdk.home}'\njar = '{jar or self.jar}'\noptions = {options}\n"
            f"args = {json.dumps(list(app))}\n[control]\nsocket = '{self.socket}'\n[supervise]\n{more}\n"
        )
        self.config.write_text(text)

    def start(self, *app: str, **configuration: Any) -> Service:
        """Configure and start as the service user, and wait until the first generation serves."""
        self.launch(*app, **configuration)
        self.service.expect(r"generation 1 is ready", stream="stderr")
        return self.service

    def start_as_written(self) -> Service:
        """Start with the configuration that is there, and wait until the first generation serves."""
        self._launch()
        self.service.expect(r"generation 1 is ready", stream="stderr")
        return self.service

    def launch(self, *app: str, **configuration: Any) -> Service:
        """Configure and start as the service user."""
        self.configure(*app, **configuration)
        return self._launch()

    def _launch(self) -> Service:
        command = [*as_user(SERVICE_USER), *self.jvmbind, "run", "-n", "app", "-c", str(self.config)]
        self.service = self.runner.start(command)
        self.service.quiet = False
        return self.service

    def launch_script(self, *app: str, listen: str = "8080") -> Service:
        """Start the server by a wrapper script, as the service user."""
        script = self.folder / "start.sh"
        script.write_text(f"#!/bin/sh\nexec java {' '.join(QUICK_JVM)} -Dversion=1 -jar {self.jar} {' '.join(app)}\n")
        script.chmod(0o755)
        options = ["-n", "app", "-l", listen, "--java-home", str(self.jdk.home), "--control-socket", str(self.socket)]
        self.service = self.runner.start([*as_user(SERVICE_USER), *self.jvmbind, "wrap", *options, "--", str(script)])
        self.service.quiet = False
        return self.service

    def ask(self, command: str, *options: str, user: str = SERVICE_USER) -> subprocess.CompletedProcess[str]:
        """Run `jvmbind COMMAND` against the service's control socket."""
        words = [*as_user(user), *self.jvmbind, command, *options, str(self.socket)]
        return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)

    def reload(self) -> subprocess.CompletedProcess[str]:
        """Run `jvmbind reload`."""
        return self.ask("reload")

    def status(self) -> dict[str, Any]:
        """Return `jvmbind status --json`."""
        done = self.ask("status", "--json")
        assert done.returncode == 0, done.stderr + self.service.report()
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def roles(self) -> dict[str, list[int]]:
        """Return role -> pids of the living generations."""
        found: dict[str, list[int]] = {}
        for generation in self.status()["generations"]:
            found.setdefault(generation["role"], []).append(generation["pid"])
        return found

    def serving(self) -> int:
        """Return the pid of the serving generation."""
        (pid,) = wait_until(lambda: self.roles().get("serving"), 30, "a serving generation") or [0]
        return pid

    def version(self, port: int = 8080) -> str:
        """Return the version that answers."""
        match = re.fullmatch(r"pid=\d+ version=(.*)", http_get(self.network, port, timeout=30).body)
        assert match is not None
        return match[1]

    def await_generation(self, number: int, seconds: float = 30) -> None:
        """Wait until the generation of that number is ready."""
        self.service.expect(rf"generation {number} is ready", stream="stderr", timeout=seconds)

    def await_only(self, role: str = "serving", seconds: float = 30) -> None:
        """Wait until nothing lives but one generation of a role."""
        wait_until(lambda: [*self.roles()] == [role], seconds, f"{role} alone")

    def children(self) -> list[int]:
        """Return the supervisor's children, dead ones included."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError, KeyError):
                if procfs.parent(int(pid)) == self.service.pid:
                    found.append(int(pid))
        return found

    @contextlib.contextmanager
    def under_load(self, *options: str, port: int = 8080, pause: float = 0.005) -> Iterator[dict[str, Any]]:
        """Run the load client meanwhile, its threads with a `pause` in seconds between two requests.

        Its result fills the dictionary at the end of the block.
        """
        result: dict[str, Any] = {}
        command = [sys.executable, "-I", str(LOAD), "--port", str(port), "--pause", str(pause), *options]
        with self.network.entered():
            client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            yield result
        finally:
            client.terminate()
            output, _ = client.communicate(timeout=60)
            result.update(json.loads(output))


@pytest.fixture
def supervised(runner: Runner, app_jar: Path) -> Supervised:
    """A supervised service, not yet started."""
    return Supervised(runner, app_jar)


@pytest.fixture
def start(supervised: Supervised) -> Callable[..., Service]:
    """Start it."""
    return supervised.start
