"""Finds out whether a client gets served: a connection that leaves the accept queue, or an HTTP answer.

Runs in the supervisor. The queue of a listening TCP socket is read with TCP_INFO, so no protocol has to be known and a
connection that says nothing leaves no line in the server's log. Source: tcp(7); inet_csk_listen and tcp_get_info in the
kernel: for a listener tcpi_unacked is the length of the accept queue and tcpi_sacked its limit.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from typing import TYPE_CHECKING, NamedTuple

from jvmbind.posix.process import Process
from jvmbind.spec import is_wildcard

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jvmbind.spec import ListenSpec, ServiceSpec

_QUEUE = struct.Struct("=24xII")
_SO_MEMINFO = 55  # asm-generic/socket.h
_MEMINFO = struct.Struct("=9I")  # SK_MEMINFO_VARS of linux/sock_diag.h; the last is SK_MEMINFO_DROPS
PROBE_INTERVAL = 0.01  # seconds between two looks at the accept queue


class Queue(NamedTuple):
    """An accept queue: connections that wait, and how many may."""

    length: int
    limit: int


def accept_queue(fd: int) -> Queue | None:
    """Return the accept queue of a listening TCP socket, None where the kernel does not say."""
    with socket.socket(fileno=os.dup(fd)) as sock:
        try:
            return Queue(*_QUEUE.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _QUEUE.size)))
        except (OSError, struct.error):
            return None


def dropped(fd: int) -> int | None:
    """Return how many connections a listener has lost to a full queue (sk_drops, by SO_MEMINFO), None if unknown."""
    with socket.socket(fileno=os.dup(fd)) as sock:
        try:
            return int(_MEMINFO.unpack(sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))[8])
        except (OSError, struct.error):
            return None


class AcceptProbe:
    """One connection to each TCP listener; done when somebody has taken a connection from each queue.

    The connection is closed at once and waits in the queue like that: a server that serves one client after the other
    reads the end of input and goes on, instead of waiting for a request that never comes.
    """

    def __init__(self, specs: Sequence[ListenSpec], fds: Sequence[int]) -> None:
        """Connect to every TCP listener that this machine can reach; the others are taken at their word."""
        self._longest: dict[int, int] = {}
        for spec, fd in zip(specs, fds, strict=True):
            if spec.protocol == "tcp" and spec.listens and _connect(fd):
                self._longest[fd] = 0

    def is_done(self) -> bool:
        """Whether each queue has become empty, or shorter than it was (asked every PROBE_INTERVAL)."""
        for fd, longest in list(self._longest.items()):
            queue = accept_queue(fd)
            if queue is None or queue.length == 0 or queue.length < longest:
                del self._longest[fd]
            else:
                self._longest[fd] = queue.length
        return not self._longest

    def close(self) -> None:
        """Give up."""
        self._longest.clear()


def _connect(fd: int) -> bool:
    with socket.socket(fileno=os.dup(fd)) as listener:
        family, address = listener.family, listener.getsockname()
    host = address[0]
    if is_wildcard(host):
        host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
        # A wildcard is reached over the loopback device in no time; an address of a device that is down, never.
        sock.settimeout(0.2)
        try:
            sock.connect((host, address[1]))
        except OSError:
            return False
    return True


class HttpProbe:
    """A helper process that asks an HTTP address until it gives the expected status: jvmbind.supervisor.ask."""

    def __init__(self, spec: ServiceSpec, environ: Mapping[str, str]) -> None:
        """Start the helper; raises OSError."""
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ask.py")
        self._answered = False
        self._process: Process | None = Process([sys.executable, "-I", script, spec.ready, str(spec.ready_status)], environ, {})

    @property
    def pid(self) -> int:
        """The process id of the helper, 0 once it has ended."""
        return self._process.pid if self._process is not None else 0

    def is_done(self) -> bool:
        """Whether the helper has got its answer."""
        ended = self._process.reap() if self._process is not None else None
        if ended is not None:
            self._process = None
            self._answered = ended.status == 0 and not ended.signal
        return self._answered

    def close(self) -> None:
        """Give up."""
        if self._process is not None:
            self._process.kill(9)
            os.waitid(os.P_PIDFD, self._process.pidfd, os.WEXITED)
            os.close(self._process.pidfd)
            self._process = None
