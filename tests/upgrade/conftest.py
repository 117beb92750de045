"""Services that run from an installation of a test's own, which gets another version of jvmbind meanwhile.

Run by pytest as root for the namespaces; jvmbind is started by the service user. Must not import jvmbind.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from supervision.conftest import Supervised, app_jar  # noqa: F401 - a fixture

from support.installed import Installation, build_wheels
from support.marks import mark_below
from support.runner import PLAIN, Runner, as_user
from support.users import SERVICE_USER

NOW, NEXT = "1.0.1", "1.0.2"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder; java has no supervisor to compare with."""
    mark_below(
        Path(__file__).parent, items, pytest.mark.root, pytest.mark.jvm, pytest.mark.skipif(PLAIN, reason="java has no supervisor")
    )


@pytest.fixture(scope="session")
def wheels(shared_directory: Path) -> dict[str, Path]:
    """Two versions of jvmbind, by their numbers."""
    return build_wheels(shared_directory, NOW, NEXT)


class Upgraded(Supervised):
    """A service that runs from an installation of its own, version NOW; NEXT can be put in its place."""

    def __init__(self, runner: Runner, jar: Path, installation: Installation, wheels: dict[str, Path]) -> None:
        """Nothing is started yet."""
        super().__init__(runner, jar)
        self.installation = installation
        self.wheels = wheels
        self.jvmbind = installation.jvmbind

    def install(self, version: str, edits: dict[str, tuple[str, str]] | None = None, without: tuple[str, ...] = ()) -> None:
        """Install a version, see `Installation.install`."""
        self.installation.install(self.wheels[version], edits, without)

    def ask_from_outside(self, command: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run the command of the tests' own installation: that of the service may be broken."""
        words = [*as_user(SERVICE_USER), sys.executable, "-I", "-m", "jvmbind", command, *options, str(self.socket)]
        return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)

    def serving_from_outside(self) -> int:
        """Return the pid of the serving generation, asked by that command."""
        generations = json.loads(self.ask_from_outside("status", "--json").stdout)["generations"]
        return next(int(one["pid"]) for one in generations if one["role"] == "serving")

    def upgrade(self) -> str:
        """Run `jvmbind upgrade`, which must succeed; return what it prints."""
        done = self.ask("upgrade")
        assert done.returncode == 0, done.stderr + self.service.report()
        return done.stdout


@pytest.fixture
def upgraded(runner: Runner, app_jar: Path, wheels: dict[str, Path], workspace: Path) -> Upgraded:  # noqa: F811 - see above
    """A service with an installation of its own, not yet started."""
    return Upgraded(runner, app_jar, Installation(workspace / "installed", wheels[NOW]), wheels)
