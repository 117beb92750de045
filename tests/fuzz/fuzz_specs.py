"""Throws random listeners and command lines at everything that reads them: `python tests/fuzz/fuzz_specs.py [ROUNDS] [SEED]`.

Anybody may run it; nothing is bound or started. Half of the input is made from pieces of the grammar, cut and mixed, half
is random characters. Any outcome but a result or a JvmbindError of one line ends it with status 1 and the input.
"""

from __future__ import annotations

import collections
import contextlib
import io
import random
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any

from jvmbind.errors import JvmbindError
from jvmbind.listen import number_names
from jvmbind.plan.options import read_request
from jvmbind.spec import parse_listen
from jvmbind.worker.arguments import parse

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 120_000

_LISTEN = (
    "80", "443", "0", "65535", "65536", "08", ":", ":", "/tcp", "/udp", "/", ",", "=", "http=", "a.b-c_1=", "[::1]", "[::]", "[",
    "]", "127.0.0.1", "0.0.0.0", "::ffff:1.2.3.4", "[::ffff:1.2.3.4]", "[fe80::1%lo]", "unix:", "unix:/run/a.sock", "/a", "..",
    ",backlog=", ",reuseport", ",v6only", ",freebind", ",device=lo", ",bind-only", ",rcvbuf=1", ",defer-accept=9", ",fastopen=1",
    ",mode=0660", ",mode=9", "-1", "1e3", " ", "\t", "\n", "\0", "\u0663", "\u00e4", "\ud800", "\u202e", "x" * 70, "localhost", "*",
)  # fmt: skip
_WORDS = (
    "-l", "--listen", "-u", "--user", "-n", "--name", "--direct", "--inherit", "--strict-binds", "--java-home", "--restart",
    "--start-timeout", "--stop-timeout", "-e", "--env", "--preserve-env", "-q", "--", "--", "-c", "--help", "-h", "-V",
    "--listen=80", "-l80", "-qq", "--restart=always", "on-crash", "5", "0", "nan", "-1", "1e999", "www-data", "a:b", "A=1",
        "=", "", "-", "---",
)  # fmt: skip
_JAVA = (
    "-jar", "a.jar", "-cp", "-classpath", "--class-path", "--class-path=a:b", "/none/*", "Main", "-m", "--module", "m/C", "-p",
    "--add-opens", "a/b=c", "--add-opens=a/b=c", "--add-modules", "ALL-UNNAMED", "-version", "--version", "-showversion", "-help",
    "-X", "-Xmx1g", "-Xss1k", "-Xss", "-Xss999999999999999999999t", "-XX:+UseSerialGC", "-XX:Flags=/none", "-D", "-Da=b", "-ea",
    "-ea:a...", "-esa", "-agentlib:x", "-javaagent:/none.jar=x", "@none", "@@x", "@", "--disable-@files", "--source", "17",
    "X.java",
    "--list-modules", "-d", "--describe-module", "--dry-run", "--validate-modules", "--show-module-resolution", "-splash:x",
    "-verbose:gc", "-verbose:", "-XshowSettings", "-XshowSettings:all", "--enable-preview", "-J-x", "-server", "-client", "-zero",
    "--enable-native-access", "--finalization=disabled", "--upgrade-module-path", "-version:1.8", "-Xdiag", "-Xint", "--", "-", "",
)  # fmt: skip


def _noise(rng: random.Random) -> str:
    """Return random characters, mostly of one kind."""
    top = rng.choice((0x7F, 0xFF, 0x2FFF, 0x10FFFF))
    return "".join(chr(rng.randint(0, top)) for _ in range(rng.randint(0, 12)))


def _mutated(rng: random.Random, text: str) -> str:
    """Return the text with a character taken out, put in, doubled or changed."""
    if not text:
        return text
    at = rng.randrange(len(text))
    return rng.choice(
        (text[:at] + text[at + 1 :], text[:at] + _noise(rng) + text[at:], text[:at] + text[at] + text[at:], text[::-1])
    )


def _listen(rng: random.Random) -> str:
    if rng.random() < 0.3:
        return _noise(rng)
    text = "".join(rng.choice(_LISTEN) for _ in range(rng.randint(1, 6)))
    return _mutated(rng, text) if rng.random() < 0.3 else text


def _vector(rng: random.Random, words: tuple[str, ...]) -> list[str]:
    found = []
    for _ in range(rng.randint(0, 8)):
        choice = rng.random()
        found.append(rng.choice(words) if choice < 0.7 else _mutated(rng, rng.choice(words)) if choice < 0.85 else _noise(rng))
    return found


def _good_or_any(rng: random.Random) -> str:
    return rng.choice(("80", "81,reuseport", "127.0.0.1:80", "53/udp", "unix:/a", "n=82")) if rng.random() < 0.7 else _listen(rng)


def _run(rng: random.Random) -> list[str]:
    head = [word for _ in range(rng.randint(0, 3)) for word in ("-l", _listen(rng))]
    return head + _vector(rng, _WORDS) + (["--", *_vector(rng, _JAVA)] if rng.random() < 0.7 else [])


def _environ(rng: random.Random) -> dict[str, str]:
    names = ("JDK_JAVA_OPTIONS", "CLASSPATH", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS")
    return {name: " ".join(_vector(rng, _JAVA)) for name in names if rng.random() < 0.1}


# What reads input: how the input is made, and who is called with it.
TARGETS: dict[str, tuple[Callable[[random.Random], Any], Callable[[Any], object]]] = {
    "parse_listen": (_listen, parse_listen),
    "number_names": (
        lambda rng: [_good_or_any(rng) for _ in range(rng.randint(0, 5))],
        lambda texts: number_names([parse_listen(text) for text in texts]),
    ),
    "read_request": (_run, read_request),
    "java arguments": (
        lambda rng: (_vector(rng, _JAVA), _environ(rng), rng.choice((0, 17, 21, 22, 23, 24, 25, 99))),
        lambda given: parse(given[0], given[1], jdk_feature=given[2]),
    ),
}


class Surprise(Exception):  # noqa: N818 - it is not an error of the program
    """An outcome that must not be: which target, which input, what came."""


def _outcome(name: str, read: Callable[[Any], object], given: object) -> str:
    """Call a reader and return its outcome in a word; raises Surprise."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            read(given)
    except JvmbindError as error:
        if len(str(error).splitlines()) > 1:
            message = f"{name}: {given!r}: a message of several lines: {error}"
            raise Surprise(message) from error
        return type(error).__name__
    except SystemExit as end:  # argparse, after a help text
        if end.code or not printed.getvalue().startswith("usage: "):
            message = f"{name}: {given!r}: exit with {end.code}: {printed.getvalue()!r}"
            raise Surprise(message) from end
        return "help"
    except BaseException as error:
        message = f"{name}: {given!r}: {traceback.format_exc()}"
        raise Surprise(message) from error
    if printed.getvalue():
        message = f"{name}: {given!r}: printed {printed.getvalue()!r}"
        raise Surprise(message)
    return "accepted"


def fuzz(rounds: int, seed: int) -> dict[str, collections.Counter[str]]:
    """Run `rounds` inputs, spread over the targets, and count the outcomes; raises Surprise."""
    rng = random.Random(seed)
    counts: dict[str, collections.Counter[str]] = {name: collections.Counter() for name in TARGETS}
    names = list(TARGETS)
    for number in range(rounds):
        # A parser of options is built for each command line, which takes longest: fewer of these.
        name = names[number % 4] if number % 4 != 2 or number % 16 == 2 else "parse_listen"
        make, read = TARGETS[name]
        counts[name][_outcome(name, read, make(rng))] += 1
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
    total = sum(outcomes.total() for outcomes in counts.values())
    print(f"{total} inputs, seed {seed}, {time.monotonic() - begun:.1f} s: a result or a JvmbindError each time")
    return 0


if __name__ == "__main__":
    sys.exit(main())
