"""The two sockets of a listener of both IP versions: which of them has the port.

Runs in the worker. One is of family AF_INET6 and takes both versions, the other is of family AF_INET. The kernel allows
one of them to listen, and gives datagrams to the better match, so the one whose kind the application does not use is put
aside: a TCP socket does not listen, a datagram socket is connected to a peer that never sends. Both keep the port.
Sources: ip(7), ipv6(7), udp(7), socket(7) on SO_REUSEADDR.
"""

from __future__ import annotations

import contextlib
import errno
import socket

from jvmbind.handover.sockets import kind_of, shares
from jvmbind.posix.listening import held
from jvmbind.posix.socket_options import attach_filter, device_of, disconnect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvmbind.handover.listener import Listener

_DISCARD = 9
_NOWHERE = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
# ldh [SKF_AD_OFF + SKF_AD_PROTOCOL]; jeq ETH_P_IP; ret all; ret nothing: linux/filter.h
_ONLY_IPV4 = bytes.fromhex("2800000000f0ffff150000010008000006000000ffffffff0600000000000000")


def in_the_way(fd: int, one: Listener, *, rehearses: bool) -> tuple[str, int]:
    """Return why a socket cannot be given for the application's `fd`, and the errno; ("", 0) if it can."""
    device = device_of(fd) if one.spec.protocol != "unix" else ""
    if device and device != one.spec.device:
        return f"listener {one.spec.name!r} is wider than the device asked for; declare it with device={device}", errno.EACCES
    taken = one.fds() or (one.other is not None and one.other.fds())
    if taken and not shares(fd, one.spec.protocol):
        return "bound already by this application", errno.EADDRINUSE
    if rehearses and is_aside(one):
        return "the serving generation has sockets of the other IP version: restart instead of a reload", errno.EADDRINUSE
    return "", 0


def prepare_datagrams(one: Listener, fd: int) -> list[str]:
    """Let this socket of a datagram listener have the port, as the application's `fd` is of its kind; return problems."""
    if one.spec.protocol != "udp":
        return []
    if one.other is not None:
        if not one.other.fds():
            bring_in(one)
    elif one.spec.is_dual and kind_of(fd).ipv4:
        with held(one.fd) as sock:  # an inherited one has no partner: drop what is not IPv4
            return attach_filter(sock, _ONLY_IPV4) if sock.family == socket.AF_INET6 else []
    return []


def is_aside(one: Listener) -> bool:
    """Whether another generation's application uses the other socket of a TCP listener."""
    return one.other is not None and one.spec.protocol == "tcp" and not _listens(one) and _listens(one.other)


def bring_in(one: Listener) -> None:
    """Let this socket have the port, and put the other one aside; raises OSError."""
    if one.other is None:
        return
    if one.spec.protocol == "udp":
        disconnect(one.fd)
        _put_aside(one.other)
    elif not _listens(one):
        with held(one.other.fd) as aside, held(one.fd) as sock:
            with contextlib.suppress(OSError):  # ENOTCONN: it does not listen
                aside.shutdown(socket.SHUT_RD)
            aside.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.listen(one.spec.backlog)
            # Whoever may bind this port at all could share it with a socket that does not listen: socket(7).
            aside.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)


def _listens(one: Listener) -> bool:
    with held(one.fd) as sock:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _put_aside(one: Listener) -> None:
    with held(one.fd) as sock, contextlib.suppress(OSError):  # no loopback address of this version
        sock.connect((_NOWHERE[sock.family], _DISCARD))
        while True:  # what came before
            sock.recv(1, socket.MSG_DONTWAIT)
