"""Puts listeners where the application has its sockets, and placeholders (idle sockets) where it had a listener.

Runs in the responder.
Sources: dup(2), epoll(7), socket(7).
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time

from jvmbind.handover.connections import connections, somebody_waits, waits_now
from jvmbind.handover.idle import HOP_LIMITS, Idle, idle_like, is_alive, knock
from jvmbind.handover.moving import Move, move, register
from jvmbind.handover.sockets import inode_of
from jvmbind.handover.waking import OwnConnections, interrupt
from jvmbind.posix import epoll
from jvmbind.posix.listening import accept_queue, held, reach
from jvmbind.posix.shortage import for_each
from jvmbind.posix.socket_options import carry_over, restore

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
    from collections.abc import Iterable, Sequence

    from jvmbind.handover.listener import Listener

_PAUSE_PATIENCE = 0.1  # seconds
_WAKING = 0.002  # seconds, for a thread that was woken


class Given:
    """Puts listeners where the application has its sockets, and placeholders where it had a listener."""

    def __init__(self, listeners: Sequence[Listener], *, memory: int, pid: int, libc: ctypes.CDLL) -> None:
        """Prepare for `listeners`; `memory` reads the worker's memory, `pid` is the worker."""
        self._listeners = listeners
        self._by_inode = {one.inode: one for one in listeners}
        self._memory = memory
        self._pid = pid
        self._libc = libc
        self._unsettled: dict[int, tuple[int, int]] = {}  # fd -> its former open file, the inode that it has now
        self._own_connections = OwnConnections(listeners)
        self._left: list[tuple[Listener, Idle]] = []  # with the placeholder whose place the listener has taken again

    def find(self, fd: int) -> Listener | None:
        """Return the listener that `fd` is, or that it stands in for; None for any other descriptor."""
        inode = inode_of(fd)
        return self._by_inode.get(inode) or next((one for one, idle in self._placeholders() if idle.inode == inode), None)

    def _placeholders(self) -> list[tuple[Listener, Idle]]:
        return [(one, one.placeholder) for one in self._listeners if one.placeholder is not None]

    def put(self, one: Listener, fd: int) -> None:
        """Make the application's `fd` the listener, with the epoll registrations that it had; raises OSError."""
        listener = one.fd_now()
        if os.get_blocking(fd) and fd not in self._unsettled:
            self._unsettled[fd] = os.dup(fd), inode_of(listener)
            os.dup2(listener, fd, inheritable=False)
        else:
            for error in self._move([Move(fd, listener, {inode_of(fd)})]).values():
                raise error
        one.add(fd)

    def _move(self, moves: Sequence[Move]) -> dict[int, OSError]:
        return move(moves, self._libc, self._names)

    @property
    def unsettled(self) -> bool:
        """Whether `settle` has something to do; it may wait until no call does."""
        return bool(self._unsettled)

    def settle(self) -> None:
        """Move the epoll registrations of sockets that blocked when they were bound.

        A selector never watches a socket that blocks, and hardly any C code does: such a bind is answered before the
        search. The open file was kept for it, so its registrations are still listed under the number.
        """
        watched = epoll.registrations(self._unsettled, self._names()) if self._unsettled else []
        unsettled, self._unsettled = self._unsettled, {}
        for kept, _ in unsettled.values():
            os.close(kept)  # the last descriptor of that file: the kernel takes its registrations out
        register((one for one in watched if inode_of(one.fd) == unsettled[one.fd][1]), self._libc)

    def known_fds(self) -> set[int]:
        """Return the descriptors that are listeners or stand in for one."""
        idle = (idle.fd for _, idle in self._placeholders())
        return {*(one.fd for one in self._listeners), *idle, *(fd for one in self._listeners for fd in one.last_known_fds())}

    def _names(self) -> set[str]:
        """Return the names in /proc/self/fd that are listeners, so no epoll instances: the search stays short."""
        given = [fd for one in self._listeners for fd in (one.fd, *one.fds())]
        return {str(fd) for fd in (*given, *(idle.fd for _, idle in self._placeholders()))}

    def drain(self, listeners: Sequence[Listener]) -> None:
        """Put idle sockets in the place of listeners: the application sees quiet sockets and keeps what it has.

        Raises OSError when all was done that can be; the application may then have a listener on some of its descriptors
        still, or again.
        """
        alone = [[one] for one in listeners if one.spec.protocol == "udp"]  # see _await_pause
        together = [one for one in listeners if one.spec.protocol != "udp"]
        for_each([*alone, together], self._drain)

    def _drain(self, listeners: Sequence[Listener]) -> None:
        self.settle()
        moves: dict[Listener, list[Move]] = {}
        try:
            for_each(listeners, lambda one: self._to_placeholder(one, moves))
        finally:
            failures = self._move([one for several in moves.values() for one in several])
            for one in self._interrupt([one for one, several in moves.items() if several]):
                one.asleep = True
        for error in failures.values():
            raise error

    def _to_placeholder(self, one: Listener, moves: dict[Listener, list[Move]]) -> None:
        """Prepare the moves of a listener, and its placeholder where there is none yet; raises OSError."""
        if one.placeholder is not None:
            # What did not get the listener back when it was to have it.
            expected = one.inodes() - {one.placeholder.inode}
            moves[one] = [Move(fd, one.placeholder.fd, expected) for fd in one.fds() if inode_of(fd) in expected]
            return
        idle, expected = idle_like(one.fd), one.inodes()
        given = one.fds()
        one.placeholder = idle
        with contextlib.suppress(OSError, IndexError):  # an agent in C may wait in accept(2), see HandOver._give
            os.set_blocking(idle.fd, os.get_blocking(given[0]))
        carry_over(one.fd, idle.fd, one.spec, skip=HOP_LIMITS)
        if one.spec.protocol == "udp" and given:
            self._await_pause(given)
        moves[one] = [Move(fd, idle.fd, expected) for fd in given]

    def _interrupt(self, listeners: Sequence[Listener]) -> set[Listener]:
        """Let threads that wait on listeners look anew at what the numbers name.

        Returns the listeners on which one waits that cannot be told to.
        """
        fds = {fd: one for one in listeners for fd in one.fds()}
        return {fds[fd] for fd in interrupt(fds, memory=self._memory, pid=self._pid, libc=self._libc)}

    def _await_pause(self, fds: Sequence[int]) -> None:
        """Wait until a thread waits on one of `fds`, so that the answer to a datagram in work still leaves by the listener.

        Not for long: a program that never waits is one that never pauses.
        """
        end = time.monotonic() + _PAUSE_PATIENCE
        while time.monotonic() < end and not waits_now(fds, self._memory, self._pid):
            time.sleep(0.0005)

    def undrain(self, listeners: Iterable[Listener]) -> None:
        """Give listeners back; raises OSError where that did not go well for each descriptor, and may then be tried again."""
        moves: dict[Listener, list[Move]] = {}
        for_each([one for one in listeners if one.placeholder is not None], lambda one: self._to_listener(one, moves))
        failures = self._move([one for several in moves.values() for one in several])
        left: list[tuple[Listener, Idle]] = []
        for one, several in moves.items():
            if one.placeholder is not None and failures.keys().isdisjoint(move.fd for move in several):
                left.append((one, one.placeholder))
                one.placeholder, one.asleep = None, False
        self._left += left
        for _, idle in left:
            os.close(idle.fd)
        with contextlib.suppress(OSError):  # then the next client wakes who sleeps, see `sleepers`
            self._wake(left)
        for error in failures.values():
            raise error

    def _to_listener(self, one: Listener, moves: dict[Listener, list[Move]]) -> None:
        idle, given = one.placeholder, one.fds()
        if idle is None:
            return
        if given:
            restore(one.fd, one.spec)
            carry_over(idle.fd, one.fd, one.spec, skip=HOP_LIMITS)
        moves[one] = [Move(fd, one.fd, {idle.inode}) for fd in given]

    def _wake(self, left: Sequence[tuple[Listener, Idle]]) -> None:
        asleep = self._interrupt([one for one, _ in left])
        self.rouse()
        # A thread that sleeps there would wake with the next client; a connection of our own spares it the wait.
        for one, idle in left:
            if one in asleep and (one, idle) in self._left and one.spec.protocol == "tcp" and reach(one.fd):
                self.rouse()

    def sleepers(self) -> set[int]:
        """Return the listeners for which a thread still sleeps on a placeholder; call `rouse` when one is readable."""
        return {one.fd for one, _ in self._left}

    def rouse(self) -> None:
        """Wake the threads that poll a placeholder whose place the listener has taken again.

        poll(2) waits on the open file that it began with, but looks at the descriptor anew each time that it is woken, and
        returns only if that is ready. So the placeholder is touched when the listener is readable.
        """
        for one, idle in list(self._left):
            poll = select.poll()
            poll.register(one.fd, select.POLLIN)
            if poll.poll(0):
                knock(idle)
                time.sleep(_WAKING)
            if not is_alive(idle):
                self._left.remove((one, idle))
                if idle.door >= 0:
                    os.close(idle.door)

    def knock(self) -> None:
        """Make a connection to each TCP placeholder, and end it at once: for the application to accept, see `answered`.

        A thread that could not be interrupted when the placeholder took the listener's place does not see that: poll(2)
        keeps the open file. So the listener gets such a connection too; it wakes every thread that polls it, in each process.
        """
        for one, idle in self._placeholders():
            if one.spec.protocol == "tcp":
                knock(idle)
                if one.asleep and not reach(one.fd):
                    one.unreachable = True

    def watch_own_connections(self) -> int:
        """Return a descriptor that is readable when `wake_who_is_called` has something to look at; raises OSError."""
        return self._own_connections.watch(one for one, _ in self._placeholders() if one.fds())

    def wake_who_is_called(self) -> None:
        """Where the application has connected to a listener of its own, connect to the placeholder in its place."""
        idle = {one: idle for one, idle in self._placeholders() if one.fds()}
        for one in self._own_connections.new(idle):
            knock(idle[one])

    def answered(self) -> bool:
        """Whether nothing waits in the accept queue of any TCP placeholder; one that cannot be reached is taken at its word."""
        for one, idle in self._placeholders():
            queue = accept_queue(idle.fd) if one.spec.protocol == "tcp" and not one.unreachable else None
            if queue is not None and queue.length:
                return False
        return True

    def is_awaited(self, one: Listener) -> bool:
        """Whether the application waits for connections on a listener."""
        self.settle()
        return somebody_waits(one.fds(), self._memory, self._pid)

    def has_accepted(self, one: Listener) -> bool:
        """Whether the application has a connection that came through a listener; raises OSError for a shortage."""
        return next(connections([one.spec], self.known_fds()), None) is not None


def listen_again(fd: int, backlog: int) -> None:
    """Make a shared listener listen again, where shutdown(2) by an application ended that; its port stayed bound."""
    with held(fd) as sock:
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            sock.listen(backlog)
