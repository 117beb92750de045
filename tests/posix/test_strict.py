"""strict_binds: the ways in which a process gets an address, each tried for real. Run in child processes (see conftest.py)."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
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
