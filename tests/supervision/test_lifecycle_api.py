"""`dev.jvmbind.ServiceLifecycle`: each row of its table of what is called when, by a JVM that says what is called.

Run by pytest as root for the namespaces; jvmbind is started by the service user. Must not import jvmbind.
"""

from __future__ import annotations

import os
import re
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.jdks import JAVA_SOURCES, compile_java, write_jar
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervision.conftest import Supervised

RELOAD = ["reload 1", "reload 2"]
DRAIN = ["drain 1", "drain 1 done", "drain 2", "drain of a drain"]


@pytest.fixture(scope="session")
def lives_jar(shared_directory: Path) -> Path:
    """The program that says what is called, without the classes of dev.jvmbind."""
    sources = Path(__file__).parents[2] / "java-shim" / "src" / "main" / "java" / "dev" / "jvmbind"
    shim = compile_java(sorted(sources.glob("*.java")), shared_directory / "lifecycle-shim")
    classes = compile_java([JAVA_SOURCES / "shim" / "Lives.java"], shared_directory / "lives", str(shim))
    return write_jar(shared_directory / "lives.jar", classes, {"Main-Class": "shim.Lives"})


@pytest.fixture
def manager(supervised: Supervised) -> Iterator[socket.socket]:
    """What the service manager hears."""
    path = supervised.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listens:
        listens.bind(str(path))
        os.chmod(path, 0o777)
        supervised.jvmbind = ["env", f"NOTIFY_SOCKET={path}", *supervised.jvmbind]
        yield listens


def statuses(manager: socket.socket) -> list[str]:
    """Return the texts that the manager was told since the last call, without repetitions."""
    found: list[str] = []
    while True:
        try:
            text = manager.recv(4096, socket.MSG_DONTWAIT).decode()
        except BlockingIOError:
            return found
        found += [said for said in re.findall("^STATUS=(.*)$", text, re.MULTILINE) if said != (found or [""])[-1]]


def test_what_is_called_when(supervised: Supervised, lives_jar: Path, manager: socket.socket) -> None:
    """However a generation begins or ends, the callbacks that the table names run once, in order, and are waited for."""
    mode = "ready = 'notify'\nstop_drain_timeout = 2\n"

    def configure(version: str, more: str) -> None:
        supervised.configure(listen="'http=8080'", jar=lives_jar, version=version, more=mode + more)

    def said(pid: int) -> list[str]:
        return [line.partition(" ")[2] for line in supervised.service.stdout.splitlines() if line.startswith(f"{pid} ")][1:]

    supervised.start(listen="'http=8080'", jar=lives_jar, version="1", more=mode + "reload = 'overlap'\nstandby = 1\n")
    first = supervised.serving()
    (standby,) = wait_until(lambda: supervised.roles().get("standby"), 30, "a standby") or [0]
    supervised.service.expect(rf"^{standby} main 1$")
    wait_until(lambda: supervised.status()["generations"][1]["stage"] == "parked", 30, "a parked standby")

    # A standby is told nothing, and a reload tells the old generation first of the reload, then of the drain.
    configure("2", "reload = 'overlap'\n")
    assert supervised.reload().returncode == 0, supervised.service.report()
    supervised.await_only()
    assert said(first) == [*RELOAD, *DRAIN, "hook"]
    assert said(standby) in ([], ["hook"])
    assert statuses(manager)[-1:] == ["status of 2"]

    # A reload that fails: the old generation is told of the reload alone, and its status stays.
    second = supervised.serving()
    configure("bad", "reload = 'overlap'\n")
    assert supervised.reload().returncode == 75
    assert said(second) == RELOAD
    assert set(statuses(manager)) <= {"status of 2"}

    # A reload that is a restart, and a restart.
    configure("3", "reload = 'restart'\n")
    assert supervised.reload().returncode == 0, supervised.service.report()
    assert said(second) == [*RELOAD, *RELOAD, *DRAIN, "hook"]
    third = supervised.serving()
    configure("hang", "reload = 'restart'\n")
    assert supervised.ask("restart").returncode == 0, supervised.service.report()
    assert said(third) == [*DRAIN, "hook"]

    # A death is no drain.
    fourth = supervised.serving()
    os.kill(fourth, signal.SIGKILL)
    wait_until(lambda: supervised.roles().get("serving", [fourth]) != [fourth], 30, "the next generation")
    assert said(fourth) == []

    # A callback that never returns is waited for as long as the drain may take.
    fifth = supervised.serving()
    assert supervised.ask("stop").returncode == 0, supervised.service.report()
    assert said(fifth) == ["drain 1", "hook"]
    assert "is ended before its onDrain callbacks have returned" in supervised.service.stderr
    failures = re.findall("^java.lang.IllegalStateException: a callback that fails$", supervised.service.stderr, re.MULTILINE)
    assert len(failures) == 6


def test_stop_without_a_listener(supervised: Supervised, lives_jar: Path) -> None:
    """A program without a listener is waited for at a stop, too, as long as its callbacks run."""
    supervised.launch(listen="", jar=lives_jar, version="1", more="ready = 'notify'\n")
    supervised.service.expect("generation 1 is ready", stream="stderr")  # a stop in the middle of a start drains nothing
    assert supervised.ask("stop").returncode == 0, supervised.service.report()
    assert [line.partition(" ")[2] for line in supervised.service.stdout.splitlines()][1:] == [*DRAIN, "hook"]


def test_stop_below_a_script(supervised: Supervised, lives_jar: Path) -> None:
    """A JVM that a wrapper script starts is waited for, too."""
    supervised.jar = lives_jar
    service = supervised.launch_script(listen="http=8080")
    service.expect("generation 1 is ready", stream="stderr")
    assert supervised.ask("stop").returncode == 0, service.report()
    assert [line.partition(" ")[2] for line in service.stdout.splitlines()][1:] == [*DRAIN, "hook"]
