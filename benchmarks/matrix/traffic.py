"""Clients that talk to a server while it is reloaded, killed and started again, and count what becomes of each exchange.

Imported by the other modules of this folder; its threads open their sockets in the server's network namespace.

    ok       the exchange was complete and right
    refused  the connection was refused (for a datagram: the port was closed)
    reset    the connection was reset, or ended before the exchange was complete
    timeout  nothing came for TIMEOUT seconds
    wrong    an answer that is not the one expected
"""

# ruff: noqa: INP001 - programs of their own, no package
from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from recipe import Site

    from support.network import Network

KINDS = ("ok", "refused", "reset", "timeout", "wrong")
TIMEOUT = 40.0


class WrongAnswerError(Exception):
    """The server answered, and not as it should."""


class EndedError(OSError):
    """The server ended the connection before the exchange was complete."""


@dataclass(slots=True)
class Client:
    """Where the server is, and what was written to it so far."""

    network: Network
    port: int
    site: Site
    host: str = "127.0.0.1"
    timeout: float = TIMEOUT
    acknowledged: list[str] = field(default_factory=list)
    """What the server has confirmed to have stored."""
    helper: subprocess.Popen[str] | None = None
    """The Java program that speaks the protocol, where one is needed."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def close(self) -> None:
        """End the helper."""
        if self.helper is not None:
            self.helper.kill()
            self.helper.wait()
            self.helper = None

    def wait_for(self, path: Path, words: str) -> None:
        """Wait until a file contains the words."""
        deadline = time.monotonic() + min(self.timeout, 20)
        while not (path.exists() and words in path.read_text(errors="replace")):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{words} is not in {path.name}")
            time.sleep(0.01)

    @contextlib.contextmanager
    def connected(self, kind: int = socket.SOCK_STREAM, *, port: int | None = None):  # noqa: ANN201 - a context manager
        """Give a connected socket, closed at the end of the block."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with self.network.open_socket(family, kind) as connection:
            connection.settimeout(self.timeout)
            connection.connect((self.host, port or self.port))
            yield connection


Exchange = Callable[[Client], None]
"""Raises WrongAnswerError or OSError where the exchange is not what it should be."""


def receive(connection: socket.socket, size: int) -> bytes:
    """Return exactly `size` bytes."""
    data = b""
    while len(data) < size:
        chunk = connection.recv(size - len(data))
        if not chunk:
            raise EndedError(f"end of input after {len(data)} of {size} bytes")
        data += chunk
    return data


def receive_until(connection: socket.socket, end: bytes, limit: int = 1 << 20) -> bytes:
    """Return what comes up to and with `end`."""
    data = b""
    while end not in data:
        chunk = connection.recv(65536)
        if not chunk or len(data) > limit:
            raise EndedError(f"end of input after {data[-100:]!r}, before {end!r}")
        data += chunk
    return data


def expect(good: bool, what: object) -> None:
    """Raise WrongAnswerError unless the answer is good."""
    if not good:
        raise WrongAnswerError(repr(what)[:200])


class Traffic:
    """Threads that repeat an exchange for the time of a `with` block."""

    def __init__(self, exchange: Exchange, client: Client, threads: int, pause: float = 0.01) -> None:
        """Start nothing yet."""
        self.counts = dict.fromkeys(KINDS, 0)
        self.problems: list[str] = []
        self.gap = 0.0
        """The longest time in seconds between two good exchanges of all threads together."""
        self._exchange, self._client, self._pause = exchange, client, pause
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._begun = self._last = time.monotonic()
        self._threads = [threading.Thread(target=self._repeat, daemon=True) for _ in range(threads)]

    def __enter__(self) -> Self:
        """Start the clients."""
        self._begun = self._last = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Let each client finish its exchange."""
        self._end.set()
        for thread in self._threads:
            thread.join(self._client.timeout + 5)

    def _repeat(self) -> None:
        while not self._end.wait(self._pause):
            kind, why = attempt(self._exchange, self._client)
            now = time.monotonic()
            with self._lock:
                self.counts[kind] += 1
                if kind == "ok":
                    self.gap = max(self.gap, now - self._last)
                    self._last = now
                elif len(self.problems) < 8:
                    self.problems.append(f"{now - self._begun:.2f} s {kind}: {why}")
            if kind != "ok":
                self._end.wait(0.05)

    def result(self) -> dict[str, object]:
        """Return the counts, without those that are 0, and the first problems."""
        found: dict[str, object] = {kind: count for kind, count in self.counts.items() if count or kind == "ok"}
        return {**found, "gap": round(self.gap, 2), "problems": self.problems}


def attempt(exchange: Exchange, client: Client) -> tuple[str, str]:
    """Make one exchange and return what became of it, and why."""
    try:
        exchange(client)
    except ConnectionRefusedError as error:
        return "refused", str(error)
    except TimeoutError as error:
        return "timeout", str(error)
    except OSError as error:
        return "reset", repr(error)
    except (WrongAnswerError, ValueError, IndexError) as error:
        return "wrong", repr(error)
    return "ok", ""
