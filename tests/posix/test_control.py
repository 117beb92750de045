"""Who is answered first at the control socket, with the real sockets of several users. Run in child processes (see conftest.py)."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import resource
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jvmbind.posix.fds import open_fds
from jvmbind.supervisor.control import Control
from support.users import OTHER_USER, User, user

pytestmark = pytest.mark.root

_CONNECTED: list[socket.socket] = []


@contextlib.contextmanager
def acting_as(who: User | None, groups: tuple[int, ...] = ()) -> Iterator[None]:
    """Be another user for a while: what the kernel notes of a connection is who makes it."""
    if who is not None:
        os.setgroups(groups)
        os.setegid(who.gid)
        os.seteuid(who.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def connect(path: str, who: User | None = None, word: str = "status", groups: tuple[int, ...] = ()) -> socket.socket:
    """Connect at once or not at all, and ask; root by default."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    with acting_as(who, groups):
        sock.connect(path)
    if word:
        sock.send(word.encode())
    _CONNECTED.append(sock)
    return sock


def fill(path: str, who: User) -> int:
    """Connect until there is no room; return how often."""
    for count in range(1000):
        try:
            connect(path, who)
        except BlockingIOError:
            return count
    return 1000


def ready(control: Control) -> list[int]:
    """Return the descriptors that the loop would find readable."""
    poll = select.poll()
    for fd in control.fds():
        poll.register(fd, select.POLLIN)
    return [fd for fd, _ in poll.poll(0)]


def made(workspace: Path, owner: User, group: int = -1) -> Control:
    """Return a control socket as a supervisor of that user has it; what asks is looked at as that user."""
    os.chown(workspace, owner.uid, owner.gid)
    with acting_as(owner):
        return Control(str(workspace / "control"), logging.getLogger("test"), lambda: (group, ("status",)))


def test_root_is_not_behind_a_full_queue(workspace: Path, service_user: User) -> None:
    """10.5: with the queue full of others, root is let in at once and answered next, and one other at the most with it."""
    control = made(workspace, service_user)
    path = str(workspace / "control")
    assert fill(path, service_user) > 100
    with pytest.raises(BlockingIOError):
        connect(path)
    connect(path + ".root")

    with acting_as(service_user):
        asked = control.requests(ready(control))
        root = [fd for fd in control._peers if control._peers[fd].uid == 0]
        assert asked[0] == (root[0], "status")
        assert len(asked) <= 2
        # What others want is done as well, a request a turn, and root's next one is first again.
        for _ in range(3):
            os.seteuid(0)
            connect(path + ".root")
            os.seteuid(service_user.uid)
            asked = control.requests(ready(control))
            assert [control._peers[fd].uid for fd, _ in asked] == [0, service_user.uid]


def test_who_is_not_in_the_user_namespace(workspace: Path) -> None:
    """Where the supervisor's user has the number that stands for all who are not in its namespace, those are not its owner."""
    workspace.chmod(0o777)
    path = workspace / "control"
    begun, begin = os.pipe()
    stranger = os.fork()
    if stranger == 0:
        os.read(begun, 1)
        who = user(OTHER_USER)
        os.setgroups([])
        os.setgid(who.gid)
        os.setuid(who.uid)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.connect(str(path))
            sock.send(b"stop")
            os._exit(0 if b'"status": 77' in sock.recv(4096) else 1)
    assert ctypes.CDLL(None).unshare(0x10000000) == 0  # CLONE_NEWUSER
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text("65534 0 1")
    Path("/proc/self/gid_map").write_text("65534 0 1")
    assert os.geteuid() == 65534
    control = Control(str(path), logging.getLogger("test"), lambda: (65534, ("stop",)))
    os.write(begin, b"x")
    while os.waitpid(stranger, os.WNOHANG) == (0, 0):
        assert control.requests(ready(control)) == []
        time.sleep(0.01)
    assert [peer.kind for peer in control._peers.values() if peer.kind < 3] == []


def test_descriptors_that_others_have_used_up(workspace: Path, service_user: User) -> None:
    """10.5: what strangers and the owner hold open is bounded, so that it fits into the lowest usual limit of descriptors."""
    control = made(workspace, service_user)
    path = str(workspace / "control")
    for _ in range(20):
        for who in (service_user, user(OTHER_USER)):
            with contextlib.suppress(BlockingIOError):  # no more are let in at once
                for _ in range(20):
                    connect(path, who, "")
            with acting_as(service_user):
                for _ in range(3):
                    control.requests(ready(control))
    assert len(control._clients) <= 24


def test_no_descriptor_is_left(workspace: Path, service_user: User) -> None:
    """10.5: where the supervisor has no descriptor left, one of another user's makes room for root."""
    control = made(workspace, service_user)
    path = str(workspace / "control")
    for _ in range(10):
        connect(path, service_user, "")
    with acting_as(service_user):
        control.requests(ready(control))
    connect(path + ".root")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(open_fds()) + 1,) * 2)
    with contextlib.suppress(OSError):
        while True:
            os.dup(0)

    with acting_as(service_user):
        assert [control._peers[fd].uid for fd, _ in control.requests(control.fds())] == [0]
    assert len(control._clients) == 10


def test_no_descriptor_is_left_for_anybody(workspace: Path, service_user: User) -> None:
    """10.5: with no descriptor left, and nobody to make room, root's open connections are served, and the rest waits a moment."""
    control = made(workspace, service_user)
    path = str(workspace / "control.root")
    first = connect(path, word="")
    with acting_as(service_user):
        control.requests(ready(control))
    connect(path)
    first.send(b"status")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(open_fds()) + 1, limits[1]))
    with contextlib.suppress(OSError):
        while True:
            os.dup(0)

    with acting_as(service_user):
        (asked,) = control.requests(control.fds())
    paused = control.root_paused_until
    assert asked[0] in control._clients
    assert control._root is not None
    control.root_paused_until = time.monotonic() + 3600
    assert control._root.socket.fileno() not in control.fds()
    control.root_paused_until = paused
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    while time.monotonic() < paused:
        time.sleep(0.001)
    with acting_as(service_user):
        assert len(control.requests(ready(control))) == 1
    assert len(control._clients) == 2


def test_a_member_of_the_group_keeps_its_place(workspace: Path, service_user: User) -> None:
    """10.5: a stranger who connects without end takes no place from a member of the group that may ask, nor from another user."""
    group = 4711
    control = made(workspace, service_user, group)
    path = str(workspace / "control")
    stranger, member = user(OTHER_USER), user("games")
    waiting = connect(path, member, "", (group,))
    single = connect(path, user("man"), "")
    for _ in range(10):
        for _ in range(10):
            connect(path, stranger, "")
        with acting_as(service_user):
            control.requests(ready(control))
    waiting.send(b"status")
    single.send(b"status")

    with acting_as(service_user):
        answered = []
        for _ in range(20):
            answered += control.requests(ready(control))
    assert [control._peers[fd].uid for fd, _ in answered] == [member.uid]
    assert b"not permitted" in single.recv(1000)


def test_who_else_gets_hold_of_roots_socket(workspace: Path, service_user: User) -> None:
    """10.5: only root is let in at root's socket, by whatever way somebody else has come to it (here, by being this process)."""
    control = made(workspace, service_user)
    stranger = connect(str(workspace / "control.root"), service_user)

    with acting_as(service_user):
        assert control.requests(ready(control)) == []
    assert not control._clients
    with pytest.raises(ConnectionResetError):
        stranger.recv(100)


@pytest.mark.parametrize("left", ["link", "directory", "file", "full directory"])
def test_what_lies_in_the_place_of_the_link(workspace: Path, service_user: User, left: str) -> None:
    """10.9: whatever an earlier life has left where root's socket is looked for, it is there; and at the end it is gone."""
    link = workspace / "control.root"
    if left == "link":
        link.symlink_to("/etc/passwd")
    elif left == "file":
        link.write_text("x")
    else:
        link.mkdir()
        if left == "full directory":
            (link / "x").mkdir()
    control = made(workspace, service_user)

    connect(str(link))
    with acting_as(service_user):
        assert len(control.requests(ready(control))) == 1
        control.close()
    assert not link.is_symlink()
    assert not (workspace / "control").exists()
    assert "root:" in Path("/etc/passwd").read_text()
