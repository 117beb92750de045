"""What the application does on its listeners: whether somebody waits for connections, and what connections there are.

Runs in the responder; looks at the worker through /proc and the sockets themselves, and needs no help from the
application. Everything here raises OSError for a shortage of descriptors or memory: what was not seen may be there.
Sources: proc(5) on /proc/PID/task/TID/syscall, tcp(7) on TCP_INFO, epoll(7).
"""

from __future__ import annotations

import array
import fcntl
import os
import select
import socket
import struct

from jvmbind.handover.traffic import Attention, Traffic
from jvmbind.posix import epoll
from jvmbind.posix.shortage import gone_meanwhile, is_shortage
from jvmbind.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jvmbind.spec import ListenSpec

_EPOLLIN = 1
_POLLIN = 1
_POLLFD = struct.Struct("=ihh")
_POLLFD_MAX = 1024
# By machine: accept, accept4, recvfrom, recvmsg, read, readv; poll, ppoll; epoll_wait, epoll_pwait, epoll_pwait2
_CALLS = {
    "x86_64": ((43, 288, 45, 47, 0, 19), (7, 271), (232, 281, 441)),
    "aarch64": ((202, 242, 207, 212, 63, 65), (73,), (22, 441)),
}
_SIOCINQ = 0x541B
_SIOCOUTQ = 0x5411
# struct tcp_info of linux/tcp.h: tcpi_state; tcpi_last_data_sent and _recv, milliseconds ago; tcpi_bytes_received;
# tcpi_data_segs_in and _out
_TCP_INFO = struct.Struct("=B43xI4xI72xQ16xII")
_CLOSED = 7  # TCP_CLOSE of net/tcp_states.h: the other end has reset the connection
_OPEN = {1, 4, 5}  # TCP_ESTABLISHED, TCP_FIN_WAIT1, TCP_FIN_WAIT2 of net/tcp_states.h: the other end may still send


class Wait(NamedTuple):
    """A thread in a call for input: on descriptors, or on an epoll instance (else -1)."""

    thread: int
    fds: frozenset[int]
    epoll: int


class Connection(NamedTuple):
    """A connection that came through a listener: the application's descriptor of it, and what that is."""

    fd: int
    inode: int


def waits(pid: int, memory: int) -> Iterator[Wait]:
    """Yield the threads of a process that sit in such a call at this moment; `memory` reads its memory."""
    direct, polls, epolls = _CALLS.get(os.uname().machine, ((), (), ()))
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/syscall", encoding="ascii") as file:
                words = file.read().split()
            if len(words) < 3:
                continue  # "running"
            number, first, second = int(words[0]), int(words[1], 16), int(words[2], 16)
            if number in direct:
                yield Wait(int(task), frozenset((first,)), -1)
            elif number in epolls:
                yield Wait(int(task), frozenset(), first)
            elif number in polls:
                data = os.pread(memory, _POLLFD.size * min(second, _POLLFD_MAX), first)
                yield Wait(int(task), frozenset(fd for fd, events, _ in _POLLFD.iter_unpack(data) if events & _POLLIN), -1)
        except OSError as error:
            if is_shortage(error):
                raise
        except (ValueError, struct.error, OverflowError):
            continue  # the thread has gone on meanwhile


def waits_now(fds: Sequence[int], memory: int, pid: int) -> bool:
    """Whether a thread sits in a call on one of `fds` at this moment, or on an epoll instance that watches one."""
    watching = {reg.epoll for reg in epoll.registrations(fds) if reg.events & _EPOLLIN}
    return any(wait.epoll in watching or not wait.fds.isdisjoint(fds) for wait in waits(pid, memory))


def somebody_waits(fds: Sequence[int], memory: int, pid: int) -> bool:
    """Whether one of `fds` is watched by an epoll instance, a thread sits in accept or poll on it, or io_uring is in use."""
    if any(reg.events & _EPOLLIN for reg in epoll.registrations(fds)):
        return True
    return any(not wait.fds.isdisjoint(fds) for wait in waits(pid, memory)) or _has_io_uring()


def _has_io_uring() -> bool:
    """Whether there is an io_uring instance: the kernel shows no accept that waits in one, so it is taken to be there."""
    for fd in os.listdir("/proc/self/fd"):
        with gone_meanwhile:
            if os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:[io_uring]":
                return True
    return False


def traffic(specs: Sequence[ListenSpec], skip: set[int], memory: int, pid: int) -> dict[Connection, Traffic]:
    """Return what is known of each connection that came through a listener."""
    found = {}
    for fd, sock in connections(specs, skip):
        with gone_meanwhile:  # closed meanwhile
            found[Connection(fd, os.fstat(sock.fileno()).st_ino)] = _facts(sock)
    if not found:
        return {}
    read = {fd for wait in waits(pid, memory) for fd in wait.fds}
    watched = {reg.fd for reg in epoll.registrations({one.fd for one in found}) if reg.events & _EPOLLIN}
    return {one: facts._replace(attention=_attention(one.fd, read, watched)) for one, facts in found.items()}


def _attention(fd: int, read: set[int], watched: set[int]) -> Attention:
    if fd in read:
        return Attention.READS
    return Attention.WATCHES if fd in watched else Attention.NONE


def connections(specs: Sequence[ListenSpec], skip: set[int]) -> Iterator[tuple[int, socket.socket]]:
    """Yield each connection that came through a listener: its descriptor, and a socket on a duplicate of that.

    The socket is closed when the next is asked for.
    """
    ports = {spec.port for spec in specs if spec.protocol == "tcp"}
    paths = {spec.path for spec in specs if spec.protocol == "unix"}
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd in skip:
            continue
        with gone_meanwhile:
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(fd)) as sock:
                if sock.type == socket.SOCK_STREAM and _came_through(sock, ports, paths):
                    yield fd, sock


def _came_through(sock: socket.socket, ports: set[int], paths: set[str]) -> bool:
    sock.getpeername()  # OSError: no connection
    if sock.family == socket.AF_UNIX:
        return os.fsdecode(sock.getsockname()) in paths
    return sock.family in {socket.AF_INET, socket.AF_INET6} and sock.getsockname()[1] in ports


def _facts(sock: socket.socket) -> Traffic:
    """Return what the socket says of itself; raises OSError."""
    unread, unsent = _queued(sock, _SIOCINQ), _queued(sock, _SIOCOUTQ)
    if sock.family == socket.AF_UNIX:
        ended = _ended(sock)
        return Traffic(Attention.NONE, bool(ended), bool(ended & select.POLLHUP), unread, unsent, counted=False)
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    state, sent, received, bytes_in, segments_in, segments_out = _TCP_INFO.unpack(info)
    return Traffic(
        Attention.NONE, state not in _OPEN, state == _CLOSED, unread, unsent, sent, received, segments_in, segments_out, bytes_in
    )


def _ended(sock: socket.socket) -> int:
    """Return POLLRDHUP where the other end of a Unix connection has ended its direction, and POLLHUP where it is closed."""
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    return next((events for _, events in poll.poll(0)), 0)


def _queued(sock: socket.socket, request: int) -> int:
    count = array.array("i", [0])
    fcntl.ioctl(sock.fileno(), request, count)
    return count[0]


def half_close(connections: Iterable[Connection]) -> None:
    """Shut the receiving side of connections down: the application reads what has come, then the end of input."""
    for fd, inode in connections:
        with gone_meanwhile, socket.socket(fileno=os.dup(fd)) as sock:
            if os.fstat(sock.fileno()).st_ino == inode:  # not closed meanwhile
                sock.shutdown(socket.SHUT_RD)
