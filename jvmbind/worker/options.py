"""Socket options that the application set before bind, moved to the listener that takes the place of its socket.

Runs in the worker. Only what differs from a fresh socket of the same kind is set, so that what the administrator
declared stays where the application said nothing. Sources: socket(7), ip(7), ipv6(7), tcp(7), udp(7).
"""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import ctypes

    from jvmbind.spec import ListenSpec


class _Option(NamedTuple):
    name: str
    level: int
    number: int
    size: int = 4  # bytes; 0 = the struct linger of SO_LINGER
    halve: bool = False  # the kernel doubles the value that is set: socket(7)


_SOCKET = (
    _Option("SO_RCVBUF", socket.SOL_SOCKET, socket.SO_RCVBUF, halve=True),
    _Option("SO_SNDBUF", socket.SOL_SOCKET, socket.SO_SNDBUF, halve=True),
    _Option("SO_KEEPALIVE", socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    _Option("SO_REUSEADDR", socket.SOL_SOCKET, socket.SO_REUSEADDR),
    _Option("SO_REUSEPORT", socket.SOL_SOCKET, socket.SO_REUSEPORT),
    _Option("SO_BROADCAST", socket.SOL_SOCKET, socket.SO_BROADCAST),
    _Option("SO_LINGER", socket.SOL_SOCKET, socket.SO_LINGER, 8),
    _Option("SO_PRIORITY", socket.SOL_SOCKET, socket.SO_PRIORITY),
    _Option("SO_RCVTIMEO", socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16),
    _Option("SO_TIMESTAMP", socket.SOL_SOCKET, 29),
    _Option("SO_BUSY_POLL", socket.SOL_SOCKET, 46),
)
_TCP = (
    _Option("TCP_NODELAY", socket.IPPROTO_TCP, socket.TCP_NODELAY),
    _Option("TCP_DEFER_ACCEPT", socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT),
    _Option("TCP_KEEPIDLE", socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
    _Option("TCP_KEEPINTVL", socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
    _Option("TCP_KEEPCNT", socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
    _Option("TCP_QUICKACK", socket.IPPROTO_TCP, socket.TCP_QUICKACK),
    _Option("TCP_USER_TIMEOUT", socket.IPPROTO_TCP, 18),
    _Option("TCP_FASTOPEN", socket.IPPROTO_TCP, socket.TCP_FASTOPEN),
    _Option("TCP_NOTSENT_LOWAT", socket.IPPROTO_TCP, 25),
)
_IP = (
    _Option("IP_TOS", socket.IPPROTO_IP, socket.IP_TOS),
    _Option("IP_PKTINFO", socket.IPPROTO_IP, 8),
    _Option("IP_RECVTOS", socket.IPPROTO_IP, 13),
    _Option("IP_MULTICAST_TTL", socket.IPPROTO_IP, socket.IP_MULTICAST_TTL),
    _Option("IP_MULTICAST_LOOP", socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP),
    _Option("IP_MULTICAST_ALL", socket.IPPROTO_IP, 49),
    _Option("IP_MTU_DISCOVER", socket.IPPROTO_IP, 10),
)
_IPV6 = (
    _Option("IPV6_TCLASS", socket.IPPROTO_IPV6, socket.IPV6_TCLASS),
    _Option("IPV6_RECVPKTINFO", socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO),
    _Option("IPV6_MULTICAST_HOPS", socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS),
    _Option("IPV6_MULTICAST_LOOP", socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP),
    _Option("IPV6_MULTICAST_IF", socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF),
    _Option("IPV6_MULTICAST_ALL", socket.IPPROTO_IPV6, 29),
)
_INT = 4
_fresh: dict[tuple[int, int, int], dict[_Option, bytes]] = {}


def _applicable(sock: socket.socket) -> tuple[_Option, ...]:
    options: tuple[_Option, ...] = _SOCKET
    if sock.family == socket.AF_UNIX:
        return options
    options += _IP
    if sock.family == socket.AF_INET6:
        options += _IPV6
    return options + _TCP if sock.type == socket.SOCK_STREAM else options


def _values(sock: socket.socket) -> dict[_Option, bytes]:
    found = {}
    for option in _applicable(sock):
        try:
            found[option] = sock.getsockopt(option.level, option.number, option.size)
        except OSError:
            continue  # not known to this kernel, or not to this kind of socket
    return found


def _defaults(sock: socket.socket) -> dict[_Option, bytes]:
    key = (sock.family, sock.type, sock.proto)
    if key not in _fresh:
        with socket.socket(*key) as fresh:
            _fresh[key] = _values(fresh)
    return _fresh[key]


def carry_over(source: int, target: int, spec: ListenSpec) -> list[str]:
    """Set on `target` the options by which `source` differs from a fresh socket; return what failed, one line each.

    What the listener declares itself (rcvbuf, defer-accept, fastopen) stays as declared. Raises OSError where `source`
    or `target` is no socket.
    """
    declared = {
        "SO_RCVBUF": bool(spec.rcvbuf),
        "TCP_DEFER_ACCEPT": bool(spec.defer_accept),
        "TCP_FASTOPEN": bool(spec.fastopen),
    }
    problems = []
    with socket.socket(fileno=os.dup(source)) as app, socket.socket(fileno=os.dup(target)) as listener:
        if app.family == socket.AF_INET6 and listener.family == socket.AF_INET and spec.protocol == "udp":
            problems.append(
                "this inherited UDP socket is IPv4 only, so the JVM cannot send from it; expected a dual-stack socket, "
                "or -Djava.net.preferIPv4Stack=true"
            )
        defaults = _defaults(app)
        for option, value in _values(app).items():
            if value == defaults.get(option) or declared.get(option.name):
                continue
            if option.halve:
                value = (int.from_bytes(value, "little") // 2).to_bytes(_INT, "little")  # noqa: PLW2901
            try:
                listener.setsockopt(option.level, option.number, value)
            except OSError as error:
                # An option of IPv6 has no meaning on the IPv4 listener that answers for it.
                if error.errno not in {errno.ENOPROTOOPT, errno.EOPNOTSUPP}:
                    problems.append(f"{option.name} of the application could not be kept: {error.strerror}")
    return problems


def disconnect(libc: ctypes.CDLL, fd: int) -> None:
    """Undo connect(2) on a shared socket that an earlier generation left connected: connect to AF_UNSPEC."""
    libc.connect(fd, b"\0" * 16, 16)
