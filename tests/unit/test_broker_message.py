"""The messages of the broker: each bit of a request has one meaning, and every other is refused.

Run by pytest, as anybody.
"""

from __future__ import annotations

import contextlib
import string
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jvmbind.broker import message
from jvmbind.broker.message import Reply, decode, decode_reply, encode, encode_reply
from jvmbind.spec import ListenSpec, parse_listen


def make(values: dict[str, Any]) -> ListenSpec:
    """Return the listener with these values."""
    return ListenSpec(**values)


specs = st.fixed_dictionaries(
    {
        "name": st.just("asked"),
        "protocol": st.sampled_from(["tcp", "udp"]),
        "host": st.sampled_from([None, "0.0.0.0", "127.0.0.1", "::", "::1", "fe80::1"]),
        "port": st.integers(1, 65535),
        "backlog": st.integers(1, 2**31 - 1),
        "freebind": st.booleans(),
        "device": st.text(string.ascii_letters + ".-", max_size=15),
        "bind_only": st.integers(0, message.MOST_CONNECTIONS),
        "rcvbuf": st.integers(0, 2**30),
        "defer_accept": st.integers(0, 32767),
        "fastopen": st.integers(0, 2**31 - 1),
    }
).map(make)


@given(specs, st.booleans())
def test_request(spec: ListenSpec, ask: bool) -> None:
    """A request says all that a listener needs, in 64 bytes."""
    data = encode(spec, ask=ask)

    assert len(data) == message.REQUEST.size == 64
    assert decode(data) == (spec._replace(app_port=spec.port), ask)


@given(specs, st.integers(0, 511))
@example(ListenSpec("asked", "tcp", port=80), 64)
def test_no_bit_is_without_meaning(spec: ListenSpec, bit: int) -> None:
    """With any bit turned a request is refused, or says something else that would be asked in just these bytes."""
    data = bytearray(encode(spec))
    data[bit // 8] ^= 1 << bit % 8

    with contextlib.suppress(ValueError):
        other, ask = decode(bytes(data))
        assert (other, ask) != decode(encode(spec))
        assert encode(other, ask=ask) == bytes(data)


@given(st.binary(max_size=130))
def test_garbage(data: bytes) -> None:
    """Bytes of any length are a request, a reply or a ValueError."""
    for reader in (decode, decode_reply):
        with contextlib.suppress(ValueError):
            reader(data)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("unix:/run/a", "TCP and UDP only"),
        ("80,reuseport", "no port to be shared"),
        ("[fe80::1%lo]:80", "no address with a zone"),
        ("80,bind-only=65", "at most bind-only=64"),
    ],
)
def test_what_a_broker_cannot_do(text: str, why: str) -> None:
    """A listener that a broker could not give safely is not even asked for."""
    with pytest.raises(ValueError, match=why):
        encode(parse_listen(text))


def test_ipv6_only_is_never_ipv4() -> None:
    """A wildcard for IPv6 alone is asked for by its address, since without one it is every address that there is."""
    assert decode(encode(parse_listen("80,v6only")))[0].host == "::"


def test_reply() -> None:
    """A reply of any kind comes back as it was, but for the front of a rule's place that is too long."""
    place = "/etc/jvmbind/" + "x" * 120 + ".conf:12"
    reply = Reply(message.REFUSED, 0, 98, place)

    assert decode_reply(encode_reply(reply)) == reply._replace(rule=place[-112:])
