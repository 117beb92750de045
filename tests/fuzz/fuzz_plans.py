"""Throws hostile plans at root's reader: `python tests/fuzz/fuzz_plans.py [ROUNDS] [SEED]`.

Anybody may run it; nothing is bound. A plan is one that jvmbind writes, cut, mixed, doubled and changed, or noise. It is
refused with NotPermittedError, or every field of it is within its bounds; anything else ends this with status 1 and the plan.
"""

from __future__ import annotations

import collections
import ipaddress
import random
import sys

from jvmbind.errors import NotPermittedError
from jvmbind.root.plan import Plan, read_plan
from jvmbind.spec import NAME_MAX, UNIX_PATH_MAX, ListenSpec

ROUNDS = 1_000_000
_KEYS = [
    "user",
    "group",
    "name",
    "chosen",
    "control",
    "made",
    "direct",
    "limit",
    "rest",
    "listen",
    "protocol",
    "host",
    "port",
    "app_port",
    "path",
    "mode",
    "backlog",
    "reuseport",
    "v6only",
    "freebind",
    "device",
    "bind_only",
    "rcvbuf",
    "defer_accept",
    "fastopen",
    "inherited",
    "stored",
    "optional",
    "of",
    "ipv4",
    "fd",
    "sent",
    "uid",
    "gid",
    "x",
]
_VALUES = (
    "",
    "0",
    "1",
    "-1",
    "80",
    "65535",
    "65536",
    "007",
    "1e3",
    "4294967295",
    "9" * 19,
    "9" * 30,
    "tcp",
    "udp",
    "unix",
    "sctp",
    "root",
    "www-data",
    "shop",
    ".",
    "..",
    "../x",
    "a/b",
    "/",
    "/run/a.sock",
    "//",
    "/x" * 60,
    "/a/",
    "127.0.0.1",
    "::",
    "::1%lo",
    "fe80::1%" + "x" * 20,
    "localhost",
    "1.2.3",
    "lo",
    "e/0",
    "nofile:1:2",
    "nofile:-1:-1",
    "nofile:1",
    "a:b:c",
    "NOFILE:1:2",
    "\u0663",
    "\udcff",
    "x" * 600,
    "=",
    "a=b",
)
_GOOD = (
    "user=www-data",
    "group=daemon",
    "name=shop",
    "chosen=1",
    "control=1",
    "direct=1",
    "limit=nofile:1024:-1",
    "rest={}",
    "listen=http",
    "protocol=tcp",
    "port=80",
    "app_port=8080",
    "host=::1",
    "backlog=4096",
    "listen=dns",
    "protocol=udp",
    "port=53",
    "listen=a",
    "protocol=unix",
    "path=/run/a.sock",
    "mode=432",
    "listen=b",
    "protocol=tcp",
    "port=81",
    "fd=3",
    "inherited=1",
)


def hostile(rng: random.Random) -> bytes:
    """Return a plan that jvmbind would not write, or now and then one that it would."""
    items = list(_GOOD)
    for _ in range(rng.randint(0, 4)):
        at, how = rng.randrange(len(items) + 1), rng.randrange(6)
        if how == 0:
            items.insert(at, f"{rng.choice(_KEYS)}={rng.choice(_VALUES)}")
        elif how == 1:
            del items[at : at + rng.randint(1, 3)]
        elif how == 2:
            items[at : at + 1] = [f"{item.partition('=')[0]}={rng.choice(_VALUES)}" for item in items[at : at + 1]]
        elif how == 3:
            items.insert(at, rng.choice(_GOOD))
        elif how == 4:
            rng.shuffle(items)
        else:
            items.insert(at, "".join(chr(rng.randint(0, 0x2FF)) for _ in range(rng.randint(0, 9))))
    data = "".join(f"{item}\0" for item in items).encode(errors="surrogateescape")
    if not rng.randrange(8):
        data = data[: rng.randrange(len(data) + 1)] + bytes(rng.randrange(256) for _ in range(rng.randrange(9)))
    return data


def wrong(plan: Plan) -> str:
    """Return which field of an accepted plan is out of its bounds, "" for none."""
    spec_types = {name: type(default) for name, default in ListenSpec._field_defaults.items()}
    name = plan.name
    if name and (len(name) > NAME_MAX or not name.isascii() or "/" in name or not name[0].isalnum()):
        return "name"
    if len({fd for _, fd in plan.listeners if fd != -1}) != sum(fd != -1 for _, fd in plan.listeners):
        return "fd"
    for resource, soft, hard in plan.limits:
        if not resource.isalpha() or not all(-1 <= value < 2**63 for value in (soft, hard)):
            return "limit"
    for spec, fd in plan.listeners:
        if spec.protocol == "unix":
            if (
                not spec.path.startswith("/")
                or len(spec.path.encode(errors="surrogateescape")) > UNIX_PATH_MAX
                or "\0" in spec.path
            ):
                return "path"
        elif spec.protocol not in {"tcp", "udp"} or not 1 <= spec.port <= 65535 or spec.path:
            return "port"
        if spec.host is not None:
            ipaddress.ip_address(spec.host.partition("%")[0])
        if (fd >= 0) != spec.inherited or not 0 <= spec.mode <= 0o777 or not 0 <= spec.backlog < 2**31 or len(spec.device) > 15:
            return "listener"
        if any(type(getattr(spec, key)) is not kind for key, kind in spec_types.items() if key != "host"):
            return "type"
    return ""


def fuzz(rounds: int, seed: int) -> collections.Counter[str]:
    """Read `rounds` plans and count the outcomes; raises AssertionError with the plan that was wrongly accepted."""
    rng = random.Random(seed)
    counts: collections.Counter[str] = collections.Counter()
    for _ in range(rounds):
        data = hostile(rng)
        try:
            plan = read_plan(data)
        except NotPermittedError as error:
            counts["of several lines"] += len(str(error).splitlines()) != 1
            counts["refused"] += 1
        else:
            assert wrong(plan) == "", (wrong(plan), data)
            counts["accepted"] += 1
    return counts


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    print(dict(fuzz(*(given + [ROUNDS, 1][len(given) :]))))
