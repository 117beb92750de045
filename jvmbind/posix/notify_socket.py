"""The socket behind NOTIFY_SOCKET, whose other end may have stopped: nobody is waited for.

Runs in the supervisor. A datagram that has no room in the other end's queue (net.unix.max_dgram_qlen) would hold the sender
up for as long as nothing is read. Sources: sd_notify(3), unix(7).
"""

from __future__ import annotations

import array
import contextlib
import errno
import json
import os
import socket
import time

from jvmbind.errors import JvmbindError, SystemFailureError, in_words, printable
from jvmbind.posix.fds import passed_fd
from jvmbind.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST = 256  # messages that wait, those of the store and answers apart
_SOON, _LATE = 0.02, 0.5  # seconds until what waits is sent again
_LATER = {errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS, errno.EINTR}
EVENT, ANSWER, REFUSAL = "X_JVMBIND_EVENT", "X_JVMBIND_ANSWER", "X_JVMBIND_REFUSAL"  # for jvmbind.Service, as JSON
_LAST_COUNTS = ("STATUS=", "WATCHDOG=", "EXTEND_TIMEOUT_USEC=")


class Message(NamedTuple):
    """One message that waits."""

    text: str
    fd: int = -1  # a duplicate of our own

    @property
    def is_of_the_store(self) -> bool:
        """Whether it is about the manager's descriptors."""
        return self.text.startswith("FDSTORE")

    @property
    def is_kept(self) -> bool:
        """Whether it is never dropped for want of room."""
        return self.is_of_the_store or self.text.startswith(ANSWER)  # of which there are no more than requests


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
        self._unsent: list[Message] = []
        self._pause = _SOON
        self._again = 0.0

    @property
    def is_there(self) -> bool:
        """Whether there is anybody to speak to."""
        return self._socket is not None

    @property
    def program(self) -> socket.socket | None:
        """The connection to a program that started the service by `jvmbind.Service`."""
        return None if self._address else self._socket

    @property
    def unread(self) -> int:
        """How many messages wait for room."""
        return len(self._unsent)

    def send(self, text: str, fd: int = -1) -> None:
        """Send one message, now or later; a program that started the service gets no descriptors."""
        if self._socket is None or (fd >= 0 and not self._address):
            return
        if text.startswith(_LAST_COUNTS):
            key = text.partition("=")[0] + "="
            self._unsent = [one for one in self._unsent if not one.text.startswith(key)]
        # One variable a line: a control character in a value would begin another, and systemd believes this process.
        message = Message("\n".join(map(printable, text.split("\n"))), fd)
        if not self._unsent and self._send_now(message) == 0:
            return
        if fd >= 0:
            try:
                message = message._replace(fd=os.dup(fd))  # the listener may be closed before this is sent
            except OSError:
                return
        self._unsent.append(message)
        if len(self._unsent) > _MOST:
            oldest = next((one for one in self._unsent if not one.is_kept), None)
            if oldest is not None:
                self._unsent.remove(oldest)
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as there is room."""
        before, self._unsent = self._unsent, []
        full = store_waits = False
        for message in before:
            error = 0
            if not full and not (store_waits and message.is_of_the_store):
                error = self._send_now(message)
                full = error not in {0, errno.ETOOMANYREFS}
                store_waits |= error == errno.ETOOMANYREFS  # of descriptors on their way, whosever of this user's; words have room
                if not error and message.fd >= 0:
                    os.close(message.fd)
                if not error:
                    continue
            self._unsent.append(message)
        self._pause = _SOON if len(self._unsent) < len(before) else min(2 * self._pause, _LATE)
        self._again = time.monotonic() + self._pause

    def _send_now(self, message: Message) -> int:
        """Send; return an errno where it is to be tried again, and 0 also where the other end has gone: the service goes on."""
        if self._socket is None:
            return 0
        flags = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [message.fd]))] if message.fd >= 0 else []
        try:
            self._socket.sendmsg([message.text.encode()], rights, flags, *([self._address] if self._address else []))
        except OSError as error:
            return error.errno if error.errno in _LATER else 0
        return 0

    def look(self, now: float) -> None:
        """Send what waits, if it is time to."""
        if self._unsent and now >= self._again:
            self.flush()

    def deadline(self) -> float | None:
        """Return when `look` must be called (monotonic), None where nothing waits."""
        return self._again if self._unsent else None

    def let_go(self) -> None:
        """Send nothing any more; what waits, and the connection to a program, is another object's in this process."""
        self._unsent = []
        if self._socket is not None and not self._address:
            self._socket.detach()
        elif self._socket is not None:
            self._socket.close()
        self._socket = None

    def close(self) -> None:
        """Forget all."""
        for message in self._unsent:
            if message.fd >= 0:
                os.close(message.fd)
        self._unsent.clear()
        if self._socket is not None:
            self._socket.close()


def tell_refusal(environ: Mapping[str, str], error: JvmbindError | OSError) -> None:
    """Tell the program that started this process by `jvmbind.Service`, if one did, why the service does not start."""
    fd = passed_fd(environ)
    if fd < 0:
        return
    known = error if isinstance(error, JvmbindError) else SystemFailureError(in_words(error))
    values = {
        "kind": type(known).__name__,
        "message": str(known),
        "listener": known.listener,
        "holder": known.holder,
        "key": known.key,
    }
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fd)) as sock:
        sock.send(f"{REFUSAL}={json.dumps(values)}".encode(), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
