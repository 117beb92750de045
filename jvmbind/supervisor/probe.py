"""Finds out whether a client gets served: a connection that leaves the accept queue, or an HTTP answer.

Runs in the supervisor, for who asks for it by `ready`. Otherwise the worker says that the application waits on its
listeners, which can be seen from outside: a connection of ours, however short, is a client to the server, and some log
it, keep it, or never stop reading from it. The queue of a listening TCP socket is read with TCP_INFO.
"""

from __future__ import annotations

import os
import socket
import sys

from jvmbind.posix.listening import accept_queue, reach
from jvmbind.posix.process import Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jvmbind.spec import ListenSpec, ServiceSpec

PROBE_INTERVAL = 0.01  # seconds between two looks at the accept queue


class AcceptProbe:
    """One connection to each TCP listener; done when somebody has taken a connection from each queue.

    The connection is closed at once and waits in the queue like that: a server that serves one client after the other
    reads the end of input and goes on, instead of waiting for a request that never comes.
    """

    def __init__(self, specs: Sequence[ListenSpec], fds: Sequence[int]) -> None:
        """Connect to every TCP listener that this machine can reach; the others are taken at their word."""
        self._longest: dict[int, int] = {}
        for spec, fd in zip(specs, fds, strict=True):
            if spec.protocol == "tcp" and spec.listens and reach(fd):
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


class HttpProbe:
    """A helper process that asks an HTTP address until it gives the expected status: jvmbind.supervisor.ask."""

    def __init__(self, spec: ServiceSpec, environ: Mapping[str, str], instead: tuple[str, int] | None = None) -> None:
        """Start the helper, which connects to `instead` where that is given; raises OSError."""
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ask.py")
        self._answered = False
        words = [spec.ready, str(spec.ready_status), *map(str, instead or ())]
        self._process: Process | None = Process([sys.executable, "-I", script, *words], environ, {})

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
            self._process.end()
            self._process = None


def begin_probe(
    spec: ServiceSpec, fds: Sequence[int], environ: Mapping[str, str], *, hidden: Mapping[int, int] | None
) -> AcceptProbe | HttpProbe | None:
    """Return what asks in the way of `spec.ready`, None where there is nothing to ask; raises OSError.

    `hidden` holds the loopback ports on which the listeners are rehearsed (index -> port). A generation accepts there
    before it is heard of; only an HTTP address needs a question.
    """
    if "://" not in spec.ready:
        return AcceptProbe(spec.listeners, fds) if spec.ready == "connect" and hidden is None else None
    if hidden is None:
        return HttpProbe(spec, environ)
    from urllib.parse import urlsplit  # noqa: PLC0415 - for a reload with an HTTP probe alone

    parts = urlsplit(spec.ready)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    for index, there in hidden.items():
        if spec.listeners[index].port == port:
            with socket.socket(fileno=os.dup(fds[index])) as listener:
                host = "::1" if listener.family == socket.AF_INET6 else "127.0.0.1"
            return HttpProbe(spec, environ, (host, there))
    return None
