"""isolate_network: the namespaces and filters themselves, entered by a child process with the real kernel.

Run by pytest as root; the children become the service's user.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import struct
import tempfile
from functools import partial
from typing import TYPE_CHECKING

import prctl
import pytest

from jvmbind.errors import SystemFailureError
from jvmbind.posix.connect_rules import CALLS
from jvmbind.posix.own_network import enter, filter_program, missing
from jvmbind.posix.seccomp import MACHINES, RET_ALLOW, RET_ERRNO, add
from support.attempts import in_child
from support.filters import run
from support.users import SERVICE_USER, user

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.root

LIBC = ctypes.CDLL(None, use_errno=True)
CONNECT = {"x86_64": 42, "aarch64": 203}
SETSOCKOPT = {"x86_64": 54, "aarch64": 208}
UNSHARE = {"x86_64": 272, "aarch64": 97}[os.uname().machine]
LANDLOCK = 444  # landlock_create_ruleset, on every architecture


def as_service_user() -> None:
    """Become the user, as a worker is after its start."""
    who = user(SERVICE_USER)
    os.setgroups([who.gid, 12345])
    os.setresgid(who.gid, who.gid, who.gid)
    os.setresuid(who.uid, who.uid, who.uid)
    prctl.set_dumpable(1)


def without(number: int, error: int) -> None:
    """Let one system call fail, as a sandbox or an older kernel does."""
    program = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, RET_ERRNO | error), (0x06, 0, 0, RET_ALLOW)]
    assert add(b"".join(struct.pack("=HBBI", *instruction) for instruction in program), LIBC) == 0


def isolated(*, landlock: bool = True) -> None:
    """Enter, as the service's user."""
    as_service_user()
    if not landlock:
        without(LANDLOCK, errno.ENOSYS)
    enter(LIBC)


def fails(what: Callable[[], bool]) -> Callable[[], None]:
    """Return an attempt that fails with ERANGE where `what` is not so."""

    def attempt() -> None:
        if not what():
            raise OSError(errno.ERANGE, "not so")

    return attempt


def powerless() -> bool:
    """Whether no capability set has anything in it, and nothing can be gained."""
    with open("/proc/self/status", encoding="ascii") as file:
        fields = dict(line.split(":\t", 1) for line in file)
    return (
        not any(int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"))
        and "1" in fields["NoNewPrivs"]
    )


def test_what_a_process_is_inside() -> None:
    """It has its own ids and no power, can be traced, dies with its parent, reads what its groups may, and sees loopback alone."""
    who = user(SERVICE_USER)
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as outside:
        os.chmod(folder, 0o755)
        path = f"{folder}/of-the-group"
        with open(path, "wb"):
            os.chown(path, 0, 12345)
        os.chmod(path, 0o040)
        cookie = outside.getsockopt(socket.SOL_SOCKET, 71, 8)  # SO_NETNS_COOKIE

        def enter_with_death() -> None:
            as_service_user()
            prctl.set_pdeathsig(9)
            enter(LIBC)

        found = in_child(
            enter_with_death,
            {
                "ids": fails(lambda: (*os.getresuid(), *os.getresgid()) == (*[who.uid] * 3, *[who.gid] * 3)),
                "powerless": fails(powerless),
                "traceable": fails(lambda: prctl.get_dumpable() == 1),
                "dies": fails(lambda: prctl.get_pdeathsig() == 9),
                "group": lambda: os.close(os.open(path, os.O_RDONLY)),
                "other network": fails(lambda: socket.socket().getsockopt(socket.SOL_SOCKET, 71, 8) != cookie),
                "devices": fails(lambda: [name for _, name in socket.if_nameindex()] == ["lo"]),
                "loopback": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)),
                "another namespace": raw_unshare,
            },
        )
    assert found == dict.fromkeys(found, 0) | {"another namespace": errno.ENOSPC}


def raw_unshare() -> None:
    """Ask for a user namespace; raises OSError."""
    if LIBC.unshare(0x10000000) < 0:
        raise OSError(ctypes.get_errno(), "unshare")


@pytest.mark.parametrize("landlock", [True, False], ids=["landlock", "older kernel"])
def test_sockets_from_outside_connect_nowhere(landlock: bool) -> None:
    """A listener and a connection of the network outside reach nobody there; where Landlock is too old no connect passes at all."""
    with socket.create_server(("127.0.0.1", 0)) as server, tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = f"{folder}/s"
        listener = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        fresh, unix = socket.socket(), socket.socket(socket.AF_UNIX)
        at_path = socket.socket(socket.AF_UNIX)
        at_path.bind(path)
        at_path.listen()
        os.chmod(path, 0o777)
        abstract = socket.socket(socket.AF_UNIX)
        abstract.bind("\0jvmbind-test-abstract")
        abstract.listen()
        from_outside = socket.socket(socket.AF_UNIX)
        to = server.getsockname()
        listener.shutdown(socket.SHUT_RDWR)
        LIBC.connect(accepted.fileno(), struct.pack("=H14x", 0), 16)
        found = in_child(
            partial(isolated, landlock=landlock),
            {
                "listener": lambda: listener.connect(to),
                "accepted": lambda: accepted.connect(to),
                "fresh": lambda: fresh.connect(to),
                "fastopen": lambda: fresh.sendto(b"x", 0x20000000, to),
                "abstract": lambda: from_outside.connect("\0jvmbind-test-abstract"),
                "path": lambda: unix.connect(path),
            },
        )
        for sock in (listener, client, accepted, fresh, unix, at_path, abstract, from_outside):
            sock.close()
    denied = dict.fromkeys(("listener", "accepted", "fresh"), errno.EACCES) | {"fastopen": errno.EOPNOTSUPP}
    by_name = {"abstract": errno.EPERM, "path": 0} if landlock else {"abstract": errno.EACCES, "path": errno.EACCES}
    assert found == denied | by_name


def test_where_it_is_forbidden() -> None:
    """Where namespaces are refused, `missing` says so and leaves nothing behind, and `enter` goes no further."""
    before = os.readlink("/proc/self/ns/net")

    def refused() -> None:
        why = missing()
        assert why.startswith("unshare: Operation not permitted; expected user namespaces for the service's user"), why
        with pytest.raises(SystemFailureError, match=r"^isolate_network: unshare: Operation not permitted"):
            enter(LIBC)
        assert os.readlink("/proc/self/ns/net") == before
        raise OSError(errno.ENOSYS, "as it should be")

    def forbid() -> None:
        as_service_user()
        without(UNSHARE, errno.EPERM)

    assert in_child(forbid, {"refused": refused}) == {"refused": errno.ENOSYS}


def test_the_setting_that_forbids_it_is_named() -> None:
    """A limit of no user namespaces, set for a user namespace of this test, is named in the reason."""

    def forbid() -> None:
        as_service_user()
        who = user(SERVICE_USER)
        assert LIBC.unshare(0x10000000) == 0
        for name, text in (("setgroups", "deny"), ("uid_map", f"{who.uid} {who.uid} 1"), ("gid_map", f"{who.gid} {who.gid} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
        with open("/proc/sys/user/max_user_namespaces", "w", encoding="ascii") as file:
            file.write("0")

    def named() -> None:
        assert missing().startswith("unshare: No space left on device (user.max_user_namespaces is 0); expected"), missing()

    assert in_child(forbid, {"named": named}) == {"named": 0}


def test_a_trial_changes_nothing() -> None:
    """`missing` finds nothing amiss for a process that is closed to tracing, which stays that, in its own network."""
    network = os.readlink("/proc/self/ns/net")

    def enter_nothing() -> None:
        as_service_user()
        prctl.set_dumpable(0)

    def tried() -> None:
        assert missing() == ""
        assert prctl.get_dumpable() == 0

    def same() -> bool:
        prctl.set_dumpable(1)
        with contextlib.suppress(OSError):
            return os.readlink("/proc/self/ns/net") == network
        return False

    assert in_child(enter_nothing, {"tried": tried, "same": fails(same)}) == {"tried": 0, "same": 0}


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("by_landlock", [True, False])
def test_both_architectures(name: str, by_landlock: bool) -> None:
    """The filter of each architecture lets four families of sockets pass, no TCP_ULP, and without Landlock no connect."""
    ask = partial(run, filter_program(name, by_landlock=by_landlock), arch=MACHINES[name].audit)
    for family in range(64):
        expected = RET_ALLOW if family in {1, 2, 10, 16} else RET_ERRNO | errno.EAFNOSUPPORT
        assert ask(number=CALLS[name].socket, arguments=(family, 1, 0)) == expected, family
    for level, option in ((6, 31), (6, 30), (1, 31), (41, 31)):
        expected = RET_ERRNO | errno.ENOENT if (level, option) == (6, 31) else RET_ALLOW
        assert ask(number=SETSOCKOPT[name], arguments=(5, level, option)) == expected
    assert ask(number=CONNECT[name]) == (RET_ALLOW if by_landlock else RET_ERRNO | errno.EACCES)
    assert ask(number=MACHINES[name].bind) == RET_ALLOW
