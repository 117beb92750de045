"""A client of the broker that shares no line with the product's, and what a policy means, worked out another way.

Run by pytest; the client also as a program, as the user who asks. Must not import jvmbind.
"""

from __future__ import annotations

import array
import ipaddress
import json
import socket
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

GRANTED, REFUSED, FAILED, MALFORMED = range(4)
PROGRAM = Path(__file__)


class Asked(NamedTuple):
    """What is asked for; `host` is "" for every address."""

    protocol: str
    host: str
    port: int


def request(asked: Asked, flags: int = 0) -> bytes:
    """Return the 64 bytes of a request."""
    address = ipaddress.ip_address(asked.host).packed if asked.host else b""
    head = b"JVMBIND\1" + bytes([flags, {"tcp": 6, "udp": 17}[asked.protocol], len(address), 0])
    return (head + struct.pack("=HHIIII", asked.port, 0, 128, 0, 0, 0) + address).ljust(64, b"\0")


def connect(path: str, timeout: float = 20) -> socket.socket:
    """Return a connection to the broker; raises OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", int(timeout), 0))
    sock.connect(path)
    sock.settimeout(timeout)
    return sock


def receive(sock: socket.socket) -> tuple[int, str, list[socket.socket]]:
    """Return (verdict, rule, sockets) of an answer; (-1, "", []) where there is none."""
    try:
        data, ancillary, _, _ = sock.recvmsg(256, socket.CMSG_SPACE(4 * 253))
    except ConnectionResetError:
        return -1, "", []
    fds = array.array("i")
    for _, _, item in ancillary:
        fds.frombytes(item)
    if not data:
        return -1, "", []
    assert len(data) == 128, data
    return data[8], data[16:].rstrip(b"\0").decode(), [socket.socket(fileno=fd) for fd in fds]


def ask(path: str, asked: Asked, flags: int = 0) -> tuple[int, str, list[socket.socket]]:
    """Ask until there is an answer: a broker closes connections of a user who makes too many in a second."""
    for _ in range(600):
        with connect(path) as sock:
            try:
                sock.send(request(asked, flags))
                answer = receive(sock)
            except BrokenPipeError:
                continue
        if answer[0] >= 0:
            return answer
        time.sleep(0.05)
    message = f"no answer to {asked}"
    raise AssertionError(message)


def meaning(text: Iterable[str], uid: int, groups: Iterable[int], asked: Asked, ids: Mapping[str, int]) -> tuple[bool, int]:
    """Return (is it allowed, number of the line that says so, 0 for none). `ids` has users by name and groups by `@name`.

    Each line is read anew, as sets of ports and networks of `ipaddress`.
    """
    address = ipaddress.ip_address(asked.host or "::")
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    wanted = [ipaddress.ip_network(address)]
    if not asked.host:
        wanted = [ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")]
    elif asked.host in {"0.0.0.0", "::"}:  # the second with v6only
        wanted = [ipaddress.ip_network(f"{asked.host}/0")]
    names = {"*", str(uid), *(f"@{group}" for group in groups)}
    names |= {name for name, number in ids.items() if f"{'@' * name.startswith('@')}{number}" in names}
    for number, line in enumerate(text, 1):
        if not line.strip() or line.startswith("#"):
            continue
        action, who, protocol, network, ports = line.split()
        given: set[int] = set()
        for part in ("1-65535" if ports == "*" else ports).split(","):
            ends = [int(end) for end in part.split("-")]
            given.update(range(ends[0], ends[-1] + 1))
        if who not in names or protocol not in {"*", asked.protocol} or asked.port not in given:
            continue
        whole = {"*": ["0.0.0.0/0", "::/0"], "0.0.0.0": ["0.0.0.0/0"], "::": ["::/0"]}.get(network, [network])
        there = [ipaddress.ip_network(one) for one in whole]
        pairs = [[(one, other) for other in there if one.version == other.version] for one in wanted]
        if action == "allow" and all(any(one.subnet_of(other) for one, other in row) for row in pairs):  # type: ignore[arg-type]
            return True, number
        if action == "deny" and any(one.overlaps(other) for row in pairs for one, other in row):
            return False, number
    return False, 0


def main() -> None:
    """Ask for each listener of a JSON list, one after the other, and print a JSON list of (verdict, rule, addresses)."""
    path, text = sys.argv[1:]
    found = []
    for one in json.loads(text):
        verdict, rule, sockets = ask(path, Asked(*one))
        found.append((verdict, rule, [f"{sock.getsockname()[0]} {sock.getsockname()[1]}" for sock in sockets]))
        for sock in sockets:
            sock.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
