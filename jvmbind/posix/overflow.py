"""The number that stands for every user who is not in this user namespace. Runs as any user. Source: user_namespaces(7)."""

from __future__ import annotations

import contextlib


def overflow_id() -> int:
    """Return that number, -1 where everybody is in the namespace; it is that of a user who may be in it as well."""
    with contextlib.suppress(OSError, ValueError):
        with open("/proc/self/uid_map", encoding="ascii") as lines:
            if [line.split() for line in lines] == [["0", "0", "4294967295"]]:
                return -1
        with open("/proc/sys/kernel/overflowuid", encoding="ascii") as number:
            return int(number.read())
    return 65534
