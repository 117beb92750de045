"""Reading from a socket whose peer may pass open files along, and closing it.

Runs in the supervisor, which has no use for any file and asks for none: the kernel then closes what came with a message.
For a TCP connection with SO_LINGER and unsent data, or a Unix socket that holds one, that is waited for, as long as the
sender likes, where this process is the last that has it. A signal ends the wait.
Sources: unix(7) on SCM_RIGHTS, socket(7) on SO_LINGER, timer_create(2); net/core/stream.c, sk_stream_wait_close().
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import struct
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_TICK = 0.005  # seconds
_LONGEST = 1.0  # seconds of a pause
_RATE = 20  # times as long a peer waits afterwards as it has made this process wait
# Of the signals that are not passed on to the application: Python ignores it, and children get its default back.
_SIGNAL = signal.SIGXFSZ
_MONOTONIC, _SIGEV_SIGNAL = 1, 0
_SIGEVENT = struct.Struct("=Qii48x")  # struct sigevent: value, signo, notify
_ITIMERSPEC = struct.Struct("=4q")  # struct itimerspec: interval and first, each seconds and nanoseconds


class Reading:
    """What a block of reading has cost."""

    pause = 0.0
    """Seconds for which its peers are not to be read from again, so that they cost a bounded share of the time."""


class _Timer:
    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._timer = ctypes.c_void_p()
        self.fired = False
        signal.signal(_SIGNAL, self._fire)
        if self._libc.timer_create(_MONOTONIC, _SIGEVENT.pack(0, _SIGNAL, _SIGEV_SIGNAL), ctypes.byref(self._timer)):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def _fire(self, *_: object) -> None:
        self.fired = True

    def set(self, seconds: float) -> None:
        nanoseconds = int(seconds * 1e9)
        self._libc.timer_settime(self._timer, 0, _ITIMERSPEC.pack(0, nanoseconds, 0, nanoseconds), None)


_timer: _Timer | None = None
_depth = 0


@contextlib.contextmanager
def reading() -> Iterator[Reading]:
    """Do not wait long for what is closed in this block; raises OSError where there is no timer to be had."""
    global _timer, _depth  # noqa: PLW0603 - one for the process, which has one thread
    if _timer is None:
        _timer = _Timer()
    result, begun, before = Reading(), time.monotonic(), resource.getrusage(resource.RUSAGE_THREAD)
    if _depth == 0:
        _timer.fired = False
        _timer.set(_TICK)
    _depth += 1
    try:
        yield result
    finally:
        _depth -= 1
        if _depth == 0:
            _timer.set(0)
        took = time.monotonic() - begun
        after = resource.getrusage(resource.RUSAGE_THREAD)
        # A processor that others had meanwhile, and memory that was not there, are nobody's fault.
        waited = after.ru_nvcsw > before.ru_nvcsw and after.ru_majflt == before.ru_majflt
        result.pause = min(took * _RATE, _LONGEST) if _timer.fired and waited else 0.0
