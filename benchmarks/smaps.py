"""The memory of processes as proportional set size, by role and by what the memory is.

Used by speed.py, as root. A page that several processes share counts for each of them in part; so another Python
interpreter on the machine makes these figures smaller. Source: proc(5) on /proc/PID/smaps.
"""

# ruff: noqa: INP001 - programs of their own, no package
from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MAPPING = re.compile(r"^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+\s*(.*)$")
_KINDS = (
    ("JVM and its libraries", re.compile(r"/jvm/|/jdk")),
    ("JPype", re.compile(r"/_jpype|/libstdc")),
    ("Python's extensions", re.compile(r"/lib-dynload/|/site-packages/|/dist-packages/|libffi")),
    ("Python itself", re.compile(r"/python3|libpython")),
    ("C library and others", re.compile(r"^/")),
    ("heap of C and Python", re.compile(r"^\[heap\]")),
)


def _parts(pid: int) -> Iterator[tuple[str, float]]:
    """Give what each mapping of a process is, and its PSS in MiB."""
    what = ""
    for line in Path(f"/proc/{pid}/smaps").read_text(errors="replace").splitlines():
        mapping = _MAPPING.match(line)
        if mapping:
            what = mapping[1]
        elif line.startswith("Pss:"):
            yield what, int(line.split()[1]) / 1024


def _role(pid: int) -> str:
    title = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    words = re.match(r"jvmbind:? (supervisor|responder)", title)
    return words[1] if words else "worker, JVM"


def by_role(pids: Iterable[int]) -> dict[str, float]:
    """Return MiB by role."""
    found: dict[str, float] = {}
    for pid in pids:
        role = _role(pid)
        found[role] = found.get(role, 0.0) + sum(size for _, size in _parts(pid))
    return found


def by_kind(pids: Iterable[int]) -> dict[str, float]:
    """Return MiB by role and kind of memory."""
    found: dict[str, float] = {}
    for pid in pids:
        for what, size in _parts(pid):
            kind = next((name for name, pattern in _KINDS if pattern.search(what)), "other memory of its own")
            key = f"{_role(pid)}: {kind}"
            found[key] = found.get(key, 0.0) + size
    return found
