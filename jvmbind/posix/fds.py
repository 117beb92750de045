"""File descriptors over exec: which are passed, under which numbers and names, and that no other is.

Runs in the launcher, the supervisor and the worker. Sources: sd_listen_fds(3), dup(2), memfd_create(2).
"""

from __future__ import annotations

import fcntl
import os

from jvmbind.errors import SystemFailureError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LISTEN_FDS_START = 3


def open_fds(pid: int | str = "self") -> list[int]:
    """Return the numbers of the open descriptors of a process, without the one that reads them; raises OSError."""
    numbers = sorted(int(name) for name in os.listdir(f"/proc/{pid}/fd"))
    if pid != "self":
        return numbers
    return [fd for fd in numbers if _is_open(fd)]


def _is_open(fd: int) -> bool:
    try:
        fcntl.fcntl(fd, fcntl.F_GETFD)
    except OSError:
        return False
    return True


def arrange_for_exec(fds: Sequence[int]) -> None:
    """Put `fds` on 3, 4, 5, ... to be kept over exec, and close every other descriptor above 2; raises OSError."""
    above = LISTEN_FDS_START + len(fds)
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above) for fd in fds]
    for number, fd in enumerate(moved, LISTEN_FDS_START):
        os.dup2(fd, number, inheritable=True)
    for fd in open_fds():
        if fd >= above:
            os.close(fd)


def passed_fd(environ: Mapping[str, str]) -> int:
    """Return the descriptor on which `jvmbind.Service` is told how the service is, -1 where there is none."""
    kind, _, number = environ.get("NOTIFY_SOCKET", "").partition(":")
    return int(number) if kind == "fd" and number.isascii() and number.isdigit() else -1


def clear_standard_fds(inode: int) -> None:
    """Put /dev/null on those of 0, 1 and 2 that are the socket with this inode, where inetd(8) has put it.

    Raises SystemFailureError.
    """
    try:
        null = os.open("/dev/null", os.O_RDWR)
    except OSError as error:
        msg = f"a socket on standard input: /dev/null, which takes its place, cannot be opened ({error.strerror})"
        raise SystemFailureError(msg) from error
    for standard in range(3):
        if os.fstat(standard).st_ino == inode:
            os.dup2(null, standard)
    os.close(null)


def sealed_memory(name: str, data: bytes) -> int:
    """Return a descriptor of a memory file with `data` that nobody can change any more; raises OSError."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    # F_ADD_SEALS with F_SEAL_SEAL, _SHRINK, _GROW, _WRITE: fcntl(2)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
    return fd


def read_memory(fd: int) -> bytes:
    """Return the whole content of a file that was passed as a descriptor, and close it; raises OSError."""
    try:
        data = b""
        while chunk := os.pread(fd, 1 << 20, len(data)):
            data += chunk
        return data
    finally:
        os.close(fd)
