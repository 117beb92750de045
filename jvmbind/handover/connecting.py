"""The sockets of bind-only listeners while the application has connections on them.

Runs in the worker. Sources: see jvmbind.posix.bind_only.
"""

from __future__ import annotations

import time

from jvmbind.posix import bind_only

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jvmbind.handover.given import Given
    from jvmbind.spec import ListenSpec

_PATIENCE = 2.0  # seconds that a bind waits for a socket, where all have a connection
_PEER_PATIENCE = 60.0  # seconds for the peer's end: tcp_fin_timeout of tcp(7)


class Connecting:
    """Which sockets this worker has leased, and which of them the application has closed."""

    def __init__(self, specs: Sequence[ListenSpec], fds: Sequence[int], given: Given) -> None:
        """Know of none yet."""
        self._specs, self._fds, self._given = specs, fds, given
        self._anchors = {spec.name: fd for spec, fd in zip(specs, fds, strict=True) if spec.bind_only and not spec.of}
        self._leased: set[int] = set()
        self._ending: dict[int, float] = {}  # socket that the application has closed -> when
        self._waiting: dict[int, float] = {}  # descriptor of a bind that waits -> until when

    @property
    def is_busy(self) -> bool:
        """Whether `look` is to be called in a moment."""
        return bool(self._leased or self._waiting)

    def free_socket(self, fd: int, indexes: Sequence[int]) -> int:
        """Lease one of these sockets for the bind of `fd`, and return its index; -1 where each has a connection."""
        self.look()
        for index in indexes:
            spec = self._specs[index]
            if index in self._leased or self._given.of(index):
                continue
            if spec.of and not bind_only.lease(self._anchors[spec.of], spec):
                continue
            self._leased.add(index)
            if bind_only.is_closed(self._fds[index]):
                self._waiting.pop(fd, None)
                return index
            self._end(index)  # somebody had it who lives no more
        return -1

    def may_wait(self, fd: int) -> bool:
        """Whether the bind of `fd` may wait longer for a socket."""
        now = time.monotonic()
        until = self._waiting.setdefault(fd, now + _PATIENCE)
        if now >= until:
            del self._waiting[fd]
        return now < until

    def look(self) -> bool:
        """End what the application has closed, and give back what has ended; return whether waiting binds may go on."""
        now, waited = time.monotonic(), bool(self._waiting)
        # A thread that was interrupted never comes back for its answer.
        self._waiting = {fd: until for fd, until in self._waiting.items() if now < until + _PATIENCE}
        for index in list(self._leased):
            if self._given.of(index):
                continue
            if index not in self._ending:
                self._end(index)
            fd, closed_at = self._fds[index], self._ending[index]
            if now - closed_at > _PEER_PATIENCE and bind_only.waits_for_peer(fd):
                bind_only.release(fd)
            if bind_only.is_closed(fd):
                bind_only.release(fd)
                del self._ending[index]
                self._leased.remove(index)
                if self._specs[index].of:
                    bind_only.give_back(self._anchors[self._specs[index].of], self._specs[index])
        return waited

    def _end(self, index: int) -> None:
        self._ending[index] = time.monotonic()
        if bind_only.end(self._fds[index]):
            bind_only.release(self._fds[index])
