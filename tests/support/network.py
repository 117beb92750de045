"""A private network namespace for one test, used from the test's own thread. Run by pytest as root.

A socket belongs to the namespace in which it was made, so the test's thread enters the namespace only for
making a socket or starting a process and leaves it at once. The namespace lives as long as its descriptor or
a process in it. Must not import jvmbind.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from .waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
_THREAD_NAMESPACE = "/proc/thread-self/ns/net"
_TCP_LISTEN, _UDP_UNCONNECTED = "0A", "07"

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def set_loopback_up() -> None:
    """Switch on the loopback interface of the calling thread's namespace; raises OSError. Source: netdevice(7)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH14s", b"lo", 0, b"")
        flags = struct.unpack("16sH14s", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", flags | _IFF_UP, b""))


@dataclass(frozen=True, slots=True)
class SocketRow:
    """One line of /proc/net/{tcp,udp,unix}: protocol ("tcp6"), local address, and whether clients can reach it."""

    protocol: str
    local: str
    open: bool
    inode: int


class Network:
    """A network namespace with its loopback interface up and nothing else in it."""

    def __init__(self) -> None:
        """Make the namespace; PermissionError without CAP_SYS_ADMIN."""
        self._failure: OSError | None = None
        self._fd = -1
        # unshare() changes the calling thread only, so a thread that ends leaves nothing changed behind.
        maker = threading.Thread(target=self._make)
        maker.start()
        maker.join()
        if self._failure is not None:
            raise self._failure
        self._inode = os.fstat(self._fd).st_ino

    def _make(self) -> None:
        try:
            _checked(_libc.unshare(CLONE_NEWNET), "unshare(CLONE_NEWNET)")
            self._fd = os.open(_THREAD_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
            set_loopback_up()
        except OSError as failure:
            self._failure = failure

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Put the calling thread into the namespace for the time of the block; children started in it stay there."""
        home = os.open(_THREAD_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _checked(_libc.setns(self._fd, CLONE_NEWNET), "setns")
            try:
                yield
            finally:
                _checked(_libc.setns(home, CLONE_NEWNET), "setns back")
        finally:
            os.close(home)

    def __enter__(self) -> Self:
        """Return the namespace itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End what still runs in the namespace and give it up."""
        self.kill_all()
        os.close(self._fd)

    def open_socket(self, family: int, kind: int) -> socket.socket:
        """Make a socket that belongs to this namespace."""
        with self.entered():
            return socket.socket(family, kind)

    def connect(self, host: str, port: int, timeout: float = 10.0) -> socket.socket:
        """Return a TCP connection made inside the namespace; OSError as the system call gives it."""
        connection = self.open_socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout)
            connection.connect((host, port))
        except OSError:
            connection.close()
            raise
        return connection

    def set_sysctl(self, name: str, value: str) -> None:
        """Write /proc/sys/NAME as this namespace sees it ("net/ipv4/ip_unprivileged_port_start")."""
        with self.entered():
            Path("/proc/sys", name).write_text(value)

    def processes(self) -> list[int]:
        """Return the pid of every living process in the namespace, threads that merely visit excluded.

        With those below them that have gone into a network and a user namespace of their own.
        """
        found, elsewhere = set[int](), set[int]()
        own = os.stat("/proc/self/ns/user").st_ino
        for name in os.listdir("/proc"):
            if name.isdigit() and int(name) != os.getpid():
                with contextlib.suppress(OSError):
                    if os.stat(f"/proc/{name}/ns/net").st_ino == self._inode:
                        found.add(int(name))
                    elif os.stat(f"/proc/{name}/ns/user").st_ino != own:
                        elsewhere.add(int(name))
        before = 0
        while elsewhere and before != len(found):
            before = len(found)
            found |= {pid for pid in elsewhere if _parent(pid) in found}
        return sorted(found)

    def kill_all(self, timeout: float = 10.0) -> list[int]:
        """Kill every process in the namespace, wait until none is left, return those that were there."""
        killed = self.processes()

        def none_left() -> bool:
            # A process that starts another one while it is being killed needs a second look.
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not self.processes()

        wait_until(none_left, timeout, "the end of every process in the namespace")
        return killed

    def sockets(self) -> list[SocketRow]:
        """Return every IPv4, IPv6 and Unix socket of the namespace."""
        rows: list[SocketRow] = []
        with self.entered():
            tables = {name: Path("/proc/thread-self/net", name).read_text() for name in ("tcp", "tcp6", "udp", "udp6")}
            unix = Path("/proc/thread-self/net/unix").read_text()
        for name, table in tables.items():
            for line in table.splitlines()[1:]:
                words = line.split()
                wanted = _TCP_LISTEN if name.startswith("tcp") else _UDP_UNCONNECTED
                rows.append(SocketRow(name, _address(words[1]), words[3] == wanted, int(words[9])))
        for line in unix.splitlines()[1:]:
            words = line.split(maxsplit=7)
            # Flags 0x10000 is __SO_ACCEPTCON: a socket that listens.
            listening = int(words[3], 16) & 0x10000 != 0
            rows.append(SocketRow("unix", words[7] if len(words) > 7 else "", listening, int(words[6])))
        return rows

    def bound(self) -> list[str]:
        """Return "tcp6 [::]:80"-like words for each socket that clients can reach, sorted."""
        return sorted(f"{row.protocol} {row.local}" for row in self.sockets() if row.open)

    def bound_ports(self) -> list[str]:
        """Return the same for TCP and UDP alone: a service's control socket is not a port."""
        return [words for words in self.bound() if not words.startswith("unix")]

    def describe(self, inode: int) -> str:
        """Return "tcp6 [::]:80" for a socket's inode, with "(connected)" if clients cannot reach it."""
        for row in self.sockets():
            if row.inode == inode:
                return f"{row.protocol} {row.local}".strip() + ("" if row.open else " (connected)")
        return "socket"


def _parent(pid: int) -> int:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return int(file.read().rpartition(")")[2].split()[1])
    return 0


def _address(words: str) -> str:
    """Turn "00000000:0050" of /proc/net/tcp (each 32-bit word in host order) into "0.0.0.0:80"."""
    host, port = words.split(":")
    raw = b"".join(struct.pack("=I", int(host[i : i + 8], 16)) for i in range(0, len(host), 8))
    if len(raw) == 4:
        return f"{socket.inet_ntop(socket.AF_INET, raw)}:{int(port, 16)}"
    return f"[{socket.inet_ntop(socket.AF_INET6, raw)}]:{int(port, 16)}"
