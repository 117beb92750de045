"""What the application does on its listeners: whether somebody waits for connections, and what connections there are.

Runs in the responder; looks at the worker through /proc and the sockets themselves, and needs no help from the
application. Sources: proc(5) on /proc/PID/task/TID/syscall, tcp(7) on TCP_INFO, epoll(7).
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import socket
import struct
from typing import TYPE_CHECKING

from jvmbind.posix import epoll

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from jvmbind.spec import ListenSpec

_EPOLLIN = 1
_POLLFD = struct.Struct("=ihh")
_POLLFD_MAX = 64
# By machine: accept, accept4, recvfrom, recvmsg; poll, ppoll; epoll_wait, epoll_pwait, epoll_pwait2
_WAITS = {
    "x86_64": ((43, 288, 45, 47), (7, 271), (232, 281, 441)),
    "aarch64": ((202, 242, 207, 212), (73,), (22, 441)),
}
_SIOCINQ = 0x541B
_SIOCOUTQ = 0x5411
# struct tcp_info of linux/tcp.h: tcpi_last_data_sent and _recv, milliseconds ago; tcpi_data_segs_in and _out
_TCP_INFO = struct.Struct("=44xI4xI96xII")
_SAME_MOMENT = 20  # milliseconds in which two times of TCP_INFO may be one tick of the kernel's clock


def waits_now(fds: Sequence[int], memory: int, pid: int) -> bool:
    """Whether a thread sits in a call on one of `fds` at this moment, or on an epoll instance that watches one."""
    watched = {reg.epoll for reg in epoll.registrations(fds)}
    return any(True for _ in sleeping_threads(fds, memory, pid, watched))


def somebody_waits(fds: Sequence[int], memory: int, pid: int) -> bool:
    """Whether one of `fds` is watched by an epoll instance, or a thread sits in accept or poll on it."""
    if any(reg.events & _EPOLLIN for reg in epoll.registrations(fds)):
        return True
    return any(True for _ in sleeping_threads(fds, memory, pid))


def sleeping_threads(fds: Sequence[int], memory: int, pid: int, instances: Collection[int] = ()) -> Iterator[int]:
    """Yield the threads of `pid` that sit in accept, receive or poll on one of `fds`, or wait on an epoll instance."""
    accepts, polls, epolls = _WAITS.get(os.uname().machine, ((), (), ()))
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/syscall", encoding="ascii") as file:
                words = file.read().split()
            if len(words) < 3:
                continue  # "running"
            number, first, second = int(words[0]), int(words[1], 16), int(words[2], 16)
            if (number in accepts and first in fds) or (number in epolls and first in instances):
                yield int(task)
            elif number in polls:
                data = os.pread(memory, _POLLFD.size * min(second, _POLLFD_MAX), first)
                if any(fd in fds for fd, _, _ in _POLLFD.iter_unpack(data)):
                    yield int(task)
        except (OSError, ValueError, struct.error):
            continue  # the thread has gone on meanwhile


def connections(specs: Sequence[ListenSpec], skip: set[int]) -> Iterator[tuple[socket.socket, bool]]:
    """Yield each connection that came through a listener, as a socket on a duplicate, and whether a request is in work.

    A request is taken to be in work where bytes wait to be read or sent, or something was received after the last thing
    that was sent. The socket is closed when the next is asked for.
    """
    ports = {spec.port for spec in specs if spec.protocol == "tcp"}
    paths = {spec.path for spec in specs if spec.protocol == "unix"}
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd in skip:
            continue
        with contextlib.suppress(OSError):
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(fd)) as sock:
                if sock.type != socket.SOCK_STREAM or not _came_through(sock, ports, paths):
                    continue
                yield sock, _is_busy(sock)


def _came_through(sock: socket.socket, ports: set[int], paths: set[str]) -> bool:
    sock.getpeername()  # OSError: no connection
    if sock.family == socket.AF_UNIX:
        return os.fsdecode(sock.getsockname()) in paths
    return sock.family in {socket.AF_INET, socket.AF_INET6} and sock.getsockname()[1] in ports


def _is_busy(sock: socket.socket) -> bool:
    count = array.array("i", [0])
    for request in (_SIOCINQ, _SIOCOUTQ):
        fcntl.ioctl(sock.fileno(), request, count)
        if count[0]:
            return True
    if sock.family == socket.AF_UNIX:
        return False
    sent, received, segments_in, segments_out = _TCP_INFO.unpack(
        sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    )
    if segments_in and not segments_out:
        return True
    return bool(received < sent or (segments_in and received == sent and received < _SAME_MOMENT))


def half_close(specs: Sequence[ListenSpec], skip: set[int]) -> None:
    """Shut the receiving side of every connection down: the application reads what has come, then the end of input."""
    for sock, _ in connections(specs, skip):
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RD)
