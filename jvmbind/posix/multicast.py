"""Multicast groups of a socket: which it is in, and how to move them to another.

Runs in the supervisor and in the worker, as the service user. The kernel has no list of the groups of one socket, but a
socket can be asked for its source filter in one group, and says EADDRNOTAVAIL where it is not a member. The candidates
are the groups of the network devices. Sources: ip(7), ipv6(7), RFC 3678, linux/in.h, proc(5) on /proc/PID/net.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct

from jvmbind.record import NamedTuple

_JOIN_GROUP, _LEAVE_GROUP, _MSFILTER = 42, 45, 48  # MCAST_*, of both levels
_SOURCES_FIRST = 64  # of a filter, read at once
# On 64-bit machines a sockaddr_storage of 128 bytes is aligned to 8: struct group_req, and the head of struct group_filter.
_GROUP = struct.Struct("=I4x128s")
_FILTER = struct.Struct("=I4x128sII")
_STORAGE = 128
_EXCLUDE = 0


class Membership(NamedTuple):
    """One group of one network device, and the source filter that the socket has there: MCAST_EXCLUDE (0) or _INCLUDE (1)."""

    device: int
    group: str
    mode: int = _EXCLUDE
    sources: tuple[bytes, ...] = ()  # each a sockaddr_storage


def memberships(fd: int) -> list[Membership]:
    """Return the groups that a socket is in; none where it is not an internet socket."""
    with socket.socket(fileno=os.dup(fd)) as sock:
        if sock.family not in {socket.AF_INET, socket.AF_INET6} or sock.type != socket.SOCK_DGRAM:
            return []
        candidates = _groups_of_devices(ipv6=sock.family == socket.AF_INET6)
        return [one for device, group in candidates if (one := _membership(fd, device, group)) is not None]


def join(fd: int, membership: Membership) -> None:
    """Let a socket join a group with the same source filter; raises OSError."""
    level, address = _level(membership.group), _sockaddr(membership.group)
    with socket.socket(fileno=os.dup(fd)) as sock:
        sock.setsockopt(level, _JOIN_GROUP, _GROUP.pack(membership.device, address))
        if (membership.mode, membership.sources) != (_EXCLUDE, ()):
            head = _FILTER.pack(membership.device, address, membership.mode, len(membership.sources))
            sock.setsockopt(level, _MSFILTER, head + b"".join(membership.sources))


def leave(fd: int, membership: Membership) -> None:
    """Let a socket leave a group; raises OSError."""
    with socket.socket(fileno=os.dup(fd)) as sock:
        request = _GROUP.pack(membership.device, _sockaddr(membership.group))
        sock.setsockopt(_level(membership.group), _LEAVE_GROUP, request)


def _level(group: str) -> int:
    return socket.IPPROTO_IPV6 if ":" in group else socket.IPPROTO_IP


def _sockaddr(group: str) -> bytes:
    if ":" in group:
        return struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, socket.inet_pton(socket.AF_INET6, group), 0)
    return struct.pack("=HH4s", socket.AF_INET, 0, socket.inet_aton(group))


def _membership(fd: int, device: int, group: str) -> Membership | None:
    import ctypes  # noqa: PLC0415 - for machines that are in a group, and sockets that take datagrams

    getsockopt = ctypes.CDLL(None).getsockopt
    count = _SOURCES_FIRST
    while True:
        size = _FILTER.size + count * _STORAGE
        buffer = ctypes.create_string_buffer(_FILTER.pack(device, _sockaddr(group), 0, count), size)
        length = ctypes.c_uint(size)
        if getsockopt(fd, _level(group), _MSFILTER, buffer, ctypes.byref(length)) != 0:
            return None  # EADDRNOTAVAIL: no member
        _, _, mode, found = _FILTER.unpack_from(buffer)
        if found <= count:
            break
        count = found
    sources = (buffer.raw[_FILTER.size + i * _STORAGE :][:_STORAGE] for i in range(found))
    return Membership(device, group, mode, tuple(sources))


def _groups_of_devices(*, ipv6: bool) -> list[tuple[int, str]]:
    """Return (index of the device, group) of every group that this machine is in, by the tables of its network namespace."""
    found: list[tuple[int, str]] = []
    device = 0
    for line in _lines("/proc/self/net/igmp"):
        words = line.split()
        # "2\tv0 : 1 V3" heads the device's lines, "\t\t\t\t030201EF 1 0:00000000 0" is one: the address as it lies in memory
        if not line.startswith("\t"):
            device = int(words[0]) if words and words[0].isdigit() else 0
        elif device and words:
            found.append((device, socket.inet_ntoa(struct.pack("=I", int(words[0], 16)))))
    if ipv6:
        for line in _lines("/proc/self/net/igmp6"):
            words = line.split()
            found.append((int(words[0]), socket.inet_ntop(socket.AF_INET6, bytes.fromhex(words[2]))))
    return found


def _lines(path: str) -> list[str]:
    with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
        return file.read().splitlines()
    return []
