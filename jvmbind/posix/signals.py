"""Signals as events: a descriptor that becomes readable, and says who sent each.

Runs in the supervisor, and in the worker that runs a wrapper script. A handler of Python's would not tell a signal of the
terminal from one of kill(2). Sources: signal(7), signalfd(2), sigaction(2) on si_code; kernel/signal.c, sig_ignored(): a
blocked signal is queued even where its disposition is to be ignored, so a signalfd sees it.
"""

from __future__ import annotations

import ctypes
import os
import struct

from jvmbind.bare import signal
from jvmbind.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

_SI_KERNEL = 0x80  # the terminal, among others
_SIZE = 128  # sizeof(struct signalfd_siginfo)
_FIELDS = struct.Struct("=IiiI")  # ssi_signo, ssi_errno, ssi_code, ssi_pid
_SIGSET_BYTES = 128  # sizeof(sigset_t) of glibc and musl


# What a program can be sent that has nothing to do with its children, its own faults, or how it is stopped and continued
# (kill, stop); SIGPIPE and SIGXFSZ, which Python ignores and the JVM handles; 32 and 33 belong to the C library.
ORDINARY = frozenset(signal.valid_signals()) - {
    *(signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ),
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP),
    *(signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCONT),
}


class Disposition:
    """What a process does with a signal."""

    DEFAULT: Final = "default"
    IGNORED: Final = "ignored"
    CAUGHT: Final = "caught"


def disposition(pid: int, number: int) -> str:
    """Return what the process `pid` does with a signal, by proc(5); DEFAULT where that cannot be seen."""
    if _in_mask(pid, number, "SigCgt"):
        return Disposition.CAUGHT
    return Disposition.IGNORED if _in_mask(pid, number, "SigIgn") else Disposition.DEFAULT


def is_blocked(pid: int, number: int) -> bool:
    """Whether the first thread of a process blocks a signal, by proc(5)."""
    return _in_mask(pid, number, "SigBlk")


def _in_mask(pid: int, number: int, name: str) -> bool:
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            mask = next((int(line.partition(":")[2], 16) for line in file if line.startswith(f"{name}:")), 0)
    except (OSError, ValueError):
        return False
    return bool(mask >> (number - 1) & 1)


class Received(NamedTuple):
    """One signal; whether the kernel itself sent it (a key of the terminal) and not a process; and which process did."""

    number: int
    from_kernel: bool
    sender: int = 0


def inherited_mask() -> frozenset[int]:
    """Return the signals that are blocked on this thread: to be called before `block_and_open`."""
    return frozenset(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def block_and_open(numbers: Iterable[int]) -> int:
    """Block the signals on this thread and return a signalfd for them; raises OSError."""
    wanted = set(numbers)
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    mask = bytearray(_SIGSET_BYTES)
    for number in wanted:
        mask[(number - 1) // 8] |= 1 << ((number - 1) % 8)
    libc = ctypes.CDLL(None, use_errno=True)
    fd = int(libc.signalfd(-1, bytes(mask), os.O_NONBLOCK | os.O_CLOEXEC))
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"signalfd: {os.strerror(number)}")
    return fd


def read_signals(fd: int) -> list[Received]:
    """Return the signals that have come."""
    found: list[Received] = []
    try:
        data = os.read(fd, _SIZE * 16)
    except BlockingIOError:
        return found
    for start in range(0, len(data), _SIZE):
        number, _, code, sender = _FIELDS.unpack_from(data, start)
        found.append(Received(number, code == _SI_KERNEL, sender))
    return found
