"""Wakes threads of the application that sleep on a listener which another socket has taken the place of.

Runs where the hand-over is answered, as the service user; looks at the worker through /proc. Two kinds of sleep need it.
A call that began before the exchange waits on the open file that it began with: poll(2) looks at the descriptor anew
only when that file wakes it. And a program that ends may wake its own accepting thread by a connection to its own port
(Tomcat's unlockAccept), which waits in the listener's queue while that thread waits on the idle socket.
Sources: proc(5), tgkill(2), signal(7); NativeThread.c and linux_close.c of the JDK.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket

from jvmbind.handover.connections import waits
from jvmbind.posix.listening import TCP_CLOSE_WAIT, TCP_ESTABLISHED, accept_queue, tcp_rows
from jvmbind.posix.shortage import gone_meanwhile
from jvmbind.posix.signals import Disposition, disposition

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from jvmbind.handover.listener import Listener

# The JDK's own way to end a call that blocks: each of its system calls is made again, or ends if the channel was closed.
_INTERRUPT = signal.SIGRTMAX - 2


def interrupt(fds: Collection[int], *, memory: int, pid: int, libc: ctypes.CDLL) -> set[int]:
    """Let the threads that sit in accept, receive or poll on `fds` make that call again, on what the numbers name by now.

    Returns those on which one sits that cannot be told so: one of a process without a handler for the JDK's signal, which
    would then end it.
    """
    caught, asleep = disposition(pid, _INTERRUPT) == Disposition.CAUGHT, set[int]()
    for wait in waits(pid, memory) if fds else ():
        on = wait.fds.intersection(fds)
        if caught and on:
            libc.tgkill(pid, wait.thread, int(_INTERRUPT))
        else:
            asleep |= on
    return asleep


class OwnConnections:
    """Finds the connections that an application makes to its own listeners while it ends."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        """Know of none yet."""
        self._fds = {one.fd for one in listeners}
        self._known: set[tuple[Listener, int]] = set()  # (listener, the other end's port)
        self._events: select.epoll | None = None

    def watch(self, among: Iterable[Listener]) -> int:
        """Return a descriptor that is readable when something has come to one of the listeners, until the next `new`.

        Edges alone are told: clients that wait for the next generation stay in the queue. Raises OSError.
        """
        if self._events is None:
            self._events = select.epoll()
        for one in among:
            with contextlib.suppress(FileExistsError):
                self._events.register(one.fd, select.EPOLLIN | select.EPOLLET)
        return self._events.fileno()

    def new(self, among: Collection[Listener]) -> set[Listener]:
        """Return the listeners, `among` those that the application had, to which it has connected since the last call.

        Of the sockets of one port, one for each family, it had one.
        """
        if self._events is not None:
            self._events.poll(0)
        by_port = {one.spec.port: one for one in among if one.spec.protocol == "tcp" and one.spec.listens}
        found = {*_open(by_port, self._fds), *_queued(by_port), *_unix(among)} - self._known
        self._known |= found
        return {one for one, _ in found}


def _queued(by_port: dict[int, Listener]) -> Iterator[tuple[Listener, int]]:
    """Connections that wait in the queue and that this machine has made and closed again.

    One that was closed with a reset (SO_LINGER) still has its place there, but is in no table any more: each such
    place counts, by a number below 0.
    """
    lengths = {one: queue.length for one in by_port.values() if (queue := accept_queue(one.fd)) and queue.length}
    if not lengths:
        return
    rows = list(tcp_rows())
    held = {_port(row[1]) for row in rows if row[9] != "0"}
    for row in rows:
        one = by_port.get(_port(row[1]))
        if one is None or one not in lengths or row[9] != "0" or row[3] not in {TCP_ESTABLISHED, TCP_CLOSE_WAIT}:
            continue
        lengths[one] -= 1
        if _port(row[2]) not in held and row[1].rpartition(":")[0] == row[2].rpartition(":")[0]:
            yield one, _port(row[2])
    for one, unseen in lengths.items():
        if unseen > 0:
            yield one, -unseen


def _unix(among: Collection[Listener]) -> Iterator[tuple[Listener, int]]:
    """The queue of a Unix listener does not say who waits in it, so the first that comes counts."""
    for one in among:
        if one.spec.protocol == "unix" and _is_readable(one.fd):
            yield one, 0


def _open(by_port: dict[int, Listener], skip: set[int]) -> Iterator[tuple[Listener, int]]:
    """Yield the application's own ends: sockets whose other end is a listener's port of the same address.

    To `skip` is what this process holds itself: with a duplicate of the socket of a bind-only listener it would close its
    leases, see posix.bind_only.
    """
    for name in os.listdir("/proc/self/fd") if by_port else ():
        with gone_meanwhile:
            if int(name) in skip or not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(name))) as sock:
                if sock.family in {socket.AF_INET, socket.AF_INET6} and sock.type == socket.SOCK_STREAM:
                    here, there = sock.getsockname(), sock.getpeername()
                    if there[1] in by_port and here[0] == there[0]:
                        yield by_port[there[1]], here[1]


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def _is_readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
