"""Listening sockets: the accept queue, and a connection that says nothing.

Runs in the supervisor and in the worker. Source: tcp(7); inet_csk_listen and tcp_get_info in the kernel: for a listener
tcpi_unacked is the length of the accept queue and tcpi_sacked its limit.
"""

from __future__ import annotations

import contextlib
import socket
import struct

from jvmbind.posix.shortage import gone_meanwhile, is_shortage
from jvmbind.record import NamedTuple
from jvmbind.spec import is_wildcard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# States in tcp_rows: include/net/tcp_states.h
TCP_ESTABLISHED, TCP_CLOSE_WAIT, TCP_LISTEN = "01", "08", "0A"
_QUEUE = struct.Struct("=24xII")
_SO_MEMINFO = 55  # asm-generic/socket.h
_REACH_PATIENCE = 0.2  # seconds; a wildcard is reached over the loopback device in no time, a device that is down never
_MEMINFO = struct.Struct("=9I")  # SK_MEMINFO_VARS of linux/sock_diag.h; the last is SK_MEMINFO_DROPS


class Queue(NamedTuple):
    """An accept queue: connections that wait, and how many may."""

    length: int
    limit: int


@contextlib.contextmanager
def held(fd: int) -> Iterator[socket.socket]:
    """Yield a socket object for a descriptor of our own, which stays open. A duplicate might not be had: EMFILE."""
    sock = socket.socket(fileno=fd)
    try:
        yield sock
    finally:
        sock.detach()


def accept_queue(fd: int) -> Queue | None:
    """Return the accept queue of a listening TCP socket, None where the kernel does not say."""
    with held(fd) as sock:
        try:
            return Queue(*_QUEUE.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _QUEUE.size)))
        except (OSError, struct.error):
            return None


def dropped(fd: int) -> int | None:
    """Return how many connections a listener has lost to a full queue (sk_drops, by SO_MEMINFO), None if unknown."""
    with held(fd) as sock:
        try:
            return int(_MEMINFO.unpack(sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))[8])
        except (OSError, struct.error):
            return None


def tcp_rows() -> Iterator[list[str]]:
    """Yield the fields of every TCP socket of this network namespace as /proc/net/tcp and tcp6 have them, proc(5).

    Only addresses, state, user and inode are there for certain. Raises OSError for a shortage.
    """
    from jvmbind.posix import diag  # noqa: PLC0415 - a look at the table alone needs it

    for family, table in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        rows: list[list[str]] = []
        try:
            rows = list(diag.tcp_rows(family))
        except OSError as error:  # a sandbox without netlink, a kernel without sock_diag
            if is_shortage(error):
                raise
            # No IPv6 here, or no such file in this sandbox.
            with gone_meanwhile, open(f"/proc/self/net/{table}", encoding="ascii") as file:
                rows = [line.split() for line in file.read().splitlines()[1:]]
        yield from rows


def is_listening(fd: int) -> bool:
    """Whether a stream socket listens: SO_ACCEPTCONN of socket(7)."""
    with held(fd) as sock:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def reach(fd: int) -> bool:
    """Make a connection to a TCP socket and end it at once; return whether it listens and this machine can reach it."""
    if not is_listening(fd):
        return False
    with held(fd) as listener:
        family, address = listener.family, listener.getsockname()
    host = address[0]
    if is_wildcard(host):
        host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
        sock.settimeout(_REACH_PATIENCE)
        try:
            sock.connect((host, address[1]))
        except OSError:
            return False
    return True
