"""Which sockets root takes from a parent or a broker: what the plan says of one is compared with what the kernel says."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from jvmbind.errors import NotPermittedError
from jvmbind.root.inherited import passed, take
from jvmbind.spec import ListenSpec

OWN = str(os.getpid())


def bound(family: int, kind: int, address: str | tuple[str, int]) -> tuple[socket.socket, int]:
    """Return a bound socket and its port, 0 for none."""
    sock = socket.socket(family, kind)
    sock.bind(address)
    return sock, 0 if family == socket.AF_UNIX else sock.getsockname()[1]


@pytest.mark.parametrize(("protocol", "kind"), [("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)])
@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_what_is_as_planned(protocol: str, kind: int, family: int, host: str) -> None:
    """A socket of the protocol on the port is taken, and never blocks nor passes an exec."""
    sock, port = bound(family, kind, (host, 0))
    os.set_inheritable(sock.fileno(), True)

    taken = take(ListenSpec("a", protocol, port=port), sock.detach(), range(3, 4096))

    assert taken.getsockname()[1] == port
    assert not taken.getblocking()
    assert not taken.get_inheritable()
    taken.close()


def test_a_unix_socket_as_planned(tmp_path: Path) -> None:
    """A Unix socket is known by its path."""
    sock, _ = bound(socket.AF_UNIX, socket.SOCK_STREAM, str(tmp_path / "s"))
    taken = take(ListenSpec("a", "unix", path=str(tmp_path / "s")), sock.detach(), range(3, 4096))
    with pytest.raises(NotPermittedError, match="that socket is another"):
        take(ListenSpec("a", "unix", path="/run/other.sock"), taken.detach(), range(3, 4096))


@pytest.mark.parametrize(("protocol", "off"), [("udp", 0), ("tcp", 1), ("unix", 0)])
def test_another_socket_than_planned(protocol: str, off: int) -> None:
    """Another protocol, another port and another family are refused with status 77, and the socket is closed."""
    sock, port = bound(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
    fd = sock.detach()
    with pytest.raises(NotPermittedError, match="that socket is another"):
        take(ListenSpec("a", protocol, port=port - off, path="/run/a.sock" if protocol == "unix" else ""), fd, range(3, 4096))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_what_nobody_has_passed() -> None:
    """A descriptor that was not announced is refused though it is a socket, and so is one that is a file."""
    sock, port = bound(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
    for fd, announced in ((sock.fileno(), range(3, 3)), (0, range(1))):
        with pytest.raises(NotPermittedError, match="expected a socket that a parent or a broker has passed"):
            take(ListenSpec("a", "tcp", port=port), fd, announced)
    sock.close()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, range(1)),
        ({"LISTEN_PID": "1", "LISTEN_FDS": "2"}, range(1)),
        ({"LISTEN_PID": OWN, "LISTEN_FDS": "2"}, range(3, 5)),
        ({"LISTEN_PID": OWN, "LISTEN_FDS": "-1"}, range(1)),
        ({"LISTEN_PID": OWN, "LISTEN_FDS": "1234567"}, range(1)),
    ],
)
def test_what_was_announced(environ: dict[str, str], expected: range) -> None:
    """LISTEN_FDS counts where this very process was meant; else standard input alone may be a listener."""
    assert passed(environ) == expected
