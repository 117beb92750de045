"""Idle sockets: what a drained application has in the place of its listeners.

Runs in the worker. Sources: ip(7), ipv6(7), unix(7), poll(2).
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Any, NamedTuple, Self

_IP_MINTTL = 21  # linux/in.h
_IPV6_MINHOPCOUNT = 73  # linux/in6.h
_HOPS = 255  # the most that there is
_PATIENCE = 1.0  # seconds


def idle_like(fd: int) -> int:
    """Return a socket of the same kind as the listener `fd` on which nothing ever arrives; raises OSError.

    A TCP socket must listen, or accept(2) says EINVAL instead of EAGAIN. Its port is one that the kernel picks on the
    loopback address, and packets with a hop limit below 255 are dropped, which is all that do not ask for it (64 is the
    default): ip(7) on IP_MINTTL. A packet filter would need a capability on TCP sockets in newer kernels.
    """
    with socket.socket(fileno=os.dup(fd)) as listener:
        idle = socket.socket(listener.family, listener.type | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, listener.proto)
    if idle.family == socket.AF_UNIX:
        idle.bind("")  # autobind: an abstract name that the kernel picks, unix(7)
    elif idle.family == socket.AF_INET6:
        idle.setsockopt(socket.IPPROTO_IPV6, _IPV6_MINHOPCOUNT, _HOPS)
        idle.bind(("::1", 0))
    else:
        idle.setsockopt(socket.IPPROTO_IP, _IP_MINTTL, _HOPS)
        idle.bind(("127.0.0.1", 0))
    if idle.type == socket.SOCK_STREAM:
        idle.listen(8)
    return idle.detach()


class Idle(NamedTuple):
    """An idle socket by what stays true of it after its last descriptor was closed: a waiting call keeps it alive."""

    family: int
    type: int
    address: Any
    inode: int

    @classmethod
    def from_json(cls, values: list[Any]) -> Self:
        """Return what was written as a JSON array."""
        family, kind, address, inode = values
        return cls(family, kind, tuple(address) if isinstance(address, list) else address, inode)


def idle_of(fd: int) -> Idle:
    """Describe the idle socket `fd`; raises OSError."""
    with socket.socket(fileno=os.dup(fd)) as idle:
        address = idle.getsockname()
        name = os.fsdecode(address) if isinstance(address, bytes) else address
        return Idle(idle.family, idle.type, name, os.fstat(fd).st_ino)


def knock(idle: Idle) -> None:
    """Make a connection to an idle socket and end it at once, or send it an empty datagram: whoever polls it wakes up."""
    with socket.socket(idle.family, idle.type) as sock:
        # A handshake may be left to a kernel thread; given up before it is complete, it would wake nobody.
        sock.settimeout(_PATIENCE)
        if idle.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, _HOPS)
        elif idle.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, _HOPS)
        with contextlib.suppress(OSError):
            if idle.type == socket.SOCK_STREAM:
                sock.connect(idle.address)
            else:
                sock.sendto(b"", idle.address)


def is_alive(idle: Idle) -> bool:
    """Whether the socket still exists: some call waits on it. Source: proc(5) on /proc/PID/net."""
    tables: dict[tuple[int, int], str] = {
        (socket.AF_UNIX, socket.SOCK_STREAM): "unix",
        (socket.AF_INET, socket.SOCK_STREAM): "tcp",
        (socket.AF_INET6, socket.SOCK_STREAM): "tcp6",
        (socket.AF_INET, socket.SOCK_DGRAM): "udp",
        (socket.AF_INET6, socket.SOCK_DGRAM): "udp6",
    }
    table = tables.get((idle.family, idle.type), "")
    try:
        lines = Path(f"/proc/self/net/{table}").read_text(encoding="utf-8", errors="replace").splitlines() if table else []
    except OSError:
        return False
    return any(str(idle.inode) in line.split() for line in lines)
