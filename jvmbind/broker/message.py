"""The two messages between who wants a port and the broker: of a fixed size, with a meaning for each bit.

Pure. Runs in the broker, which has a privilege, and in who asks it; imports the standard library, `spec` and `errors`.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import NamedTuple

from jvmbind.spec import BROKER_SOCKET, ListenSpec, same_address

SOCKET = f"/run/jvmbind/{BROKER_SOCKET}"
REQUEST = struct.Struct("=8sBBBBHHIIII16s16s")
REPLY = struct.Struct("=8sBBHi112s")
MOST_CONNECTIONS = 64  # of a bind-only listener: it has two sockets for each, and one message carries 253 (SCM_MAX_FD)
MOST_SOCKETS = 1 + 2 * MOST_CONNECTIONS
GRANTED, REFUSED, FAILED, MALFORMED = range(4)  # what a reply says

_MAGIC = b"JVMBIND\1"
_PROTOCOLS = {"tcp": 6, "udp": 17}  # IPPROTO_*
_ASK, _V6ONLY, _FREEBIND = 1, 2, 4


class Reply(NamedTuple):
    """What the broker answers; the sockets come with it. `rule` is FILE:LINE of the rule that decided, "" for none."""

    verdict: int
    sockets: int = 0
    errno: int = 0
    rule: str = ""


def encode(spec: ListenSpec, *, ask: bool = False) -> bytes:
    """Return the request for a listener, or with `ask` the question whether it would be granted; raises ValueError."""
    if spec.protocol not in _PROTOCOLS:
        raise ValueError("a broker binds TCP and UDP only")
    if spec.reuseport:
        # All sockets of the broker belong to its own user, so the kernel's rule that only one user shares a port fails.
        raise ValueError("a broker gives no port to be shared: expected no reuseport")
    if spec.host is not None and "%" in spec.host:
        raise ValueError("a broker takes no address with a zone; expected device= and the address without it")
    if not 0 <= spec.bind_only <= MOST_CONNECTIONS:
        raise ValueError(f"a broker gives at most bind-only={MOST_CONNECTIONS}")
    # Without IPv6 a wildcard without an address is an IPv4 one, which is not what v6only asks for.
    host = "::" if spec.host is None and spec.v6only else spec.host
    address = b"" if host is None else same_address(host).packed
    flags = _ASK * ask | _V6ONLY * spec.v6only | _FREEBIND * spec.freebind
    numbers = (spec.backlog, spec.rcvbuf, spec.fastopen, 0)
    family, protocol = len(address), _PROTOCOLS[spec.protocol]
    head = (_MAGIC, flags, protocol, family, spec.bind_only, spec.port, spec.defer_accept)
    return REQUEST.pack(*head, *numbers, address, spec.device.encode("ascii"))


def decode(data: bytes) -> tuple[ListenSpec, bool]:
    """Return what is asked for, and whether it is a question only; raises ValueError for all that `encode` never makes."""
    if len(data) != REQUEST.size:
        raise ValueError("not of the size of a request")
    magic, flags, protocol, family, bind_only, port, defer_accept, backlog, rcvbuf, fastopen, _, address, device = REQUEST.unpack(
        data
    )
    names = [name for name, number in _PROTOCOLS.items() if number == protocol]
    if magic != _MAGIC or not names or family not in {0, 4, 16}:
        raise ValueError("not a request of this version")
    if not port or not 1 <= backlog < 2**31 or rcvbuf > 2**30 or fastopen >= 2**31 or defer_accept > 2**15 - 1:
        raise ValueError("a number is out of its range")
    name = device.rstrip(b"\0").decode("ascii")
    if len(name) > 15 or "/" in name or not name.isprintable():
        raise ValueError("not the name of a device")
    host = str(ipaddress.ip_address(address[:family])) if family else None
    spec = ListenSpec(
        name="asked",  # further sockets are told by the name of theirs
        protocol=names[0],
        host=host,
        port=port,
        app_port=port,
        backlog=backlog,
        v6only=bool(flags & _V6ONLY),
        freebind=bool(flags & _FREEBIND),
        device=name,
        bind_only=bind_only,
        rcvbuf=rcvbuf,
        defer_accept=defer_accept,
        fastopen=fastopen,
    )
    ask = bool(flags & _ASK)
    if encode(spec, ask=ask) != data:  # bits without a meaning, or a second way to say the same
        raise ValueError("a request that says something else as well")
    return spec, ask


def encode_reply(reply: Reply) -> bytes:
    """Return the reply; of a rule that is too long only the end, with its line."""
    return REPLY.pack(_MAGIC, reply.verdict, reply.sockets, 0, reply.errno, reply.rule.encode("utf-8", "replace")[-112:])


def decode_reply(data: bytes) -> Reply:
    """Return the reply; raises ValueError."""
    if len(data) != REPLY.size:
        raise ValueError("not of the size of a reply")
    magic, verdict, sockets, _, errno, rule = REPLY.unpack(data)
    if magic != _MAGIC or verdict > MALFORMED:
        raise ValueError("not a reply of this version")
    return Reply(verdict, sockets, errno, rule.rstrip(b"\0").decode("utf-8", "replace"))
