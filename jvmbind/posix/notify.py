"""What the service manager is told: sd_notify(3). Does nothing without NOTIFY_SOCKET.

Runs in the supervisor. The worker never sees NOTIFY_SOCKET: what Java prints there would be believed. `jvmbind.Service` passes
a descriptor instead of an address (`NOTIFY_SOCKET=fd:N`): to an address any process of the machine could send, and this one
would wait for a place in a queue that others have filled. Sources: sd_notify(3), sd_watchdog_enabled(3), unix(7),
systemd.service(5) on TimeoutStartSec= and FileDescriptorStoreMax=.
"""

from __future__ import annotations

import os
import time

from jvmbind.posix.notify_socket import ANSWER, EVENT, NotifySocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Mapping

    from jvmbind.spec import ListenSpec

_EXTEND_EVERY = 5.0  # seconds
_EXTEND_BY = 30_000_000  # microseconds


class Notifier:
    """Speaks to the service manager."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Look at the environment; nothing is sent yet."""
        self._socket = NotifySocket(environ)
        self._on = self._socket.is_there
        self._is_ready = False
        self._next_extend = time.monotonic()
        self._watchdog = 0.0
        self.healthy = True
        if self._on and environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
            try:
                self._watchdog = int(environ.get("WATCHDOG_USEC", "0")) / 2_000_000
            except ValueError:
                self._watchdog = 0.0
        self._next_watchdog = time.monotonic() + self._watchdog
        self._stored: dict[int, str] = {}  # inode -> name, of each socket in the manager's store
        for name in environ.get("LISTEN_FDNAMES", "").split(":"):
            inode = name.rpartition("@")[2]
            if "@" in name and inode.isdecimal():
                self._stored[int(inode)] = name

    def _send(self, text: str, fd: int = -1) -> None:
        self._socket.send(text, fd)

    def ready(self, status: str) -> None:
        """Say that clients get served."""
        self._is_ready = True
        self._send(f"READY=1\nSTATUS={_one_line(status)}")

    def status(self, text: str) -> None:
        """Say how things stand, in words."""
        self._send(f"STATUS={_one_line(text)}")

    def reloading(self) -> None:
        """Say that a reload begins; `ready` ends it. MONOTONIC_USEC is what Type=notify-reload asks for."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    @property
    def program(self) -> socket.socket | None:
        """The connection to the program that started the service by `jvmbind.Service`, None where it was another."""
        return self._socket.program

    @property
    def unread(self) -> int:
        """How many messages wait because the other end has not read those before."""
        return self._socket.unread

    def event(self, values: str) -> None:
        """Tell the program what has happened, as JSON; sd_notify(3) leaves names that begin with X_ to us."""
        self._send(f"{EVENT}={values}")

    def answer(self, values: str) -> None:
        """Answer a request of the program's, as JSON."""
        self._send(f"{ANSWER}={values}")

    def stopping(self) -> None:
        """Say that the service ends."""
        self._send("STOPPING=1")

    def store_listeners(self, listeners: Iterable[tuple[ListenSpec, int]], *, again: bool = False) -> None:
        """Give the manager a copy of each listener that it has not, so that they outlive this process.

        FDPOLL=0: systemd watches what it stores and drops a TCP socket that is bound but does not listen.
        FDSTOREREMOVE drops all of a name, and a reload may open another socket for a listener that there is, or give its
        name to another: the name of each holds its inode, and stays as long as the socket does. A store that is full
        takes nothing and does not say so: `again` tells it of those that it should have; systemd keeps each socket once.
        """
        for spec, fd in listeners:
            inode = os.fstat(fd).st_ino
            if again or inode not in self._stored:
                self._stored.setdefault(inode, f"{spec.name}@{inode}")
                self._send(f"FDSTORE=1\nFDNAME={self._stored[inode]}\nFDPOLL=0", fd)

    def forget_listener(self, fd: int) -> None:
        """Take a listener out of the manager's store, before its descriptor is closed."""
        self._forget(os.fstat(fd).st_ino)

    def forget_others(self, fds: Iterable[int]) -> None:
        """Take out of the manager's store what an earlier life has left there and this one has not taken over."""
        known = {os.fstat(fd).st_ino for fd in fds}
        for inode in set(self._stored) - known:
            self._forget(inode)

    def _forget(self, inode: int) -> None:
        name = self._stored.pop(inode, "")
        if name:
            self._send(f"FDSTOREREMOVE=1\nFDNAME={name}")

    def let_go(self) -> None:
        """Send nothing any more: another object in this process does."""
        self._socket.let_go()

    def keep_alive(self, *, starting: bool) -> None:
        """Extend the start time-out while a slow JVM starts, and feed the watchdog while the service is healthy."""
        now = time.monotonic()
        self._socket.look(now)
        if self._on and not self._is_ready and now >= self._next_extend:
            self._next_extend = now + _EXTEND_EVERY
            if starting:
                self._send(f"EXTEND_TIMEOUT_USEC={_EXTEND_BY}")
        if self._watchdog and now >= self._next_watchdog:
            self._next_watchdog = now + self._watchdog
            if self.healthy:
                self._send("WATCHDOG=1")

    def deadlines(self) -> list[float]:
        """Return when `keep_alive` must be called again (monotonic)."""
        found = [self._next_watchdog] if self._watchdog else []
        again = self._socket.deadline()
        found += [again] if again is not None else []
        return [*found, self._next_extend] if self._on and not self._is_ready else found


def _one_line(text: str) -> str:
    return " ".join(text.split())
