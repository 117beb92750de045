"""A signal that comes at any stage of a script's start is neither lost nor does it end a JVM that cannot take it yet.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.jdks import Jdk, write_jar
from support.network import Network
from support.runner import Runner
from support.service import Service
from support.waiting import wait_until

pytestmark = [pytest.mark.jdks(at_most=21)]

Wrap = Callable[..., Service]
Script = Callable[[str], list[str]]

# What the script does when it is told to, and the line by which the stage is seen to have begun.
STAGES = {
    "script": "echo STAGE; {wait}; exec java {server}",
    "below the script": "echo STAGE; {wait}; java {server}",
    # `java` reads a file of arguments more than once.
    "reading its arguments": "mkfifo {pipe}; {fill} & echo STAGE; exec java @{pipe} {server}",
    "agent": "java {agent} {server}",
}
TWO = "java {idle} & java {agent} {server}"


@pytest.fixture
def gate(workspace: Path) -> Path:
    """A file that lets the start go on once it is there; the service user may write beside it."""
    folder = workspace / "gate"
    folder.mkdir()
    folder.chmod(0o777)
    return folder / "open"


@pytest.fixture
def at(wrap: Wrap, script: Script, runner: Runner, network: Network, probes: Path, workspace: Path, jdk: Jdk, gate: Path) -> Any:
    """Start a script and return when it has come to a stage, at which it waits for the gate."""
    del network
    jar = write_jar(workspace / "gate.jar", probes, {"Premain-Class": "probe.Gate"}, only="probe/")

    def start(text: str) -> Service:
        pipe, wait = gate.with_name("words"), f"until [ -e {gate} ]; do sleep 0.05; done"
        text = text.format(
            wait=wait,
            pipe=pipe,
            fill=f"({wait}; while :; do echo > {pipe}; sleep 0.2; done)",
            server=shlex.join(runner.java_arguments("Ending", "hook", "0")),
            idle=shlex.join(runner.java_arguments("Ending", "idle")),
            agent=f"-javaagent:{jar}={gate}",
        )
        service = wrap(jdk, script(text), ("-l", "80", "--stop-timeout", "60"))
        service.expect("^(STAGE|PREMAIN-WAITS)$")
        return service

    return start


@pytest.mark.parametrize("stage", STAGES)
def test_a_thread_dump(at: Callable[[str], Service], gate: Path, stage: str) -> None:
    """SIGQUIT before main runs ends nothing, and is answered by one thread dump when it does."""
    service = at(STAGES[stage])

    os.kill(service.pid, signal.SIGQUIT)
    gate.touch()

    service.expect("^READY$")
    service.expect("JNI global ref")
    assert service.stop() in {130, 143}, service.report()
    assert service.stdout.count("Full thread dump") == 1
    assert "died" not in service.stderr


def test_a_thread_dump_of_two(at: Callable[[str], Service], gate: Path) -> None:
    """With one JVM up and another on its way, SIGQUIT gives a dump of the first at once, and of the second when it can."""
    service = at(TWO)
    service.expect("^READY$")
    service.expect("^PREMAIN-WAITS$")

    os.kill(service.pid, signal.SIGQUIT)
    service.expect("JNI global ref")
    gate.touch()

    wait_until(lambda: service.stdout.count("JNI global ref") == 2, 40, "the second dump")
    wait_until(lambda: service.stdout.count("READY\n") == 2, 40, "the second JVM")
    assert service.stop() in {130, 143}, service.report()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize("stage", STAGES)
def test_a_stop(at: Callable[[str], Service], gate: Path, stage: str, number: int) -> None:
    """SIGTERM and SIGINT at any stage of the start end the service, in order, with nothing left and no word of Python."""
    service = at(STAGES[stage])

    os.kill(service.pid, number)
    status = service.wait()
    gate.touch()

    assert status in {0, 130, 143}, service.report()
    assert "SIGKILL" not in service.stderr
    assert "READY" not in service.stdout
    service.assert_quiet()
    service.assert_nothing_left()
