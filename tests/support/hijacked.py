"""What code that has taken a JVM over tries, in order to reach the network outside. Run as a child of that JVM.

Arguments: a TCP and a UDP port of 127.0.0.1 and an abstract Unix name, all outside, and the JVM's process. Each line of output
is an attempt and the name of the errno that it ended with, or `done`. The JVM's own sockets are what native code in it has;
this process takes duplicates of them. Must not import anything of the tests.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

TCP, UDP = (("127.0.0.1", int(port)) for port in sys.argv[1:3])
ABSTRACT, JVM = f"\0{sys.argv[3]}", int(sys.argv[4])
PIDFD_GETFD, FASTOPEN = 438, 0x20000000
libc = ctypes.CDLL(None, use_errno=True)


def attempt(name: str, act: Callable[[], object]) -> None:
    """Say what came of it."""
    try:
        act()
    except OSError as error:
        print("TRY", name, errno.errorcode.get(error.errno or 0, str(error)), flush=True)
    else:
        print("TRY", name, "done", flush=True)


def checked(result: int) -> int:
    """Raise OSError for a call that failed."""
    if result < 0:
        raise OSError(ctypes.get_errno(), "failed")
    return result


def parent_of(pid: int) -> int:
    """Return the parent of a process."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def taken(pid: int, number: int) -> socket.socket:
    """Return a duplicate of a descriptor of another process."""
    return socket.socket(fileno=checked(libc.syscall(PIDFD_GETFD, os.pidfd_open(pid), number, 0)))


def sockets(pid: int) -> list[socket.socket]:
    """Return duplicates of all sockets of a process."""
    names = os.listdir(f"/proc/{pid}/fd")
    return [taken(pid, int(name)) for name in names if os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:")]


def ring() -> None:
    """Ask for an io_uring."""
    checked(libc.syscall(425, 1, ctypes.create_string_buffer(120)))


def links() -> None:
    """Say which devices netlink shows."""
    print("LINKS", ",".join(name for _, name in socket.if_nameindex()), flush=True)


def host_rows() -> None:
    """Say which TCP ports listen where the kernel's table of sockets is asked, which is another netlink."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4) as sock:
        request = struct.pack("=BBBxI48x", socket.AF_INET, socket.IPPROTO_TCP, 0, 0xFFFFFFFF)
        sock.send(struct.pack("=IHHII", 16 + len(request), 20, 0x301, 1, 0) + request)
        kinds = {struct.unpack_from("=H", sock.recv(65536), 4)[0]}
    print("ROWS", "some" if 20 in kinds else "none", flush=True)


def enter(pid: int) -> None:
    """Enter the network namespace of a process by its pidfd."""
    checked(libc.setns(os.pidfd_open(pid), 0x40000000))


def delayed(sock: socket.socket, to: tuple[str, int]) -> None:
    """Connect with the first data."""
    sock.setsockopt(socket.IPPROTO_TCP, 30, 1)  # TCP_FASTOPEN_CONNECT
    sock.connect(to)
    sock.send(b"x")


def again(name: str, sock: socket.socket, family: int) -> None:
    """Connect a TCP socket that comes from outside anew, in each way."""
    to = TCP if family == socket.AF_INET else (f"::ffff:{TCP[0]}", TCP[1])
    attempt(f"{name} connect", lambda: sock.connect(to))
    attempt(f"{name} fastopen", lambda: sock.sendto(b"x", FASTOPEN, to))
    attempt(f"{name} sendmsg", lambda: sock.sendmsg([b"x"], [], FASTOPEN, to))
    attempt(f"{name} delayed", lambda: delayed(sock, to))
    attempt(f"{name} ulp", lambda: sock.setsockopt(6, 31, b"smc"))  # TCP_ULP


def main() -> None:
    """Try everything."""
    supervisor = parent_of(JVM)
    links()
    host_rows()
    attempt("tcp", lambda: socket.socket().connect(TCP))
    attempt("tcp fastopen", lambda: socket.socket().sendto(b"x", FASTOPEN, TCP))
    attempt("mptcp", lambda: socket.socket(2, 1, 262).connect(TCP))
    attempt("udp", lambda: socket.socket(2, 2).sendto(b"x", UDP))
    attempt("udp far", lambda: socket.socket(2, 2).sendto(b"x", ("192.0.2.1", 9)))
    attempt("raw", lambda: socket.socket(2, 3, 1))
    attempt("ping", lambda: socket.socket(2, 2, 1))
    attempt("packet", lambda: socket.socket(17, 3, 0x300))
    attempt("vsock", lambda: socket.socket(40, 1))
    attempt("other family", lambda: socket.socket(38, 5))  # AF_ALG, which every kernel of these tests has
    attempt("io_uring", ring)
    attempt("abstract stream", lambda: socket.socket(1, 1).connect(ABSTRACT))
    attempt("setns by pidfd", lambda: enter(supervisor))
    attempt("setns by file", lambda: checked(libc.setns(os.open(f"/proc/{supervisor}/ns/net", os.O_RDONLY), 0)))
    attempt("setns of init", lambda: enter(1))
    attempt("ptrace", lambda: checked(libc.ptrace(0x4206, supervisor, 0, 0)))
    attempt("pidfd_getfd", lambda: taken(supervisor, 3))
    attempt("memory", lambda: os.open(f"/proc/{supervisor}/mem", os.O_RDWR))
    attempt("device", lambda: fcntl.ioctl(socket.socket(2, 2), 0x8914, struct.pack("16sH22x", b"lo", 0)))
    attempt("namespace", lambda: checked(libc.unshare(0x10000000)))
    for sock in sockets(JVM):
        if sock.family not in {socket.AF_INET, socket.AF_INET6} or sock.type != socket.SOCK_STREAM:
            continue
        listens = bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        if listens:
            sock.shutdown(socket.SHUT_RDWR)
        else:
            libc.connect(sock.fileno(), struct.pack("=H14x", 0), 16)  # AF_UNSPEC: disconnect
        again("listener" if listens else "connection", sock, sock.family)


main()
