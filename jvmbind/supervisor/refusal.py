"""Accepts a connection and resets it, in a thread of its own.

Runs in the supervisor as the service user. Whether accept(2) waits is said by the open file (O_NONBLOCK), which workers
share: a hijacked one can change that between any two calls of the supervisor. Then only this thread waits.
Source: socket(7) on SO_LINGER.
"""

from __future__ import annotations

import _thread
import os
import socket
import struct

_PATIENCE = 0.05  # seconds; an accept that does not wait takes microseconds
_LINGER_0 = struct.pack("@ii", 1, 0)


class Refusal:
    """One connection at a time. The thread is started with the first."""

    def __init__(self) -> None:
        """Nothing is asked for yet."""
        self._go, self._done = _thread.allocate_lock(), _thread.allocate_lock()
        self._go.acquire()
        self._done.acquire()
        self._listener = -1  # a descriptor of the thread's own while it has something to do
        self._failed = False
        self._runs = False
        self._ends = False

    def refuse(self, fd: int) -> bool:
        """Reset the first connection in the queue of a listener; False where that cannot be done now."""
        if self._listener >= 0:
            if not self._done.acquire(blocking=False):
                return False  # it still waits
            self._listener = -1
        try:
            listener = os.dup(fd)
        except OSError:  # no descriptor is left
            return False
        if not self._runs:
            try:
                _thread.start_new_thread(self._run, ())
            except RuntimeError:  # no more threads for this user
                os.close(listener)
                return False
            self._runs = True
        self._listener, self._failed = listener, False
        self._go.release()
        if not self._done.acquire(timeout=_PATIENCE):
            return False
        self._listener = -1
        return not self._failed

    def close(self) -> None:
        """Let the thread end, as soon as it does not wait any more; nothing is to be refused after that."""
        self._ends = True
        if self._runs and self._listener < 0:
            self._go.release()

    def _has_ended(self) -> bool:
        return self._ends

    def _run(self) -> None:
        while True:
            self._go.acquire()
            if self._has_ended():
                return
            try:
                with socket.socket(fileno=self._listener) as listener:
                    client, _ = listener.accept()
                    with client:
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
            except BlockingIOError:
                pass  # the client has gone
            except OSError:
                self._failed = True
            self._done.release()
            if self._has_ended():
                return
