"""Throws random messages at those who read them: `python tests/fuzz/fuzz_messages.py [ROUNDS] [SEED]`.

Anybody may run it. Three kinds, so many of each: the notifications of a worker, the commands of its supervisor, and the
requests of the program that has started a service, which come over a real socket and may carry descriptors. Each notification
and each command is read as what was written, or is a ValueError; a request is one of the known words with a number, or nothing,
and no descriptor is left open. Anything else ends this with status 1 and the message.
"""

from __future__ import annotations

import collections
import os
import random
import socket
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from jvmbind import wire
from jvmbind.supervisor.control import COMMANDS
from jvmbind.supervisor.program import DIE_WITH, RELOAD_TO, Program

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 1_000_000
_KINDS = range(64)
_WORDS = [*sorted(COMMANDS), RELOAD_TO, DIE_WITH, "", "Reload", "reload ", "status\n", "stop\0", "x" * 300, "ünïcode"]


class Surprise(Exception):  # noqa: N818 - it is no error of the program
    """An outcome that must not be."""


def _packet(rng: random.Random) -> bytes:
    size = rng.choice((0, 1, 2, 4, 5, 8, 9, 12, 13, 16, 17, wire.MAX_SIZE - 1, wire.MAX_SIZE, wire.MAX_SIZE + 1))
    return bytes([rng.choice(_KINDS)]) + rng.randbytes(rng.choice((rng.randrange(40), size)))


def _decoded(data: bytes, decode: Callable[[bytes], Any]) -> str:
    try:
        message = decode(data)
    except ValueError:
        return "refused"
    if wire.encode(message) != data:
        raise Surprise(f"{data!r}: read as {message}")
    return "accepted"


class _Requests:
    """A supervisor's end of the connection to its program, and that program's."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._program = Program(SimpleNamespace(program=self._theirs, unread=0))  # type: ignore[arg-type]

    def outcome(self, rng: random.Random) -> str:
        """Send one request, and look at what is read."""
        number = rng.choice(("1", "0", "42", "-1", "1.5", "", "٣", "9" * 30, "x"))
        data = f"{number}{rng.choice((' ', ' ', '  ', '', '	'))}{rng.choice(_WORDS)}".encode()
        if rng.random() < 0.2:
            data = rng.randbytes(rng.randint(1, 80))
        fds = [self._ours.fileno()] * rng.choice((0, 0, 0, 1, 3))
        socket.send_fds(self._ours, [data], fds) if fds else self._ours.send(data)
        found = self._program.requests({self._theirs.fileno()})
        for number_read, word, passed in found:
            if word not in COMMANDS and word != RELOAD_TO:
                raise Surprise(f"request {data!r}: read as {word!r}")
            if not data.decode("ascii", "replace").startswith(f"{number_read:d}"[:1]) and number_read:
                raise Surprise(f"request {data!r}: read as number {number_read}")
            for fd in passed:
                os.close(fd)
        if len(found) > 1:
            raise Surprise(f"request {data!r}: read as {found}")
        return "accepted" if found else "refused"


def fuzz(rounds: int, seed: int) -> dict[str, collections.Counter[str]]:
    """Run `rounds` of each kind and count the outcomes; raises Surprise."""
    rng, requests = random.Random(seed), _Requests()
    counts = {kind: collections.Counter[str]() for kind in ("notifications", "commands", "requests")}
    open_before = len(os.listdir("/proc/self/fd"))
    for _ in range(rounds):
        data = _packet(rng)
        try:
            counts["notifications"][_decoded(data, wire.decode)] += 1
            counts["commands"][_decoded(data, wire.decode_command)] += 1
            counts["requests"][requests.outcome(rng)] += 1
        except Surprise:
            raise
        except Exception as error:
            raise Surprise(f"{data!r}: {type(error).__name__}: {error}") from error
    # One is kept: the process that a service is to end with.
    if len(os.listdir("/proc/self/fd")) > open_before + 1:
        raise Surprise(f"{len(os.listdir('/proc/self/fd')) - open_before} descriptors are left")
    return counts


def main() -> int:
    """Run, and print what came."""
    rounds, seed = [*map(int, sys.argv[1:3]), *(ROUNDS, 1)[len(sys.argv) - 1 :]]
    begun = time.monotonic()
    try:
        counts = fuzz(rounds, seed)
    except Surprise as surprise:
        print(f"seed {seed}: {surprise}")
        return 1
    for kind, count in counts.items():
        print(f"{kind}: {', '.join(f'{what} {number}' for what, number in sorted(count.items()))}")
    print(f"{3 * rounds} inputs, seed {seed}, {time.monotonic() - begun:.1f} s: as written, or refused")
    return 0


if __name__ == "__main__":
    sys.exit(main())
