"""One generation: the life of one worker, as its supervisor sees it.

Runs in the supervisor as the service user. What a worker says is checked (jvmbind.wire) and changes no decision but
whether its listeners count as claimed.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from typing import TYPE_CHECKING

from jvmbind.posix import role
from jvmbind.posix.fds import LISTEN_FDS_START, sealed_memory
from jvmbind.posix.process import Process
from jvmbind.wire import MAX_SIZE, Claimed, Listening, Message, decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jvmbind.spec import ServiceSpec

_TRIED_MAX = 20


class Generation:
    """A started worker: its process, its socket, and which listeners it has claimed."""

    def __init__(self, number: int, spec: ServiceSpec, listeners: Sequence[int]) -> None:
        """Start the worker with the listeners on 3, 4, 5, ...; raises OSError."""
        self.number = number
        self.started = time.monotonic()
        self.main_runs = False
        self.claimed: set[int] = set()
        self.tried: list[str] = []
        self._count = len(listeners)
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        memory = sealed_memory("jvmbind-spec", spec.to_json())
        above: list[int] = []
        try:
            # The worker's end blocks: a report waits for the supervisor and is never lost.
            theirs.setblocking(True)
            spec_at = LISTEN_FDS_START + len(listeners)
            # Moved above the numbers that they get in the worker, so that no move there overwrites the next one's source.
            above += [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, spec_at + 2) for fd in (memory, theirs.fileno())]
            fds = {LISTEN_FDS_START + i: fd for i, fd in enumerate(listeners)} | {
                spec_at: above[0],
                spec_at + 1: above[1],
            }
            environ = {**os.environ, **role.announce(spec_at, spec_at + 1, os.getpid())}
            self.process = Process(role.command("worker", spec.java_arguments), environ, fds)
        except OSError:
            self.socket.close()
            raise
        finally:
            theirs.close()
            os.close(memory)
            for fd in above:
                os.close(fd)

    @property
    def has_claimed_all(self) -> bool:
        """Whether every listener is claimed, and main runs."""
        return self.main_runs and len(self.claimed) == self._count

    def messages(self) -> list[Message]:
        """Return what the worker has said since the last call; raises ValueError on what no worker of ours says."""
        found: list[Message] = []
        while True:
            try:
                packet = self.socket.recv(MAX_SIZE + 1)
            except BlockingIOError:
                return found
            except ConnectionResetError:
                packet = b""
            if not packet:
                self.socket.close()
                return found
            message = decode(packet)
            if isinstance(message, Claimed | Listening) and message.listener >= self._count:
                msg = f"a message about listener {message.listener} of {self._count}"
                raise ValueError(msg)
            found.append(message)

    def remember_tried(self, text: str) -> None:
        """Keep what the application tried to bind, for the report of unclaimed listeners; the first few are enough."""
        if text not in self.tried and len(self.tried) < _TRIED_MAX:
            self.tried.append(text)
