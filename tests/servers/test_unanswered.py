"""No client that has come before a reload is left without its answer, however slowly it asks.

Run by pytest as root; JVMBIND_TEST_RELOADS is the number of reloads. Must not import jvmbind.
"""

from __future__ import annotations

import itertools
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from support import jdks
from support.runner import PLAIN, QUICK_JVM, Runner, as_user
from support.users import SERVICE_USER, User

if TYPE_CHECKING:
    from pathlib import Path

    from support.network import Network

pytestmark = [pytest.mark.skipif(PLAIN, reason="plain java has no reload"), pytest.mark.timeout(900)]

RELOADS = int(os.environ.get("JVMBIND_TEST_RELOADS", "2"))
JVMBIND = [sys.executable, "-I", "-m", "jvmbind"]
_CLIENTS = 12
_PAUSE = 0.2  # seconds at most, between two things that a client says


def _think() -> None:
    time.sleep(random.uniform(0, _PAUSE))


def _late(talk: socket.socket) -> bytes:
    _think()
    talk.sendall(b"ask\n")
    return b""


def _in_pieces(talk: socket.socket) -> bytes:
    talk.sendall(b"as")
    _think()
    talk.sendall(b"k\n")
    return b""


def _after_a_first_exchange(talk: socket.socket) -> bytes:
    """Talk as TLS does, or a login."""
    talk.sendall(b"more\n")
    first = talk.recv(100)
    if first:
        _think()
        talk.sendall(b"ask\n")
    return first


def _half_closed(talk: socket.socket) -> bytes:
    talk.sendall(b"wait\n")
    talk.shutdown(socket.SHUT_WR)
    return b""


def _greeted(talk: socket.socket) -> bytes:
    first = talk.recv(100)
    if first:
        _think()
        talk.sendall(b"ask\n")
    return first


Talk = Callable[[socket.socket], bytes]

ANSWERED: dict[Talk, bytes] = {
    _late: b"answer\n",
    _in_pieces: b"answer\n",
    _half_closed: b"answer\n",
    _after_a_first_exchange: b"more\nanswer\n",
}
# How the server works -> how its clients talk, and all that they are to hear.
TALKS: dict[str, dict[Talk, bytes]] = {
    "threads": ANSWERED,
    "selector": ANSWERED,
    "pool": {_late: b"answer\n", _half_closed: b"answer\n"},
    "greeting": {_greeted: b"hello\nanswer\n"},
}


class Clients:
    """Threads that talk to the server, one connection each time, until they are told to end."""

    def __init__(self, network: Network, where: int | Path, talks: dict[Talk, bytes]) -> None:
        """Begin."""
        self.answered = 0
        self.wrong: list[str] = []
        self._network, self._where = network, where
        self._end = threading.Event()
        chosen = itertools.islice(itertools.cycle(talks.items()), _CLIENTS)
        self._threads = [threading.Thread(target=self._repeat, args=each) for each in chosen]
        for thread in self._threads:
            thread.start()

    def _repeat(self, talk: Talk, expected: bytes) -> None:
        while not self._end.is_set():
            try:
                heard = self._once(talk)
            except OSError as error:
                self.wrong.append(f"{talk.__name__}: {error!r}")
                continue
            if heard == expected:
                self.answered += 1
            else:
                self.wrong.append(f"{talk.__name__}: {heard!r}")

    def _once(self, talk: Talk) -> bytes:
        with self._connected() as connection:
            heard = talk(connection)
            while more := connection.recv(100):
                heard += more
            return heard

    def _connected(self) -> socket.socket:
        if isinstance(self._where, int):
            return self._network.connect("127.0.0.1", self._where, 60)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(60)
        connection.connect(str(self._where))
        return connection

    def end(self) -> None:
        """Let each thread finish."""
        self._end.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize(
    ("how", "protocol", "order"),
    [
        ("threads", "tcp", "restart"),
        ("threads", "unix", "restart"),
        ("selector", "tcp", "restart"),
        ("selector", "tcp", "overlap"),
        ("selector", "unix", "restart"),
        ("pool", "tcp", "restart"),
        ("greeting", "tcp", "restart"),
        ("greeting", "tcp", "overlap"),
    ],
)
def test_nobody_is_left_without_an_answer(
    runner: Runner, network: Network, workspace: Path, service_user: User, talk_classes: Path, how: str, protocol: str, order: str
) -> None:
    """Clients that say nothing for a while, ask in pieces or half-close get their whole answer over reloads of both kinds."""
    folder = workspace / "data"
    folder.mkdir()
    os.chown(folder, service_user.uid, service_user.gid)
    where: int | Path = folder / "socket" if protocol == "unix" else 8080
    listen = f"unix:{where},mode=0666" if protocol == "unix" else str(where)
    words = ["run", "-n", "talk", "-l", listen, "--java-home", str(jdks.tested_jdks()[-1].home), "--reload", order]
    java = [*QUICK_JVM, "-cp", str(talk_classes), "servers.TalkServer", how, str(where)]
    command = [*as_user(SERVICE_USER), *JVMBIND, *words, "--control-socket", str(folder / "control"), "--", *java]
    service = runner.start(command, cwd=folder)
    service.quiet = False
    service.expect("generation 1 is ready", stream="stderr")

    clients = Clients(network, where, TALKS[how])
    try:
        for number in range(2, RELOADS + 2):
            reload = [*as_user(SERVICE_USER), *JVMBIND, "reload", str(folder / "control")]
            done = subprocess.run(reload, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
            assert done.returncode == 0, done.stderr + service.report()
            assert ("by a restart" in done.stdout) is (order == "restart")
            service.expect(rf"generation {number} is ready", stream="stderr")
    finally:
        clients.end()
    sys.stdout.write(f"{how} {protocol} {order}: {RELOADS} reloads, {clients.answered} answered, {len(clients.wrong)} not\n")

    assert clients.wrong == [], service.report()
    assert clients.answered > _CLIENTS * RELOADS
    assert service.stop() == 143
    service.assert_nothing_left()
