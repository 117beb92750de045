"""Bind-only sockets: which one is free, and the end of a connection whose socket stays.

Runs in the supervisor and in the worker. Several generations share the sockets of such a listener, so each one is leased: a
lock of fcntl(2) on one byte of the listener's own socket, which is never given away. The kernel takes the lock back when
the worker ends, or when any descriptor of that socket is closed in it: no duplicate of it may be made there.
The application closes its descriptor, but the open file stays; so the connection is ended in its place, and the socket is
used again when all of it is done. Sources: fcntl(2), tcp(7), shutdown(2), close(2), tcp_close in the kernel.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import socket
import struct

from jvmbind.posix.listening import held
from jvmbind.posix.socket_options import disconnect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from jvmbind.spec import ListenSpec

_CLOSED, _FIN_WAIT_2 = 7, 5  # include/net/tcp_states.h
_SIOCINQ = 0x541B
_IPV4 = 1000  # added to the number of a socket of family AF_INET


def lease(anchor: int, spec: ListenSpec) -> bool:
    """Take the socket `spec` of the listener whose own socket is `anchor`; False where another generation has it."""
    try:
        fcntl.lockf(anchor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _number(spec))
    except OSError:
        return False
    return True


def give_back(anchor: int, spec: ListenSpec) -> None:
    """End a lease."""
    fcntl.lockf(anchor, fcntl.LOCK_UN, 1, _number(spec))


def _number(spec: ListenSpec) -> int:
    number = int(spec.name.rpartition("+")[2].rpartition("-")[2])
    return number + _IPV4 * spec.ipv4


def prepare(fd: int) -> None:
    """Let the port be bound again while a connection of this socket is in TIME-WAIT, which keeps the flag: socket(7)."""
    with held(fd) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def release(fd: int) -> None:
    """Take a socket out of its connection, at once, and keep others from its port: see `prepare`."""
    disconnect(fd)
    with held(fd) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)


def is_closed(fd: int) -> bool:
    """Whether nothing is left of the connection: all was sent and acknowledged, both ends are closed."""
    return _state(fd) == _CLOSED


def waits_for_peer(fd: int) -> bool:
    """Whether all that is missing is the peer's end; a socket that was closed would forget it after tcp_fin_timeout."""
    return _state(fd) == _FIN_WAIT_2


def _state(fd: int) -> int:
    with held(fd) as sock:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def end(fd: int) -> bool:
    """Do what close(2) does to a connection; return whether it is to be reset instead of finished.

    That is so where SO_LINGER says it, and where something was received that nobody has read (RFC 2525, 2.17).
    """
    with held(fd) as sock:
        unread = array.array("i", [0])
        with contextlib.suppress(OSError):
            fcntl.ioctl(fd, _SIOCINQ, unread)
        on, seconds = struct.unpack("=ii", sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))
        if unread[0] or (on and not seconds):
            return True
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
    return False


def end_orphans(listeners: Iterable[tuple[ListenSpec, int]]) -> None:
    """End the connections of generations that have ended: the kernel would, were theirs the only descriptor."""
    known = list(listeners)
    anchors = {spec.name: fd for spec, fd in known if spec.bind_only and not spec.of}
    for spec, fd in known:
        anchor = anchors.get(spec.of, -1) if spec.bind_only else -1
        if anchor >= 0 and not is_closed(fd) and lease(anchor, spec):
            end(fd)
            give_back(anchor, spec)
