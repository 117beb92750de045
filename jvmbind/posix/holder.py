"""Finds out who holds an address that is in use, for an error message.

Runs with no privilege but what `jvmbind.root.holder` lends it: root sees the descriptors of every process, another user its own.
Source: proc(5).
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jvmbind.spec import ListenSpec

_TCP_LISTEN = "0A"


def holder_of(spec: ListenSpec, find: Callable[[str], int]) -> str:
    """Return ` by NAME (pid N)`, ` by user NAME`, or "" where nothing can be known."""
    inodes = _unix_inodes(spec.path) if spec.protocol == "unix" else _inet_inodes(spec)
    for inode in inodes:
        found = _name(find(f"socket:[{inode}]"))
        if found:
            return f" by {found}"
    for uid in inodes.values():
        try:
            return f" by a process of user {pwd.getpwuid(uid).pw_name}"
        except KeyError:
            return f" by a process of user {uid}"
    return ""


def _inet_inodes(spec: ListenSpec) -> dict[int, int]:
    """Map the inode of each socket on the port to the uid of its owner (fields of /proc/net/tcp)."""
    found = {}
    for table in (spec.protocol, spec.protocol + "6"):
        try:
            lines = Path(f"/proc/self/net/{table}").read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) != spec.port:
                continue
            if (spec.protocol == "udp" or fields[3] == _TCP_LISTEN) and int(fields[9]):
                found[int(fields[9])] = int(fields[7])
    return found


def _unix_inodes(path: str) -> dict[int, int]:
    try:
        uid = os.lstat(path).st_uid
        lines = Path("/proc/self/net/unix").read_text(encoding="utf-8", errors="replace").splitlines()[1:]
    except OSError:
        return {}
    return {int(line.split()[6]): uid for line in lines if line.endswith(" " + path)}


def _name(fd: int) -> str:
    """Return the name and the number of a process, of which /proc/PID/comm is open; "" for any other file."""
    with os.fdopen(fd, "rb") as comm:
        path = os.readlink(f"/proc/self/fd/{fd}")
        if not path.endswith("/comm"):
            return ""
        return f"{comm.read(64).decode('utf-8', 'replace').strip()} (pid {path.split('/')[-2]})"
