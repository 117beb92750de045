"""Which listener answers for the address that an application binds, and the bytes that say which address that is."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jvmbind.handover.address import SOCKADDR_MAX, Match, Wanted, find, parse_sockaddr, real_path
from jvmbind.listen import number_names
from jvmbind.posix.epoll import Registration, parse_line
from jvmbind.spec import ListenSpec, is_wildcard, parse_listen, same_address


def ask(listeners: str, wanted: str, *, v6only: bool = False) -> Match:
    """Find among listeners (separated by blanks) for `host port protocol`."""
    specs = [parse_listen(f"n{i}={text}") for i, text in enumerate(listeners.split())]
    host, port, protocol = wanted.split()
    return find(specs, Wanted(protocol, host, int(port), v6only=v6only))


@pytest.mark.parametrize(
    ("listeners", "wanted", "indexes"),
    [
        # The application's wildcard, a declared wildcard.
        ("80", ":: 80 tcp", (0,)),
        ("80", "0.0.0.0 80 tcp", (0,)),
        ("[::]:80", ":: 80 tcp", (0,)),
        ("0.0.0.0:80", "0.0.0.0 80 tcp", (0,)),
        ("53/udp", ":: 53 udp", (0,)),
        # The administrator narrowed what the application leaves open.
        ("0.0.0.0:80", ":: 80 tcp", (0,)),
        ("127.0.0.1:80", ":: 80 tcp", (0,)),
        ("127.0.0.1:80", "0.0.0.0 80 tcp", (0,)),
        ("[::1]:80", ":: 80 tcp", (0,)),
        ("127.0.0.1:80 [::1]:80", ":: 80 tcp", (0, 1)),
        ("[::1]:80 127.0.0.1:80", "0.0.0.0 80 tcp", (1,)),
        ("0.0.0.0:80 [::]:80,v6only", ":: 80 tcp", (1, 0)),
        # A specific address, that very address.
        ("127.0.0.1:80", "127.0.0.1 80 tcp", (0,)),
        ("[::1]:80", "::1 80 tcp", (0,)),
        ("[::ffff:127.0.0.1]:80", "127.0.0.1 80 tcp", (0,)),
        ("127.0.0.2:80 127.0.0.1:80", "127.0.0.1 80 tcp", (1,)),
        ("[fe80::1]:80", "fe80::1 80 tcp", (0,)),
        # The port that the application knows counts, not the one that clients use.
        ("443:8443", ":: 8443 tcp", (0,)),
        ("443:8443 8443:443", ":: 443 tcp", (1,)),
        ("127.0.0.1:443:8443", "127.0.0.1 8443 tcp", (0,)),
        # One port, two protocols.
        ("53 53/udp", ":: 53 tcp", (0,)),
        ("53 53/udp", ":: 53 udp", (1,)),
        # Several sockets of one address.
        ("80,reuseport 80,reuseport", ":: 80 tcp", (0, 1)),
    ],
)
def test_answered(listeners: str, wanted: str, indexes: tuple[int, ...]) -> None:
    """An address is answered by these listeners, best first."""
    assert ask(listeners, wanted) == Match(indexes)


@pytest.mark.parametrize(
    ("listeners", "wanted"),
    [
        ("80", "127.0.0.1 80 tcp"),
        ("80", "::1 80 tcp"),
        ("0.0.0.0:80", "127.0.0.1 80 tcp"),
        ("[::]:80", "127.0.0.1 80 tcp"),
        ("[::]:80,v6only", "::1 80 tcp"),
        ("443:8443", "127.0.0.1 8443 tcp"),
        ("53/udp", "127.0.0.1 53 udp"),
        ("127.0.0.2:80 80,device=lo", "127.0.0.1 80 tcp"),
    ],
)
def test_never_wider(listeners: str, wanted: str) -> None:
    """A specific address with only a wildcard listener on its port is refused, and the refusal names that listener."""
    match = ask(listeners, wanted)

    assert match.indexes == ()
    assert "wider than the address asked for" in match.refusal
    assert "; declare it as -l " in match.refusal
    assert "listener 'n" in match.refusal


@pytest.mark.parametrize(
    ("listeners", "wanted"),
    [
        ("", ":: 80 tcp"),
        ("80", ":: 81 tcp"),
        ("443:8443", ":: 443 tcp"),
        ("80", ":: 80 udp"),
        ("80/udp", ":: 80 tcp"),
        ("127.0.0.1:80", "127.0.0.2 80 tcp"),
        ("127.0.0.1:80", "::1 80 tcp"),
        ("[::1]:80", "127.0.0.1 80 tcp"),
        ("[::1]:80", "0.0.0.0 80 tcp"),
        ("unix:/a", ":: 80 tcp"),
    ],
)
def test_nobodys(listeners: str, wanted: str) -> None:
    """An address that no listener has is neither answered nor refused: the kernel decides."""
    assert ask(listeners, wanted) == Match(())


@pytest.mark.parametrize(
    ("listeners", "indexes", "refused"),
    [
        ("80,v6only", (0,), False),
        ("[::]:80,v6only", (0,), False),
        ("[::1]:80", (0,), False),
        ("127.0.0.1:80", (), False),
        ("80", (), True),
        ("80,v6only 0.0.0.0:80", (0,), False),
    ],
)
def test_ipv6_only_socket(listeners: str, indexes: tuple[int, ...], refused: bool) -> None:
    """An application that set IPV6_V6ONLY gets IPv6 listeners only, and never a dual-stack one."""
    match = ask(listeners, ":: 80 tcp", v6only=True)

    assert match.indexes == indexes
    assert bool(match.refusal) == refused


@pytest.mark.parametrize(
    ("listeners", "wanted", "v6only"),
    [
        ("[::]:80,v6only", "127.0.0.1 80 tcp", False),
        ("[::]:80,v6only", "0.0.0.0 80 tcp", False),
        ("0.0.0.0:80", "::1 80 tcp", False),
        ("0.0.0.0:80", ":: 80 tcp", True),
    ],
)
def test_other_family_is_not_wider(listeners: str, wanted: str, v6only: bool) -> None:
    """A wildcard of the other family alone has nothing to do with an address: the kernel decides, nothing is refused."""
    assert ask(listeners, wanted, v6only=v6only) == Match(())


def test_best_first() -> None:
    """A wildcard listener answers for a wildcard before a narrower one of the same port."""
    specs = [parse_listen("a=127.0.0.1:80,reuseport"), parse_listen("b=80,reuseport")]

    assert find(specs, Wanted("tcp", "::", 80)).indexes == (1, 0)


HOSTS = st.sampled_from([None, "::", "0.0.0.0", "127.0.0.1", "127.0.0.2", "::1", "2001:db8::1"])
SPECS = st.builds(
    lambda protocol, host, port, app_port, v6only: ListenSpec(
        "n", protocol, host, port, app_port, v6only=v6only and (host is None or ":" in host)
    ),
    st.sampled_from(["tcp", "udp"]),
    HOSTS,
    st.sampled_from([80, 443]),
    st.sampled_from([80, 8443]),
    st.booleans(),
)
WANTED = st.builds(
    lambda protocol, host, port, v6only: Wanted(protocol, host, port, v6only=v6only and ":" in host),
    st.sampled_from(["tcp", "udp"]),
    HOSTS.filter(lambda host: host is not None),
    st.sampled_from([80, 8443, 443]),
    st.booleans(),
)


@given(st.lists(SPECS, max_size=6), WANTED)
def test_properties(specs: list[ListenSpec], wanted: Wanted) -> None:
    """Any answer has the protocol and the port, each listener once; a specific address gets that address and no wildcard."""
    match = find(specs, wanted)

    assert len(set(match.indexes)) == len(match.indexes)
    assert not (match.indexes and match.refusal)
    for index in match.indexes:
        spec = specs[index]
        assert (spec.protocol, spec.app_port) == (wanted.protocol, wanted.port)
        if not is_wildcard(wanted.host):
            assert spec.host is not None
            assert not is_wildcard(spec.host)
            assert same_address(spec.host) == same_address(wanted.host)
        elif wanted.host == "0.0.0.0":
            # IPv4 clients alone, or (a wildcard under preferIPv4Stack) every address; never an IPv6 address alone.
            assert spec.host in {None, "::"} or ":" not in spec.host
        elif wanted.v6only:
            assert spec.v6only or (spec.host is not None and ":" in spec.host)


def test_unix(tmp_path: Path) -> None:
    """A Unix path is found by the file that it means, through links in its directory, and by no other path."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (spec,) = number_names([parse_listen(f"unix:{tmp_path}/real/a.sock")])

    for path in (f"{tmp_path}/real/a.sock", f"{tmp_path}/link/a.sock", f"{tmp_path}//real/../real/a.sock"):
        assert find([spec], Wanted("unix", path=path)).indexes == (0,)
    for path in (f"{tmp_path}/real/b.sock", f"{tmp_path}/a.sock", "a.sock"):
        assert find([spec], Wanted("unix", path=path)) == Match(())


def test_relative_unix_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path counts from the working directory."""
    monkeypatch.chdir(tmp_path)

    assert real_path("a.sock") == f"{os.path.realpath(tmp_path)}/a.sock"


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (Wanted("tcp", "::", 80), "[::]:80/tcp"),
        (Wanted("udp", "127.0.0.1", 53), "127.0.0.1:53/udp"),
        (Wanted("unix", path="/run/a"), "unix:/run/a"),
    ],
)
def test_wanted_as_text(wanted: Wanted, text: str) -> None:
    """A wanted address is shown as a listener is written."""
    assert str(wanted) == text


@given(st.binary(max_size=SOCKADDR_MAX + 1))
def test_any_bytes(raw: bytes) -> None:
    """Any bytes of a sockaddr give a family and never an exception; a host only with an internet family."""
    family, host, port, path = parse_sockaddr(raw)

    assert 0 <= family <= 65535
    assert 0 <= port <= 65535
    assert (family in {socket.AF_INET, socket.AF_INET6}) == bool(host)
    assert not path or family == socket.AF_UNIX


@given(st.sampled_from([socket.AF_UNIX, socket.AF_INET, socket.AF_INET6]), st.binary(max_size=126))
def test_bytes_of_a_known_family(family: int, rest: bytes) -> None:
    """Any bytes behind a known family are read without an exception."""
    host = parse_sockaddr(struct.pack("=H", family) + rest)[1]

    if host:
        ipaddress.ip_address(host)


@given(st.ip_addresses(), st.integers(0, 65535), st.integers(0, 2**32 - 1), st.binary(max_size=8))
def test_internet_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, scope: int, padding: bytes) -> None:
    """An address of either family is read back, its port too, whatever the flow label, the scope and the padding are."""
    if address.version == 4:
        raw = struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + address.packed + bytes(8)
    else:
        raw = struct.pack("=H", socket.AF_INET6) + struct.pack("!HI", port, 7) + address.packed + struct.pack("=I", scope)
    # A sockaddr_in6 without the scope is what the kernel takes too (SIN6_LEN_RFC2133).
    family, host, got, path = parse_sockaddr(raw + padding if address.version == 4 else raw[:24] + padding)

    assert (family, got, path) == (socket.AF_INET if address.version == 4 else socket.AF_INET6, port, "")
    assert ipaddress.ip_address(host) == same_address(str(address))


@given(st.binary(max_size=108))
def test_unix_address(name: bytes) -> None:
    """A Unix path ends at the first NUL, and an abstract name is none."""
    assert parse_sockaddr(struct.pack("=H", socket.AF_UNIX) + name)[3] == os.fsdecode(name.split(b"\0")[0])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "tfd:        7 events:       19 data:                7  pos:0 ino:9 sdev:8",
            Registration(5, 7, 0x19, 7, 9),
        ),
        (
            "tfd:       12 events: 80000001 data: ffffffffffffffff  pos:0 ino:2f9 sdev:8\n",
            Registration(5, 12, 0x80000001, 2**64 - 1, 0x2F9),
        ),
        ("tfd:        7 events:       19 data:                7", Registration(5, 7, 0x19, 7)),
        ("pos:\t0\n", None),
        ("flags:\t02\n", None),
        ("mnt_id:\t15\n", None),
        ("", None),
        ("tfd:", None),
    ],
)
def test_epoll_line(line: str, expected: Registration | None) -> None:
    """A line of an epoll instance's fdinfo gives descriptor (decimal), events, data and inode (hexadecimal); others give None."""
    assert parse_line(5, line) == expected


@given(st.integers(0, 2**31 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_epoll_line_as_the_kernel_prints_it(fd: int, events: int, data: int, inode: int) -> None:
    """Every value that the kernel's format can print is read back (fs/eventpoll.c, ep_show_fdinfo)."""
    line = f"tfd: {fd:8d} events: {events:8x} data: {data:16x}  pos:0 ino:{inode:x} sdev:8"
    assert parse_line(3, line) == (3, fd, events, data, inode)
