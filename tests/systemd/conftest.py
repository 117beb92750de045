"""One systemd for all tests of this folder, and units of the service that they run.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.clients import Answer, http_get
from support.jdks import Jdk, compile_java, tested_jdks
from support.lab import Lab, missing
from support.needs import need
from support.network import Network
from support.runner import PLAIN, QUICK_JVM
from support.users import SERVICE_USER
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SHOWN = "/lab"
"""Where the lab sees the session's shared folder: /tmp is its own there."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder; nothing here has a meaning for plain java."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            # One systemd serves them all: in a parallel run they stay in one process.
            for mark in (pytest.mark.systemd, pytest.mark.root, pytest.mark.jvm, pytest.mark.xdist_group("systemd")):
                item.add_marker(mark)
            item.add_marker(pytest.mark.skipif(PLAIN, reason="java knows no service manager"))


class LabNetwork(Network):
    """The lab's network namespace, for the clients of support.clients."""

    def __init__(self, lab: Lab) -> None:
        """Hold on to it."""
        self._fd = os.open(f"/proc/{lab.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._inode = os.fstat(self._fd).st_ino

    def close(self) -> None:
        """Let it go."""
        os.close(self._fd)


@pytest.fixture(scope="session")
def app_classes(shared_directory: Path) -> Path:
    """The class folder of tests/supervision/java."""
    sources = Path(__file__).parent.parent / "supervision" / "java"
    return compile_java(sorted(sources.glob("*.java")), shared_directory / "app")


@pytest.fixture(scope="session")
def lab(shared_directory: Path, app_classes: Path) -> Iterator[Lab]:
    """A running systemd that sees the interpreter under test, jvmbind, the JDKs and the compiled server."""
    reason = missing()
    need(reason, there=not reason)
    assert app_classes.is_relative_to(shared_directory)
    binds = {shared_directory: _SHOWN, Path(sys.prefix): sys.prefix}
    found = importlib.util.find_spec("jvmbind")
    assert found is not None
    assert found.origin is not None
    package = Path(found.origin).parent
    binds[package] = str(package)
    made = Lab(binds)
    yield made
    made.power_off()


class Unit:
    """A service of the lab: jvmbind under a unit of its own name."""

    def __init__(self, lab: Lab, network: Network, jdk: Jdk, name: str) -> None:
        """Nothing is written yet."""
        self.lab = lab
        self.network = network
        self.jdk = jdk
        self.name = name
        self.file = f"{name}.service"
        self.jvmbind = [sys.executable, "-I", "-m", "jvmbind"]
        self.as_user = f"User={SERVICE_USER}\nRuntimeDirectory=jvmbind/{name}"
        """Lines of [Service] for a unit without root; its control socket is then where root looks for it."""
        self.control = f"--control-socket /run/jvmbind/{name}/control"

    def command(self, options: str, *app: str, version: str = "1") -> str:
        """Return the command line of `jvmbind run OPTIONS -- java ... App APP...`, quoted for ExecStart=."""
        java = [*QUICK_JVM, f"-Dversion={version}", "-cp", f"{_SHOWN}/app", "service.App", *app]
        words = [*self.jvmbind, "run", "--java-home", str(self.jdk.home), "-n", self.name, *options.split(), "--", *java]
        return shlex.join(words)

    def write(self, start: str, more: str = "", *, section: str = "") -> None:
        """Write the unit: ExecStart=, further lines of [Service], and lines of [Unit]."""
        reload_command = shlex.join([*self.jvmbind, "reload", self.name])
        self.lab.write_unit(
            self.file,
            f"[Unit]\nStartLimitIntervalSec=0\n{section}\n[Service]\nType=notify\nNotifyAccess=main\nExecStart={start}\n"
            f"ExecReload={reload_command}\nTimeoutStartSec=30\nTimeoutStopSec=20\nTimeoutAbortSec=5\n{more}\n",
        )

    def systemctl(self, verb: str, *options: str, check: bool = True) -> int:
        """Run `systemctl VERB` on the unit and return its exit status; AssertionError with the journal where it fails."""
        done = self.lab.run("systemctl", verb, *options, self.file, check=False)
        assert not check or done.returncode == 0, f"systemctl {verb}: {done.stdout}{done.stderr}\n{self.lines()}"
        return done.returncode

    def property(self, name: str) -> str:
        """Return a property of the unit."""
        return self.lab.property(self.file, name)

    def lines(self) -> str:
        """Return the unit's journal as text."""
        return self.lab.run("journalctl", "--no-pager", "-o", "cat", f"--unit={self.file}", check=False).stdout

    def await_property(self, name: str, value: str, seconds: float = 20) -> None:
        """Wait until a property has a value."""
        wait_until(lambda: self.property(name) == value, seconds, f"{name}={value} of {self.file}; it is {self.property(name)}")

    def get(self, path: str = "/", port: int = 80, timeout: float = 20) -> Answer:
        """Ask the service over HTTP."""
        return http_get(self.network, port, path, timeout=timeout)

    def served_by(self, port: int = 80) -> tuple[int, str]:
        """Return (process id of the JVM in the lab, its version) by what it answers."""
        match = re.fullmatch(r"pid=(\d+) version=(.*)", self.get(port=port).body)
        assert match is not None
        return int(match[1]), match[2]

    def status(self) -> str:
        """Return `jvmbind status --json`."""
        return self.lab.run(*self.jvmbind, "status", "--json", self.name).stdout


@pytest.fixture
def unit(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Unit]:
    """A unit named after the test; stopped at the end, and its journal printed where the test fails."""
    network = LabNetwork(lab)
    name = request.node.originalname.removeprefix("test_").replace("_", "-")
    made = Unit(lab, network, tested_jdks()[-1], name)
    yield made
    print(made.lines())
    lab.run("systemctl", "stop", f"{name}*.socket", made.file, check=False)
    network.close()


@pytest.fixture
def as_root(unit: Unit) -> Callable[..., None]:
    """Write and start a unit that begins as root and drops by itself."""

    def start(*app: str, options: str = "-l 80", more: str = "", wait: bool = True) -> None:
        unit.write(unit.command(f"{options} -u {SERVICE_USER}", *app), more)
        unit.systemctl("start", *([] if wait else ["--no-block"]))

    return start
