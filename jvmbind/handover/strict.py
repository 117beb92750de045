"""Whether strict_binds lets a bind or listen pass that is on no declared listener, and the call itself, made in its place.

Runs where calls are answered, which no filter covers. What passes is not left to the kernel with "continue": another thread
could change the address, or the descriptor, after it was looked at. So the call is made here, on a duplicate of the very
descriptor, with the very bytes. Sources: seccomp_unotify(2), bind(2), ip(7), netlink(7), unix(7), vsock(7).
"""

from __future__ import annotations

import ctypes
import os
import socket

from jvmbind.handover.sockets import family_of
from jvmbind.spec import same_address

_LOCAL = {socket.AF_UNIX, socket.AF_NETLINK}  # no network is reached: the JVM's attach file, getifaddrs(3)


def refuses_any_port(protocol: str, host: str) -> bool:
    """Whether a bind of port 0 is refused: a TCP client needs it and cannot be reached, but datagrams come in at once."""
    return protocol != "tcp" and not same_address(host).is_loopback


def refuses_family(fd: int, family: int) -> bool:
    """Whether a bind of an address of another family than the internet's is refused, by what the socket really is."""
    return family not in _LOCAL or family_of(fd) != family


def bind(libc: ctypes.CDLL, fd: int, address: bytes) -> int:
    """Bind `fd` to the bytes of a sockaddr; return 0 or an errno."""
    duplicate = os.dup(fd)
    try:
        return 0 if libc.bind(duplicate, address, len(address)) == 0 else ctypes.get_errno()
    finally:
        os.close(duplicate)


def listen(libc: ctypes.CDLL, fd: int, backlog: int) -> int | None:
    """Listen on a Unix socket; return 0, an errno, or None where `fd` is none and so is refused."""
    duplicate = os.dup(fd)
    try:
        if family_of(duplicate) != socket.AF_UNIX:
            return None
        return 0 if libc.listen(duplicate, ctypes.c_int(backlog)) == 0 else ctypes.get_errno()
    finally:
        os.close(duplicate)
