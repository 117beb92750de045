"""The worker's Landlock domain, entered by a child process with the real kernel."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import socket
from functools import partial
from typing import TYPE_CHECKING

import pytest

from jvmbind.posix.landlock import abi, enclose

if TYPE_CHECKING:
    from collections.abc import Callable

LIBC = ctypes.CDLL(None, use_errno=True)


def in_domain(*, strict_binds: bool) -> list[int]:
    """Return, from a child in the domain, the errno of: a signal to the parent, a bind of port 8081, one of port 0."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        results = []
        try:
            LIBC.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
            enclose(LIBC, strict_binds=strict_binds)
            attempts: list[Callable[[], object]] = [partial(os.kill, os.getppid(), 0), partial(bind, 8081), partial(bind, 0)]
            for attempt in attempts:
                try:
                    attempt()
                    results.append(0)
                except OSError as error:
                    results.append(error.errno or -1)
            os.write(writer, bytes(results))
        finally:
            os._exit(0)
    os.close(writer)
    data = os.read(reader, 16)
    os.close(reader)
    os.waitpid(child, 0)
    return list(data)


def bind(port: int) -> None:
    """Bind a TCP socket of the loopback address."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))


@pytest.mark.skipif(abi(LIBC) < 6, reason="this kernel is older than Linux 6.12")
def test_no_signal_leaves_the_domain() -> None:
    """A worker in the domain cannot signal its supervisor, and binds as before."""
    assert in_domain(strict_binds=False) == [errno.EPERM, 0, 0]


@pytest.mark.skipif(abi(LIBC) < 4, reason="this kernel is older than Linux 6.7")
def test_no_bind_beside_the_hand_over() -> None:
    """With strict binds the kernel itself refuses a TCP bind, but for the ports that it picks for clients."""
    assert in_domain(strict_binds=True)[1:] == [errno.EACCES, 0]


def test_signals_within_the_domain() -> None:
    """A process may still signal its own children."""
    child = os.fork()
    if child == 0:
        LIBC.prctl(38, 1, 0, 0, 0)
        enclose(LIBC, strict_binds=False)
        grandchild = os.fork()
        if grandchild == 0:
            signal.pause()
        os.kill(grandchild, signal.SIGKILL)
        os._exit(os.waitpid(grandchild, 0)[1])

    assert os.waitpid(child, 0)[1] == signal.SIGKILL << 8
