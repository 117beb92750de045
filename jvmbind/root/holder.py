"""Finds the process that has a socket, for the message that an address is in use.

Runs with privilege: root alone sees the descriptors of every process. Source: proc(5).
"""

from __future__ import annotations

import os


def open_holder(target: str) -> int:
    """Open /proc/PID/comm of a process with a descriptor of `target`, such as `socket:[123]`; /dev/null where there is none."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if any(os.readlink(f"/proc/{pid}/fd/{fd}") == target for fd in os.listdir(f"/proc/{pid}/fd")):
                return os.open(f"/proc/{pid}/comm", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue  # another user's, or it has ended
    return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
