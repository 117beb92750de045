"""What the kernel tells over netlink: how a datagram socket is shut down, and which TCP sockets there are.

Runs in the supervisor and in the responder as the service user; needs no privilege. Sources: sock_diag(7),
linux/inet_diag.h, netlink(7).
"""

from __future__ import annotations

import os
import socket
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_SOCK_DIAG, _BY_FAMILY = 4, 20  # NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_DONE, _ERROR = 3, 2
_SHUTDOWN = 8  # INET_DIAG_SHUTDOWN
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_QUERY = struct.Struct("=BBBxI48x")  # struct inet_diag_req_v2: family, protocol, ext, states, id
_INODE = struct.Struct("=68xI")  # struct inet_diag_msg
_TCP = struct.Struct("=xB2x2s2s16s16s24xII")  # the same: state, ports, addresses, user, inode
_ATTRIBUTE = struct.Struct("=HH")  # struct rtattr
_LARGEST = 1 << 16


def shutdown_of(sock: socket.socket) -> int:
    """Return the directions in which a UDP socket is shut down: 1 to receive, 2 to send, 3 both; raises OSError."""
    inode = os.fstat(sock.fileno()).st_ino
    for message in _dump(sock.family, socket.IPPROTO_UDP, 1 << (_SHUTDOWN - 1)):
        if _INODE.unpack_from(message)[0] == inode:
            return _attribute(message[_INODE.size :])
    return 0  # it is not bound, or this kernel does not tell


def tcp_rows(family: int) -> Iterator[list[str]]:
    """Yield the fields of each TCP socket as /proc/net/tcp has them: addresses, state, user and inode; raises OSError.

    The file costs some 5 ms where the kernel's table of connections is large; this costs a tenth of that.
    """
    words = 4 if family == socket.AF_INET6 else 1
    for message in _dump(family, socket.IPPROTO_TCP, 0):
        state, here_port, there_port, here, there, uid, inode = _TCP.unpack_from(message)
        local, remote = (
            "".join(f"{word:08X}" for word in struct.unpack_from(f"={words}I", address)) + f":{int.from_bytes(port, 'big'):04X}"
            for address, port in ((here, here_port), (there, there_port))
        )
        yield ["", local, remote, f"{state:02X}", "", "", "", str(uid), "", str(inode)]


def _dump(family: int, protocol: int, more: int) -> Iterator[bytes]:
    """Yield what the kernel says of each socket; `more` are the attributes that are wanted besides. Raises OSError."""
    query = _QUERY.pack(family, protocol, more, 0xFFFFFFFF)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG) as netlink:
        netlink.sendto(_HEADER.pack(_HEADER.size + len(query), _BY_FAMILY, _REQUEST_DUMP, 1, 0) + query, (0, 0))
        while True:
            data = netlink.recv(_LARGEST)
            at = 0
            while at + _HEADER.size <= len(data):
                length, kind, *_ = _HEADER.unpack_from(data, at)
                if kind == _ERROR:
                    number = -int.from_bytes(data[at + _HEADER.size :][:4], sys.byteorder, signed=True)
                    raise OSError(number, os.strerror(number))
                if kind == _DONE or length < _HEADER.size:
                    return
                yield data[at + _HEADER.size : at + length]
                at += length + 3 & ~3


def _attribute(attributes: bytes) -> int:
    at = 0
    while at + _ATTRIBUTE.size <= len(attributes):
        length, kind = _ATTRIBUTE.unpack_from(attributes, at)
        if kind == _SHUTDOWN and length > _ATTRIBUTE.size:
            return attributes[at + _ATTRIBUTE.size]
        at += max(length, _ATTRIBUTE.size) + 3 & ~3
    return 0
