"""Starts a worker by exec, with what it is to have and nothing else.

Runs in the supervisor as the service user. The first worker is started while the supervisor loads its other modules: this
one imports none of them.
"""

from __future__ import annotations

import fcntl
import os
import time

from jvmbind.bare import signal, socket
from jvmbind.posix import role
from jvmbind.posix.fds import LISTEN_FDS_START, sealed_memory
from jvmbind.posix.process import Process
from jvmbind.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jvmbind.spec import ServiceSpec


class Started(NamedTuple):
    """A worker's process, this end of its socket, and when it was started (seconds of the monotonic clock)."""

    process: Process
    socket: socket.socket
    at: float


class Starter:
    """Starts the workers of a service; in each the signals of `mask` are blocked. `first` has been started before."""

    def __init__(self, mask: Iterable[int] = (), first: Started | None = None) -> None:
        self._mask = mask
        self._first = first

    def start(self, spec: ServiceSpec, listeners: Sequence[int], environ: Mapping[str, str], *, parked: bool) -> Started:
        """Start a worker, or return the first; raises OSError."""
        first, self._first = self._first, None
        return first or start_worker(spec, listeners, environ, parked=parked, mask=self._mask)


def start_worker(
    spec: ServiceSpec, listeners: Sequence[int], environ: Mapping[str, str], *, parked: bool, mask: Iterable[int]
) -> Started:
    """Start a worker, in a session of its own, with the listeners on 3, 4, 5, ...; raises OSError."""
    at = time.monotonic()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    memory = -1
    above: list[int] = []
    try:
        memory = sealed_memory("jvmbind-spec", spec.packed())
        # The worker's end blocks: a report waits for the supervisor and is never lost.
        theirs.setblocking(True)
        spec_at = LISTEN_FDS_START + len(listeners)
        # All moved above the numbers that they get in the worker: there one move after the other is made, and none
        # may overwrite the source of the next.
        for fd in (*listeners, memory, theirs.fileno()):
            above.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, spec_at + 2))  # noqa: PERF401 - closed if a later one fails
        fds = dict(enumerate(above, LISTEN_FDS_START))
        blocked = {*mask, signal.SIGINT}
        announced = role.announce(spec_at, spec_at + 1, os.getpid(), parked=parked, unblock=blocked != set(mask), name=spec.name)
        command = role.command("worker", spec.script or spec.java_arguments)
        return Started(Process(command, {**environ, **announced}, fds, mask=blocked, session=True), ours, at)
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
        for fd in above if memory < 0 else (*above, memory):
            os.close(fd)
