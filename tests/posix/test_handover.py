"""Hand-over at bind(2) with the real filter and the real kernel, a Python thread in the part of Java code.

Run in child processes (see conftest.py).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import signal
import socket
import struct
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from jvmbind.handover import given as given_module
from jvmbind.handover.idle import idle_like
from jvmbind.posix import epoll as registrations_module
from jvmbind.posix.seccomp import Notification, this_machine
from support.stage import Stage, queue_limit
from support.waiting import wait_until

pytestmark = pytest.mark.root

V4, V6, TCP, UDP = socket.AF_INET, socket.AF_INET6, socket.SOCK_STREAM, socket.SOCK_DGRAM


@contextlib.contextmanager
def refused(number: int):  # type: ignore[no-untyped-def]  # noqa: ANN201 - a generator for contextlib
    """Expect an OSError with this errno."""
    with pytest.raises(OSError) as failure:
        yield
    assert failure.value.errno == number, failure.value


@pytest.mark.parametrize(
    ("listener", "family", "address", "client"),
    [
        ("80", V6, "::", "127.0.0.1"),
        ("80", V6, "::", "::1"),
        ("80", V4, "0.0.0.0", "127.0.0.1"),
        ("0.0.0.0:80", V6, "::", "127.0.0.1"),
        ("127.0.0.1:80", V6, "::ffff:127.0.0.1", "127.0.0.1"),
        ("127.0.0.1:80", V4, "127.0.0.1", "127.0.0.1"),
        ("127.0.0.1:80", V6, "::", "127.0.0.1"),
        ("[::1]:80", V6, "::1", "::1"),
        ("80:8080", V6, "::", "127.0.0.1"),
        ("127.0.0.1:80:8080", V4, "127.0.0.1", "127.0.0.1"),
    ],
)
def test_tcp(listener: str, family: int, address: str, client: str) -> None:
    """The application's own descriptor becomes the listener, and a client of the declared port is served through it."""
    stage = Stage(listener)

    def application() -> None:
        with socket.socket(family, TCP) as sock:
            number = sock.fileno()
            sock.bind((address, stage.specs[0].app_port))
            sock.listen(50)
            assert sock.fileno() == number
            assert stage.is_listener(number)
            assert not os.get_blocking(number)
            assert not os.get_inheritable(number)
            with socket.create_connection((client, 80), 10) as peer:
                select.select([sock], [], [], 10)
                fd, _ = sock._accept()  # type: ignore[attr-defined]
                with socket.socket(fileno=fd) as connection:
                    connection.sendall(b"served")
                assert peer.recv(100) == b"served"

    stage.play(application)
    assert (stage.claimed, stage.listening, stage.tried, stage.notes) == ([0], [0], [], [])


@pytest.mark.parametrize(
    ("listener", "family", "address", "client"),
    [
        ("53/udp", V6, "::", "127.0.0.1"),
        ("53/udp", V6, "::", "::1"),
        ("53/udp", V4, "0.0.0.0", "127.0.0.1"),
        ("127.0.0.1:53/udp", V6, "::ffff:127.0.0.1", "127.0.0.1"),
        ("[::1]:53/udp", V6, "::1", "::1"),
        ("53:5353/udp", V6, "::", "127.0.0.1"),
    ],
)
def test_udp(listener: str, family: int, address: str, client: str) -> None:
    """A datagram socket becomes the listener, receives from the declared port and answers from it."""
    stage = Stage(listener)

    def application() -> None:
        with socket.socket(family, UDP) as sock, socket.socket(V6 if ":" in client else V4, UDP) as peer:
            sock.bind((address, stage.specs[0].app_port))
            assert stage.is_listener(sock.fileno())
            peer.settimeout(10)
            peer.connect((client, 53))
            peer.send(b"question")
            select.select([sock], [], [], 10)
            data, sender = socket.socket(fileno=os.dup(sock.fileno())).recvfrom(100)
            assert data == b"question"
            socket.socket(fileno=os.dup(sock.fileno())).sendto(b"answer", sender)
            assert peer.recv(100) == b"answer"

    stage.play(application)
    assert (stage.claimed, stage.listening) == ([0], [])


def test_unix(workspace: Path) -> None:
    """A Unix socket becomes the listener, by any spelling of its path, and the file stays as it was bound."""
    path = workspace / "a.sock"
    stage = Stage(f"unix:{path},mode=0600")
    before = path.stat()

    def application() -> None:
        with socket.socket(socket.AF_UNIX, TCP) as sock, socket.socket(socket.AF_UNIX, TCP) as peer:
            sock.bind(f"{workspace}/./a.sock")
            sock.listen(5)
            assert stage.is_listener(sock.fileno())
            peer.connect(str(path))
            fd, _ = sock._accept()  # type: ignore[attr-defined]
            os.close(fd)

    stage.play(application)
    assert (stage.claimed, stage.listening) == ([0], [0])
    assert path.stat().st_ino == before.st_ino


def test_by_protocol_and_port() -> None:
    """Of several listeners the one of that protocol and port is given, each reported under its own index."""
    stage = Stage("80 443:8443 53 53/udp")

    def application() -> None:
        wanted = [(TCP, 53, 2), (UDP, 53, 3), (TCP, 8443, 1), (TCP, 80, 0)]
        sockets = [socket.socket(V6, kind) for kind, _, _ in wanted]
        for sock, (_, port, index) in zip(sockets, wanted, strict=True):
            sock.bind(("::", port))
            assert stage.is_listener(sock.fileno(), index)

    stage.play(application)
    assert stage.claimed == [2, 3, 1, 0]


def test_other_addresses_are_the_kernels() -> None:
    """A bind of another port, of port 0, or of another family is the kernel's, and the first is remembered."""
    stage = Stage("80")

    def application() -> None:
        for family, kind, address in (
            (V6, TCP, ("::", 81)),
            (V6, TCP, ("::", 0)),
            (V4, UDP, ("127.0.0.1", 80)),
            (socket.AF_UNIX, TCP, "\0abstract"),
            (socket.AF_NETLINK, socket.SOCK_RAW, (0, 0)),
        ):
            with socket.socket(family, kind) as sock:
                sock.bind(address)
                if kind == TCP:
                    sock.listen(7)
                assert not stage.is_listener(sock.fileno())

    stage.play(application)
    assert (stage.claimed, stage.listening) == ([], [])
    assert stage.tried == [
        "[::]:81/tcp: not declared; if listener '80' (80/tcp) is meant, declare it as -l 80:81",
        "127.0.0.1:80/udp: not declared, listener '80' (80/tcp) is for TCP; for UDP declare -l 127.0.0.1:80/udp as well",
    ]


@pytest.mark.parametrize(("backlog", "expected"), [("", 4096), (",backlog=77", 77)])
def test_listen_does_not_shrink_the_queue(backlog: str, expected: int) -> None:
    """The application's listen(50) leaves the declared queue limit as it is."""
    stage = Stage(f"80{backlog}")
    somaxconn = int(Path("/proc/sys/net/core/somaxconn").read_text())

    def application() -> None:
        with socket.socket(V6, TCP) as sock:
            sock.bind(("::", 80))
            for number in (50, 1, 0):
                sock.listen(number)
                assert queue_limit(sock) == min(expected, somaxconn)

    stage.play(application)
    assert queue_limit(stage.sockets[0]) == min(expected, somaxconn)


def test_listen_after_shutdown() -> None:
    """After a shutdown(2) of the shared listener a new listen makes it listen again, with the declared queue."""
    stage = Stage("80")

    def application() -> None:
        with socket.socket(V6, TCP) as sock:
            sock.bind(("::", 80))
            sock.listen(5)
            sock.shutdown(socket.SHUT_RD)
            assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            sock.listen(5)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            socket.create_connection(("127.0.0.1", 80), 10).close()

    stage.play(application)


def test_listen_on_what_does_not_listen() -> None:
    """A listen fails on a datagram listener as the kernel says it, and on a bind-only one with EACCES."""
    stage = Stage("53/udp 800,bind-only")

    def application() -> None:
        with socket.socket(V6, UDP) as sock:
            sock.bind(("::", 53))
            with refused(errno.EOPNOTSUPP):
                sock.listen(5)
        with socket.socket(V6, TCP) as sock:
            sock.bind(("::", 800))
            with refused(errno.EACCES):
                sock.listen(5)

    stage.play(application)
    assert stage.listening == []


def test_bind_only_connects_from_the_port() -> None:
    """A bind-only listener is a reserved source port: bound, and good for connect."""
    stage = Stage("800,bind-only 80")

    def application() -> None:
        with socket.socket(V6, TCP) as sock:
            sock.bind(("::", 800))
            with contextlib.suppress(BlockingIOError):
                sock.connect(("::1", 80))
            select.select([], [sock], [], 10)
            assert sock.getsockname()[1] == 800
            assert sock.getpeername()[1] == 80

    stage.play(application)


@pytest.mark.parametrize("when", ["before", "after", "both"])
@pytest.mark.parametrize("blocking", [False, True], ids=["", "blocking"])
def test_epoll_registration_is_moved(when: str, blocking: bool) -> None:
    """Registrations of the descriptor made before bind keep their events and data, those made after work as ever."""
    stage = Stage("80")
    EPOLL_CTL_ADD, ET = 1, 1 << 31  # noqa: N806 - names of the C interface

    def event(events: int, data: int) -> ctypes.Array[ctypes.c_char]:
        return ctypes.create_string_buffer(struct.pack("=IQ" if os.uname().machine == "x86_64" else "=I4xQ", events, data))

    def application() -> None:
        epolls = [select.epoll() for _ in range(3)]
        data = [0xFFFFFFFFFFFFFFFF, 0, 0x0123456789ABCDEF]
        events = [select.EPOLLIN, select.EPOLLIN | ET, select.EPOLLIN | select.EPOLLRDHUP]

        def register(which: range) -> None:
            for i in which:
                stage.call("epoll_ctl", epolls[i].fileno(), EPOLL_CTL_ADD, sock.fileno(), event(events[i], data[i]))

        def seen(i: int, timeout: int) -> list[tuple[int, int]]:
            buffer = ctypes.create_string_buffer(16)
            layout = struct.Struct("=IQ" if os.uname().machine == "x86_64" else "=I4xQ")
            count = stage.call("epoll_wait", epolls[i].fileno(), buffer, 1, timeout)
            return [layout.unpack_from(buffer)] if count else []

        sock = socket.socket(V6, TCP)
        sock.setblocking(blocking)
        other = socket.socket(V6, TCP)
        epolls[0].register(other, select.EPOLLIN)
        register({"before": range(3), "after": range(0), "both": range(1)}[when])
        sock.bind(("::", 80))
        register({"before": range(0), "after": range(3), "both": range(1, 3)}[when])
        sock.listen(50)
        # A socket that neither listens nor is connected hangs up: wait for none of that, only for the listener's events.
        epolls[0].unregister(other)
        with socket.create_connection(("127.0.0.1", 80), 10):
            if blocking:
                # Moved just after the answer: until then the socket that was replaced hangs up.
                wait_until(lambda: all(seen(i, 0) == [(select.EPOLLIN, data[i])] for i in (0, 2)))
            for i in range(1 if blocking else 0, 2 if blocking else 3):
                came = seen(i, 10_000)
                assert came == [(select.EPOLLIN, data[i])], (i, came)
            os.close(sock._accept()[0])  # type: ignore[attr-defined]
            assert [seen(i, 0) for i in range(3)] == [[], [], []]

    stage.play(application)


@pytest.mark.parametrize("blocking", [False, True], ids=["", "blocking"])
def test_epoll_under_a_number_that_was_a_listener(blocking: bool) -> None:
    """A connector that is stopped and started may get its selector on the number that its listener had: nothing is lost."""
    stage = Stage("80")

    def application() -> None:
        first = socket.socket(V6, TCP)
        first.setblocking(blocking)
        first.bind(("::", 80))
        number = first.fileno()
        first.close()
        epoll = select.epoll()
        assert epoll.fileno() == number
        with socket.socket(V6, TCP) as sock:
            sock.setblocking(False)
            epoll.register(sock, select.EPOLLIN)
            sock.bind(("::", 80))
            sock.listen(50)
            with socket.create_connection(("127.0.0.1", 80), 10):
                assert epoll.poll(5) == [(sock.fileno(), select.EPOLLIN)]

    stage.play(application)


def test_options_are_carried_over() -> None:
    """What the application set on its own socket before bind is set on the listener, and nothing else changes."""
    stage = Stage("80")
    options = [
        (socket.SOL_SOCKET, socket.SO_RCVBUF, 50_000),
        (socket.SOL_SOCKET, socket.SO_SNDBUF, 60_000),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.SOL_SOCKET, socket.SO_PRIORITY, 3),
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 77),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 7),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 5),
        (socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 3),
        (socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 0x10),
    ]

    def application() -> None:
        with socket.socket(V6, TCP) as sock, socket.socket(V6, TCP) as plain:
            for level, name, value in options:
                sock.setsockopt(level, name, value)
                plain.setsockopt(level, name, value)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 9))
            sock.bind(("::", 80))
            assert stage.is_listener(sock.fileno())
            for level, name, _ in options:
                assert sock.getsockopt(level, name) == plain.getsockopt(level, name), (level, name)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == struct.pack("ii", 1, 9)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 1

    stage.play(application)
    assert stage.notes == []


def test_declared_options_stay() -> None:
    """A receive buffer that the administrator declared is not changed by the application's own."""
    stage = Stage("53/udp,rcvbuf=300000 54/udp,rcvbuf=300000")
    before = [sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) for sock in stage.sockets]

    def application() -> None:
        for port, value in ((53, 5000), (54, None)):
            with socket.socket(V6, UDP) as sock:
                if value:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, value)
                sock.bind(("::", port))

    stage.play(application)
    assert [sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) for sock in stage.sockets] == before


def test_rebind_after_close() -> None:
    """A connector that is stopped and started gets the listener again, as often as it likes, and it was never closed."""
    stage = Stage("80 53/udp")

    def application() -> None:
        for _ in range(5):
            for index, (kind, port) in enumerate(((TCP, 80), (UDP, 53))):
                with socket.socket(V6, kind) as sock:
                    sock.bind(("::", port))
                    assert stage.is_listener(sock.fileno(), index)
        socket.create_connection(("127.0.0.1", 80), 10).close()

    stage.play(application)
    assert stage.claimed == [0, 1]


def test_double_bind() -> None:
    """A second bind while the first socket is open is EADDRINUSE, and works once that is closed."""
    stage = Stage("80 53/udp")

    def application() -> None:
        for kind, port in ((TCP, 80), (UDP, 53)):
            first, second = socket.socket(V6, kind), socket.socket(V6, kind)
            if kind == TCP:
                # Java sets it on every server socket; it allows no second bind to a port that listens.
                second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            first.bind(("::", port))
            with refused(errno.EADDRINUSE):
                second.bind(("::", port))
            first.close()
            second.bind(("::", port))

    stage.play(application)
    assert [text for text in stage.tried if "refused" in text] == [
        "[::]:80/tcp: refused, bound already by this application",
        "[::]:53/udp: refused, bound already by this application",
    ]


def test_double_bind_over_a_duplicate() -> None:
    """A duplicate of the first descriptor keeps the address in use only as long as one that the application was given."""
    stage = Stage("80")

    def application() -> None:
        first = socket.socket(V6, TCP)
        first.bind(("::", 80))
        number = first.fileno()
        first.close()
        # Another file under the number of the closed one does not count as the listener.
        null = os.open("/dev/null", os.O_RDONLY)
        assert null == number
        with socket.socket(V6, TCP) as second:
            second.bind(("::", 80))

    stage.play(application)


def test_reuseport() -> None:
    """With SO_REUSEPORT, and for datagrams with SO_REUSEADDR, the application may bind one address several times."""
    stage = Stage("80 53/udp")

    def application() -> None:
        for index, (kind, port, option) in enumerate(((TCP, 80, socket.SO_REUSEPORT), (UDP, 53, socket.SO_REUSEADDR))):
            sockets = [socket.socket(V6, kind) for _ in range(3)]
            for sock in sockets:
                sock.setsockopt(socket.SOL_SOCKET, option, 1)
                sock.bind(("::", port))
                assert stage.is_listener(sock.fileno(), index)

    stage.play(application)


def test_each_of_several_listeners_once() -> None:
    """Declared several times with reuseport, each bind of the address gets a listener of its own first."""
    stage = Stage("a=80,reuseport b=80,reuseport")

    def application() -> None:
        sockets = [socket.socket(V6, TCP) for _ in range(2)]
        for index, sock in enumerate(sockets):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(("::", 80))
            assert stage.is_listener(sock.fileno(), index)

    stage.play(application)
    assert stage.claimed == [0, 1]


@pytest.mark.parametrize(("family", "address"), [(V4, "127.0.0.1"), (V6, "::1"), (V6, "::ffff:127.0.0.1")])
def test_wildcard_is_refused_for_a_specific_address(family: int, address: str) -> None:
    """An application that asked for the loopback address is never given every address: EACCES, and a line that says why."""
    stage = Stage("80")

    def application() -> None:
        with socket.socket(family, TCP) as sock, refused(errno.EACCES):
            sock.bind((address, 80))

    stage.play(application)
    assert stage.claimed == []
    (text,) = stage.tried
    remedy = "'[::1]:80'" if address == "::1" else "127.0.0.1:80"
    assert f"refused, listener '80' (80/tcp) is wider than the address asked for; declare it as -l {remedy}, or let" in text


def test_dual_stack_is_refused_for_an_ipv6_only_socket() -> None:
    """An application that set IPV6_V6ONLY is not given a dual-stack listener, but one that is IPv6 only."""
    stage = Stage("80 [::]:81,v6only")

    def application() -> None:
        for port in (80, 81):
            with socket.socket(V6, TCP) as sock:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                if port == 80:
                    with refused(errno.EACCES):
                        sock.bind(("::", port))
                else:
                    sock.bind(("::", port))

    stage.play(application)
    assert stage.claimed == [1]


def test_strict() -> None:
    """strict_binds refuses what was not declared, also a listen without a bind; declared listeners and clients work."""
    stage = Stage("80 53/udp", strict=True)

    def application() -> None:
        for family, kind, address in (
            (V6, TCP, ("::", 81)),
            (V4, TCP, ("127.0.0.1", 81)),
            (V6, UDP, ("::", 54)),
            (V6, UDP, ("::", 80)),
        ):
            with socket.socket(family, kind) as sock, refused(errno.EACCES):
                sock.bind(address)
        for bind_first in (False, True):
            with socket.socket(V6, TCP) as sock:
                if bind_first:
                    sock.bind(("::", 0))
                with refused(errno.EACCES):
                    sock.listen(5)
        with socket.socket(V6, TCP) as sock:
            sock.bind(("::", 80))
            sock.listen(5)
            with socket.socket(V4, TCP) as client:
                client.bind(("127.0.0.1", 0))
                client.connect(("127.0.0.1", 80))

    stage.play(application)
    assert stage.claimed == [0]
    declare = "refused, strict_binds and no listener has that address; declare it as -l"
    assert stage.tried == [  # each thing once: two sockets listened
        f"[::]:81/tcp: {declare} 81",
        f"127.0.0.1:81/tcp: {declare} 127.0.0.1:81",
        f"[::]:54/udp: {declare} 54/udp",
        f"[::]:80/udp: {declare} 80/udp",
        "any free port, by listen: refused, strict_binds",
    ]


@pytest.mark.parametrize(
    ("family", "kind", "protocol", "address"),
    [
        (V6, TCP, 262, ("::", 81)),  # MPTCP
        (V6, TCP, 132, ("::", 81)),  # SCTP, which Java has an API for
        (V6, socket.SOCK_SEQPACKET, 132, ("::", 81)),
        (V6, UDP, 136, ("::", 81)),  # UDP-Lite
        (socket.AF_VSOCK, TCP, 0, (0xFFFFFFFF, 81)),
    ],
    ids=["mptcp", "sctp-stream", "sctp-seqpacket", "udplite", "vsock"],
)
def test_strict_covers_other_protocols(family: int, kind: int, protocol: int, address: tuple[str | int, int]) -> None:
    """strict_binds leaves no back door over another transport protocol that this kernel has."""
    try:
        socket.socket(family, kind, protocol).close()
    except OSError as error:
        pytest.skip(f"this kernel has it not: {error.strerror}")
    stage = Stage("80", strict=True)

    def application() -> None:
        with socket.socket(family, kind, protocol) as sock, refused(errno.EACCES):
            sock.bind(address)
        with socket.socket(family, kind, protocol) as sock:
            if kind != UDP:
                with refused(errno.EACCES):
                    sock.listen(5)

    stage.play(application)


def test_strict_leaves_unix_sockets() -> None:
    """strict_binds is about the network: the JVM's own attach socket, a Unix one, still works."""
    stage = Stage("80", strict=True)

    def application() -> None:
        with socket.socket(socket.AF_UNIX, TCP) as sock:
            sock.bind("\0attach")
            sock.listen(1)

    stage.play(application)


def test_strict_without_listeners() -> None:
    """strict_binds without any declared listener refuses every one."""
    stage = Stage("", strict=True)

    def application() -> None:
        with socket.socket(V6, TCP) as sock, refused(errno.EACCES):
            sock.bind(("::", 8080))

    stage.play(application)


def test_bad_arguments_are_the_kernels() -> None:
    """A bad pointer, a bad length and a bad descriptor give the kernel's own errors, and nothing is claimed."""
    stage = Stage("80")
    good = struct.pack("=H", V6) + struct.pack("!HI", 80, 0) + bytes(20)

    def application() -> None:
        with socket.socket(V6, TCP) as sock, open("/dev/null", "rb") as null:
            fd = sock.fileno()
            pointer = ctypes.create_string_buffer(good)
            for arguments, number in (
                ((fd, ctypes.c_void_p(8), 28), errno.EFAULT),
                ((fd, ctypes.c_void_p(0), 28), errno.EFAULT),
                ((fd, ctypes.c_void_p(2**64 - 8), 28), errno.EFAULT),
                ((fd, ctypes.c_void_p(2**63), 28), errno.EFAULT),
                ((fd, pointer, 0), errno.EINVAL),
                ((fd, pointer, 1), errno.EINVAL),
                ((fd, pointer, 129), errno.EINVAL),
                ((fd, pointer, -1), errno.EINVAL),
                ((fd, pointer, 20), errno.EINVAL),
                ((-1, pointer, 28), errno.EBADF),
                ((999, pointer, 28), errno.EBADF),
                ((null.fileno(), pointer, 28), errno.ENOTSOCK),
            ):
                with refused(number):
                    stage.call("bind", *arguments)
            for bad, number in ((-1, errno.EBADF), (999, errno.EBADF), (null.fileno(), errno.ENOTSOCK)):
                with refused(number):
                    stage.call("listen", bad, 5)
            stage.call("bind", fd, pointer, 28)
            assert stage.is_listener(fd)

    stage.play(application)
    assert (stage.claimed, stage.notes) == ([0], [])


def test_short_ipv6_address() -> None:
    """A sockaddr_in6 without the scope id, which the kernel takes (24 bytes), is understood too."""
    stage = Stage("80")

    def application() -> None:
        with socket.socket(V6, TCP) as sock:
            stage.call("bind", sock.fileno(), struct.pack("=H", V6) + struct.pack("!HI", 80, 0) + bytes(16), 24)
            assert stage.is_listener(sock.fileno())

    stage.play(application)


def test_repeated_bind_is_answered_again() -> None:
    """The same call again on the same descriptor, as after an interrupted system call, succeeds and is reported once."""
    stage = Stage("80")

    def application() -> None:
        with socket.socket(V6, TCP) as sock:
            for _ in range(3):
                sock.bind(("::", 80))
            assert stage.is_listener(sock.fileno())

    stage.play(application)
    assert stage.claimed == [0]


def test_signal_during_the_call() -> None:
    """A signal that arrives while the call is being answered changes nothing: bound once, claimed once."""
    stage = Stage("80")
    handled: list[int] = []
    signal.signal(signal.SIGUSR1, lambda number, _: handled.append(number))

    def disturb(call: Notification) -> None:
        if call.number == this_machine().bind and not handled:
            signal.pthread_kill(stage.thread, signal.SIGUSR1)

    def application() -> None:
        with socket.socket(V6, TCP) as sock:
            sock.bind(("::", 80))
            assert stage.is_listener(sock.fileno())

    stage.before_answer = disturb
    stage.play(application)
    assert handled
    assert stage.claimed == [0]


CHILD = """
import os, socket, sys
out = os.fdopen(int(sys.argv[1]), "w")
for port in map(int, sys.argv[2:]):
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
        try:
            sock.bind(("::", port))
            sock.listen(5)
            print(port, os.fstat(sock.fileno()).st_ino, file=out)
        except OSError as error:
            print(port, error.strerror, file=out)
"""


def start_child(*ports: int) -> tuple[int, int]:
    """Start a process that binds; return its pid and where it says what came of it.

    Not with `subprocess`: that holds the interpreter's lock while its child sets up descriptors 0 to 2, which the filter
    sends to the answering thread. Java's threads do not hold that lock.
    """
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    pid = os.posix_spawn(sys.executable, [sys.executable, "-I", "-c", CHILD, str(writer), *map(str, ports)], os.environ)
    os.close(writer)
    return pid, reader


@pytest.mark.parametrize("strict", [False, True])
def test_child_processes_bind_for_themselves(strict: bool) -> None:
    """A process that the application starts inherits the filter: its binds are the kernel's, or refused when strict."""
    stage = Stage("80", strict=strict)
    output = []

    def application() -> None:
        pid, reader = start_child(80, 81)
        with os.fdopen(reader) as lines:
            output.extend(lines.read().splitlines())
        assert os.waitpid(pid, 0)[1] == 0

    stage.play(application)
    assert stage.claimed == []
    if strict:
        assert output == ["80 Permission denied", "81 Permission denied"]
        assert all("a child process" in text for text in stage.tried)
    else:
        assert output[0] == "80 Address already in use"
        assert output[1].split()[1].isdigit()
        assert int(output[1].split()[1]) not in stage.inodes


def test_a_child_that_dies_while_it_waits() -> None:
    """An answer to a process that was killed meanwhile harms nobody."""
    stage = Stage("80")
    killed = []

    def kill(call: Notification) -> None:
        if not os.path.exists(f"/proc/self/task/{call.tid}"):
            killed.append(call.tid)
            pidfd = os.pidfd_open(call.tid)
            os.kill(call.tid, signal.SIGKILL)
            assert select.select([pidfd], [], [], 20)[0]

    def application() -> None:
        pid, reader = start_child(81)
        os.close(reader)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        with socket.socket(V6, TCP) as sock:
            sock.bind(("::", 80))

    stage.before_answer = kill
    stage.play(application)
    assert killed
    assert stage.claimed == [0]


@pytest.mark.parametrize(("inherit", "index"), [("", 0), ("b", 1), ("c", 2)])
def test_inherited_channel(inherit: str, index: int) -> None:
    """The first dup(0) gives a duplicate of the chosen listener, and fd 0 stays; the second is an ordinary one."""
    stage = Stage("a=80 b=81 c=53/udp", inherit=inherit)
    stdin = os.fstat(0).st_ino

    def application() -> None:
        channel = stage.call("dup", 0)
        assert channel > 2
        assert stage.is_listener(channel, index)
        assert not os.get_blocking(channel)
        assert os.fstat(0).st_ino == stdin
        again = stage.call("dup", 0)
        assert os.fstat(again).st_ino == stdin
        other = stage.call("dup", 1)
        assert os.fstat(other).st_ino == os.fstat(1).st_ino

    stage.play(application)
    assert stage.claimed == [index]
    assert stage.listening == ([index] if index < 2 else [])


def test_no_inherited_channel_without_listeners() -> None:
    """Without a listener dup(0) is an ordinary one."""
    stage = Stage("")
    stdin = os.fstat(0).st_ino

    def application() -> None:
        assert os.fstat(stage.call("dup", 0)).st_ino == stdin

    stage.play(application)
    assert stage.claimed == []


def test_closing_the_channel_leaves_the_standard_descriptors() -> None:
    """Once the channel was given, /dev/null onto 0, 1 or 2 is swallowed; before that, and of another file, it is not."""
    stage = Stage("80")
    machine = this_machine()
    calls = ["dup2", "dup3"] if machine.dup2 >= 0 else ["dup3"]

    def application() -> None:
        null = os.open("/dev/null", os.O_RDWR)
        zero = os.open("/dev/zero", os.O_RDWR)
        saved = os.dup(1)
        out = os.fstat(1).st_ino

        def put(call: str, fd: int, on: int) -> None:
            assert stage.call(call, fd, on, *([0] if call == "dup3" else [])) == on

        for call in calls:
            put(call, null, 1)
            assert os.readlink("/proc/self/fd/1") == "/dev/null"
            put(call, saved, 1)
            assert os.fstat(1).st_ino == out
        stage.call("dup", 0)
        for call in calls:
            for fd in range(3):
                before = os.fstat(fd).st_ino
                put(call, null, fd)
                assert os.fstat(fd).st_ino == before
            put(call, zero, 1)
            assert os.readlink("/proc/self/fd/1") == "/dev/zero"
            put(call, saved, 1)
            assert os.fstat(1).st_ino == out
            put(call, null, 40)
            assert os.readlink("/proc/self/fd/40") == "/dev/null"

    stage.play(application)


def test_channel_and_bind_are_one_claim() -> None:
    """A listener given as the channel is in use: a bind of its address meanwhile is EADDRINUSE."""
    stage = Stage("80")

    def application() -> None:
        channel = stage.call("dup", 0)
        with socket.socket(V6, TCP) as sock:
            with refused(errno.EADDRINUSE):
                sock.bind(("::", 80))
            os.close(channel)
            sock.bind(("::", 80))

    stage.play(application)
    assert stage.claimed == [0]


def test_a_failure_inside_is_an_errno() -> None:
    """Whatever goes wrong while answering, the application gets EIO and the log a line; nothing hangs."""
    stage = Stage("80")
    os.close(stage.sockets[0].detach())

    def application() -> None:
        with socket.socket(V6, TCP) as sock, refused(errno.EIO):
            sock.bind(("::", 80))

    stage.play(application)
    (note,) = stage.notes
    assert "hand-over failed: OSError" in note


def test_while_the_jvm_starts_the_applications_mode_counts() -> None:
    """Before the JVM is up a listener is as blocking as the socket it replaces, afterwards never."""
    stage = Stage("80 81")
    stage.handover._jvm_starts = True

    def application() -> None:
        for port, blocking in ((80, True), (81, False)):
            with socket.socket(V6, TCP) as sock:
                sock.setblocking(blocking)
                sock.bind(("::", port))
                assert os.get_blocking(sock.fileno()) == blocking

    stage.play(application)


def test_parked() -> None:
    """A parked application waits at its first bind of a listener, and at no other, until it is released."""
    stage = Stage("80", parked=True)
    steps: list[str] = []

    def application() -> None:
        with socket.socket(V6, TCP) as other:
            other.bind(("::", 8080))
        steps.append("other bound")
        with socket.socket(V6, TCP) as sock:
            sock.bind(("::", 80))
            steps.append("bound")
            assert stage.is_listener(sock.fileno())

    def release() -> bool:
        if not stage.waiting:
            return False
        assert steps == ["other bound"]
        assert [type(report).__name__ for report in stage.reports] == ["Tried", "Parked"]
        assert stage.claimed == []
        stage.handover.release(rehearse=False)
        return True

    stage.play(application, at_rest=release)
    assert steps == ["other bound", "bound"]
    assert stage.claimed == [0]


def test_drain_and_undrain() -> None:
    """Drained, the application's descriptor is quiet though clients connect; given back, it gets the clients that waited."""
    stage = Stage("80 53/udp")

    def application() -> None:
        sock, datagrams, epoll = socket.socket(V6, TCP), socket.socket(V6, UDP), select.epoll()
        sock.bind(("::", 80))
        sock.listen(50)
        datagrams.bind(("::", 53))
        epoll.register(sock, select.EPOLLIN)
        epoll.register(datagrams, select.EPOLLIN)
        assert epoll.poll(0) == []
        stage.handover.drain(datagrams_only=False)
        assert not stage.is_listener(sock.fileno())
        assert not stage.is_listener(datagrams.fileno(), 1)
        with socket.create_connection(("127.0.0.1", 80), 10), socket.socket(V4, UDP) as peer:
            peer.sendto(b"x", ("127.0.0.1", 53))
            # Both are in the real listener's queues by now.
            assert len(select.select(stage.sockets[:2], [], [], 10)[0]) == 2
            assert epoll.poll(0.1) == []
            with pytest.raises(BlockingIOError):
                sock._accept()  # type: ignore[attr-defined]
            stage.handover.undrain()
            assert stage.is_listener(sock.fileno())
            assert {fd for fd, _ in epoll.poll(10)} == {sock.fileno(), datagrams.fileno()}
            os.close(sock._accept()[0])  # type: ignore[attr-defined]

    stage.play(application)


@pytest.mark.parametrize("kind", ["tcp", "tcp-unreachable", "udp"])
def test_a_thread_that_sleeps_on_the_idle_socket(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A thread that was in poll(2) when the listener came back gets the next client, which poll by itself would not tell."""
    stage = Stage("80 53/udp")

    def application() -> None:
        sock = socket.socket(V6, UDP if kind == "udp" else TCP)
        sock.bind(("::", 53 if kind == "udp" else 80))
        if kind != "udp":
            sock.listen(50)
        stage.handover.drain(datagrams_only=False)
        woken = threading.Event()
        poll = select.poll()
        poll.register(sock, select.POLLIN)

        def sleep() -> None:
            if poll.poll():
                woken.set()

        sleeper = threading.Thread(target=sleep, daemon=True)
        sleeper.start()
        task = Path(f"/proc/self/task/{sleeper.native_id}/syscall")
        wait_until(lambda: task.read_text().split()[0] in {"7", "73", "271"}, 10, "poll(2)")
        if kind == "tcp-unreachable":
            monkeypatch.setattr(given_module, "reach", lambda _: False)
        stage.handover.undrain()
        if kind == "tcp":  # a connection of our own has done it
            assert woken.wait(10)
            assert not stage.handover.given.sleepers()
            return
        assert stage.handover.given.sleepers()
        assert not woken.wait(0.1)
        with socket.socket(V4, UDP if kind == "udp" else TCP) as peer:
            peer.connect(("127.0.0.1", 53 if kind == "udp" else 80))
            if kind == "udp":
                peer.send(b"x")
            assert select.select(stage.handover.given.sleepers(), [], [], 10)[0]
            stage.handover.given.rouse()
            assert woken.wait(10)
            sleeper.join()
            stage.handover.given.rouse()
        assert not stage.handover.given.sleepers()

    stage.play(application)


def test_registration_during_a_move(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application may register its descriptor in the moment before another file takes its number: that moves, too."""
    stage = Stage("80")

    def application() -> None:
        sock, epoll = socket.socket(V6, TCP), select.epoll()
        sock.setblocking(False)
        sock.bind(("::", 80))
        sock.listen(50)
        search = registrations_module.registrations
        searches: list[Any] = []

        def search_and_register(*arguments: Any) -> Any:
            found = search(*arguments)
            if not searches:
                epoll.register(sock, select.EPOLLIN)
            searches.append(found)
            return found

        monkeypatch.setattr(registrations_module, "registrations", search_and_register)
        stage.handover.drain(datagrams_only=False)
        monkeypatch.undo()
        assert searches[0] == []
        with socket.create_connection(("127.0.0.1", 80), 10):
            assert epoll.poll(0.1) == []
            stage.handover.given.knock()
            assert epoll.poll(10) == [(sock.fileno(), select.EPOLLIN)]
            os.close(sock._accept()[0])  # type: ignore[attr-defined]
            assert epoll.poll(0.1) == []
            stage.handover.undrain()
            assert epoll.poll(10) == [(sock.fileno(), select.EPOLLIN)]

    stage.play(application)


def test_listeners_that_are_moved_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """The descriptors of an application are searched as often for many listeners as for one; each keeps its registrations."""
    ports = range(80, 86)
    stage = Stage(" ".join(map(str, ports)))

    def application() -> None:
        epolls = [select.epoll(), select.epoll()]
        socks = [socket.socket(V6, TCP) for _ in ports]
        for port, sock in zip(ports, socks, strict=True):
            sock.setblocking(False)
            sock.bind(("::", port))
            sock.listen(50)
            epolls[port % 2].register(sock, select.EPOLLIN)
        search = registrations_module.registrations
        searches: list[Any] = []

        def count(*arguments: Any) -> Any:
            searches.append(arguments)
            return search(*arguments)

        monkeypatch.setattr(registrations_module, "registrations", count)
        stage.handover.drain(datagrams_only=False)
        assert len(searches) == 2
        clients = [socket.create_connection(("127.0.0.1", port), 10) for port in ports]
        assert [epoll.poll(0.1) for epoll in epolls] == [[], []]
        stage.handover.undrain()
        assert len(searches) == 4
        ready = {fd for epoll in epolls for fd, _ in epoll.poll(10)}
        assert ready == {sock.fileno() for sock in socks}
        for client in clients:
            client.close()

    stage.play(application)


def test_number_of_another_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that closes its listener while it is about to be replaced keeps the file that got the number."""
    stage = Stage("80")

    def application() -> None:
        sock = socket.socket(V6, TCP)
        sock.bind(("::", 80))
        sock.listen(50)
        number, make = sock.fileno(), idle_like

        def close_meanwhile(fd: int) -> Any:
            idle = make(fd)
            sock.close()
            os.dup2(os.open("/dev/null", os.O_RDONLY), number)
            return idle

        monkeypatch.setattr(given_module, "idle_like", close_meanwhile)
        stage.handover.drain(datagrams_only=False)
        monkeypatch.undo()
        assert os.path.samestat(os.fstat(number), os.stat("/dev/null"))
        stage.handover.undrain()
        assert os.path.samestat(os.fstat(number), os.stat("/dev/null"))

    stage.play(application)


def test_one_shot_armed_during_a_move(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registration for one event (EPOLLONESHOT), armed anew in the moment before the move, is armed after it."""
    stage = Stage("80")

    def application() -> None:
        sock, epoll, once = socket.socket(V6, TCP), select.epoll(), select.EPOLLIN | select.EPOLLONESHOT
        sock.setblocking(False)
        sock.bind(("::", 80))
        sock.listen(50)
        epoll.register(sock, once)
        again = registrations_module.again

        def arm_behind(registration: Any) -> Any:
            found = again(registration)
            epoll.modify(sock, once)
            return found

        with socket.create_connection(("127.0.0.1", 80), 10):
            assert epoll.poll(10) == [(sock.fileno(), select.EPOLLIN)]
            os.close(sock._accept()[0])  # type: ignore[attr-defined]
        monkeypatch.setattr(registrations_module, "again", arm_behind)
        stage.handover.drain(datagrams_only=False)
        monkeypatch.undo()
        stage.handover.undrain()
        with socket.create_connection(("127.0.0.1", 80), 10):
            assert epoll.poll(10) == [(sock.fileno(), select.EPOLLIN)]

    stage.play(application)


def test_bound_again_during_the_rehearsal() -> None:
    """A rehearsing application that closes its listener and binds it again is told the right address again."""
    stage = Stage("80", parked=True)

    def application() -> None:
        stage.handover.release(rehearse=True)
        for _ in range(3):
            with socket.socket(V6, TCP) as sock, select.epoll() as epoll:
                sock.bind(("::", 80))
                sock.listen(50)
                assert sock.getsockname()[1] == 80
                epoll.register(sock, select.EPOLLIN)
                stage.handover.hide()
                assert sock.getsockname()[1] != 80

    stage.play(application)


def test_undrain_of_a_parked_application() -> None:
    """Giving the listeners to an application that has not asked for them yet lets it have them when it does."""
    stage = Stage("80", parked=True)

    def application() -> None:
        stage.handover.undrain()
        with socket.socket(V6, TCP) as sock:
            sock.bind(("::", 80))
            assert stage.is_listener(sock.fileno())

    stage.play(application)


def test_idle_unix_socket_has_no_name() -> None:
    """What stands in for a Unix listener cannot be reached by others: neither a path nor an abstract name leads to it."""
    folder = tempfile.mkdtemp()
    stage = Stage(f"unix:{folder}/s,mode=0600")

    def application() -> None:
        sock, epoll = socket.socket(socket.AF_UNIX, TCP), select.epoll()
        sock.bind(f"{folder}/s")
        sock.listen(5)
        epoll.register(sock, select.EPOLLIN)
        stage.handover.drain(datagrams_only=False)
        name = sock.getsockname()
        assert isinstance(name, str)
        assert not os.path.lexists(name)
        assert epoll.poll(0) == []
        stage.handover.undrain()
        with socket.socket(socket.AF_UNIX, TCP) as peer:
            peer.connect(f"{folder}/s")
            assert epoll.poll(10) == [(sock.fileno(), select.EPOLLIN)]

    stage.play(application)


def test_rehearsal_of_a_watched_socket() -> None:
    """A socket is an idle one once it is watched for connections, not while its registration is still being made."""
    stage = Stage("80", parked=True)

    def application() -> None:
        stage.handover.release(rehearse=True)
        watched, epoll = socket.socket(V6, TCP), select.epoll()
        watched.setblocking(False)
        watched.bind(("::", 80))
        watched.listen(50)
        epoll.register(watched, 0)
        stage.handover.hide()
        assert watched.getsockname()[1] == 80
        epoll.modify(watched, select.EPOLLIN)
        stage.handover.hide()
        assert watched.getsockname()[1] != 80
        stage.handover.given.knock()
        assert epoll.poll(10) == [(watched.fileno(), select.EPOLLIN)]
        stage.handover.undrain()
        assert watched.getsockname()[1] == 80

    stage.play(application)


def test_rehearsal_of_an_application_that_never_waits() -> None:
    """Where clients come so fast that no thread is ever seen to wait, it is enough that a connection was accepted."""
    stage = Stage("80", parked=True)

    def application() -> None:
        stage.handover.release(rehearse=True)
        busy = socket.socket(V6, TCP)
        busy.bind(("::", 80))
        busy.listen(50)
        stage.handover.hide()
        assert busy.getsockname()[1] == 80, "nobody waits, and nothing was accepted"
        with socket.create_connection(("127.0.0.1", 80), 10):
            busy.setblocking(True)
            connection, _ = busy.accept()
            stage.handover.hide()
            assert busy.getsockname()[1] != 80
            assert connection.getsockname()[1] == 80, "the client that is there is served on"
            connection.close()
        stage.handover.undrain()
        assert busy.getsockname()[1] == 80

    stage.play(application)


def test_nobody_reaches_the_idle_socket() -> None:
    """The socket that stands in for a drained listener takes no connection, whichever port the kernel picked for it."""
    stage = Stage("80")

    def application() -> None:
        sock = socket.socket(V6, TCP)
        sock.bind(("::", 80))
        sock.listen(5)
        stage.handover.drain(datagrams_only=False)
        with socket.socket(V6, TCP) as peer:
            peer.settimeout(0.3)
            with pytest.raises(OSError):
                peer.connect(sock.getsockname())

    stage.play(application)
