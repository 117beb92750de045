"""A script that asks, before it starts its JVM, whether its server answers already, and waits for an answer.

Without jvmbind it would be refused, as nobody listens. Here the listener is there from the start, so the question would
wait in its queue for the JVM that waits for the question. Its connection is shut down at the asking end.
Runs in the worker that runs the script, as the service user. Must not import jpype. Sources: pidfd_getfd(2), shutdown(2),
proc(5) on /proc/net/tcp.
"""

from __future__ import annotations

import ctypes
import os
import socket
import time

from jvmbind.posix.listening import TCP_ESTABLISHED, accept_queue, tcp_rows
from jvmbind.worker.unreached import below

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jvmbind.spec import ListenSpec

_PIDFD_GETFD = 438  # one number on all architectures
_PATIENCE = 1.0  # seconds


class OwnClients:
    """Looks for such questions while no JVM of the script is there that could answer them."""

    def __init__(self, listeners: Sequence[ListenSpec], fds: Sequence[int]) -> None:
        """Begin to look at the queues of the listeners."""
        self._queues = {fd: one.port for one, fd in zip(listeners, fds, strict=True) if one.protocol == "tcp" and one.listens}
        self._since: dict[str, float] = {}  # inode of a socket -> when it was seen first
        self._told = False
        self._libc = ctypes.CDLL(None, use_errno=True)

    def look(self) -> str:
        """Shut down the questions that have waited for a second; return a line about the first one, "" without."""
        ports = {port for fd, port in self._queues.items() if (queue := accept_queue(fd)) is not None and queue.length}
        asking = _asking(ports) if ports else {}
        now = time.monotonic()
        self._since = {inode: self._since.get(inode, now) for inode in asking}
        waiting = {f"socket:[{inode}]": asking[inode] for inode, since in self._since.items() if now - since > _PATIENCE}
        text = ""
        for pid in below(os.getpid()) if waiting else ():
            for fd, target in _descriptors(pid):
                if target in waiting and self._shut_down(pid, fd):
                    text = (
                        text or f"process {pid} of the script ({_name(pid)}) asked port {waiting[target]} whether a server answers"
                    )
        if not text or self._told:
            return ""
        self._told = True
        return f"{text}; the listener is there from the start, so it would have waited for ever: its connection was shut down"

    def _shut_down(self, pid: int, fd: int) -> bool:
        """Shut down a socket of another process, of which it sees the end of input; False where this is not allowed (Yama)."""
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return False
        copy = int(self._libc.syscall(_PIDFD_GETFD, pidfd, fd, 0))
        os.close(pidfd)
        if copy < 0:
            return False
        try:
            with socket.socket(fileno=copy) as sock:
                sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return False  # it has gone meanwhile
        return True


def _asking(ports: set[int]) -> dict[str, int]:
    """Return the inodes of this user's sockets that are connected to a listener and wait in its queue, each with the port."""
    clients: dict[tuple[int, int], str] = {}
    queued: set[tuple[int, int]] = set()
    for row in tcp_rows():
        local, remote = int(row[1].rpartition(":")[2], 16), int(row[2].rpartition(":")[2], 16)
        if row[3] != TCP_ESTABLISHED:
            continue
        if row[9] == "0" and local in ports:  # not accepted yet, so nobody's
            queued.add((remote, local))
        elif remote in ports and int(row[7]) == os.getuid():
            clients[local, remote] = row[9]
    return {inode: ends[1] for ends, inode in clients.items() if ends in queued}


def _descriptors(pid: int) -> list[tuple[int, str]]:
    try:
        return [(int(fd), os.readlink(f"/proc/{pid}/fd/{fd}")) for fd in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        return []  # it has ended, or is closed to this process


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "?"
