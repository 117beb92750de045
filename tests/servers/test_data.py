"""Servers that keep data: a reload never lets two instances have it at once, and no client is refused or loses a record.

Run by pytest as root; JVMBIND_TEST_RELOADS is the number of reloads. Must not import jvmbind.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import jdks
from support.artifacts import artifact
from support.jdks import JAVA_SOURCES, Jdk, compile_java
from support.runner import PLAIN, QUICK_JVM, Runner, as_user
from support.users import SERVICE_USER, User

if TYPE_CHECKING:
    from support.network import Network
    from support.service import Service

pytestmark = [pytest.mark.never, pytest.mark.skipif(PLAIN, reason="plain java has no reload"), pytest.mark.timeout(600)]

RELOADS = int(os.environ.get("JVMBIND_TEST_RELOADS", "3"))
JVMBIND = [sys.executable, "-I", "-m", "jvmbind"]

# What keeps the data -> (library, main class, kind, where; {} is the folder).
STORES = {
    "random-access": ("", "DataServer", "random-access", "{}/journal"),
    "append": ("", "DataServer", "append", "{}/journal"),
    "lazy-append": ("", "DataServer", "lazy-append", "{}/journal"),
    "mapped": ("", "DataServer", "mapped", "{}/counter"),
    "h2": ("h2", "DataServer", "database", "jdbc:h2:{}/h2"),
    "derby": ("derby", "DataServer", "database", "jdbc:derby:{}/derby;create=true"),
    "hsqldb": ("hsqldb", "DataServer", "database", "jdbc:hsqldb:file:{}/hsqldb;hsqldb.write_delay=false"),
    "sqlite": ("sqlite", "DataServer", "database", "jdbc:sqlite:{}/sqlite"),
    "lucene": ("lucene", "LuceneServer", "index", "{}/lucene"),
}


@pytest.fixture(scope="session")
def data_classes(shared_directory: Path) -> dict[str, str]:
    """The class paths of the servers, by library."""
    sources = JAVA_SOURCES / "servers"
    mains = {library: [sources / "DataServer.java"] for library, *_ in STORES.values()}
    mains["lucene"].append(sources / "LuceneServer.java")
    found = {}
    for library, files in mains.items():
        jars = f"{artifact(library)}/*" if library else None
        classes = compile_java(files, shared_directory / f"data-{library or 'none'}", jars or "")
        found[library] = f"{classes}:{jars}" if jars else str(classes)
    return found


class Client:
    """Threads that ask for numbers, one connection each time, until they are told to end."""

    def __init__(self, network: Network) -> None:
        """Begin."""
        self.network = network
        self.numbers: list[int] = []
        self.failures: list[str] = []
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on) for _ in range(3)]
        for thread in self._threads:
            thread.start()

    def _ask_on(self) -> None:
        while not self._end.is_set():
            try:
                answer = ask(self.network, "/")
            except OSError as error:
                answer = repr(error)
            number = re.fullmatch(r"next (\d+)", answer)
            if number:
                self.numbers.append(int(number[1]))
            else:
                self.failures.append(answer)

    def end(self) -> None:
        """Let each thread finish what it asked for."""
        self._end.set()
        for thread in self._threads:
            thread.join()


def ask(network: Network, path: str) -> str:
    """Return the body of an answer."""
    with network.connect("127.0.0.1", 8080, 60) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        data = b""
        while chunk := connection.recv(4096):
            data += chunk
    head, _, body = data.decode().partition("\r\n\r\n")
    return body if " 200 " in head.partition("\n")[0] else f"{head.partition(chr(13))[0]}: {body}"


def control(socket: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run one of the control commands as the service user."""
    command = [*as_user(SERVICE_USER), *JVMBIND, *words, str(socket)]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)


def start(runner: Runner, workspace: Path, service_user: User, jdk: Jdk, classes: str, store: str, *options: str) -> Service:
    """Start a store as the service user."""
    _, main, kind, where = STORES[store]
    folder = workspace / "data"
    folder.mkdir()
    os.chown(folder, service_user.uid, service_user.gid)
    words = ["run", "-n", store, "-l", "8080", "--java-home", str(jdk.home), "--control-socket", str(folder / "control"), *options]
    java = [*QUICK_JVM, "-cp", classes, f"servers.{main}", "8080", kind, where.format(folder)]
    service = runner.start([*as_user(SERVICE_USER), *JVMBIND, *words, "--", *java], cwd=folder)
    service.quiet = False
    service.expect("generation 1 is ready", stream="stderr", timeout=90)
    return service


def test_what_one_generation_has_held_counts_for_the_next(
    runner: Runner, network: Network, workspace: Path, service_user: User, data_classes: dict[str, str]
) -> None:
    """A store that opens its data with its first record is reloaded by a restart also before the new generation got one."""
    store = "lazy-append"
    start(runner, workspace, service_user, jdks.tested_jdks()[-1], data_classes[""], store)
    socket = workspace / "data" / "control"
    assert ask(network, "/") == "next 1"
    assert " generation 1 has " in control(socket, "reload").stdout

    done = control(socket, "reload")
    assert re.fullmatch(r"reload: done, by a restart .*: generation 1 had \S+/journal open for writing\n", done.stdout), done.stdout
    assert ask(network, "/") == "next 2"


@pytest.mark.parametrize("store", STORES)
def test_reloads_lose_no_record(
    runner: Runner, network: Network, workspace: Path, service_user: User, data_classes: dict[str, str], store: str
) -> None:
    """Under a client each reload is a restart that names a file; each record is there once, and nobody is refused."""
    classes = data_classes[STORES[store][0]]
    service = start(runner, workspace, service_user, jdks.tested_jdks()[-1], classes, store)
    socket = workspace / "data" / "control"

    client = Client(network)
    try:
        for number in range(2, RELOADS + 2):
            done = control(socket, "reload")
            assert done.returncode == 0, done.stderr + service.report()
            said = re.fullmatch(
                rf"reload: done, by a restart with the listeners kept: generation {number - 1} has (/\S+) .*\n", done.stdout
            )
            assert said, done.stdout
            assert said[1].startswith(str(workspace / "data")), said[1]
            service.expect(rf"generation {number} is ready", stream="stderr")
    finally:
        client.end()

    assert client.failures == [], service.report()
    assert sorted(client.numbers) == list(range(1, len(client.numbers) + 1))
    assert ask(network, "/all") == f"all {len(client.numbers)}"
    assert len(client.numbers) > 3 * RELOADS
    status = json.loads(control(socket, "status", "--json").stdout)
    assert status["deaths"] == [] or {death["signal"] for death in status["deaths"]} == {""}
    assert service.stop() == 143
    service.assert_nothing_left()
