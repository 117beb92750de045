"""Idle sockets: what a drained application has in the place of its listeners.

Runs in the worker. Sources: ip(7), ipv6(7), unix(7), poll(2).
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket

from jvmbind.handover.moving import AT_ONCE
from jvmbind.posix.listening import held
from jvmbind.posix.shortage import Reserve, is_shortage
from jvmbind.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from jvmbind.spec import ListenSpec

_IP_MINTTL = 21  # linux/in.h
_IPV6_MINHOPCOUNT = 73  # linux/in6.h
_HOPS = 255  # the most that there is
HOP_LIMITS = frozenset({"IP_MINTTL", "IPV6_MINHOPCOUNT"})  # the idle socket's own
_BACKLOG = 128
_RESERVED, _RESERVED_FOR_A_STEP = 32, 6
_PATIENCE = 0.2  # seconds


class Idle(NamedTuple):
    """An idle socket. All but `fd` stays true after that was closed: a waiting call keeps the socket alive.

    `door` is a descriptor by which a Unix socket can be reached, -1 for others.
    """

    fd: int
    family: int
    type: int
    address: Any
    inode: int
    door: int = -1


def reserve_for(specs: Sequence[ListenSpec]) -> Reserve:
    """Return a reserve for an idle socket in the place of each listener, and for what one step needs for a moment."""
    listeners = [spec for spec in specs if not spec.bind_only]
    sockets = len(listeners) + sum(spec.protocol == "unix" for spec in listeners)
    return Reserve(min(sockets, _RESERVED) + min(len(listeners), AT_ONCE) + _RESERVED_FOR_A_STEP)


def idle_like(fd: int) -> Idle:
    """Return a socket of the same kind as the listener `fd` on which nothing ever arrives; raises OSError.

    A TCP socket must listen, or accept(2) says EINVAL instead of EAGAIN. Its port is one that the kernel picks on the
    loopback address, and packets with a hop limit below 255 are dropped, which is all that do not ask for it (64 is the
    default): ip(7) on IP_MINTTL. A packet filter would need a capability on TCP sockets in newer kernels.
    """
    with held(fd) as listener:
        idle = socket.socket(listener.family, listener.type | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, listener.proto)
    door = -1
    try:
        if idle.family == socket.AF_UNIX:
            door = _bind_to_nowhere(idle)
        elif idle.family == socket.AF_INET6:
            idle.setsockopt(socket.IPPROTO_IPV6, _IPV6_MINHOPCOUNT, _HOPS)
            idle.bind(("::1", 0))
        else:
            idle.setsockopt(socket.IPPROTO_IP, _IP_MINTTL, _HOPS)
            idle.bind(("127.0.0.1", 0))
        if idle.type == socket.SOCK_STREAM:
            idle.listen(_BACKLOG)
    except OSError:
        idle.close()
        raise
    address = idle.getsockname() if door < 0 else f"/proc/self/fd/{door}"
    inode = os.fstat(idle.fileno()).st_ino
    return Idle(idle.detach(), idle.family, idle.type, address, inode, door)


def _bind_to_nowhere(sock: socket.socket) -> int:
    """Bind a Unix socket to a path, remove that, and return a descriptor of the file: the one way to the socket.

    An abstract name would have no permissions, and let anybody past those of the listener's path: unix(7). A descriptor
    of the file (O_PATH) can be connected to by its link in /proc/self/fd.
    """
    for base in (os.environ.get("XDG_RUNTIME_DIR", ""), "/tmp", "/var/tmp", "/dev/shm"):  # noqa: S108 - a folder of a random name
        folder = f"{base}/jvmbind-{os.urandom(8).hex()}"
        try:
            os.mkdir(folder, 0o700)
        except OSError:
            continue
        try:
            sock.bind(f"{folder}/idle")
            try:
                return os.open(f"{folder}/idle", os.O_PATH | os.O_CLOEXEC)
            finally:
                os.unlink(f"{folder}/idle")
        finally:
            os.rmdir(folder)
    raise OSError(errno.EACCES, "no folder for an idle socket: neither /tmp, /var/tmp nor /dev/shm can be written to")


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
        with open(f"/proc/self/net/{table}" if table else os.devnull, encoding="utf-8", errors="replace") as lines:
            return any(str(idle.inode) in line.split() for line in lines)
    except OSError as error:
        return is_shortage(error)  # then nobody knows
