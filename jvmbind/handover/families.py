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
    from collections.abc import Sequence

    from jvmbind.handover.given import Given
    from jvmbind.spec import ListenSpec

_DISCARD = 9
_NOWHERE = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
# ldh [SKF_AD_OFF + SKF_AD_PROTOCOL]; jeq ETH_P_IP; ret all; ret nothing: linux/filter.h
_ONLY_IPV4 = bytes.fromhex("2800000000f0ffff150000010008000006000000ffffffff0600000000000000")


class Families:
    """The pairs among the sockets of a worker."""

    def __init__(self, specs: Sequence[ListenSpec], fds: Sequence[int], given: Given) -> None:
        """Find them."""
        self._specs, self._fds, self._given = specs, fds, given
        indexes = {spec.name: index for index, spec in enumerate(specs)}
        pairs = [(i, indexes[s.of]) for i, s in enumerate(specs) if s.of in indexes and s.ipv4 and not s.bind_only]
        self._other = dict(pairs) | {first: further for further, first in pairs}

    def in_the_way(self, fd: int, index: int, *, rehearses: bool) -> tuple[str, int]:
        """Return why a socket cannot be given for the application's `fd`, and the errno; ("", 0) if it can."""
        spec, other = self._specs[index], self.other(index)
        device = device_of(fd) if spec.protocol != "unix" else ""
        if device and device != spec.device:
            return f"listener {spec.name!r} is wider than the device asked for; declare it with device={device}", errno.EACCES
        taken = self._given.of(index) or (other >= 0 and self._given.of(other))
        if taken and not shares(fd, spec.protocol):
            return "bound already by this application", errno.EADDRINUSE
        if rehearses and self.is_aside(index):
            return "the serving generation has sockets of the other IP version: restart instead of a reload", errno.EADDRINUSE
        return "", 0

    def prepare_datagrams(self, index: int, fd: int) -> list[str]:
        """Let this socket of a datagram listener have the port, as the application's `fd` is of its kind; return problems."""
        spec, other = self._specs[index], self.other(index)
        if spec.protocol != "udp":
            return []
        if other >= 0:
            if not self._given.of(other):
                self.bring_in(index)
        elif spec.is_dual and kind_of(fd).ipv4:
            with held(self._fds[index]) as sock:  # an inherited one has no partner: drop what is not IPv4
                return attach_filter(sock, _ONLY_IPV4) if sock.family == socket.AF_INET6 else []
        return []

    def other(self, index: int) -> int:
        """Return the other socket of the same listener, -1 where there is none."""
        return self._other.get(index, -1)

    def is_aside(self, index: int) -> bool:
        """Whether another generation's application uses the other socket of a TCP listener."""
        other = self.other(index)
        return other >= 0 and self._specs[index].protocol == "tcp" and not self._listens(index) and self._listens(other)

    def bring_in(self, index: int) -> None:
        """Let this socket have the port, and put the other one aside; raises OSError."""
        other = self.other(index)
        if other < 0:
            return
        if self._specs[index].protocol == "udp":
            disconnect(self._fds[index])
            self._put_aside(other)
        elif not self._listens(index):
            with held(self._fds[other]) as aside, held(self._fds[index]) as sock:
                with contextlib.suppress(OSError):  # ENOTCONN: it does not listen
                    aside.shutdown(socket.SHUT_RD)
                aside.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.listen(self._specs[index].backlog)
                # Whoever may bind this port at all could share it with a socket that does not listen: socket(7).
                aside.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)

    def _listens(self, index: int) -> bool:
        with held(self._fds[index]) as sock:
            return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))

    def _put_aside(self, index: int) -> None:
        with held(self._fds[index]) as sock, contextlib.suppress(OSError):  # no loopback address of this version
            sock.connect((_NOWHERE[sock.family], _DISCARD))
            while True:  # what came before
                sock.recv(1, socket.MSG_DONTWAIT)
