"""Throws random configuration files at what reads them: `python tests/fuzz/fuzz_configs.py [ROUNDS] [SEED]`.

Anybody may run it; nothing is bound or started. A file is made of the keys of the schema, near misses and values of every kind
of TOML, in order or not, and some are cut or have bytes changed. Each gives a request that survives being written and read, or
a ConfigurationError of one printable line that begins with the file's name; anything else ends this with status 1 and the file.
"""

from __future__ import annotations

import collections
import random
import sys
import time

from jvmbind.config.load import read_text
from jvmbind.config.request import Request
from jvmbind.config.schema import FIELDS, build
from jvmbind.errors import ConfigurationError

ROUNDS = 1_000_000
_KEYS = [*FIELDS, "listen.http", "listen.https", "security.limits.nofile", "security.limits.core"]
_VALUES = [
    '"80"', '"443:8443"', '"127.0.0.1:53/udp"', '"unix:/run/x.sock"', "80", "0", "-1", "1.5", "1e400", "nan", "inf", "true",
    "false", '""', '"shop"', '"www-data:www-data"', '"/srv/x.jar"', '"x.jar"', '"auto"', '"overlap"', '"on-failure"', '"bind"',
    '"notify"', '"http://localhost/health"', '"json"', '"status"', '["status", "reload"]', '["-Xmx1g"]', "[1, 2]", "[]",
    '["a", "a"]', "[[1]]", '"022"', '"0o22"', '"64:128"', '"unlimited"', "[443, 5432]", "1979-05-27", "07:32:00", "{ a = 1 }",
    "'\\x'", '"\\u0000"', '"\\u001b[31m"', '"\\U0001F600"', '"é"', "99999999999999999999999", "0x7f", '["http=80", "https=443"]',
    '"x\\ny"', '["dump", "kill"]', "60", "0.001",
]  # fmt: skip


class Surprise(Exception):  # noqa: N818 - it is no error of the program
    """An outcome that must not be."""


def _document(rng: random.Random) -> bytes:
    """Return a file: most are TOML, some good, some not, and some are cut or turned."""
    chosen = [rng.choice(_KEYS) for _ in range(rng.randint(0, 6))]
    if rng.random() < 0.7:
        chosen = sorted(set(chosen), key=lambda key: ("." in key, key))
    lines = ['java.jar = "/x.jar"'] if rng.random() < 0.6 else []
    for key in chosen:
        name = key
        if rng.random() < 0.1:
            place = rng.randrange(len(name))
            name = name[:place] + rng.choice(("", "x", ".", "_", '"q q"', "-")) + name[place + rng.randint(0, 1) :]
        lines.append(f"{name} = {rng.choice(_VALUES)}")
    if rng.random() < 0.2:
        rng.shuffle(lines)
    data = bytearray(rng.choice(("\n", "\n", "\r\n")).join(lines).encode())
    if data and rng.random() < 0.2:
        data = data[: rng.randrange(len(data))]
    for _ in range(rng.choice((0, 0, 0, 0, 1, 3)) if data else 0):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def _outcome(data: bytes) -> str:
    source = "/etc/jvmbind/x.toml"
    try:
        request = build(read_text(source, data), source)
    except ConfigurationError as error:
        text = str(error)
        if not text.startswith(source) or not text.isprintable():
            raise Surprise(f"{data!r}: {text!r}") from error
        return "refused"
    if Request.from_json(request.to_json()) != request:
        raise Surprise(f"{data!r}: not the same once written: {request}")
    return "accepted"


def main() -> int:
    """Run, and print what came."""
    rounds, seed = [*map(int, sys.argv[1:3]), *(ROUNDS, 1)[len(sys.argv) - 1 :]]
    rng, counts, begun = random.Random(seed), collections.Counter[str](), time.monotonic()
    for _ in range(rounds):
        data = _document(rng)
        try:
            counts[_outcome(data)] += 1
        except Surprise as surprise:
            print(f"seed {seed}: {surprise}")
            return 1
        except Exception as error:  # noqa: BLE001 - of any kind
            print(f"seed {seed}: {data!r}: {type(error).__name__}: {error}")
            return 1
    print(", ".join(f"{what} {number}" for what, number in sorted(counts.items())))
    print(f"{rounds} inputs, seed {seed}, {time.monotonic() - begun:.1f} s: a request or one line each time")
    return 0


if __name__ == "__main__":
    sys.exit(main())
