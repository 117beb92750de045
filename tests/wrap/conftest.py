"""How the tests of this folder start a script under `jvmbind wrap`. Run by pytest as root; must not import jvmbind."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import procfs
from support.marks import mark_below
from support.runner import PLAIN, Runner
from support.service import Service
from support.users import SERVICE_USER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from support.jdks import Jdk


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder: root, JVMs, no plain java."""
    mark_below(
        Path(__file__).parent,
        items,
        pytest.mark.root,
        pytest.mark.jvm,
        pytest.mark.timeout(240),
        pytest.mark.skipif(PLAIN, reason="plain java needs no wrapper"),
    )


@pytest.fixture
def wrap(runner: Runner, jvmbind: list[str]) -> Callable[..., Service]:
    """Start `jvmbind wrap OPTIONS -- SCRIPT...` as the service user; `environment` is passed on to the script."""

    def start(
        jdk: Jdk, script: Sequence[str], options: Sequence[str] = ("-l", "80"), environment: Mapping[str, str] | None = None
    ) -> Service:
        passed = [word for name in environment or {} for word in ("-e", name)]
        command = [*jvmbind, "wrap", "--java-home", str(jdk.home), "-u", SERVICE_USER, *passed, *options, "--", *script]
        return runner.start(command, environment={**os.environ, **(environment or {})})

    return start


@pytest.fixture
def script(workspace: Path) -> Callable[[str], list[str]]:
    """Write an executable shell script and return the command that runs it."""

    def write(text: str) -> list[str]:
        path = workspace / "start.sh"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return [str(path)]

    return write


@pytest.fixture
def server(runner: Runner) -> str:
    """What stands after `java` in a script that serves port 80, quoted for a shell."""
    return shlex.join(runner.java_arguments("SocketServer", "*", "80"))


def java_workers(service: Service) -> list[int]:
    """Return the processes of a service that have a JVM and are `jvmbind java`."""
    return [
        pid
        for pid in service.processes()
        if procfs.is_jvm(pid) and os.readlink(f"/proc/{pid}/exe") == os.path.realpath(sys.executable)
    ]
