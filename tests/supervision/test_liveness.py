"""A JVM that lives and does not serve: what is seen, and what is done about it.

Run by pytest as root; services run as an ordinary user. Must not import jvmbind.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from support import procfs
from support.waiting import wait_until

if TYPE_CHECKING:
    from supervision.conftest import Supervised


def test_heartbeat(supervised: Supervised) -> None:
    """A stopped JVM is logged, asked for a dump, then killed and replaced; its record says SIGKILL."""
    service = supervised.start("http=8080", more="[supervise.watchdog]\nheartbeat = 1.5")
    first = supervised.serving()
    procfs.stop_process(first)

    supervised.await_generation(2)

    assert supervised.serving() != first
    stages = [line.rpartition(": ")[2] for line in service.stderr.splitlines() if "heartbeat" in line]
    assert stages == ["log", "dump", "restart"]
    assert supervised.status()["deaths"][0]["signal"] == "SIGKILL"


def test_accept_queue(supervised: Supervised) -> None:
    """Connections that nobody takes are seen without any client's help, and are served by the next generation."""
    service = supervised.start("http=8080", more="[supervise.watchdog]\nqueue = 1\nactions = ['log', 'restart']")
    first = supervised.serving()
    procfs.stop_process(first)

    with supervised.network.connect("127.0.0.1", 8080, 30) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert client.makefile("rb").read().startswith(b"HTTP/1.1 200 OK")

    assert supervised.serving() != first
    assert "the accept queue of listener '8080' has not moved for" in service.stderr


def test_quiet_service_is_no_hung_one(supervised: Supervised) -> None:
    """A healthy service without clients, and one with slow requests, is left alone under the tightest time-outs."""
    service = supervised.start("http=8080", more="[supervise.watchdog]\nqueue = 1\nheartbeat = 2")
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            client = stack.enter_context(supervised.network.connect("127.0.0.1", 8080, 30))
            client.sendall(b"GET /sleep/3000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        begun = time.monotonic()
        wait_until(lambda: time.monotonic() - begun > 3, 10)

    assert "has not moved" not in service.stderr
    assert supervised.status()["deaths"] == []
