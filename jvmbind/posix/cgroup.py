"""The control groups that a process is in, of version 1 and 2: cgroups(7), /proc/PID/cgroup.

Used by the supervisor and the commands as the service's or the asking user, and by the broker as root.
"""

from __future__ import annotations

import contextlib

from jvmbind.record import NamedTuple


class Group(NamedTuple):
    """A group of one hierarchy: its controllers as the kernel writes them, "" for version 2, and its path in it."""

    controllers: str
    path: str

    def folder(self, controller: str) -> str:
        """Return where the hierarchy is mounted by custom, "" where it does not have the controller."""
        if not self.controllers:
            return "/sys/fs/cgroup"
        return f"/sys/fs/cgroup/{controller}" if controller in self.controllers.split(",") else ""


def groups(pid: int | str) -> list[Group]:
    """Return the groups of a process in the kernel's order, none where they cannot be read. Names may be anything."""
    found = []
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            found.append(Group(controllers, path))
    return found
