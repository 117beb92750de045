"""strict_binds: the ways in which a process gets an address, each tried for real. Run in child processes (see conftest.py)."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct
import sys
import threading

import pytest

from support.stage import Stage

pytestmark = pytest.mark.root

V4, V6, TCP, UDP = socket.AF_INET, socket.AF_INET6, socket.SOCK_STREAM, socket.SOCK_DGRAM
_CLONE_FILES = 0x400


def bind_bytes(stage: Stage, sock: socket.socket, address: bytes) -> int:
    """Bind to the bytes of a sockaddr; return the errno, 0 for none."""
    if stage.libc.bind(sock.fileno(), address, len(address)) == 0:
        return 0
    return ctypes.get_errno()


def test_unspecified_family_is_the_address_that_the_kernel_takes_it_for() -> None:
    """AF_UNSPEC on an IPv4 socket is refused for an undeclared port, and is handed the listener of a declared one."""
    stage = Stage("80", strict=True)

    def application() -> None:
        for port, expected in ((81, errno.EACCES), (80, 0)):
            with socket.socket(V4, TCP) as sock:
                assert bind_bytes(stage, sock, struct.pack("=HH4s8x", 0, socket.htons(port), b"\0" * 4)) == expected
        with socket.socket(V6, TCP) as sock:
            assert bind_bytes(stage, sock, b"\0" * 28) == errno.EACCES

    stage.play(application)


@pytest.mark.parametrize("strict", [True, False])
def test_thread_with_descriptors_of_its_own(strict: bool) -> None:
    """A number means another socket to a thread that has left the common table: refused, or the kernel's; never exchanged."""
    stage = Stage("80", strict=strict)

    def application() -> None:
        with socket.socket(V6, TCP) as decoy:
            stage.call("unshare", _CLONE_FILES)
            mine = socket.socket(V6, TCP)
            os.dup2(mine.fileno(), decoy.fileno())
            # To others this number is the decoy still, or nothing.
            failure = bind_bytes(stage, decoy, struct.pack("=HHI16sI", V6, socket.htons(81 if strict else 8080), 0, b"\0" * 16, 0))
            assert failure == (errno.EACCES if strict else 0)

    stage.play(application)
    assert stage.claimed == []


@pytest.mark.parametrize(
    ("address", "expected"),
    [(("127.0.0.1", 0), 0), (("127.9.9.9", 0), 0), (("10.9.0.1", 0), errno.EACCES), (("0.0.0.0", 0), errno.EACCES)],
)
def test_datagrams_on_a_port_that_the_kernel_picks(address: tuple[str, int], expected: int) -> None:
    """UDP port 0 is refused on every address but loopback ones, where nobody from outside can send to it."""
    stage = Stage("80", strict=True)
    os.system("ip addr add 10.9.0.1/32 dev lo")

    def application() -> None:
        with socket.socket(V4, UDP) as sock:
            try:
                sock.bind(address)
                failure = 0
            except OSError as error:
                failure = error.errno or -1
            assert failure == expected

    stage.play(application)


def test_address_changed_between_check_and_use() -> None:
    """What passes is bound to the bytes that were looked at, whatever another thread writes there meanwhile."""
    stage = Stage("80", strict=True)
    buffer = ctypes.create_string_buffer(struct.pack("=HH4s8x", V4, 0, socket.inet_aton("127.0.0.1")), 16)
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            struct.pack_into("!H", buffer, 2, 8081)
            struct.pack_into("!H", buffer, 2, 0)

    def application() -> None:
        other = threading.Thread(target=change)
        other.start()
        try:
            for _ in range(300):
                with socket.socket(V4, UDP) as sock:
                    stage.libc.bind(sock.fileno(), buffer, 16)
                    assert sock.getsockname()[1] != 8081
        finally:
            stop.set()
            other.join()

    stage.play(application)


def test_listen_without_bind_and_other_families() -> None:
    """Listen on an unbound socket, and binds of families without a listener, are refused; Unix and netlink are not."""
    stage = Stage("80", strict=True)

    def application() -> None:
        with socket.socket(V6, TCP) as sock, pytest.raises(PermissionError):
            sock.listen()
        with socket.socket(socket.AF_UNIX, TCP) as sock:
            sock.bind("\0name")
            sock.listen()
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as sock:
            sock.bind((0, 0))
        with socket.socket(V4, TCP) as sock:  # an address of a family that it is not
            assert bind_bytes(stage, sock, struct.pack("=HHII", socket.AF_NETLINK, 0, 0, 0)) == errno.EACCES
        try:
            vsock = socket.socket(socket.AF_VSOCK, TCP)
        except OSError:
            return  # this kernel has none
        with vsock:
            with pytest.raises(PermissionError):
                vsock.bind((socket.VMADDR_CID_ANY, 5000))
            with pytest.raises(PermissionError):
                vsock.listen()

    stage.play(application)


def families() -> list[tuple[int, int, int]]:
    """Return each (family, kind, protocol) of which this kernel makes a socket for root: it loads what it can."""
    kinds = [(kind, 0) for kind in (1, 2, 3, 4, 5, 6, 10)]
    special = [(1, 132), (5, 132), (1, 262), (2, 136), (2, 1), (2, 58), (3, 255), (3, 1), (6, 33), (1, 256), (1, 6)]
    found = []
    for family in range(1, 47):
        for kind, protocol in (*kinds, *special, *((3, number) for number in range(1, 5))):
            try:
                socket.socket(family, kind, protocol).close()
            except OSError:
                continue
            found.append((family, kind, protocol))
    return found


ADDRESSES: dict[int, bytes] = {  # of families whose address has more than zeros behind the family
    V4: struct.pack("=HH4s8x", V4, socket.htons(81), socket.inet_aton("127.0.0.1")),
    V6: struct.pack("=HHI16sI", V6, socket.htons(81), 0, b"\0" * 15 + b"\1", 0),
    socket.AF_VSOCK: struct.pack("=HHIII", socket.AF_VSOCK, 0, 81, socket.VMADDR_CID_ANY, 0),
    socket.AF_PACKET: struct.pack("=HHiHBB8x", socket.AF_PACKET, socket.htons(3), 1, 0, 0, 0),
}


def test_every_family_of_this_kernel() -> None:
    """10.8: of all families, kinds and protocols that there are here none gets an address, or listens, but Unix and netlink."""
    stage = Stage("80", strict=True)
    known = families()
    assert {V4, V6, socket.AF_UNIX, socket.AF_NETLINK, socket.AF_PACKET} <= {family for family, _, _ in known}
    wrong: list[tuple[object, ...]] = []

    def application() -> None:
        for one in known:
            family = one[0]
            local = family in {socket.AF_UNIX, socket.AF_NETLINK}
            with socket.socket(*one) as sock:
                failure = bind_bytes(stage, sock, ADDRESSES.get(family, struct.pack("=H26x", family)))
                if not local and failure != errno.EACCES:
                    wrong.append((*one, "bind", failure))
            with socket.socket(*one) as sock:
                listens = stage.libc.listen(sock.fileno(), 5) == 0
                if family != socket.AF_UNIX and (listens or ctypes.get_errno() not in {errno.EACCES, errno.EOPNOTSUPP}):
                    wrong.append((*one, "listen", ctypes.get_errno()))

    stage.play(application)
    assert not wrong, wrong
    print("made here:", sorted({(family, kind) for family, kind, _ in known}))


def test_a_service_has_no_packet_or_raw_socket() -> None:
    """10.8: sockets that need no address to receive everything are not given to who has no capability."""
    os.setresgid(33, 33, 33)
    os.setresuid(33, 33, 33)
    for family, kind, protocol in ((socket.AF_PACKET, 3, 768), (socket.AF_PACKET, 2, 768), (V4, 3, 255), (V6, 3, 58), (44, 3, 0)):
        with pytest.raises(OSError):
            socket.socket(family, kind, protocol)


def received(sock: socket.socket, sender: socket.socket, port: int) -> bool:
    """Whether a datagram to a port of this machine comes in."""
    sender.sendto(b"x", ("127.0.0.1", port))
    sock.settimeout(1)
    try:
        return sock.recv(10) == b"x"
    except (TimeoutError, ConnectionRefusedError):
        return False


def test_addresses_that_the_kernel_gives_unasked() -> None:
    """10.8: connect and sendto give an unbound UDP socket a port: after connect only that peer is heard, after sendto anybody."""
    stage = Stage("80", strict=True)
    peer, stranger = socket.socket(V4, UDP), socket.socket(V4, UDP)
    peer.bind(("127.0.0.1", 5353))
    stranger.bind(("127.0.0.1", 5354))

    def application() -> None:
        with socket.socket(V4, UDP) as sock:
            sock.connect(("127.0.0.1", 5353))
            port = sock.getsockname()[1]
            assert port > 0
            assert received(sock, peer, port)
            assert not received(sock, stranger, port)
        with socket.socket(V4, UDP) as sock:
            sock.sendto(b"x", ("127.0.0.1", 5353))
            assert received(sock, stranger, sock.getsockname()[1])  # the way that stays open: docs/security.md
        with socket.socket(V4, TCP) as sock:
            with pytest.raises(ConnectionRefusedError):
                sock.connect(("127.0.0.1", 9))
            with pytest.raises(PermissionError):
                sock.listen()
        with socket.socket(socket.AF_UNIX, UDP) as sock:
            assert bind_bytes(stage, sock, struct.pack("=H", socket.AF_UNIX)) == 0  # a name that the kernel picks
            assert sock.getsockname()

    stage.play(application)


def test_a_client_that_wants_to_listen() -> None:
    """10.8: a TCP socket that connect has given a port, or that is bound to port 0, takes no connection."""
    stage = Stage("80", strict=True)
    server = socket.create_server(("127.0.0.1", 9000))

    def application() -> None:
        with socket.socket(V4, TCP) as sock:
            sock.connect(("127.0.0.1", 9000))
            with pytest.raises(PermissionError):
                sock.listen()
        with socket.socket(V4, TCP) as sock:
            sock.bind(("0.0.0.0", 0))
            with pytest.raises(PermissionError):
                sock.listen()

    stage.play(application)
    server.close()


def test_a_socket_that_was_bound_outside() -> None:
    """10.8: a listening socket that another process of the user hands in works, as docs/security.md says."""
    stage = Stage("80", strict=True)
    ours, theirs = socket.socketpair(socket.AF_UNIX, TCP)
    outside = socket.create_server(("127.0.0.1", 9000))
    socket.send_fds(ours, [b"x"], [outside.fileno()])
    client = socket.create_connection(("127.0.0.1", 9000))

    def application() -> None:
        _, fds, _, _ = socket.recv_fds(theirs, 10, 1)
        with socket.socket(fileno=fds[0]) as sock:
            sock.accept()[0].close()

    stage.play(application)
    client.close()


def test_other_ways_to_call() -> None:
    """10.8: io_uring, x32 and the 32-bit interface are closed, so that none of them binds past the filter."""
    stage = Stage("80", strict=True)

    def application() -> None:
        assert stage.libc.syscall(425, 8, ctypes.create_string_buffer(120)) == -1  # io_uring_setup
        assert ctypes.get_errno() == errno.EPERM
        if os.uname().machine != "x86_64":
            return
        with socket.socket(V4, TCP) as sock:
            address = ctypes.create_string_buffer(ADDRESSES[V4], 16)
            assert stage.libc.syscall(0x40000000 | 49, sock.fileno(), address, 16) == -1
            assert ctypes.get_errno() in {errno.ENOSYS, errno.EPERM}
            assert i386_bind(sock.fileno()) in {-errno.ENOSYS, -errno.EPERM}
            assert sock.getsockname()[1] == 0

    stage.play(application)


def i386_bind(fd: int) -> int:
    """Bind by `int 0x80`, with an address below 4 GiB; return what the kernel says."""
    low = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40, prot=7)  # MAP_32BIT
    start = ctypes.addressof(ctypes.c_char.from_buffer(low))
    # mov eax, 361 (bind); mov ebx, fd; mov ecx, address; mov edx, 16; int 0x80; with rbx kept for the caller
    code = b"\x53\xb8" + struct.pack("<I", 361) + b"\xbb" + struct.pack("<I", fd)
    code += b"\xb9" + struct.pack("<I", start + 2048) + b"\xba" + struct.pack("<I", 16) + b"\xcd\x80\x5b\xc3"
    low[: len(code)] = code
    low[2048:2064] = ADDRESSES[V4]
    return int(ctypes.CFUNCTYPE(ctypes.c_int)(start)())


def test_a_helper_that_is_run() -> None:
    """10.8: a program that the application runs gets no address at all, by no family, and cannot listen."""
    stage = Stage("80", strict=True)
    code = (
        "import socket, sys\n"
        "for family, address in ((2, ('0.0.0.0', 0)), (2, ('127.0.0.1', 80)), (10, ('::', 81)), (1, '\\0name')):\n"
        "    for kind in (1, 2):\n"
        "        try:\n"
        "            socket.socket(family, kind).bind(address)\n"
        "            sys.exit(f'bound {family} {kind}')\n"
        "        except PermissionError:\n"
        "            pass\n"
        "try:\n"
        "    socket.socket(2, 1).listen()\n"
        "except PermissionError:\n"
        "    sys.exit(42)\n"
    )
    ended: list[int] = []

    def application() -> None:
        child = os.fork()  # not subprocess: its dup2 is notified while this interpreter's lock is held
        if child == 0:
            os.execv(sys.executable, [sys.executable, "-I", "-c", code])
        ended.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    stage.play(application)
    assert ended == [42]
