"""What a descriptor of the application is: a socket of which kind, /dev/null, or closed.

Runs in the worker. Every question is put to the kernel; nothing is remembered. Sources: socket(7), fstat(2).
"""

from __future__ import annotations

import os
import socket
import stat

from jvmbind.posix.shortage import gone_meanwhile
from jvmbind.record import NamedTuple

_IPPROTO_MPTCP = 262  # linux/in.h


def inode_of(fd: int) -> int:
    """Return the inode behind a descriptor, -1 where it is closed."""
    try:
        return os.fstat(fd).st_ino
    except OSError:
        return -1


def same_file(pid: int, tid: int, fd: int) -> bool:
    """Whether a thread of this process means by `fd` what this process does: it may have descriptors of its own (unshare(2)).

    Raises OSError for a shortage, as all that follow do.
    """
    with gone_meanwhile:
        return os.stat(f"/proc/{pid}/task/{tid}/fd/{fd}").st_ino == os.fstat(fd).st_ino
    return inode_of(fd) < 0  # closed here and there, or the thread is gone


def is_null(fd: int) -> bool:
    """Whether a descriptor is /dev/null."""
    try:
        info = os.fstat(fd)
    except OSError:
        return False
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == os.makedev(1, 3)


def borrowed(fd: int) -> socket.socket:
    """Return a socket object on a duplicate of `fd`; raises OSError where that is not a socket."""
    duplicate = os.dup(fd)
    try:
        return socket.socket(fileno=duplicate)
    except OSError:
        os.close(duplicate)
        raise


def family_of(fd: int) -> int:
    """Return the address family of a socket, AF_UNIX where it is none."""
    with gone_meanwhile, borrowed(fd) as sock:
        return sock.family
    return socket.AF_UNIX  # no socket: the kernel's own answer is ENOTSOCK


class Kind(NamedTuple):
    """What an internet socket is: its protocol ("" for another than TCP and UDP), IPV6_V6ONLY, whether of family AF_INET."""

    protocol: str = ""
    v6only: bool = False
    ipv4: bool = False


def kind_of(fd: int) -> Kind:
    """Return what an internet socket is; `Kind()` for anything else."""
    with gone_meanwhile, borrowed(fd) as sock:
        if sock.family not in {socket.AF_INET, socket.AF_INET6}:
            return Kind()
        protocol = {
            (socket.SOCK_STREAM, socket.IPPROTO_TCP): "tcp",
            (socket.SOCK_STREAM, _IPPROTO_MPTCP): "tcp",
            (socket.SOCK_DGRAM, socket.IPPROTO_UDP): "udp",
        }.get((sock.type, sock.proto), "")
        if sock.family == socket.AF_INET:
            return Kind(protocol, ipv4=True)
        return Kind(protocol, bool(sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)))
    return Kind()


def shares(fd: int, protocol: str) -> bool:
    """Whether the kernel would let the application bind twice: SO_REUSEPORT, and for datagrams SO_REUSEADDR (socket(7))."""
    if protocol == "unix":
        return False
    with borrowed(fd) as sock:
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT):
            return True
        return protocol == "udp" and bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR))
