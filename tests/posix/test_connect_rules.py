"""connect_ports: the further Landlock domain and its filter, entered by a child process with the real kernel.

Run by pytest as root.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from functools import partial
from typing import TYPE_CHECKING

import pytest

from jvmbind.errors import SystemFailureError
from jvmbind.posix import landlock
from jvmbind.posix.connect_rules import CALLS, filter_program, missing, restrict
from jvmbind.posix.seccomp import MACHINES, RET_ALLOW, RET_ERRNO, add
from support.attempts import in_child
from support.filters import run

if TYPE_CHECKING:
    from collections.abc import Callable

LIBC = ctypes.CDLL(None, use_errno=True)
MSG_FASTOPEN, IPPROTO_MPTCP = 0x20000000, 262


def attempts_at(server: socket.socket) -> dict[str, Callable[[], object]]:
    """Return each way to reach a TCP listener that this kernel has."""
    to = server.getsockname()
    tcp = (socket.AF_INET, socket.SOCK_STREAM)
    return {
        "connect": lambda: socket.socket(*tcp).connect(to),
        "mapped": lambda: socket.socket(socket.AF_INET6).connect((f"::ffff:{to[0]}", to[1])),
        "sendto": lambda: socket.socket(*tcp).sendto(b"x", MSG_FASTOPEN, to),
        "sendmsg": lambda: socket.socket(*tcp).sendmsg([b"x"], [], MSG_FASTOPEN, to),
        "mptcp": lambda: socket.socket(*tcp, IPPROTO_MPTCP).connect(to),
        "mptcp sendto": lambda: socket.socket(*tcp, IPPROTO_MPTCP).sendto(b"x", MSG_FASTOPEN, to),
        "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", to),
    }


def listener() -> socket.socket:
    """Return a listener on any port that takes data with the first packet, so that nothing of its own keeps a client out."""
    server = socket.create_server(("127.0.0.1", 0))
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 5)
    return server


def test_only_the_ports_that_are_named() -> None:
    """TCP connects reach a port that is named and no other, by no call and no protocol; UDP is not restricted."""
    with listener() as allowed, listener() as denied:
        port = allowed.getsockname()[1]
        good = in_child(lambda: restrict(LIBC, (port,)), attempts_at(allowed))
        bad = in_child(lambda: restrict(LIBC, (port,)), attempts_at(denied))

    no_protocol, not_supported = errno.EPROTONOSUPPORT, errno.EOPNOTSUPP
    ways = {"sendto": not_supported, "sendmsg": not_supported, "mptcp": no_protocol, "mptcp sendto": no_protocol, "udp": 0}
    assert good == {"connect": 0, "mapped": 0, **ways}
    assert bad == {"connect": errno.EACCES, "mapped": errno.EACCES, **ways}


def test_an_empty_list_is_no_port() -> None:
    """With no port named every TCP connect is refused."""
    with listener() as server:
        assert in_child(lambda: restrict(LIBC, ()), attempts_at(server))["connect"] == errno.EACCES


def test_landlock_alone_does_not_do_it() -> None:
    """The filter is needed: a child in the Landlock domain alone reaches the port by MSG_FASTOPEN or by MPTCP.

    When this fails, the kernel asks Landlock in both cases, and the filter may go for such kernels.
    """
    with listener() as server:
        found = in_child(lambda: landlock.allow_connects(LIBC, ()), attempts_at(server))

    assert found["connect"] == errno.EACCES
    assert 0 in {found["sendto"], found["mptcp"]}


def test_a_kernel_without_it_is_refused() -> None:
    """Where Landlock's calls are refused, as by older containers, restrict says so in one line and nothing is restricted."""
    number = 444  # landlock_create_ruleset, on every architecture
    program = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, RET_ERRNO | errno.ENOSYS), (0x06, 0, 0, RET_ALLOW)]
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)

    def refused() -> None:
        assert "expected Linux 6.7 or later" in missing(LIBC)
        with pytest.raises(SystemFailureError, match=r"^connect_ports: Landlock is not there.*expected Linux 6\.7"):
            restrict(LIBC, ())
        raise OSError(errno.ENOSYS, "as it should be")

    with listener() as server:
        found = in_child(lambda: assert_added(code), {"restrict": refused, "connect": attempts_at(server)["connect"]})
    assert found == {"restrict": errno.ENOSYS, "connect": 0}


def assert_added(code: bytes) -> None:
    """Install a filter."""
    assert add(code, LIBC) == 0


def io_uring() -> None:
    """Ask for a ring; raises OSError."""
    if LIBC.syscall(425, 1, ctypes.create_string_buffer(120)) < 0:
        raise OSError(ctypes.get_errno(), "io_uring_setup")


def test_no_way_round_the_filter() -> None:
    """io_uring, by which a socket of another protocol could be made, is closed."""
    assert in_child(lambda: restrict(LIBC, ()), {"ring": io_uring}) == {"ring": errno.EPERM}


@pytest.mark.parametrize("name", MACHINES)
def test_both_architectures(name: str) -> None:
    """The filter of each architecture says the same, for every family, kind and protocol of a socket and every call."""
    program, arch, calls = filter_program(name), MACHINES[name].audit, CALLS[name]
    ask = partial(run, program, arch=arch)
    for family in range(48):
        for kind in range(1, 7):
            for protocol in (0, 6, 17, 33, 132, 256, 262):
                found = ask(number=calls.socket, arguments=(family, kind | 0x80800, protocol))  # SOCK_CLOEXEC | SOCK_NONBLOCK
                stream = family in {2, 10} and kind != 2 and protocol not in {0, 6}
                expected = RET_ERRNO | errno.EPROTONOSUPPORT if stream or family in {21, 43} else RET_ALLOW
                assert found == expected, (family, kind, protocol)
    for number, place in ((calls.sendto, 3), (calls.sendmsg, 2), (calls.sendmmsg, 3)):
        for flags, expected in ((0, RET_ALLOW), (0x4000, RET_ALLOW), (MSG_FASTOPEN | 0x4000, RET_ERRNO | errno.EOPNOTSUPP)):
            arguments = tuple(flags if one == place else 7 for one in range(6))
            assert ask(number=number, arguments=arguments) == expected
    assert ask(number=425) == RET_ERRNO | errno.EPERM
    assert ask(number=MACHINES[name].bind) == RET_ALLOW
    for other in {machine.audit for machine in MACHINES.values()} | {MACHINES[name].compat}:
        assert other == arch or run(program, number=1, arch=other) == RET_ERRNO | errno.ENOSYS
    x32 = run(program, number=0x40000000 | calls.socket, arch=arch)
    assert x32 == (RET_ERRNO | errno.ENOSYS if name == "x86_64" else RET_ALLOW)
