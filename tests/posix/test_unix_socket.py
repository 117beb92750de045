"""10.12: Unix sockets whose way others change meanwhile. Run in child processes (see conftest.py)."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import socket
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jvmbind.errors import JvmbindError, NotPermittedError, PortUnavailableError
from jvmbind.posix.binding import bind_listeners
from jvmbind.root import unix_socket
from jvmbind.root.listeners import release
from jvmbind.spec import UserSpec, parse_listen
from support.users import OTHER_USER, User, user

pytestmark = pytest.mark.root

ROUNDS = 100
_RENAME_EXCHANGE, _AT_FDCWD = 2, -100


def as_spec(who: User) -> UserSpec:
    """Return a user as the product has it."""
    return UserSpec(who.uid, who.gid, who.groups, who.name, who.home, "/bin/sh")


def owned(path: Path, who: User | None = None, mode: int = 0o755) -> Path:
    """Make a directory for a user, root by default."""
    path.mkdir()
    path.chmod(mode)
    if who is not None:
        os.chown(path, who.uid, who.gid)
    return path


def link(path: Path, target: Path, who: User | None = None) -> Path:
    """Make a link that belongs to a user, root by default."""
    path.symlink_to(target)
    if who is not None:
        os.chown(path, who.uid, who.gid, follow_symlinks=False)
    return path


@contextlib.contextmanager
def turning(who: User, one: Path, other: Path) -> Iterator[None]:
    """Let a process of that user exchange two names as fast as it can."""
    libc = ctypes.CDLL(None, use_errno=True)
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setresgid(who.gid, who.gid, who.gid)
        os.setresuid(who.uid, who.uid, who.uid)
        if libc.renameat2(_AT_FDCWD, bytes(one), _AT_FDCWD, bytes(other), _RENAME_EXCHANGE) != 0:
            print(os.strerror(ctypes.get_errno()), file=sys.stderr)
            os._exit(1)
        while True:
            libc.renameat2(_AT_FDCWD, bytes(one), _AT_FDCWD, bytes(other), _RENAME_EXCHANGE)
    try:
        yield
    finally:
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def pinned(path: Path) -> Path:
    """Return a way to a directory whatever it is called from now on; to be asked for before its name is turned."""
    return Path(f"/proc/self/fd/{os.open(path, os.O_PATH)}")


def attempts(path: Path, who: User, wanted: Path, elsewhere: Path) -> int:
    """Bind and release many times; return how often there was a socket, which is never anywhere but in `wanted`."""
    before, succeeded = os.stat(elsewhere).st_mtime_ns, 0
    specs = [parse_listen(f"x=unix:{path}")]
    tried, deadline = 0, time.monotonic() + 40
    while (tried < ROUNDS or not succeeded) and time.monotonic() < deadline:
        tried += 1
        try:
            listeners = bind_listeners(specs, user=as_spec(who))
        except JvmbindError:
            continue
        finally:
            assert os.stat(elsewhere).st_mtime_ns == before, os.listdir(elsewhere)
        succeeded += 1
        assert listeners[0][1].getsockname() == str(path)
        assert (wanted / path.name).is_socket()
        (wanted / path.name).unlink()
        release(listeners, as_spec(who))
        assert os.stat(elsewhere).st_mtime_ns == before, os.listdir(elsewhere)
    return succeeded


def test_a_directory_of_the_services_user(workspace: Path, service_user: User) -> None:
    """The service's user turns a directory on the way into a link to one of root's: no socket is ever made there."""
    own = owned(workspace / "own", service_user)
    wanted = owned(own / "run", service_user)
    guarded = owned(workspace / "guarded")
    other = link(own / "other", guarded, service_user)
    place = pinned(wanted)

    with turning(service_user, wanted, other):
        assert attempts(own / "run" / "x.sock", service_user, place, guarded) > 0
    assert list(guarded.iterdir()) == []


def test_a_link_behind_a_link_of_roots(workspace: Path, service_user: User) -> None:
    """Root's own link leads over one of the service's user, which turns: root makes nothing where that leads."""
    own = owned(workspace / "own", service_user)
    wanted = owned(own / "run", service_user)
    guarded = owned(workspace / "guarded")
    turned = link(own / "one", wanted, service_user)
    other = link(own / "other", guarded, service_user)
    link(workspace / "way", turned)
    place = pinned(wanted)

    with turning(service_user, turned, other):
        assert attempts(workspace / "way" / "x.sock", service_user, place, guarded) > 0
    assert list(guarded.iterdir()) == []


def test_a_directory_of_a_third_user(workspace: Path, service_user: User) -> None:
    """A third user, who owns a directory on the way, cannot send the socket into another directory of the service's user."""
    third = user(OTHER_USER)
    between = owned(workspace / "between", third)
    wanted = owned(between / "run", third, 0o777)
    private = owned(workspace / "private", service_user)
    other = link(between / "other", private, third)
    place = pinned(wanted)

    with turning(third, wanted, other):
        assert attempts(between / "run" / "x.sock", service_user, place, private) > 0
    assert list(private.iterdir()) == []


def test_links_that_stay(workspace: Path, service_user: User) -> None:
    """Links of root and of the service's user are followed, one of a third user is refused by its owner."""
    own = owned(workspace / "own", service_user)
    wanted = owned(own / "releases", service_user)
    link(own / "current", Path("releases"), service_user)
    link(workspace / "way", Path("../") / workspace.name / "own")
    path = workspace / "way" / "current" / "x.sock"
    ((_, sock),) = bind_listeners([parse_listen(f"x=unix:{path},mode=0640")], user=as_spec(service_user))

    info = (wanted / "x.sock").stat()
    assert (info.st_uid, stat.S_IMODE(info.st_mode), info.st_nlink) == (service_user.uid, 0o640, 1)
    assert sock.getsockname() == str(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(path))
        assert client.getpeername() == str(path)
    assert [one.name for one in wanted.iterdir()] == ["x.sock"]

    link(workspace / "foreign", wanted, user(OTHER_USER))
    with pytest.raises(NotPermittedError, match="a symbolic link in the path belongs to neither root nor the service's user"):
        bind_listeners([parse_listen(f"x=unix:{workspace}/foreign/y.sock")], user=as_spec(service_user))


def test_what_is_in_the_way(workspace: Path, service_user: User) -> None:
    """In a directory of the service's user a living socket and a file stay, and a dead socket makes room; nothing else is left."""
    own = owned(workspace / "own", service_user)
    listener = parse_listen(f"x=unix:{own}/x.sock")
    first = bind_listeners([listener], user=as_spec(service_user))
    with pytest.raises(PortUnavailableError, match="address already in use"):
        bind_listeners([listener], user=as_spec(service_user))
    first[0][1].close()
    release(bind_listeners([listener], user=as_spec(service_user)), as_spec(service_user))
    assert list(own.iterdir()) == []

    (own / "x.sock").write_text("precious")
    with pytest.raises(PortUnavailableError, match="address already in use"):
        bind_listeners([listener], user=as_spec(service_user))
    assert (own / "x.sock").read_text() == "precious"
    assert [one.name for one in own.iterdir()] == ["x.sock"]
    assert os.geteuid() == 0
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_root_that_may_not_confine(workspace: Path, service_user: User) -> None:
    """Without CAP_SYS_CHROOT the socket is bound with the rights of the service's user, and is there."""
    libc = ctypes.CDLL(None, use_errno=True)
    cap_sys_chroot, bounding_drop = 18, 24
    own = owned(workspace / "own", service_user)
    import prctl  # noqa: PLC0415 - for this test alone

    prctl.cap_effective.sys_chroot = False
    prctl.cap_permitted.sys_chroot = False
    assert libc.prctl(bounding_drop, cap_sys_chroot, 0, 0, 0) == 0
    ((_, sock),) = bind_listeners([parse_listen(f"x=unix:{own}/x.sock")], user=as_spec(service_user))

    assert (own / "x.sock").owner() == service_user.name
    assert sock.getsockname() == f"{own}/x.sock"
    assert [one.name for one in own.iterdir()] == ["x.sock"]


def test_a_root_that_may_not_give_away(workspace: Path, service_user: User) -> None:
    """Without CAP_CHOWN the socket cannot belong to the service's user: the bind is refused, and no name is left."""
    import prctl  # noqa: PLC0415 - for this test alone

    guarded = owned(workspace / "guarded")
    prctl.cap_effective.chown = False
    with pytest.raises(JvmbindError, match="permission denied to make"):
        bind_listeners([parse_listen(f"x=unix:{guarded}/x.sock")], user=as_spec(service_user))

    assert list(guarded.iterdir()) == []


def test_a_child_that_is_stopped(workspace: Path, service_user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of the service's user may stop the child that binds for it; root goes on, and no child is left."""
    monkeypatch.setattr(unix_socket, "_PATIENCE", 100)
    place = owned(workspace / "place", service_user)

    def stop(_: int) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    with pytest.raises(OSError, match="Operation canceled") as failure:
        unix_socket._in_directory(str(place / "socket"), as_spec(service_user), stop, stop)
    assert failure.value.errno == errno.ECANCELED
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
