"""The sockets of bind-only listeners while the application has connections on them.

Runs in the worker. Sources: see jvmbind.posix.bind_only.
"""

from __future__ import annotations

import time

from jvmbind.posix import bind_only

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jvmbind.handover.listener import Listener

_PATIENCE = 2.0  # seconds that a bind waits for a socket, where all have a connection
_PEER_PATIENCE = 60.0  # seconds for the peer's end: tcp_fin_timeout of tcp(7)


class Connecting:
    """Which sockets this worker has leased, and which of them the application has closed."""

    def __init__(self) -> None:
        """Know of none yet."""
        self._leased: set[Listener] = set()
        self._ending: dict[Listener, float] = {}  # socket that the application has closed -> when
        self._waiting: dict[int, float] = {}  # descriptor of a bind that waits -> until when

    @property
    def is_busy(self) -> bool:
        """Whether `look` is to be called in a moment."""
        return bool(self._leased or self._waiting)

    def free_socket(self, fd: int, among: Sequence[Listener]) -> Listener | None:
        """Lease one of these sockets for the bind of `fd`, and return it; None where each has a connection."""
        self.look()
        for one in among:
            if one in self._leased or one.fds():
                continue
            if one.spec.of and not bind_only.lease(one.declared.fd, one.spec):
                continue
            self._leased.add(one)
            if bind_only.is_closed(one.fd):
                self._waiting.pop(fd, None)
                return one
            self._end(one)  # somebody had it who lives no more
        return None

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
        for one in list(self._leased):
            if one.fds():
                continue
            if one not in self._ending:
                self._end(one)
            if now - self._ending[one] > _PEER_PATIENCE and bind_only.waits_for_peer(one.fd):
                bind_only.release(one.fd)
            if bind_only.is_closed(one.fd):
                bind_only.release(one.fd)
                del self._ending[one]
                self._leased.remove(one)
                if one.spec.of:
                    bind_only.give_back(one.declared.fd, one.spec)
        return waited

    def _end(self, one: Listener) -> None:
        self._ending[one] = time.monotonic()
        if bind_only.end(one.fd):
            bind_only.release(one.fd)
