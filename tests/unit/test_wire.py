"""Messages between a supervisor and its workers: what is sent comes back, and nothing else is understood.

Kinds are taken from the module, so that one that is added is tried here as well.
"""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jvmbind import wire

if TYPE_CHECKING:
    from collections.abc import Callable

MESSAGES: tuple[type, ...] = typing.get_args(wire.Message)
COMMANDS: tuple[type, ...] = typing.get_args(wire.Command)
KINDS = (*MESSAGES, *COMMANDS)
TEXTS = [kind for kind in KINDS if str in typing.get_type_hints(kind).values()]
SHORT = st.text(st.characters(codec="utf-8"), max_size=100)


def content(kind: type, text: Any, number: Any) -> dict[str, Any]:
    """Return a value for each field of a kind, by its type."""
    return {name: text if hint is str else number for name, hint in typing.get_type_hints(kind).items()}


def a_message(kind: type) -> st.SearchStrategy[Any]:
    """Return messages of one kind; every number field has at least one byte."""
    return st.builds(kind, **content(kind, SHORT, st.integers(0, 255)))


def decoder(kind: type) -> Callable[[bytes], Any]:
    """Return who understands a kind: a worker speaks messages, a supervisor commands."""
    return wire.decode if kind in MESSAGES else wire.decode_command


DECODERS = pytest.mark.parametrize("decode", [wire.decode, wire.decode_command])
ANY = st.sampled_from(KINDS).flatmap(a_message)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_round_trip(kind: type, data: st.DataObject) -> None:
    """Each kind of message, with any content that fits, is decoded to what was encoded."""
    message = data.draw(a_message(kind))

    packet = wire.encode(message)

    assert 0 < len(packet) <= wire.MAX_SIZE
    again = decoder(kind)(packet)
    assert again == message
    assert type(again) is kind


@pytest.mark.parametrize("kind", KINDS)
def test_each_side_understands_the_other_alone(kind: type) -> None:
    """A worker's message is no command and a command no message: neither side can be made to obey its own words."""
    packet = wire.encode(kind(**content(kind, "x", 1)))
    other = wire.decode_command if kind in MESSAGES else wire.decode

    with pytest.raises(ValueError, match=kind.__name__):
        other(packet)


def test_kinds_have_numbers_of_their_own() -> None:
    """No two kinds begin with the same byte."""
    assert len({wire.encode(kind(**content(kind, "", 0)))[0] for kind in KINDS}) == len(KINDS)


def test_the_largest_numbers() -> None:
    """A listener's index has 16 bits and a descriptor 32."""
    largest = wire.Claimed(2**16 - 1, 2**32 - 1)

    assert wire.decode(wire.encode(largest)) == largest


@DECODERS
@given(packet=st.one_of(st.binary(max_size=64), st.binary(min_size=wire.MAX_SIZE - 2, max_size=wire.MAX_SIZE + 2)))
def test_garbage_is_a_value_error(decode: Callable[[bytes], Any], packet: bytes) -> None:
    """Any bytes are either a message whose encoding they are, or a ValueError."""
    try:
        message = decode(packet)
    except ValueError:
        return
    assert wire.encode(message) == packet


@DECODERS
@given(message=ANY, data=st.data())
def test_changed_packets(decode: Callable[[bytes], Any], message: Any, data: st.DataObject) -> None:
    """A packet cut short, lengthened or with a byte changed is another valid message or a ValueError, never more."""
    packet = bytearray(wire.encode(message))
    what = data.draw(st.sampled_from(["cut", "add", "change"]))
    if what == "cut":
        del packet[data.draw(st.integers(0, len(packet) - 1)) :]
    elif what == "add":
        packet += data.draw(st.binary(min_size=1, max_size=wire.MAX_SIZE))
    else:
        packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))

    try:
        again = decode(bytes(packet))
    except ValueError:
        return
    assert wire.encode(again) == packet


@DECODERS
@pytest.mark.parametrize("size", [0, wire.MAX_SIZE + 1, 100_000])
@pytest.mark.parametrize("first", range(0, 256, 17))
def test_size_limit(decode: Callable[[bytes], Any], size: int, first: int) -> None:
    """Nothing, and more than the limit, is refused with the size that came, whatever kind it would be."""
    with pytest.raises(ValueError, match=f"a message of {size} bytes"):
        decode(bytes([first]) * size)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in TEXTS])
@pytest.mark.parametrize("change", [-1, 1, 100])
def test_wrong_length(kind: type, change: int) -> None:
    """A kind of numbers with a byte more or less is refused."""
    packet = wire.encode(kind(**content(kind, "", 1)))
    changed = packet[:change] if change < 0 else packet + bytes(change)

    with pytest.raises(ValueError):
        decoder(kind)(changed)


@DECODERS
def test_unknown_kinds(decode: Callable[[bytes], Any]) -> None:
    """Each byte that is not a kind is refused, whatever follows."""
    known = {wire.encode(kind(**content(kind, "", 0)))[0] for kind in KINDS}
    for first in set(range(256)) - known:
        for rest in (b"", b"\0", bytes(6), b"text"):
            with pytest.raises(ValueError):
                decode(bytes([first]) + rest)


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("rest", [b"\xff", b"\xc3", b"a\xed\xa0\x80"], ids=bytes.hex)
def test_text_that_is_no_utf_8(kind: type, rest: bytes) -> None:
    """Text that is not UTF-8, cut or with surrogates, is refused."""
    with pytest.raises(ValueError):
        decoder(kind)(wire.encode(kind(""))[:1] + rest)


@pytest.mark.parametrize("kind", TEXTS)
@given(text=st.text(max_size=3000))
def test_long_text_is_cut_at_a_character(kind: type, text: str) -> None:
    """Text of any length and content, lone surrogates included, becomes a packet within the limit that can be decoded."""
    (again,) = decoder(kind)(wire.encode(kind(text)))

    cleaned = text.encode("utf-8", "replace").decode()
    assert cleaned.startswith(again)
    assert len(cleaned.encode()) - len(again.encode()) < 4 or len(again.encode()) > wire.MAX_SIZE - 5
