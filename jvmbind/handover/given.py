"""The descriptors on which the application has its listeners, and the idle sockets that stand in for listeners.

Runs in the responder. Which descriptor
is a listener is asked of the kernel each time (its inode): the application may have closed or reused the number.
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

    from jvmbind.spec import ListenSpec

_PAUSE_PATIENCE = 0.1  # seconds
_WAKING = 0.002  # seconds, for a thread that was woken


class Given:
    """What the application has of each listener, by the listener's index."""

    def __init__(self, specs: Sequence[ListenSpec], fds: Sequence[int], *, memory: int, pid: int, libc: ctypes.CDLL) -> None:
        """Prepare for `specs` with their descriptors `fds`; `memory` reads the worker's memory, `pid` is the worker."""
        self._specs = specs
        self._fds = fds
        self._inodes = [os.fstat(fd).st_ino for fd in fds]
        self._by_inode = {inode: index for index, inode in enumerate(self._inodes)}
        self._memory = memory
        self._pid = pid
        self._libc = libc
        self._given: list[list[int]] = [[] for _ in specs]
        self._own: dict[int, int] = {}  # listener -> the inode of the application's own Unix socket in its place
        self._unsettled: dict[int, tuple[int, int]] = {}  # fd -> its former open file, the inode that it has now
        self._idle: dict[int, Idle] = {}  # listener -> the idle socket that stands in for it
        self._asleep: set[int] = set()  # listeners on which a thread may still wait by the open file that was there before
        self._unreachable: set[int] = set()
        self._own_connections = OwnConnections(specs, fds)
        self._left: list[tuple[int, Idle]] = []  # (listener, idle socket that stood in for it)

    def of(self, index: int) -> list[int]:
        """Return the application's descriptors of a listener that it has not closed, and forget the others."""
        inodes = self._inodes_of(index)
        self._given[index] = [fd for fd in self._given[index] if inode_of(fd) in inodes]
        return self._given[index]

    def is_given(self, index: int, inode: int) -> bool:
        """Whether an open file of the application is this listener, or what stands in for it."""
        return inode in self._inodes_of(index)

    def index_of(self, fd: int) -> int:
        """Return the index of the listener that `fd` is, or that it stands in for; -1 for any other descriptor."""
        inode = inode_of(fd)
        standing_in = (index for index, idle in self._idle.items() if inode == idle.inode)
        return self._by_inode.get(inode, next(standing_in, -1))

    def _inodes_of(self, index: int) -> set[int]:
        found = {self._inodes[index], self._own.get(index, self._inodes[index])}
        return {*found, self._idle[index].inode} if index in self._idle else found

    def now(self, index: int) -> int:
        """Return the descriptor to be given at this moment: the listener, or what stands in for it."""
        return self._idle[index].fd if index in self._idle else self._fds[index]

    def add(self, index: int, fd: int) -> None:
        """Note a descriptor that is the listener already."""
        self._given[index].append(fd)

    def add_own(self, index: int, fd: int) -> None:
        """Note the application's own socket, which it has in the place of the listener."""
        self._own[index] = inode_of(fd)
        self._given[index].append(fd)

    def put(self, index: int, fd: int) -> None:
        """Make the application's `fd` the listener, with the epoll registrations that it had; raises OSError."""
        listener = self.now(index)
        if os.get_blocking(fd) and fd not in self._unsettled:
            self._unsettled[fd] = os.dup(fd), inode_of(listener)
            os.dup2(listener, fd, inheritable=False)
        else:
            for error in self._move([Move(fd, listener, {inode_of(fd)})]).values():
                raise error
        self._given[index].append(fd)

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
        idle = (idle.fd for idle in self._idle.values())
        return {*self._fds, *idle, *(given for fds in self._given for given in fds)}

    def _names(self) -> set[str]:
        """Return the names in /proc/self/fd that are listeners, so no epoll instances: the search stays short."""
        given = [fd for index in range(len(self._specs)) for fd in self.of(index)]
        return {str(fd) for fd in (*self._fds, *(idle.fd for idle in self._idle.values()), *given)}

    def drain(self, indexes: Sequence[int]) -> None:
        """Put idle sockets in the place of listeners: the application sees quiet sockets and keeps what it has.

        Raises OSError when all was done that can be; the application may then have a listener on some of its descriptors
        still, or again.
        """
        alone = [[index] for index in indexes if self._specs[index].protocol == "udp"]  # see _await_pause
        together = [index for index in indexes if [index] not in alone]
        for_each([*alone, together], self._drain)

    def _drain(self, indexes: Sequence[int]) -> None:
        self.settle()
        moves: dict[int, list[Move]] = {}
        try:
            for_each(indexes, lambda index: self._to_idle(index, moves))
        finally:
            failures = self._move([one for several in moves.values() for one in several])
            self._asleep |= self._interrupt([index for index, several in moves.items() if several])
        for error in failures.values():
            raise error

    def _to_idle(self, index: int, moves: dict[int, list[Move]]) -> None:
        """Prepare the moves of a listener, and the idle socket where there is none yet; raises OSError."""
        if index in self._idle:
            # What did not get the listener back when it was to have it.
            expected = self._inodes_of(index) - {self._idle[index].inode}
            given = [fd for fd in self.of(index) if inode_of(fd) in expected]
            moves[index] = [Move(fd, self._idle[index].fd, expected) for fd in given]
            return
        idle, expected = idle_like(self._fds[index]), self._inodes_of(index)
        given = self.of(index)
        self._idle[index] = idle
        with contextlib.suppress(OSError, IndexError):  # an agent in C may wait in accept(2), see HandOver._give
            os.set_blocking(idle.fd, os.get_blocking(given[0]))
        carry_over(self._fds[index], idle.fd, self._specs[index], skip=HOP_LIMITS)
        if self._specs[index].protocol == "udp" and given:
            self._await_pause(given)
        moves[index] = [Move(fd, idle.fd, expected) for fd in given]

    def _interrupt(self, indexes: Sequence[int]) -> set[int]:
        """Let threads that wait on listeners look anew at what the numbers name.

        Returns the listeners on which one waits that cannot be told to.
        """
        fds = {fd: index for index in indexes for fd in self.of(index)}
        return {fds[fd] for fd in interrupt(fds, memory=self._memory, pid=self._pid, libc=self._libc)}

    def port(self, index: int) -> int:
        """Return the port of the idle socket that stands in for a TCP listener."""
        return int(self._idle[index].address[1])

    def _await_pause(self, fds: Sequence[int]) -> None:
        """Wait until a thread waits on one of `fds`, so that the answer to a datagram in work still leaves by the listener.

        Not for long: a program that never waits is one that never pauses.
        """
        end = time.monotonic() + _PAUSE_PATIENCE
        while time.monotonic() < end and not waits_now(fds, self._memory, self._pid):
            time.sleep(0.0005)

    def undrain(self, indexes: Iterable[int]) -> None:
        """Give listeners back; raises OSError where that did not go well for each descriptor, and may then be tried again."""
        moves: dict[int, list[Move]] = {}
        for_each([index for index in indexes if index in self._idle], lambda index: self._to_listener(index, moves))
        failures = self._move([one for several in moves.values() for one in several])
        back = [index for index, several in moves.items() if failures.keys().isdisjoint(one.fd for one in several)]
        left = [(index, self._idle.pop(index)) for index in back]
        self._left += left
        self._asleep.difference_update(back)
        for _, idle in left:
            os.close(idle.fd)
        with contextlib.suppress(OSError):  # then the next client wakes who sleeps, see `sleepers`
            self._wake(left)
        for error in failures.values():
            raise error

    def _to_listener(self, index: int, moves: dict[int, list[Move]]) -> None:
        idle, given = self._idle[index], self.of(index)
        if given:
            restore(self._fds[index], self._specs[index])
            carry_over(idle.fd, self._fds[index], self._specs[index], skip=HOP_LIMITS)
        moves[index] = [Move(fd, self._fds[index], {idle.inode}) for fd in given]

    def _wake(self, left: Sequence[tuple[int, Idle]]) -> None:
        asleep = self._interrupt([index for index, _ in left])
        self.rouse()
        # A thread that sleeps there would wake with the next client; a connection of our own spares it the wait.
        for index, idle in left:
            is_tcp = self._specs[index].protocol == "tcp"
            if index in asleep and (index, idle) in self._left and is_tcp and reach(self._fds[index]):
                self.rouse()

    def sleepers(self) -> set[int]:
        """Return the listeners for which a thread still sleeps on an idle socket; call `rouse` when one is readable."""
        return {self._fds[index] for index, _ in self._left}

    def rouse(self) -> None:
        """Wake the threads that poll an idle socket whose place the listener has taken again.

        poll(2) waits on the open file that it began with, but looks at the descriptor anew each time that it is woken, and
        returns only if that is ready. So the idle socket is touched when the listener is readable.
        """
        for index, idle in list(self._left):
            poll = select.poll()
            poll.register(self._fds[index], select.POLLIN)
            if poll.poll(0):
                knock(idle)
                time.sleep(_WAKING)
            if not is_alive(idle):
                self._left.remove((index, idle))
                if idle.door >= 0:
                    os.close(idle.door)

    def knock(self) -> None:
        """Make a connection to each idle TCP socket, and end it at once: for the application to accept, see `answered`.

        A thread that could not be interrupted when the idle socket took the listener's place does not see that: poll(2)
        keeps the open file. So the listener gets such a connection too; it wakes every thread that polls it, in each process.
        """
        for index, idle in self._idle.items():
            if self._specs[index].protocol == "tcp":
                knock(idle)
                if index in self._asleep and not reach(self._fds[index]):
                    self._unreachable.add(index)

    def watch_own_connections(self) -> int:
        """Return a descriptor that is readable when `wake_who_is_called` has something to look at; raises OSError."""
        return self._own_connections.watch(index for index in self._idle if self.of(index))

    def wake_who_is_called(self) -> None:
        """Where the application has connected to a listener of its own, connect to the idle socket in its place."""
        for index in self._own_connections.new([index for index in self._idle if self.of(index)]):
            knock(self._idle[index])

    def answered(self) -> bool:
        """Whether nothing waits in the accept queue of any idle TCP socket; one that cannot be reached is taken at its word."""
        for index, idle in self._idle.items():
            queue = accept_queue(idle.fd) if self._specs[index].protocol == "tcp" and index not in self._unreachable else None
            if queue is not None and queue.length:
                return False
        return True

    def is_awaited(self, index: int) -> bool:
        """Whether the application waits for connections on a listener."""
        self.settle()
        return somebody_waits(self.of(index), self._memory, self._pid)

    def has_accepted(self, index: int) -> bool:
        """Whether the application has a connection that came through a listener; raises OSError for a shortage."""
        return next(connections([self._specs[index]], self.known_fds()), None) is not None


def listen_again(fd: int, backlog: int) -> None:
    """Make a shared listener listen again, where shutdown(2) by an application ended that; its port stayed bound."""
    with held(fd) as sock:
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            sock.listen(backlog)
