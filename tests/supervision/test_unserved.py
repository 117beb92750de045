"""A listener that the application never binds: clients are refused, and from its first bind on never again.

Run by pytest as root; services run as an ordinary user. Must not import jvmbind.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from support.clients import http_get
from support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from supervision.conftest import Supervised

    from support.clients import Answer
    from support.network import Network


def outcome(network: Network, port: int) -> str:
    """Return what becomes of a client that sends nothing: "waits" (for a second), "refused" or "closed"."""
    try:
        with network.connect("127.0.0.1", port, 1.0) as client:
            return "closed" if client.recv(1) == b"" else "answered"
    except TimeoutError:
        return "waits"
    except (ConnectionResetError, ConnectionRefusedError):
        return "refused"


def outcome_unix(path: Path) -> str:
    """The same of a Unix socket, whose clients see the end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1.0)
        client.connect(str(path))
        try:
            return "refused" if client.recv(1) == b"" else "answered"
        except TimeoutError:
            return "waits"


class Waiting:
    """A client that is connected and waits for the answer to its request."""

    def __init__(self, network: Network, port: int) -> None:
        """Begin."""
        self._result: Answer | OSError | None = None
        self._thread = threading.Thread(target=self._ask, args=(network, port))
        self._thread.start()

    def _ask(self, network: Network, port: int) -> None:
        try:
            self._result = http_get(network, port, timeout=60)
        except OSError as error:
            self._result = error

    def waits(self) -> bool:
        """Whether it has no answer yet."""
        return self._thread.is_alive()

    def answer(self) -> str:
        """Return what it was answered in the end."""
        self._thread.join()
        return str(self._result) if isinstance(self._result, OSError | None) else self._result.body


def queue(supervised: Supervised, name: str) -> int:
    """Return how many clients wait in the accept queue of a listener."""
    (found,) = [one["queue"] for one in supervised.status()["listeners"] if one["name"] == name]
    return int(found)


def test_a_listener_that_is_bound_late(supervised: Supervised) -> None:
    """Clients wait while nothing is bound; once other ports are and the start time-out has passed, they are refused until the bind.

    From then on they wait again, whatever becomes of the generation and however late the next one binds it.
    """
    first, second = supervised.folder / "first", supervised.folder / "second"
    path = supervised.folder / "run" / "app.sock"
    service = supervised.launch(
        f"await={first}", "http=8080", f"await={second}", "http=8443",
        listen=f"'http=8080', 'https=8443', 'maybe=8444,optional', 'unix=unix:{path}'", more="start_timeout = 1.5",
    )  # fmt: skip
    wait_until(lambda: len(supervised.network.bound_ports()) >= 3, 30, "the listeners")
    early = Waiting(supervised.network, 8080)
    service.expect(r"listener 'https' \(8443/tcp\) was not claimed within 1\.5 s", stream="stderr")
    assert (early.waits(), outcome(supervised.network, 8443), outcome_unix(path)) == (True, "waits", "waits")

    first.touch()
    assert early.answer().endswith("version=1")
    for name in ("https", "maybe", "unix"):
        what = rf"listener '{name}' .* is not served: the application has not bound it within 1\.5 s; connections to it are refused"
        service.expect(what, stream="stderr")
    for port in (8443, 8444):
        # Who came before that is not forgotten: they leave the queue as well.
        wait_until(lambda port=port: outcome(supervised.network, port) == "refused", 20, "a refusal")  # type: ignore[misc]
    wait_until(lambda: outcome_unix(path) == "refused", 20, "the end on a Unix socket")
    assert queue(supervised, "https") == 0
    unserved = {one["name"]: one["not_served"] for one in supervised.status()["listeners"]}
    assert unserved["http"] == ""
    assert set(unserved.values()) == {"", "the application has not bound it within 1.5 s"}
    assert "nobody: refused" in supervised.ask("status").stdout

    second.touch()
    service.expect(r"listener 'https' \(8443/tcp\) handed over", stream="stderr")
    wait_until(lambda: not next(o for o in supervised.status()["listeners"] if o["name"] == "https")["not_served"], 20, "the claim")
    assert supervised.version(8443) == "1"

    second.unlink()
    os.kill(supervised.serving(), signal.SIGKILL)
    service.expect(r"listener 'http' \(8080/tcp\) handed over to generation 2", stream="stderr")
    late = Waiting(supervised.network, 8443)
    service.expect(r"generation 2 serves, but is not ready without listener 'https'", stream="stderr")
    assert outcome(supervised.network, 8444) == "refused"
    assert late.waits()
    second.touch()
    assert late.answer().endswith("version=1")
    assert service.stderr.count("'https' (8443/tcp) is not served") == 1


@pytest.mark.parametrize("how", ["run", "wrap"])
def test_a_listener_that_is_too_wide(supervised: Supervised, how: str) -> None:
    """Who comes to a listener that is wider than the application wants is refused soon, not only after the start time-out."""
    start = supervised.launch if how == "run" else supervised.launch_script
    service = start("at=127.0.0.1:8080", "hang=")
    wait_until(supervised.network.bound_ports, 30, "the listener")
    early = Waiting(supervised.network, 8080)

    assert re.search("reset|closed connection", early.answer()), service.report()
    service.expect(r"is not served: the application asked for a narrower address, and was refused", stream="stderr")
    assert outcome(supervised.network, 8080) == "refused"
    assert supervised.status()["ready"] is False
    assert "-l 127.0.0.1:8080" in supervised.status()["not_ready"]


def test_a_crowd_is_refused_in_turn(supervised: Supervised) -> None:
    """More clients than the supervisor refuses at once are refused one after the other, and it answers meanwhile."""
    supervised.launch("at=127.0.0.1:8080", "hang=")
    supervised.service.expect("is not served", stream="stderr")
    clients = []
    for _ in range(700):
        with contextlib.suppress(ConnectionResetError):  # before connect(2) has returned
            clients.append(supervised.network.connect("127.0.0.1", 8080, 60))

    assert supervised.status()["phase"] == "starting"
    for client in clients:
        with client, pytest.raises(ConnectionResetError):
            client.recv(1)

    assert clients
    assert queue(supervised, "8080") == 0
