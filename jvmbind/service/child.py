"""The process of a service as its starter has it: started by exec, held by a pidfd, heard on a pair of sockets.

Runs in the program. Sources: posix_spawn(3), pidfd_open(2), waitid(2), unix(7); linux/pidfd.h on PIDFD_GET_INFO.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import struct
import sys
from typing import TYPE_CHECKING

from jvmbind.errors import SystemFailureError
from jvmbind.posix.fds import sealed_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jvmbind.config.request import Request
    from jvmbind.service.start import Start

_FIRST = 3  # sd_listen_fds(3); behind the listeners come the request and the connection
_LONGEST = 1.0  # seconds
LARGEST = 262144  # bytes of one packet: more than net.core.wmem_max lets a socket send
# What posix_spawn(3) of Python cannot do. The environment is passed on as it came: an interpreter changes its own (PEP 538).
_ENTER = """import os, sys
if sys.argv[1]: os.chdir(sys.argv[1])
with open("/proc/self/environ", "rb") as file: items = file.read().split(b"\\0")
environ = dict(item.split(b"=", 1) for item in items if b"=" in item)
if b"LISTEN_FDS" in environ: environ[b"LISTEN_PID"] = b"%d" % os.getpid()
os.execve(sys.argv[2], sys.argv[2:], environ)"""
_PIDFD_INFO = struct.Struct("=QQ11Ii")  # struct pidfd_info, its first version
_PIDFD_GET_INFO = 0xC000FF0B | _PIDFD_INFO.size << 16  # _IOWR(0xFF, 11, struct pidfd_info)
_PIDFD_INFO_EXIT = 1 << 3  # Linux 6.15


class Child:
    """One started process, and the connection on which it speaks."""

    def __init__(self, request: Request, start: Start, passed: Sequence[tuple[str, int]]) -> None:
        """Start it in a session of its own, and pass it the sockets of listeners, by their names.

        Raises OSError, SystemFailureError; nothing is left of it then.
        """
        self.owner = os.getpid()
        try:
            self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except BaseException:
            start.close()
            raise
        try:
            with theirs:
                self.socket.setblocking(False)
                if start.die_with_parent:
                    own = os.pidfd_open(os.getpid())
                    try:
                        socket.send_fds(self.socket, [b"0 die-with"], [own])
                    finally:
                        os.close(own)
                self.pid = _spawn(request, start, passed, theirs.fileno())
            self.pidfd = _hold(self.pid)
        except BaseException:
            self.socket.close()
            start.close()
            raise
        start.close(ends=False)
        self.is_open = True  # more may come on the socket

    def read(self) -> list[bytes]:
        """Return the packets that have come; waits for none."""
        found: list[bytes] = []
        while self.is_open:
            try:
                packet = self.socket.recv(LARGEST)
            except BlockingIOError:
                break
            except OSError:
                packet = b""
            self.is_open = bool(packet)
            found += [packet] if packet else []
        return found

    def send(self, packet: bytes, fds: Sequence[int] = ()) -> bool:
        """Send a request, with descriptors; return whether there is anybody to take it.

        Raises BlockingIOError where there is no room.
        """
        try:
            socket.send_fds(self.socket, [packet], fds, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            raise
        except OSError:
            return False
        return True

    def poller(self) -> Callable[[float | None], None]:
        """Return what waits until a packet has come, the process has ended or `wake` was called, at most so many seconds."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        if self.is_open:
            poll.register(self.socket, select.POLLIN)
        most = None if self.is_open else _LONGEST  # there is nothing that `wake` could do

        def wait(left: float | None) -> None:
            left = most if left is None else min(left, most or left)
            poll.poll(None if left is None else max(0.0, left) * 1000 + 1)

        return wait

    def wake(self) -> None:
        """End the wait of another thread, and with it what this end hears and says: shutdown(2)."""
        with contextlib.suppress(OSError):  # the other end is gone already
            self.socket.shutdown(socket.SHUT_RDWR)

    def has_ended(self) -> bool:
        """Whether the process has ended."""
        if self.pidfd < 0:
            return False
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(0))

    def kill(self, number: int) -> bool:
        """Send a signal; return whether there was a process to send it to. Raises OSError."""
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            return False
        return True

    def reap(self) -> int | None:
        """Return the status of the process, which has ended, as a shell shows it; None where the kernel does not tell it."""
        try:
            result = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            result = None  # the program ignores SIGCHLD, or waits for every child itself: wait(2)
        if result is not None:
            return result.si_status if result.si_code == os.CLD_EXITED else 128 + result.si_status
        info = bytearray(_PIDFD_INFO.pack(_PIDFD_INFO_EXIT, *[0] * 13))
        try:
            fcntl.ioctl(self.pidfd, _PIDFD_GET_INFO, info)
        except OSError:
            return None
        mask, *_, code = _PIDFD_INFO.unpack(info)
        if not mask & _PIDFD_INFO_EXIT:
            return None
        return os.WEXITSTATUS(code) if os.WIFEXITED(code) else 128 + os.WTERMSIG(code)

    def close(self) -> None:
        """Close the descriptors."""
        self.is_open = False
        self.socket.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


def _hold(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except BaseException:
        os.kill(pid, signal.SIGKILL)  # not waited for yet, so the number is still its own
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
        raise


def _spawn(request: Request, start: Start, passed: Sequence[tuple[str, int]], notify: int) -> int:
    place = _FIRST + len(passed)
    environ = {name: value for name, value in start.of_launcher.items() if not name.startswith("LISTEN_")}
    environ["NOTIFY_SOCKET"] = f"fd:{place + 1}"
    fds = {**start.fds, **{_FIRST + number: fd for number, (_, fd) in enumerate(passed)}, place + 1: notify}
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    command = [sys.executable, "-I", os.path.join(package, "__main__.py"), "run", "--request-fd", str(place)]
    if passed:
        environ |= {"LISTEN_FDS": str(len(passed)), "LISTEN_FDNAMES": ":".join(name for name, _ in passed)}
    if passed or start.cwd:
        command = [sys.executable, "-I", "-S", "-c", _ENTER, start.cwd, *command]
    moved: list[int] = []
    try:
        memory = sealed_memory("jvmbind-request", request.to_json())
        moved.append(memory)
        actions = []
        for number, fd in {**fds, place: memory}.items():
            # Moved above the numbers that they get, so that no move overwrites the next one's source.
            moved.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, place + 2))
            actions.append((os.POSIX_SPAWN_DUP2, moved[-1], number))
        defaults = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
        return os.posix_spawn(command[0], command, environ, file_actions=actions, setsid=True, setsigmask=[], setsigdef=defaults)
    except ValueError as error:  # a NUL, or '=' in a name, in `environ`
        msg = f"environment of the service: {error}"
        raise SystemFailureError(msg) from error
    finally:
        for fd in moved:
            os.close(fd)
