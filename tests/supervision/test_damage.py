"""10.7: what a hijacked worker does to a listener that lives, which nobody can take back without a privilege.

Run by pytest as root; services run as an ordinary user. Must not import jvmbind.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervision.conftest import Supervised

_PIDFD_GETFD = 438  # one number on all architectures
_SO_LOCK_FILTER, _IP_MINTTL = 44, 21


@contextlib.contextmanager
def listeners_of(pid: int) -> Iterator[list[socket.socket]]:
    """Yield the listening TCP sockets of a process, taken out of it."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd, found = os.pidfd_open(pid), []
    for number in os.listdir(f"/proc/{pid}/fd"):
        fd = libc.syscall(_PIDFD_GETFD, pidfd, int(number), 0)
        with contextlib.suppress(OSError):
            sock = socket.socket(fileno=fd)
            if sock.type == socket.SOCK_STREAM and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                found.append(sock)
            else:
                sock.close()
    os.close(pidfd)
    try:
        yield found
    finally:
        for sock in found:
            sock.close()


def test_what_can_be_set_back(supervised: Supervised) -> None:
    """A hop limit that keeps every client out is gone with the worker that set it."""
    supervised.start("http=8080")
    pid = supervised.serving()
    with listeners_of(pid) as taken:
        for sock in taken:
            sock.setsockopt(socket.IPPROTO_IP, _IP_MINTTL, 255)
    os.kill(pid, signal.SIGKILL)

    supervised.await_generation(2)
    assert supervised.version() == "1"


def test_what_cannot_be_set_back(supervised: Supervised) -> None:
    """A locked filter is named at a reload, and keeps the next generation after a death from starting; the port is held."""
    service = supervised.start("http=8080")
    pid = supervised.serving()
    with listeners_of(pid) as taken:
        for sock in taken:
            sock.setsockopt(socket.SOL_SOCKET, _SO_LOCK_FILTER, 1)
    os.kill(pid, signal.SIGKILL)

    service.expect(
        r"cannot start generation 3: .*SO_LOCK_FILTER: cannot be taken back; stop the service and start it", stream="stderr"
    )
    wait_until(lambda: not supervised.children(), 10, "the end of the worker")
    with supervised.network.open_socket(socket.AF_INET6, socket.SOCK_STREAM) as rival, pytest.raises(OSError):
        rival.bind(("::", 8080))
    supervised.ask("stop")
    service.wait()
    service.assert_nothing_left()
