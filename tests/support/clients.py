"""Clients of the services under test, each inside a test's network namespace. Run by pytest; must not import jvmbind."""

from __future__ import annotations

import http.client
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from .network import Network


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: str


def _request(connection: socket.socket, host: str, path: str) -> Answer:
    client = http.client.HTTPConnection(host)
    client.sock = connection
    try:
        client.request("GET", path, headers={"Connection": "close"})
        response = client.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read().decode(errors="replace"))
    finally:
        client.close()


def http_get(network: Network, port: int, path: str = "/", *, host: str = "127.0.0.1", timeout: float = 40.0) -> Answer:
    """Return the answer to one GET on a connection of its own; OSError or HTTPException when there is none."""
    return _request(network.connect(host, port, timeout), "localhost", path)


def http_get_unix(path: Path, timeout: float = 40.0) -> Answer:
    """The same over a Unix-domain socket."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with connection:
        connection.settimeout(timeout)
        connection.connect(str(path))
        return _request(connection, "localhost", "/")


def http_get_when_served(network: Network, port: int, path: str = "/", *, host: str = "127.0.0.1", timeout: float = 40.0) -> Answer:
    """Ask until the server answers at all (connection refused or reset counts as "not yet")."""

    def ask() -> Answer | None:
        try:
            return http_get(network, port, path, host=host, timeout=timeout)
        except (OSError, http.client.HTTPException):
            return None

    answer = wait_until(ask, timeout, f"an answer on port {port}")
    assert answer is not None
    return answer


def udp_ask(network: Network, host: str, port: int, payload: bytes, timeout: float = 40.0) -> bytes:
    """Send one datagram and return the answer; TimeoutError when none comes within `timeout` seconds."""
    with network.open_socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(timeout)
        client.connect((host, port))
        client.send(payload)
        return client.recv(65536)


def dns_query(name: str, number: int = 0x1234) -> bytes:
    """Return the bytes of an A query (RFC 1035)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!6H", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)
