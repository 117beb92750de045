"""Makes and removes the Unix sockets of listeners, where others may change the way to them meanwhile.

Runs with privilege, before the drop. The way is walked once, from descriptor to descriptor, and what is made or removed is so
in the directory that was found: by root where root alone may change the way, else by a child that has become the service's user.
bind(2) takes a path and no descriptor, and the path is what getsockname(2) shows ever after, to Java too. So that child is
confined to a fresh directory in the one that was found, binds there by the very path, and links the socket to its place.
Sources: unix(7), path_resolution(7), chroot(2), link(2), setresuid(2).
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from typing import TYPE_CHECKING

from jvmbind.root.owned import is_writable, walk
from jvmbind.root.process import end_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from jvmbind.spec import ListenSpec, UserSpec

_PATIENCE = 10_000  # milliseconds for a bind in a directory, which may be on a slow file system


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
            _in_directory(
                spec.path, user, lambda here: _bind(sock, spec.path, user, here), lambda here: _confined(sock, spec.path, here)
            )
    except BaseException:
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

    def remove(directory: int) -> None:
        os.unlink(os.path.basename(path), dir_fd=directory)

    _in_directory(path, user, remove, remove)


def _in_directory(path: str, user: UserSpec, as_root: Callable[[int], None], as_user: Callable[[int], None]) -> None:
    """Do something in the directory of `path`, as root where root alone decides what every part of the way names.

    A link of somebody else than root and `user` is not followed: ELOOP.
    """
    alone = True

    def judge(_: str, info: os.stat_result) -> None:
        nonlocal alone
        alone = alone and info.st_uid == 0 and not is_writable(info)
        if stat.S_ISLNK(info.st_mode) and info.st_uid not in {0, user.uid}:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)

    directory = walk(os.path.dirname(path), judge)
    try:
        if alone and not os.fstat(directory).st_mode & stat.S_ISVTX:  # in such a one others may add names
            as_root(directory)
            return
        child = os.fork()  # one thread only so far: drop_permanently would refuse more
        if child == 0:
            number = errno.EIO
            try:
                os.setgroups(user.groups)
                os.setresgid(user.gid, user.gid, user.gid)
                os.setresuid(user.uid, user.uid, 0)  # to confine itself takes root once more
                as_user(directory)
                number = 0
            except OSError as error:
                number = error.errno or errno.EIO
            finally:
                os._exit(number)
        number = end_of(child, _PATIENCE)
        if number:
            number = max(number, 0) or errno.ECANCELED
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(directory)


def _bind(sock: socket.socket, path: str, user: UserSpec, directory: int) -> None:
    """Bind where nobody else can turn any part of the way."""
    name = os.path.basename(path)
    _remove_stale(f"/proc/self/fd/{directory}/{name}")
    sock.bind(path)
    try:
        os.chown(name, user.uid, user.gid, dir_fd=directory, follow_symlinks=False)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=directory)
        raise


def _confined(sock: socket.socket, path: str, directory: int) -> None:
    """Bind to `path` below a fresh directory that is the root of this process from then on, and link the socket to its place."""
    name, hidden, mask = os.path.basename(path), f".jvmbind-{os.urandom(8).hex()}", os.umask(0)
    _remove_stale(f"/proc/self/fd/{directory}/{name}")
    os.mkdir(hidden, 0o700, dir_fd=directory)
    fresh = os.open(hidden, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    os.fchdir(fresh)
    user = os.getuid()
    os.seteuid(0)
    with contextlib.suppress(PermissionError):  # a root without CAP_SYS_CHROOT; then the path leads where it leads its user
        os.chroot(".")
    os.setresuid(user, user, user)
    confined = os.stat("/").st_ino == os.fstat(fresh).st_ino
    try:
        if confined:
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        os.umask(mask)
        sock.bind(path)
        if confined:
            os.link(path, name, dst_dir_fd=directory, follow_symlinks=False)
    except FileExistsError as error:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE), path) from error
    finally:
        with contextlib.suppress(OSError):
            if confined:
                os.unlink(path)
        with contextlib.suppress(OSError):
            if confined:
                os.removedirs(os.path.dirname(path))
        with contextlib.suppress(OSError):
            os.rmdir(hidden, dir_fd=directory)


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
