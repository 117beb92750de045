"""Signals as events: a descriptor that becomes readable, and says who sent each.

Runs in the supervisor. A handler of Python's would not tell a signal of the terminal from one of kill(2), and the
terminal sends its signals to the worker as well. Sources: signalfd(2), sigaction(2) on si_code.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_SI_KERNEL = 0x80  # the terminal, among others
_SIZE = 128  # sizeof(struct signalfd_siginfo)
_FIELDS = struct.Struct("=IiiI")  # ssi_signo, ssi_errno, ssi_code, ssi_pid
_SIGSET_BYTES = 128  # sizeof(sigset_t) of glibc and musl


class Received(NamedTuple):
    """One signal, and whether the kernel itself sent it (a key of the terminal) and not a process."""

    number: int
    from_kernel: bool


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
        number, _, code, _ = _FIELDS.unpack_from(data, start)
        found.append(Received(number, code == _SI_KERNEL))
    return found
