"""Writing to a descriptor that others have as well, and whose reader may have stopped, without ever waiting for it.

Runs in the supervisor. O_NONBLOCK belongs to the open file, which the caller and the application share, so it cannot be set.
Sources: pwritev2(2) on RWF_NOWAIT (pipes and sockets since Linux 6.4, terminals never), pipe(7) on PIPE_BUF, poll(2).
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import time

_RWF_NOWAIT = 8  # linux/fs.h
_WITHOUT_NOWAIT = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ESPIPE}
_NOTHING = {errno.EAGAIN, errno.ENOMEM, errno.ENOBUFS}
_PIPE_BUF = 4096  # so many bytes fit into a pipe that poll(2) calls writable
_LAST_WORDS = 1.0  # seconds for a reader that has only fallen behind


class Outlet:
    """Lines on their way to a descriptor; what has no room waits, and what has no room there either is counted."""

    def __init__(self, fd: int, *, most: int = 65536) -> None:
        """Write to `fd`, and keep at most `most` bytes that it does not take."""
        self._fd = self._given = fd
        self._most = most
        self._waiting = bytearray()
        self._lost = 0
        mode = 0
        with contextlib.suppress(OSError):  # closed: nothing is written then
            mode = os.fstat(fd).st_mode
        self._is_file = stat.S_ISREG(mode)
        if stat.S_ISCHR(mode) and os.isatty(fd):
            # The same terminal by an open file of our own, where it may be opened.
            with contextlib.suppress(OSError):
                self._fd = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)

    def waits(self) -> bool:
        """Whether `flush` is to be called again."""
        return bool(self._waiting or self._lost)

    def write(self, text: str) -> None:
        """Write a line, or keep it for later."""
        line = f"{text}\n".encode("utf-8", "surrogateescape")
        self.flush()
        if self._lost or (self._waiting and len(self._waiting) + len(line) > self._most):
            self._lost += 1
            return
        self._waiting += line
        self.flush()

    def flush(self) -> None:
        """Write what waits, as far as there is room."""
        try:
            while self._waiting:
                written = self._write_now(bytes(self._waiting[:_PIPE_BUF]))
                if not written:
                    return
                del self._waiting[:written]
        except OSError:  # nobody reads any more: a closed stderr must not end the service
            self._waiting.clear()
        if self._lost:
            lost, self._lost = self._lost, 0
            self._waiting += f"jvmbind: {lost} lines from jvmbind were dropped: nobody read them\n".encode()
            self.flush()

    def let_go(self) -> None:
        """Write nothing any more: another object has what waits."""
        self._waiting, self._lost = bytearray(), 0
        if self._fd != self._given:
            os.close(self._fd)
            self._fd = self._given

    def close(self) -> None:
        """Write what waits; a reader that has only fallen behind is given a moment."""
        end = time.monotonic() + _LAST_WORDS
        self.flush()
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        while self.waits() and (left := end - time.monotonic()) > 0:
            poll.poll(left * 1000)
            self.flush()

    def _write_now(self, data: bytes) -> int:
        """Return how many bytes were taken at once, 0 where there is no room; raises OSError."""
        if self._is_file:
            return os.write(self._fd, data)
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        if not poll.poll(0):
            return 0
        try:
            try:
                return os.pwritev(self._fd, [data], -1, _RWF_NOWAIT)
            except OSError as error:
                if error.errno not in _WITHOUT_NOWAIT:
                    raise
            return os.write(self._fd, data)
        except OSError as error:
            if error.errno in _NOTHING:
                return 0
            raise
