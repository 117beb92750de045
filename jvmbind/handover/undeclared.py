"""Addresses that no listener has: two generations of one program both want them, for as long as a reload takes.

Runs in the worker. A second port of the application (Tomcat's shutdown port, a JMX agent, a debugger) is bound by the
kernel as always, and two processes cannot have it at once. During a reload both sockets get SO_REUSEPORT, which the
kernel grants to processes of one user (socket(7)). They keep it.
"""

from __future__ import annotations

import socket

from jvmbind.handover.sockets import borrowed, inode_of
from jvmbind.posix.listening import TCP_LISTEN, tcp_rows
from jvmbind.posix.shortage import gone_meanwhile


class Undeclared:
    """The application's own TCP sockets with a fixed port."""

    def __init__(self, *, own_network: bool = False) -> None:
        """Know of none yet. With `own_network` no other generation is where the application binds them."""
        self._alone = own_network
        self._bound: dict[int, int] = {}  # descriptor -> inode
        self._shares = False

    def begin_to_share(self) -> None:
        """Let the next generation bind what this one has bound, and this one what its predecessor has."""
        self._shares = True
        for fd in self._living():
            _set_reuseport(fd)

    def bind(self, fd: int, port: int) -> None:
        """Note that the kernel is about to bind `fd`, and let it share the port with another generation."""
        if self._shares and self.is_taken(port):
            _set_reuseport(fd)
        self._bound[fd] = inode_of(fd)

    def is_taken(self, port: int) -> bool:
        """Whether a TCP socket listens on `port` that is not one of these, nor in another network."""
        if self._alone:
            return False
        own = {_port(fd) for fd in self._living()}
        return port not in own and port in _listening_ports()

    def _living(self) -> list[int]:
        self._bound = {fd: inode for fd, inode in self._bound.items() if inode_of(fd) == inode}
        return list(self._bound)


def _port(fd: int) -> int:
    with gone_meanwhile, borrowed(fd) as sock:
        return int(sock.getsockname()[1])
    return 0


def _set_reuseport(fd: int) -> None:
    with gone_meanwhile, borrowed(fd) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _listening_ports() -> set[int]:
    """Return the ports on which TCP sockets listen in this network namespace."""
    return {int(fields[1].rpartition(":")[2], 16) for fields in tcp_rows() if fields[3] == TCP_LISTEN}
