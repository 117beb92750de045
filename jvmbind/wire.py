"""Messages between a worker and its supervisor: a closed set, each checked for length and range.

Used by both sides, as the service user; pure. A worker may be hijacked, so the supervisor takes nothing from a message
but what is defined here, and no message changes what runs. One message is one packet of a SOCK_SEQPACKET socket.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

MAX_SIZE = 1024
_INDEXED = struct.Struct("!BHI")


class Main(NamedTuple):
    """The JVM is up and the application's main begins."""


class Claimed(NamedTuple):
    """The application bound the address of a listener and was given it, as descriptor `fd`."""

    listener: int
    fd: int


class Listening(NamedTuple):
    """The application called listen on a listener."""

    listener: int


class Tried(NamedTuple):
    """The application bound an address that no listener has, or was refused one; `text` says which and what came of it."""

    text: str


class Note(NamedTuple):
    """Something for the log."""

    text: str


Message = Main | Claimed | Listening | Tried | Note

_MAIN, _CLAIMED, _LISTENING, _TRIED, _NOTE = 1, 2, 3, 4, 5


def encode(message: Message) -> bytes:
    """Return the packet of a message."""
    if isinstance(message, Main):
        return bytes([_MAIN])
    if isinstance(message, Claimed):
        return _INDEXED.pack(_CLAIMED, message.listener, message.fd)
    if isinstance(message, Listening):
        return _INDEXED.pack(_LISTENING, message.listener, 0)
    kind = _TRIED if isinstance(message, Tried) else _NOTE
    text = message.text.encode("utf-8", "replace")[: MAX_SIZE - 1]
    return bytes([kind]) + text.decode("utf-8", "ignore").encode()


def decode(packet: bytes) -> Message:
    """Return the message of a packet; raises ValueError for anything that `encode` cannot have made."""
    if not packet or len(packet) > MAX_SIZE:
        msg = f"a message of {len(packet)} bytes, expected 1 to {MAX_SIZE}"
        raise ValueError(msg)
    kind = packet[0]
    if kind == _MAIN and len(packet) == 1:
        return Main()
    if kind in {_CLAIMED, _LISTENING} and len(packet) == _INDEXED.size:
        _, index, fd = _INDEXED.unpack(packet)
        if kind == _CLAIMED:
            return Claimed(index, fd)
        if fd == 0:
            return Listening(index)
    if kind in {_TRIED, _NOTE}:
        text = packet[1:].decode("utf-8")  # UnicodeDecodeError is a ValueError
        return Tried(text) if kind == _TRIED else Note(text)
    msg = f"a message of kind {kind} and {len(packet)} bytes, which is none of the known ones"
    raise ValueError(msg)
