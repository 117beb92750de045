"""Idle sockets: what a drained application has in the place of its listeners.

Runs in the worker. Sources: ip(7), ipv6(7), unix(7), poll(2).
"""

from __future__ import annotations

import contextlib
import os
import socket

_IP_MINTTL = 21  # linux/in.h
_IPV6_MINHOPCOUNT = 73  # linux/in6.h
_HOPS = 255  # the most that there is


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
        idle.listen(1)
    return idle.detach()


def wake(fd: int) -> None:
    """Wake whoever sits in poll(2) or accept(2) on the idle socket `fd`, after another file has taken its number.

    A waiting call keeps the open file that it was called for. A thread that waits on an idle socket would sleep on when
    its descriptor is the listener again; woken, it looks at the descriptor.
    """
    with socket.socket(fileno=os.dup(fd)) as idle, socket.socket(idle.family, idle.type | socket.SOCK_NONBLOCK) as sock:
        if idle.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, _HOPS)
        elif idle.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, _HOPS)
        with contextlib.suppress(OSError):
            if idle.type == socket.SOCK_STREAM:
                sock.connect(idle.getsockname())
            else:
                sock.sendto(b"", idle.getsockname())
