"""The socket behind NOTIFY_SOCKET, whose other end may have stopped: nobody is waited for.

Runs in the supervisor. A datagram that has no room in the other end's queue (net.unix.max_dgram_qlen) would hold the sender
up for as long as nothing is read. Sources: sd_notify(3), unix(7).
"""

from __future__ import annotations

import array
import errno
import os
import socket
import time
from typing import TYPE_CHECKING, NamedTuple

from jvmbind.errors import printable
from jvmbind.posix.fds import passed_fd

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST = 256  # messages that wait, those of the store apart
_SOON, _LATE = 0.02, 0.5  # seconds until what waits is sent again
_LATER = {errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS, errno.EINTR}
_LAST_COUNTS = ("STATUS=", "WATCHDOG=", "EXTEND_TIMEOUT_USEC=")


class _Message(NamedTuple):
    text: str
    fd: int = -1  # a duplicate of our own

    @property
    def is_of_the_store(self) -> bool:
        return self.text.startswith("FDSTORE")


class NotifySocket:
    """Messages in the order in which they were sent."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Look at the environment; nothing is sent yet. `fd:N` instead of an address is a socket of jvmbind.Service's."""
        address = environ.get("NOTIFY_SOCKET", "")
        fd = passed_fd(environ)
        self._address = ""
        self._socket: socket.socket | None = None
        if fd >= 0:
            self._socket = socket.socket(fileno=fd)
        elif address.startswith(("/", "@")):
            self._address = address.replace("@", "\0", 1) if address[0] == "@" else address
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._unsent: list[_Message] = []
        self._pause = _SOON
        self._again = 0.0

    @property
    def is_there(self) -> bool:
        """Whether there is anybody to speak to."""
        return self._socket is not None

    def send(self, text: str, fd: int = -1) -> None:
        """Send one message, now or later; a program that started the service gets no descriptors."""
        if self._socket is None or (fd >= 0 and not self._address):
            return
        if text.startswith(_LAST_COUNTS):
            key = text.partition("=")[0] + "="
            self._unsent = [one for one in self._unsent if not one.text.startswith(key)]
        if fd >= 0:
            try:
                fd = os.dup(fd)  # the listener may be closed before this is sent
            except OSError:
                return
        # One variable a line: a control character in a value would begin another, and systemd believes this process.
        self._unsent.append(_Message("\n".join(map(printable, text.split("\n"))), fd))
        if len(self._unsent) > _MOST:
            oldest = next((one for one in self._unsent if not one.is_of_the_store), None)
            if oldest is not None:
                self._unsent.remove(oldest)
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as there is room."""
        progress = False
        while self._unsent and self._send_now(self._unsent[0]):
            progress = True
            message = self._unsent.pop(0)
            if message.fd >= 0:
                os.close(message.fd)
        self._pause = _SOON if progress else min(2 * self._pause, _LATE)
        self._again = time.monotonic() + self._pause

    def _send_now(self, message: _Message) -> bool:
        """Send; return whether that is done with, which it is as well where the other end has gone: the service goes on."""
        if self._socket is None:
            return True
        flags = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [message.fd]))] if message.fd >= 0 else []
        try:
            self._socket.sendmsg([message.text.encode()], rights, flags, *([self._address] if self._address else []))
        except OSError as error:
            return error.errno not in _LATER
        return True

    def look(self, now: float) -> None:
        """Send what waits, if it is time to."""
        if self._unsent and now >= self._again:
            self.flush()

    def deadline(self) -> float | None:
        """Return when `look` must be called (monotonic), None where nothing waits."""
        return self._again if self._unsent else None

    def close(self) -> None:
        """Forget all."""
        for message in self._unsent:
            if message.fd >= 0:
                os.close(message.fd)
        self._unsent.clear()
        if self._socket is not None:
            self._socket.close()
