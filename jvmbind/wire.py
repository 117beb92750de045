"""Messages between a supervisor and its workers: a closed set, each checked for length and range.

Used by both sides, as the service user; pure. A worker may be hijacked, so the supervisor takes nothing from a message
but what is defined here, and no message changes what runs. One message is one packet of a SOCK_SEQPACKET socket: a byte
for its kind, then its numbers in network order, or text.
"""

from __future__ import annotations

import struct

from jvmbind.record import NamedTuple

MAX_SIZE = 1024


class Main(NamedTuple):
    """Worker: the JVM is up and the application's main begins."""


class ResponderStarted(NamedTuple):
    """Worker, before the JVM is there: the process that shares its descriptors, and holds them until it ends as well."""

    pid: int


class Parked(NamedTuple):
    """Worker: the application waits at its first bind on a declared listener."""


class Claimed(NamedTuple):
    """Worker: the application bound the address of a listener and was given it, as descriptor `fd`."""

    listener: int
    fd: int


class Listening(NamedTuple):
    """Worker: the application called listen on a listener."""

    listener: int


class TooWide(NamedTuple):
    """Worker: the application asked for an address than which a listener is wider, and was refused."""

    listener: int


class Hidden(NamedTuple):
    """Worker, while it rehearses: an idle socket on this port of the loopback address stands in for a TCP listener."""

    listener: int
    port: int


class Waiting(NamedTuple):
    """Worker: on every listener that has been claimed somebody waits for connections, and takes one while it rehearses."""


class Notified(NamedTuple):
    """Worker: the application said through the Java API that it is ready."""


class Connections(NamedTuple):
    """Worker, while it is drained: how many connections it has, and on how many a client is being answered, or may be asking.

    `callbacks`: whether those of the Java API have not all returned yet (of a script: in how many JVMs).
    """

    total: int
    busy: int
    asking: int
    callbacks: int


class Moved(NamedTuple):
    """Worker: the answer to Drain(1): its datagram listeners are out of the application's hands."""


class LetGo(NamedTuple):
    """Worker: the answer to Drain(0): its listeners are out of the application's hands."""


class Heartbeat(NamedTuple):
    """Worker: the JVM has answered just now."""


class Tried(NamedTuple):
    """Worker: the application bound an address that no listener has, or was refused one; `text` says what came of it."""

    text: str


class Note(NamedTuple):
    """Worker: something for the log."""

    text: str


class DrainFailed(NamedTuple):
    """Worker: the answer to Drain where the application has listeners still, and why."""

    text: str


class UndrainFailed(NamedTuple):
    """Worker: the answer to Undrain where the application has not got each listener, and why."""

    text: str


class Status(NamedTuple):
    """Worker: what the application says of itself through the Java API."""

    text: str


class Release(NamedTuple):
    """Supervisor: let the parked application have the listeners (1: idle sockets in their place, until Undrain)."""

    rehearse: int


class Drain(NamedTuple):
    """Supervisor: put idle sockets in the place of the listeners and report connections.

    `datagrams_only`: of datagram listeners only, and let the next generation bind what is not a listener; answered by Moved.
    `last`: of the others only, as no generation follows. `ends`: it is to end, so the callbacks of the Java API are run.
    """

    datagrams_only: int
    last: int
    ends: int


class Undrain(NamedTuple):
    """Supervisor: give the listeners back."""


class HalfClose(NamedTuple):
    """Supervisor: let the application see the end of input on the connections that are left (1: on idle ones, as they get so)."""

    idle_only: int


class Ending(NamedTuple):
    """Supervisor: the signal to end is on its way: what the application does to wake itself must reach it."""


class Reloading(NamedTuple):
    """Supervisor: a reload begins, of which the application is told by the Java API."""


Message = (
    Main
    | ResponderStarted
    | Parked
    | Claimed
    | Listening
    | TooWide
    | Hidden
    | Waiting
    | Notified
    | Connections
    | Moved
    | LetGo
    | DrainFailed
    | UndrainFailed
    | Heartbeat
    | Tried
    | Note
    | Status
)
Command = Release | Drain | Undrain | HalfClose | Ending | Reloading

_NUMBERS: dict[int, tuple[type, struct.Struct]] = {
    1: (Main, struct.Struct("!")),
    2: (Parked, struct.Struct("!")),
    3: (Claimed, struct.Struct("!HI")),
    4: (Listening, struct.Struct("!H")),
    5: (Waiting, struct.Struct("!")),
    6: (Notified, struct.Struct("!")),
    7: (Connections, struct.Struct("!IIII")),
    8: (Heartbeat, struct.Struct("!")),
    9: (Moved, struct.Struct("!")),
    10: (Hidden, struct.Struct("!HH")),
    11: (ResponderStarted, struct.Struct("!I")),
    12: (TooWide, struct.Struct("!H")),
    13: (LetGo, struct.Struct("!")),
    32: (Release, struct.Struct("!B")),
    33: (Drain, struct.Struct("!BBB")),
    34: (Undrain, struct.Struct("!")),
    35: (HalfClose, struct.Struct("!B")),
    36: (Ending, struct.Struct("!")),
    37: (Reloading, struct.Struct("!")),
}
_TEXTS: dict[int, type] = {16: Tried, 17: Note, 18: Status, 19: DrainFailed, 20: UndrainFailed}
_KINDS = {cls: kind for kind, (cls, _) in _NUMBERS.items()} | {cls: kind for kind, cls in _TEXTS.items()}


def encode(message: Message | Command) -> bytes:
    """Return the packet of a message; text that is too long is cut."""
    kind = _KINDS[type(message)]
    if isinstance(message, Tried | Note | Status | DrainFailed | UndrainFailed):
        text = message.text.encode("utf-8", "replace")[: MAX_SIZE - 1]
        return bytes([kind]) + text.decode("utf-8", "ignore").encode()
    return bytes([kind]) + _NUMBERS[kind][1].pack(*message)


def _decode(packet: bytes) -> Message | Command:
    if not packet or len(packet) > MAX_SIZE:
        msg = f"a message of {len(packet)} bytes, expected 1 to {MAX_SIZE}"
        raise ValueError(msg)
    kind, rest = packet[0], packet[1:]
    if kind in _TEXTS:
        message: Message | Command = _TEXTS[kind](rest.decode("utf-8"))  # UnicodeDecodeError is a ValueError
        return message
    cls, layout = _NUMBERS.get(kind, (None, None))
    if cls is None or layout is None or len(rest) != layout.size:
        msg = f"a message of kind {kind} and {len(packet)} bytes, which is none of the known ones"
        raise ValueError(msg)
    numbers: Message | Command = cls(*layout.unpack(rest))
    return numbers


def decode(packet: bytes) -> Message:
    """Return a worker's message; raises ValueError for anything that a worker cannot have encoded."""
    message = _decode(packet)
    if isinstance(message, Command):
        msg = f"{type(message).__name__}, which only a supervisor says"
        raise ValueError(msg)  # noqa: TRY004 - a packet's value, not a Python type, is wrong
    return message


def decode_command(packet: bytes) -> Command:
    """Return a supervisor's command; raises ValueError for anything else."""
    message = _decode(packet)
    if not isinstance(message, Command):
        msg = f"{type(message).__name__}, which only a worker says"
        raise ValueError(msg)  # noqa: TRY004 - see decode
    return message
