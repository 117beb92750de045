"""What the kernel tells of a datagram socket over netlink alone: in which directions it is shut down.

Runs in the supervisor and in the responder as the service user; needs no privilege. Sources: sock_diag(7),
linux/inet_diag.h, netlink(7).
"""

from __future__ import annotations

import os
import socket
import struct

_SOCK_DIAG, _BY_FAMILY = 4, 20  # NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_DONE, _ERROR = 3, 2
_SHUTDOWN = 8  # INET_DIAG_SHUTDOWN
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_QUERY = struct.Struct("=BBBxI48x")  # struct inet_diag_req_v2: family, protocol, ext, states, id
_INODE = struct.Struct("=68xI")  # struct inet_diag_msg
_ATTRIBUTE = struct.Struct("=HH")  # struct rtattr
_LARGEST = 1 << 16


def shutdown_of(sock: socket.socket) -> int:
    """Return the directions in which a UDP socket is shut down: 1 to receive, 2 to send, 3 both; raises OSError."""
    inode = os.fstat(sock.fileno()).st_ino
    query = _QUERY.pack(sock.family, socket.IPPROTO_UDP, 1 << (_SHUTDOWN - 1), 0xFFFFFFFF)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG) as netlink:
        netlink.sendto(_HEADER.pack(_HEADER.size + len(query), _BY_FAMILY, _REQUEST_DUMP, 1, 0) + query, (0, 0))
        while True:
            data = netlink.recv(_LARGEST)
            at = 0
            while at + _HEADER.size <= len(data):
                length, kind, *_ = _HEADER.unpack_from(data, at)
                if kind in {_DONE, _ERROR} or length < _HEADER.size:
                    return 0  # it is not bound, or this kernel does not tell
                message = data[at + _HEADER.size : at + length]
                if _INODE.unpack_from(message)[0] == inode:
                    return _attribute(message[_INODE.size :])
                at += length + 3 & ~3


def _attribute(attributes: bytes) -> int:
    at = 0
    while at + _ATTRIBUTE.size <= len(attributes):
        length, kind = _ATTRIBUTE.unpack_from(attributes, at)
        if kind == _SHUTDOWN and length > _ATTRIBUTE.size:
            return attributes[at + _ATTRIBUTE.size]
        at += max(length, _ATTRIBUTE.size) + 3 & ~3
    return 0
