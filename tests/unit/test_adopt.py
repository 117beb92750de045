"""Which inherited socket is which declared listener, and what LISTEN_FDS may say."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, cast

import pytest

from jvmbind.errors import ConfigurationError
from jvmbind.listen import further_sockets, number_names
from jvmbind.posix.inherited import identify, inherited_fds, match_inherited
from jvmbind.spec import ListenSpec, parse_listen

if TYPE_CHECKING:
    from jvmbind.root.listeners import Listener


def declared(texts: str) -> tuple[ListenSpec, ...]:
    """Return declared listeners, separated by blanks."""
    return number_names([parse_listen(text) for text in texts.split()])


def inherited(texts: str) -> list[Listener]:
    """Return inherited listeners with their texts in the place of sockets, as the table only passes those on."""
    return [(parse_listen(text)._replace(inherited=True), cast("socket.socket", text)) for text in texts.split()]


@pytest.mark.parametrize(
    ("listen", "passed", "adopted"),
    [
        # (declared listeners, inherited sockets, {name of the listener: inherited socket})
        ("", "", {}),
        ("http=80", "", {}),
        ("http=80", "http=80", {"http": "http=80"}),
        # What it is decides; the name that a parent gave need not be ours.
        ("http=80", "unknown=80", {"http": "unknown=80"}),
        ("80", "shop.socket=80", {"80": "shop.socket=80"}),
        # Never by position.
        ("http=80 https=443", "b=443 a=80", {"http": "a=80", "https": "b=443"}),
        ("http=80 https=443", "https=443", {"https": "https=443"}),
        # The application's port stays ours.
        ("https=443:8443", "x=443", {"https": "x=443"}),
        # Protocols differ.
        ("53 53/udp", "a=53/udp b=53", {"53": "b=53", "53-udp": "a=53/udp"}),
        ("53/udp", "a=53", {"a": "a=53"}),
        # Names tell candidates apart.
        ("b=80,reuseport a=80,reuseport", "a=80 b=80", {"a": "a=80", "b": "b=80"}),
        # No address was declared: any address will do.
        ("http=80", "x=127.0.0.1:80", {"http": "x=127.0.0.1:80"}),
        ("http=80", "x=[::1]:80", {"http": "x=[::1]:80"}),
        ("http=[::]:80", "x=80", {"http": "x=80"}),
        # An address was declared: that one.
        ("http=127.0.0.1:80", "x=127.0.0.1:80", {"http": "x=127.0.0.1:80"}),
        ("http=127.0.0.1:80", "x=127.0.0.2:80", {"x": "x=127.0.0.2:80"}),
        ("http=127.0.0.1:80", "x=80", {"x": "x=80"}),
        ("app=unix:/run/a", "x=unix:/run/a", {"app": "x=unix:/run/a"}),
        ("app=unix:/run/a", "x=unix:/run/b", {"x": "x=unix:/run/b"}),
        # What nothing declares is a listener of its own.
        ("", "a=80 b=53/udp", {"a": "a=80", "b": "b=53/udp"}),
        ("http=80", "http=80 extra=81", {"http": "http=80", "extra": "extra=81"}),
        ("", "a=80 a=81 a=82", {"a": "a=80", "a-2": "a=81", "a-3": "a=82"}),
        # Two that have swapped their names since the parent was told of them.
        ("a=81 b=80", "a=80 b=81", {"a": "b=81", "b": "a=80"}),
    ],
)
def test_match(listen: str, passed: str, adopted: dict[str, str]) -> None:
    """Inherited sockets are adopted by what they are, then by name; what nobody declares is a listener of its own."""
    specs = declared(listen)

    result, found = match_inherited(specs, inherited(passed))

    assert {spec.name: str(sock) for spec, sock in found} == adopted
    assert [spec.name for spec in result[: len(specs)]] == [spec.name for spec in specs]
    assert {spec.name for spec in result} == {spec.name for spec in specs} | set(adopted)
    assert all(spec.inherited == (spec.name in adopted) for spec in result)
    assert all(spec in result for spec, _ in found)


def test_the_address_is_the_sockets_own() -> None:
    """An adopted listener keeps the declared application port and gets the address that the socket has."""
    (result,), _ = match_inherited(declared("https=443:8443"), inherited("x=127.0.0.1:443"))

    assert (result.host, result.port, result.app_port) == ("127.0.0.1", 443, 8443)


@pytest.mark.parametrize(
    ("listen", "passed", "words"),
    [
        ("http=80", "http=81", "the inherited socket of that name is 81/tcp, expected 80/tcp"),
        ("dns=53/udp", "dns=53", "the inherited socket of that name is 53/tcp, expected 53/udp"),
        ("http=127.0.0.1:80", "http=80", "expected 127.0.0.1:80/tcp"),
        ("http=80", "a=80 b=80", "2 inherited sockets fit"),
        ("http=80", "a=127.0.0.1:80 b=[::1]:80", "2 inherited sockets fit"),
        ("http=80", "http=80 http=80", "2 inherited sockets fit"),
    ],
)
def test_contradictions(listen: str, passed: str, words: str) -> None:
    """A name that says another thing than the socket is, and two sockets that fit equally, are refused with status 78."""
    with pytest.raises(ConfigurationError) as refusal:
        match_inherited(declared(listen), inherited(passed))

    assert words in str(refusal.value)


def stored(name: str, host: str, port: int = 0, *, family: int = socket.AF_INET, reuseport: bool = False) -> Listener:
    """Return a socket as it comes back from the store of the service manager, under the name that it had then."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, reuseport)
    sock.bind((host, port))
    return identify(f"{name}@{os.fstat(sock.fileno()).st_ino}", sock.detach())


def close(*listeners: Listener) -> None:
    """Close sockets."""
    for _, sock in listeners:
        sock.close()


def test_the_store_knows_the_names_of_before() -> None:
    """After a reload that swapped two names the stored sockets go where they belong by what they are, those for IPv4 too."""
    kept = [stored(name, "::", family=socket.AF_INET6) for name in ("a", "b")]
    ports = {spec.name: spec.port for spec, _ in kept}
    kept += [stored(f"{name}+ipv4", "0.0.0.0", ports[name]) for name in ("a", "b")]
    specs = declared(f"a={ports['b']} b={ports['a']} c=1")

    result, found = match_inherited((*specs, *further_sockets(specs)), kept)

    a, b, a_ipv4, b_ipv4 = (sock for _, sock in kept)
    assert {spec.name: sock for spec, sock in found} == {"a": b, "b": a, "a+ipv4": b_ipv4, "b+ipv4": a_ipv4}
    assert {spec.name for spec in result} == {"a", "b", "c", "a+ipv4", "b+ipv4", "c+ipv4"}
    assert all(spec.inherited and spec.stored for spec, _ in found)
    close(*kept)


def test_shared_ports_of_the_store() -> None:
    """Of two stored sockets on one address each of two listeners gets one, whatever their names were."""
    first = stored("a", "127.0.0.1", reuseport=True)
    second = stored("b", "127.0.0.1", first[0].port, reuseport=True)
    text = f"127.0.0.1:{first[0].port},reuseport"

    _, found = match_inherited(declared(f"c={text} b={text}"), [second, first])
    assert {spec.name: sock for spec, sock in found} == {"c": first[1], "b": second[1]}
    _, found = match_inherited(declared(f"c={text} d={text}"), [second, first])
    assert {spec.name for spec, _ in found} == {"c", "d"}
    close(first, second)


def test_what_the_store_has_too_much() -> None:
    """A stored socket that nothing declares any more is given up: it is not a listener of its own, unlike what a parent passes."""
    old, new = stored("a", "127.0.0.1"), stored("a", "127.0.0.1")

    result, found = match_inherited(declared(f"a=127.0.0.1:{new[0].port}"), [old, new])

    assert [spec.name for spec in result] == ["a"]
    assert [sock for _, sock in found] == [new[1]]
    assert old[1].fileno() == -1
    close(new)


@pytest.mark.parametrize(("host", "listen"), [("127.0.0.1", ""), ("0.0.0.0", "127.0.0.1:")])
def test_the_store_holds_the_port_otherwise(host: str, listen: str) -> None:
    """A listener that cannot be opened beside the stored one of before is refused with what to do, whatever its name is."""
    kept = stored("a", host)

    with pytest.raises(ConfigurationError, match=r"store still holds .* stop the service"):
        match_inherited(declared(f"other={listen}{kept[0].port}"), [kept])

    assert match_inherited(declared(f"other=127.0.0.2:{kept[0].port}"), [stored("a", "127.0.0.1")])[1] == []
    close(kept)


OWN = str(os.getpid())


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, []),
        ({"LISTEN_FDS": "1"}, []),
        ({"LISTEN_PID": "1", "LISTEN_FDS": "1"}, []),
        ({"LISTEN_PID": "x", "LISTEN_FDS": "1"}, []),
        ({"LISTEN_PID": OWN}, []),
        ({"LISTEN_PID": OWN, "LISTEN_FDS": "0"}, []),
        ({"LISTEN_PID": OWN, "LISTEN_FDS": "2"}, [("unknown", 3), ("unknown", 4)]),
        ({"LISTEN_PID": OWN, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"}, [("a", 3), ("b", 4)]),
        ({"LISTEN_PID": OWN, "LISTEN_FDS": "1", "LISTEN_FDNAMES": ""}, [("unknown", 3)]),
    ],
)
def test_listen_fds(environ: dict[str, str], expected: list[tuple[str, int]]) -> None:
    """Descriptors are taken from 3 on, by the names given, and only if this very process was meant."""
    assert inherited_fds(environ) == expected


@pytest.mark.parametrize(
    "environ",
    [
        {"LISTEN_FDS": "x"},
        {"LISTEN_FDS": ""},
        {"LISTEN_FDS": "-1"},
        {"LISTEN_FDS": "65537"},
        {"LISTEN_FDS": "1e9"},
        {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "a"},
        {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "a:b"},
    ],
)
def test_listen_fds_that_contradict(environ: dict[str, str]) -> None:
    """A number that is none, or names that do not fit the number, are refused with status 78."""
    with pytest.raises(ConfigurationError, match="LISTEN_FD"):
        inherited_fds({"LISTEN_PID": OWN, **environ})
