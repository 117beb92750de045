"""Which inherited socket is which declared listener, and what LISTEN_FDS may say."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

import pytest

from jvmbind.errors import ConfigurationError
from jvmbind.listen import number_names
from jvmbind.privileged.adopt import inherited_fds, match_inherited
from jvmbind.spec import ListenSpec, parse_listen

if TYPE_CHECKING:
    import socket

    from jvmbind.privileged.listeners import Listener


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
