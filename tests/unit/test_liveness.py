"""Whether an accept queue moves, by real sockets; the times are the test's."""

from __future__ import annotations

import logging
import os
import socket
import struct
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from jvmbind.spec import ServiceSpec, parse_listen
from jvmbind.supervisor.liveness import Liveness

if TYPE_CHECKING:
    from collections.abc import Iterator

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close(2) resets the connection


class Watched:
    """A listener, whether it is judged to stand still, and clients."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        """Nobody is connected yet."""
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        port = self.listener.getsockname()[1]
        self.spec = ServiceSpec("s", "/j", (), (parse_listen(f"127.0.0.1:{port}"),), queue_timeout=3.0, watchdog=("log",))
        self.generation: Any = SimpleNamespace(process=SimpleNamespace(pid=os.getpid()), number=1, last_heartbeat=0.0)
        self.liveness = Liveness(logging.getLogger("liveness"))
        self.clients: list[socket.socket] = []
        self.accepted: list[socket.socket] = []
        self.now = 0.0
        self._caplog = caplog

    def look(self) -> None:
        """Look once more, a second later."""
        self.now += 1.0
        self.liveness.look(self.spec, self.generation, [(self.spec.listeners[0], self.listener.fileno())], self.now)

    def connect(self) -> None:
        """Let a client come."""
        self.clients.append(socket.create_connection(self.listener.getsockname()))

    def leave(self, *, reset: bool) -> None:
        """Let the client that came first go."""
        client = self.clients.pop(0)
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.close()

    def accept(self) -> None:
        """Accept the first that waits."""
        self.accepted.append(self.listener.accept()[0])

    @property
    def stands_still(self) -> bool:
        """What has been said."""
        return "has not moved" in self._caplog.text


@pytest.fixture
def watched(caplog: pytest.LogCaptureFixture) -> Iterator[Watched]:
    """A listener without clients."""
    found = Watched(caplog)
    yield found
    for sock in (found.listener, *found.clients, *found.accepted):
        sock.close()


@pytest.mark.parametrize("leave", ["never", "with a reset", "in order"])
def test_nobody_accepts(watched: Watched, leave: str) -> None:
    """A queue from which nothing is taken is found to stand still, also where its clients give up, as load balancers do."""
    for _ in range(9):
        watched.connect()
        if leave != "never" and len(watched.clients) > 1:
            watched.leave(reset=leave == "with a reset")
        watched.look()
    assert watched.stands_still


@pytest.mark.parametrize("leave", ["never", "with a reset", "in order"])
@pytest.mark.parametrize("keeps", [True, False], ids=["keeps connections", "closes them"])
def test_a_busy_server(watched: Watched, leave: str, keeps: bool) -> None:
    """A queue that is never empty, as clients come as fast as they are accepted, does not stand still."""
    for _ in range(5):
        watched.connect()
    for _ in range(12):
        watched.connect()
        watched.accept()
        if not keeps:
            watched.accepted.pop().close()
        if leave != "never":
            watched.leave(reset=leave == "with a reset")
        watched.look()
    assert not watched.stands_still


def test_only_those_that_left_wait(watched: Watched) -> None:
    """Where all that waits was reset by its clients, a queue that is worked off moves, and one that is not stands still."""
    for _ in range(12):
        watched.connect()
        watched.leave(reset=True)
    for _ in range(8):
        watched.accept()
        watched.look()
    assert not watched.stands_still
    for _ in range(6):
        watched.look()
    assert watched.stands_still
