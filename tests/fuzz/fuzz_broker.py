"""Throws random requests and policies at what the broker reads: `python tests/fuzz/fuzz_broker.py [ROUNDS] [SEED]`.

Anybody may run it; nothing is bound. Half of the requests are good ones with some bits turned, half of the lines are made from
pieces of the grammar. Any outcome but a result, a ValueError of a message or a ConfigurationError of one line with its place
ends it with status 1 and the input. What was read is asked once more: a request must be made of the same bytes again.
"""

from __future__ import annotations

import collections
import random
import sys
import time

from jvmbind.broker.message import REQUEST, decode, encode
from jvmbind.broker.policy import Peer, decide, parse, wanted_by
from jvmbind.errors import ConfigurationError
from jvmbind.spec import ListenSpec

ROUNDS = 1_000_000

_HOSTS = (None, "127.0.0.1", "0.0.0.0", "::", "::1", "fe80::1")
_WORDS = (
    "allow", "deny", "Allow", "*", "root", "@root", "@", "0", "4294967295", "99999999999", "nosuch", "@nosuch", "tcp", "udp",
    "sctp", "10.0.0.0/8", "10.0.0.1/8", "0.0.0.0", "::", "::/0", "::1", "[::1]", "fe80::1%lo", "::ffff:1.2.3.4", "1.2.3", "80",
    "80,443",
    "80-", "-80", "90-80", "0", "65535", "65536", "1-65535", "080", "\u0668\u0660", "80,,81", "#", "# x", "\0", "\x1b[1m",
    "\u2028", "",
)  # fmt: skip
_USERS = {"root": 0, "ann": 1001}
_PEERS = (Peer(0, frozenset({0})), Peer(1001, frozenset({100, 0})), Peer(5, frozenset()))
_ASKED = (
    wanted_by(ListenSpec("x", "tcp", port=80)),
    wanted_by(ListenSpec("x", "udp", host="10.0.0.1", port=443)),
    wanted_by(ListenSpec("x", "tcp", host="::1", port=1)),
)


class Surprise(Exception):  # noqa: N818 - it is no error of the program
    """An outcome that must not be."""


def _request(rng: random.Random) -> bytes:
    """Return a good request with some bits turned, or bytes without any sense."""
    if rng.random() < 0.2:
        return rng.randbytes(rng.choice((0, 1, 63, 64, 64, 65, 200)))
    spec = ListenSpec(
        "x",
        rng.choice(("tcp", "udp")),
        host=rng.choice(_HOSTS),
        port=rng.randint(1, 65535),
        backlog=rng.choice((1, 128, 2**31 - 1)),
        v6only=rng.random() < 0.2,
        freebind=rng.random() < 0.2,
        device=rng.choice(("", "", "lo", "x" * 15)),
        bind_only=rng.choice((0, 0, 1, 64)),
    )
    data = bytearray(encode(spec, ask=rng.random() < 0.3))
    for _ in range(rng.choice((0, 0, 1, 1, 2, 8))):
        bit = rng.randrange(8 * len(data))
        data[bit // 8] ^= 1 << bit % 8
    return bytes(data)


def _policy(rng: random.Random) -> str:
    lines = []
    for _ in range(rng.randint(1, 3)):
        if rng.random() < 0.6:
            who, where, ports = (
                rng.choice(("*", "root", "@root", "7")),
                rng.choice(("*", "::1", "10.0.0.0/8")),
                rng.choice(("80", "1-9")),
            )
            words = [rng.choice(("allow", "deny")), who, rng.choice(("tcp", "*")), where, ports]
            if rng.random() < 0.5:
                words[rng.randrange(5)] = rng.choice(_WORDS)
        else:
            words = [rng.choice(_WORDS) for _ in range(rng.randint(0, 7))]
        lines.append(rng.choice((" ", " ", "\t", "  ")).join(words))
    return rng.choice(("\n", "\n", "\r\n")).join(lines)


def _of_request(data: bytes) -> str:
    try:
        spec, ask = decode(data)
    except ValueError:
        return "refused"
    if len(data) != REQUEST.size or encode(spec, ask=ask) != data or not 1 <= spec.port <= 65535:
        raise Surprise(f"request {data!r}: read as {spec}")
    wanted_by(spec)
    return "accepted"


def _of_policy(text: str) -> str:
    try:
        rules = parse("f", text, _USERS.__getitem__, {"root": 0}.__getitem__)
    except ConfigurationError as error:
        place = str(error).split(": ")[0].split(":")
        if len(str(error).splitlines()) != 1 or place[0] != "f" or not 1 <= int(place[1]) <= text.count("\n") + 1:
            raise Surprise(f"policy {text!r}: {error}") from error
        return "refused"
    for peer in _PEERS:
        for asked in _ASKED:
            rule = decide(rules, peer, asked)
            if rule is not None and rule.text.split() != text.split("\n")[int(rule.where[2:]) - 1].partition("#")[0].split():
                raise Surprise(f"policy {text!r}: {rule}")
    return "accepted"


def fuzz(rounds: int, seed: int) -> dict[str, collections.Counter[str]]:
    """Run `rounds` inputs of each kind and count the outcomes; raises Surprise."""
    rng = random.Random(seed)
    counts: dict[str, collections.Counter[str]] = {"requests": collections.Counter(), "policies": collections.Counter()}
    for _ in range(rounds):
        data, text = _request(rng), _policy(rng)
        try:
            counts["requests"][_of_request(data)] += 1
            counts["policies"][_of_policy(text)] += 1
        except Surprise:
            raise
        except Exception as error:
            raise Surprise(f"{data!r} or {text!r}: {type(error).__name__}: {error}") from error
    return counts


def main() -> int:
    """Run, and print what came."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    begun = time.monotonic()
    try:
        counts = fuzz(rounds, seed)
    except Surprise as surprise:
        print(f"seed {seed}: {surprise}")
        return 1
    for name, outcomes in counts.items():
        print(f"{name:<15} {outcomes.total():>7}  " + ", ".join(f"{word} {count}" for word, count in outcomes.most_common()))
    print(f"{2 * rounds} inputs, seed {seed}, {time.monotonic() - begun:.1f} s: a result or a refusal in its place each time")
    return 0


if __name__ == "__main__":
    sys.exit(main())
