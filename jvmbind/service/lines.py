"""What a service prints, as records of a logger.

Runs in the program: in a thread of its own beside a `RunningService`, in the event loop beside an `AsyncRunningService`.
"""

from __future__ import annotations

import os
import select
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from collections.abc import Sequence

    Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]

_INFO = 20  # logging.INFO, which takes 17 ms to load
_LONGEST = 65536  # bytes of one record
_PATIENCE = 10.0  # seconds for a handler of the program's that hangs


class Lines:
    """The read end of a pipe, and the logger that gets its lines."""

    def __init__(self, fd: int, logger: Logger) -> None:
        """Take `fd` over."""
        self.fd = fd
        self._logger = logger
        self._rest = b""
        os.set_blocking(fd, False)

    def read(self) -> bool:
        """Log what has come; return whether more may come."""
        while True:
            try:
                chunk = os.read(self.fd, _LONGEST)
            except BlockingIOError:
                return True
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            for line in lines:
                self._log(line)
            if self._rest and (not chunk or len(self._rest) >= _LONGEST):
                self._log(self._rest)
                self._rest = b""
            if not chunk:
                return False

    def _log(self, line: bytes) -> None:
        self._logger.log(_INFO, "%s", line.decode("utf-8", "replace").removesuffix("\r"))

    def close(self) -> None:
        """Log what is there still, and close the pipe."""
        if self.fd >= 0:
            try:
                self.read()
            finally:
                fd, self.fd = self.fd, -1
                os.close(fd)


class Followers:
    """The threads that log what a service prints: each ends with its pipe, or with the handle."""

    def __init__(self, lines: Sequence[Lines]) -> None:
        """Start them; raises RuntimeError where no thread can be started, and closes the pipes."""
        self._stop = os.eventfd(0, os.EFD_CLOEXEC) if lines else -1
        self._threads: list[threading.Thread] = []
        try:
            for one in lines:
                thread = threading.Thread(target=_follow, args=[one, self._stop], name="jvmbind-lines", daemon=True)
                thread.start()
                self._threads.append(thread)
        except BaseException:
            self.close()
            for one in lines[len(self._threads) :]:
                one.close()
            raise

    def close(self) -> None:
        """Let each log what is there still, and end."""
        if self._stop < 0:
            return
        os.eventfd_write(self._stop, 1)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(_PATIENCE)
        if not any(thread.is_alive() for thread in self._threads):
            os.close(self._stop)
            self._stop = -1


def _follow(lines: Lines, stop: int) -> None:
    poll = select.poll()
    poll.register(lines.fd, select.POLLIN)
    poll.register(stop, select.POLLIN)
    try:
        while lines.read() and not any(fd == stop for fd, _ in poll.poll()):
            pass
    finally:
        lines.close()
