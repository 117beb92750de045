"""Makes and removes the Unix sockets of listeners, where others may change the way to them meanwhile.

Runs with privilege, before the drop. The way is walked once, from descriptor to descriptor, and what is made or removed is so
in the directory that was found. Where others than root may change it that is done with the service user's rights. bind(2)
takes a path and no descriptor, and the path is what getsockname(2) shows ever after, to Java too. So a child that is confined
to a fresh directory in the one that was found binds there, by the very path, and links the socket to its place.
Sources: unix(7), path_resolution(7), chroot(2), open(2) on O_PATH, inode(7) on the sticky bit.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jvmbind.spec import ListenSpec, UserSpec

_LINKS = 40  # as the kernel has it: path_resolution(7)
_WAY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def open_unix(spec: ListenSpec, user: UserSpec | None, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """Return a socket that is bound to the path of `spec`, for `user` to own; raises OSError with nothing left behind."""
    sock = socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    # The mode of the file is 0777 without the umask: unix(7). Set before, so that there is no moment between.
    before = os.umask(0o777 & ~spec.mode)
    try:
        if user is None or os.geteuid() != 0:
            _remove_stale(spec.path, kind)
            sock.bind(spec.path)
        else:
            _bind_for(user, sock, spec.path)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(before)
    return sock


def remove_unix(path: str, user: UserSpec | None) -> None:
    """Remove the name of a socket that `open_unix` has made; raises OSError."""
    if user is None or os.geteuid() != 0:
        os.unlink(path)
        return
    with _directory_of(path, user) as (directory, roots_alone):
        if roots_alone:
            os.unlink(os.path.basename(path), dir_fd=directory)
        else:
            with _rights_of(user):
                os.unlink(os.path.basename(path), dir_fd=directory)


def _bind_for(user: UserSpec, sock: socket.socket, path: str) -> None:
    name = os.path.basename(path)
    with _directory_of(path, user) as (directory, roots_alone):
        here = f"/proc/self/fd/{directory}/{name}"
        if roots_alone:  # nobody else can turn any part of the way
            _remove_stale(here)
            sock.bind(path)
            try:
                os.chown(name, user.uid, user.gid, dir_fd=directory, follow_symlinks=False)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=directory)
                raise
            return
        with _rights_of(user):
            _remove_stale(here)
        child = os.fork()  # one thread only so far: drop_permanently would refuse more
        if child == 0:
            number = errno.EIO
            try:
                _bind_confined(user, sock, directory, path)
                number = 0
            except OSError as error:
                number = error.errno or errno.EIO
            finally:
                os._exit(number)
        number = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if number:
            raise OSError(number, os.strerror(number), path)


def _bind_confined(user: UserSpec, sock: socket.socket, directory: int, path: str) -> None:
    """Bind to `path` below a fresh directory that is the root of this process from then on, and link the socket to its place."""
    hidden = f".jvmbind-{os.urandom(8).hex()}"
    mask = os.umask(0)
    with _rights_of(user):
        os.mkdir(hidden, 0o700, dir_fd=directory)
        fresh = os.open(hidden, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.fchdir(fresh)
        with contextlib.suppress(PermissionError):  # a root without CAP_SYS_CHROOT; then the path leads where it leads its user
            os.chroot(".")
        with _rights_of(user):
            if os.stat("/").st_ino != os.fstat(fresh).st_ino:
                os.umask(mask)
                sock.bind(path)
                return
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            os.umask(mask)
            try:
                sock.bind(path)
                os.link(path, os.path.basename(path), dst_dir_fd=directory, follow_symlinks=False)
            except FileExistsError as error:
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE), path) from error
            finally:
                with contextlib.suppress(OSError):
                    os.unlink(path)
                with contextlib.suppress(OSError):
                    os.removedirs(os.path.dirname(path))
    finally:
        with _rights_of(user), contextlib.suppress(OSError):
            os.rmdir(hidden, dir_fd=directory)


@contextlib.contextmanager
def _directory_of(path: str, user: UserSpec) -> Iterator[tuple[int, bool]]:
    """Yield a descriptor of the directory of `path`, and whether root alone decides what every part of the way names.

    A link of somebody else than root and `user` is not followed: ELOOP. In a directory with the sticky bit others may add
    names, but not take root's away.
    """
    rest = [word for word in os.path.dirname(path).split("/") if word]
    here, roots_alone, links = os.open("/", _WAY), True, 0
    try:
        while True:
            info = os.fstat(here)
            writable = info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            roots_alone &= info.st_uid == 0 and not (writable and not (rest and info.st_mode & stat.S_ISVTX))
            if not rest:
                break
            there = os.open(rest.pop(0), _WAY, dir_fd=here)
            try:
                found = os.fstat(there)
                if stat.S_ISLNK(found.st_mode):
                    links += 1
                    if links > _LINKS or found.st_uid not in {0, user.uid}:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                    roots_alone &= found.st_uid == 0
                    target = os.readlink("", dir_fd=there)
                    rest = [word for word in target.split("/") if word not in {"", "."}] + rest
                    following = os.open("/", _WAY) if target.startswith("/") else os.dup(here)
                elif stat.S_ISDIR(found.st_mode):
                    following = os.dup(there)
                else:
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
            finally:
                os.close(there)
            os.close(here)
            here = following
        yield here, roots_alone
    finally:
        os.close(here)


@contextlib.contextmanager
def _rights_of(user: UserSpec) -> Iterator[None]:
    """Act as the service user for a while: root's rights are never lent to who may change the way."""
    groups, gid = os.getgroups(), os.getegid()
    os.setgroups(user.groups)
    os.setegid(user.gid)
    os.seteuid(user.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(groups)


def _remove_stale(path: str, kind: int = socket.SOCK_STREAM) -> None:
    """Remove a socket that nobody listens on any more; leave everything else, so that bind(2) says EADDRINUSE."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            return
