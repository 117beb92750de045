"""Every socket option that the kernel's headers name: known, carried to the listener, and set back for the next generation.

Run in child processes (see conftest.py).
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import select
import signal
import socket
import struct
import subprocess
from pathlib import Path

import pytest

from jvmbind.posix import multicast
from jvmbind.posix.option_table import IP, IPV6, OPTIONS, SOL_SOCKET, TCP, UDP, Option
from jvmbind.posix.socket_options import as_bound, carry_over, restore
from jvmbind.spec import ListenSpec
from support.stage import Stage

pytestmark = pytest.mark.root

V4, V6, STREAM, DGRAM = socket.AF_INET, socket.AF_INET6, socket.SOCK_STREAM, socket.SOCK_DGRAM
# Header, the prefixes of its options, the level, and what else has such a name there.
HEADERS = [
    (
        "asm-generic/socket.h", r"SO_\w+", SOL_SOCKET,
        r"\w+_(OLD|NEW)|SO_(SECURITY|TIMESTAMP|TIMESTAMPNS|TIMESTAMPING)\w*|SO_(RCV|SND)TIMEO",
    ),
    (
        "linux/in.h", r"(?:IP|MCAST)_\w+", IP,
        r"IP_(PMTUDISC_\w+|DEFAULT_\w+|RECVRETOPTS|ORIGDSTADDR)|MCAST_(EXCLUDE|INCLUDE)|IP_UNICAST_IF_\w+",
    ),
    (
        "linux/in6.h", r"IPV6_\w+", IPV6,
        r"IPV6_(PMTUDISC_\w+|FL_\w+|FLOW(INFO|LABEL)_\w+|PRIORITY_\w+|TLV_\w+|PREFER_\w+|ORIGDSTADDR|AUTHHDR|USE_MIN_MTU|RECVERR_RFC4884_\w+)",
    ),
    (
        "linux/tcp.h", r"TCP_\w+", TCP,
        r"TCP_(FLAG_\w+|NLA_\w+|MSS_\w+|REPAIR_(ON|OFF|OFF_NO_WP)|CM_INQ|MD5SIG_\w+|RECEIVE_\w+|AO_(MAX|KEYF)\w+)",
    ),
    ("linux/udp.h", r"UDP_\w+", UDP, r"UDP_ENCAP_\w+"),
]  # fmt: skip
CANDIDATES = (1, 0, 2, 3, 5, 7, 64, 100, 1500, 40000, 1 << 20)


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: header[0])
def test_the_table_knows_every_option_of_the_headers(header: tuple[str, str, int, str]) -> None:
    """Each option that a kernel header defines has its line in the table, under its number."""
    name, names, level, others = header
    path = next(path for path in (Path("/usr/include") / name,) if path.exists())
    known = {(one.name, one.number) for one in OPTIONS if one.level == level}
    numbers = {number for _, number in known}
    found = re.findall(rf"^#define\s+({names})\s+(\d+)\b", path.read_text(), re.MULTILINE)

    assert len(found) > 5
    missing = [(what, number) for what, number in found if int(number) not in numbers and not re.fullmatch(others, what)]
    assert not missing, missing


def test_the_document_has_every_option() -> None:
    """docs/socket-options.md says of each option of the table what becomes of it, and of no other."""
    text = (Path(__file__).parents[2] / "docs" / "socket-options.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", text, re.MULTILINE))

    assert rows == {one.name: one.fate for one in OPTIONS}


def settable(sock: socket.socket, option: Option) -> bytes:
    """Set an option to something else than it was; return the value read back, b"" where this socket has no other."""
    try:
        before = sock.getsockopt(option.level, option.number, option.size)
    except OSError:
        return b""
    if option.name == "TCP_CONGESTION":
        tries = [name.encode() for name in Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()]
    elif option.name == "SO_LINGER":
        tries = [struct.pack("ii", 1, 5)]
    elif option.name == "IP_OPTIONS":
        tries = [b"\x01\x01\x01\x00"]
    elif option.name == "IP_MULTICAST_IF":
        tries = [socket.inet_aton("127.0.0.1")]
    elif option.name == "IP_UNICAST_IF" or (option.level, option.number) == (IPV6, 76):
        tries = [struct.pack("!I", 1)]
    elif option.name == "IP_LOCAL_PORT_RANGE":
        tries = [struct.pack("=I", 40000 | 50000 << 16)]
    elif option.size == 16:
        tries = [struct.pack("qq", 7, 0)]
    else:
        tries = [value.to_bytes(option.size, "little") for value in CANDIDATES]
    for value in tries:
        try:
            sock.setsockopt(option.level, option.number, value)
        except OSError:
            continue
        after = sock.getsockopt(option.level, option.number, option.size)
        if after != before:
            return after
    return b""


@pytest.mark.parametrize(
    ("listener", "family", "kind"), [("80", V6, STREAM), ("80", V4, STREAM), ("53/udp", V6, DGRAM), ("53/udp", V4, DGRAM)]
)
def test_carried_and_not_leaked(listener: str, family: int, kind: int) -> None:
    """What the application sets before bind is on the listener; the next application finds each option as it was bound."""
    stage = Stage(listener)
    port = stage.specs[0].port
    host = "::" if family == V6 else "0.0.0.0"
    carried: list[str] = []
    wrong: list[tuple[str, bytes, bytes]] = []

    def application() -> None:
        for option in OPTIONS:
            if option.fate not in {"carried", "reset"} or not option.size:
                continue
            with socket.socket(family, kind) as sock:
                wanted = settable(sock, option)
                if not wanted:
                    continue
                sock.bind((host, port))
                got = sock.getsockopt(option.level, option.number, option.size)
                if option.fate == "carried" and got != wanted:
                    wrong.append((option.name, wanted, got))
                carried.append(option.name)
            with socket.socket(family, kind) as sock:
                sock.bind((host, port))
                index = next(i for i in range(len(stage.sockets)) if os.fstat(sock.fileno()).st_ino == stage.inodes[i])
                spec = stage.specs[index]
                now = set(as_bound(sock.fileno(), spec))
                leaked = now ^ set(spec.options)
                wrong.extend((f"leaked: {name}", b"", bytes.fromhex(value)) for name, value in leaked if name not in STATE)

    stage.play(application)
    assert not wrong, sorted(set(wrong))
    assert not stage.notes, stage.notes
    assert len(carried) > 30, carried


# What is read from these is not all that was set: which of a pair listens, a segment size that the kernel works out, the CPU,
# the time of a linger that is off.
STATE = {"SO_LINGER", "TCP_MAXSEG", "SO_REUSEADDR", "SO_INCOMING_CPU", "SO_TXREHASH", "TCP_WINDOW_CLAMP"}


def listener(protocol: str = "tcp") -> tuple[socket.socket, ListenSpec]:
    """Return a bound socket and its specification, with its options as bound."""
    sock = socket.socket(V6, STREAM if protocol == "tcp" else DGRAM)
    sock.setsockopt(IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::", 77))
    if protocol == "tcp":
        sock.listen(50)
    sock.setblocking(False)
    spec = ListenSpec("x", protocol, None, 77, 77, backlog=50)
    return sock, spec._replace(options=as_bound(sock.fileno(), spec))


def test_damage_to_a_tcp_listener_is_undone() -> None:
    """Hop limit, filter, shortened queue, O_ASYNC, shutdown and SO_REUSEPORT by a hijacked worker end with it."""
    sock, spec = listener()
    drop_all = struct.pack("HBBI", 6, 0, 0, 0)
    assert carry_over(sock.fileno(), sock.fileno(), spec) == []
    from jvmbind.posix.socket_options import attach_filter  # noqa: PLC0415

    attach_filter(sock, drop_all)
    sock.setsockopt(IP, 21, 255)
    sock.setsockopt(IPV6, 73, 255)
    sock.setsockopt(SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.setsockopt(SOL_SOCKET, socket.SO_RCVLOWAT, 1 << 20)
    sock.setsockopt(TCP, socket.TCP_DEFER_ACCEPT, 300)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    fcntl.fcntl(sock, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(sock, fcntl.F_SETSIG, signal.SIGUSR1)
    fcntl.fcntl(sock, fcntl.F_SETFL, os.O_ASYNC)
    sock.listen(0)
    sock.shutdown(socket.SHUT_RDWR)

    assert restore(sock.fileno(), spec) == []

    assert not fcntl.fcntl(sock, fcntl.F_GETFL) & os.O_ASYNC
    assert not os.get_blocking(sock.fileno())
    assert fcntl.fcntl(sock, fcntl.F_GETOWN) == 0
    assert as_bound(sock.fileno(), spec) == spec.options
    for host in ("127.0.0.1", "::1"):
        with socket.create_connection((host, 77), 10):
            select.select([sock], [], [], 10)
            sock.accept()[0].close()


def test_damage_to_a_udp_listener_is_undone() -> None:
    """A connect, a joined group, a filter and sticky packet information by a hijacked worker end with it."""
    subprocess.run(
        "ip link add v0 type veth peer name v1 && ip addr add 10.9.0.1/24 dev v0 && ip link set v0 up", shell=True, check=True
    )
    sock, spec = listener("udp")
    sock.setsockopt(IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("239.9.9.9") + socket.inet_aton("10.9.0.1"))
    sock.setsockopt(IPV6, 50, socket.inet_pton(V6, "::1") + struct.pack("i", 1))
    sock.connect(("::1", 9))

    assert restore(sock.fileno(), spec) == []

    assert multicast.memberships(sock.fileno()) == []
    assert sock.getsockname()[0] == "::"
    with socket.socket(V4, DGRAM) as client:
        client.sendto(b"x", ("127.0.0.1", 77))
        assert select.select([sock], [], [], 10)[0]


def test_what_cannot_be_undone_is_named() -> None:
    """A datagram socket that was shut down, a locked filter, and another device, there or not, are found and named."""
    for way in (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR):
        sock, spec = listener("udp")
        assert restore(sock.fileno(), spec) == []
        with pytest.raises(OSError):
            sock.shutdown(way)
        assert restore(sock.fileno(), spec) == ["shutdown(2): the socket is shut down for good"]
        sock.close()

    sock, spec = listener("tcp")
    sock.setsockopt(SOL_SOCKET, 44, 1)
    found = restore(sock.fileno(), spec)
    assert "SO_LOCK_FILTER: cannot be taken back" in found, found

    for index, name in ((1, "lo"), (255, "a device that does not exist")):
        sock.close()
        sock, spec = listener("tcp")
        sock.setsockopt(SOL_SOCKET, 62, index)
        assert restore(sock.fileno(), spec) == [f"SO_BINDTODEVICE or SO_BINDTOIFINDEX: bound to {name}"]


def powerless() -> None:
    """Have no more rights than a service."""
    os.setgroups([])
    os.setresgid(33, 33, 33)
    os.setresuid(33, 33, 33)


def answers(host: str = "127.0.0.1") -> bool:
    """Whether a client gets a connection."""
    try:
        with socket.create_connection((host, 77), 3):
            return True
    except OSError:
        return False


PEER = struct.pack("=HHI16sI100x", V6, 0, 0, socket.inet_pton(V6, "::ffff:127.0.0.1"), 0)  # a struct sockaddr_storage
MD5_KEY = PEER + struct.pack("=BBHi80s", 1, 32, 3, 0, b"key")
AO_KEY = PEER + struct.pack("=64siIHBBBBBB80s", b"hmac(sha1)", 0, 0, 0, 32, 1, 1, 12, 0, 3, b"key")
UNDONE, NAMED, KERNELS, HARMLESS, STAYS = "undone", "named", "refused by the kernel", "harmless", "stays"
GUARDED = {  # what a hijacked worker sets on a listener that lives, and what comes of it
    ("tcp", "SO_BINDTODEVICE"): (b"lo\0", NAMED),
    ("udp", "SO_BINDTODEVICE"): (b"lo\0", UNDONE),
    ("tcp", "SO_BINDTOIFINDEX"): (struct.pack("i", 1), NAMED),
    ("tcp", "SO_LOCK_FILTER"): (struct.pack("i", 1), NAMED),
    ("tcp", "IPV6_ADDRFORM"): (struct.pack("i", V4), KERNELS),
    ("udp", "IPV6_ADDRFORM"): (struct.pack("i", V4), NAMED),
    ("tcp", "IPV6_FLOWLABEL_MGR"): (struct.pack("=16sIBBHHHI", b"\0" * 15 + b"\1", 0, 0, 255, 1, 6, 0, 0), HARMLESS),
    ("tcp", "TCP_ULP"): (b"tls", KERNELS),
    ("tcp", "TCP_FASTOPEN_KEY"): (b"k" * 16, HARMLESS),
    ("tcp", "TCP_MD5SIG"): (MD5_KEY, STAYS),
    ("tcp", "TCP_MD5SIG_EXT"): (MD5_KEY, STAYS),
    ("tcp", "TCP_AO_ADD_KEY"): (AO_KEY, STAYS),
    ("tcp", "TCP_AO_DEL_KEY"): (struct.pack("i", 0), KERNELS),  # there is no key
    ("tcp", "TCP_AO_INFO"): (struct.pack("=IHBB6Q", 0, 0, 0, 0, *[0] * 6), HARMLESS),
}


def test_no_guarded_option_is_left_out() -> None:
    """10.7: each option that cannot be set back is in the list above."""
    assert {name for _, name in GUARDED} == {one.name for one in OPTIONS if one.fate == "guarded"}


@pytest.mark.parametrize("what", GUARDED, ids="-".join)
def test_guarded_options_on_a_living_listener(what: tuple[str, str]) -> None:
    """10.7: what nobody can set back is found by its name before the next generation, or does no harm; or it is a key."""
    protocol, name = what
    value, fate = GUARDED[what]
    sock, spec = listener(protocol)
    option = next(one for one in OPTIONS if one.name == name)
    powerless()
    if protocol == "udp" and name == "IPV6_ADDRFORM":
        sock.connect(("::ffff:127.0.0.1", 9))
    number = 0
    try:
        sock.setsockopt(option.level, option.number, value)
    except OSError as error:
        number = error.errno or -1
    if number:
        assert fate == KERNELS or number == errno.ENOPROTOOPT, os.strerror(number)  # the kernel may lack signatures
        assert restore(sock.fileno(), spec) == []
        return
    assert fate != KERNELS

    problems = restore(sock.fileno(), spec)

    named = "SO_BINDTODEVICE" if name == "SO_BINDTOIFINDEX" else name
    assert [problem for problem in problems if named not in problem] == []
    assert bool(problems) == (fate == NAMED), problems
    if protocol == "tcp" and fate in {HARMLESS, STAYS}:
        assert answers("::1")
        assert answers() == (fate == HARMLESS)


def test_reuseport_of_the_application_stays_its_own() -> None:
    """SO_REUSEPORT set before bind is not on the listener, so that nobody joins its port; where it is declared, it is."""
    stage = Stage("80 81,reuseport 53/udp")

    def application() -> None:
        for port, kind, expected in ((80, STREAM, 0), (81, STREAM, 1), (53, DGRAM, 0)):
            with socket.socket(V6, kind) as sock:
                sock.setsockopt(SOL_SOCKET, socket.SO_REUSEPORT, 1)
                sock.setsockopt(SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind(("::", port))
                assert sock.getsockopt(SOL_SOCKET, socket.SO_REUSEPORT) == expected
                if kind == DGRAM:
                    assert sock.getsockopt(SOL_SOCKET, socket.SO_REUSEADDR) == 0

    stage.play(application)
