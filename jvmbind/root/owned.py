"""Whose files root believes: its own code, and a configuration, that nobody else could have written.

Runs with privilege, before anything is bound. Sources: path_resolution(7), acl(5), inode(7) on the sticky bit, open(2).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from typing import TYPE_CHECKING

from jvmbind.errors import ConfigurationError, NotPermittedError, SystemFailureError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_LINKS = 40  # as many symbolic links as the kernel follows
_WAY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC  # not to wait, not to become a terminal's owner


def walk(path: str, judge: Callable[[str, os.stat_result], None]) -> int:
    """Return a descriptor (O_PATH) of what an absolute path leads to, walked from descriptor to descriptor; raises OSError.

    `judge` is shown every directory and link on the way, and the end of it, and may raise.
    """
    words, name, links, here = path.split("/"), "/", 0, os.open("/", _WAY)
    try:
        judge(name, os.fstat(here))
        while words:
            if (word := words.pop(0)) in {"", "."}:
                continue
            there = os.open(word, _WAY, dir_fd=here)
            info, found = os.fstat(there), os.path.normpath(os.path.join(name, word))
            if stat.S_ISLNK(info.st_mode):
                target = os.readlink("", dir_fd=there)
                os.close(there)
                judge(found, info)
                words[:0], links = target.split("/"), links + 1
                if links > _LINKS:
                    raise OSError(errno.ELOOP, "too many symbolic links")  # noqa: TRY301 - as the kernel does
                if not target.startswith("/"):
                    continue
                there, found = os.open("/", _WAY), "/"
            os.close(here)
            here, name = there, found
            judge(found, os.fstat(here))
    except BaseException:
        os.close(here)
        raise
    return here


def is_writable(info: os.stat_result) -> bool:
    """Whether others than the owner can put something else there; an access list shows in the group's bits (acl(5), mask).

    Nobody can replace what is another's in a sticky directory, and a link has no mode.
    """
    sticky = stat.S_ISDIR(info.st_mode) and info.st_mode & stat.S_ISVTX
    return bool(info.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not stat.S_ISLNK(info.st_mode) and not sticky)


def open_configuration(path: str, *, owned: bool) -> int:
    """Return a descriptor of a regular file; with `owned` of one that nobody but root and this user could have put there.

    Raises ConfigurationError, NotPermittedError.
    """
    owners = sorted({0, os.geteuid()})

    def judge(what: str, info: os.stat_result) -> None:
        if owned and (info.st_uid not in owners or is_writable(info)):
            msg = (
                f"configuration {path}: read with privilege, so others must not be able to change it: {what} belongs to uid "
                f"{info.st_uid} with mode {stat.S_IMODE(info.st_mode):04o}; expected "
                f"{' or '.join(f'uid {uid}' for uid in owners)} and no write permission for group and others"
            )
            raise NotPermittedError(msg)

    try:
        # What was judged is what is opened.
        found = walk(os.path.join(os.getcwd(), path), judge) if owned else os.open(path, _READ | os.O_PATH)
        try:
            if stat.S_ISREG(os.fstat(found).st_mode):
                return os.open(f"/proc/self/fd/{found}", _READ)
        finally:
            os.close(found)
    except PermissionError as error:
        reason = f"user {_own_name()} cannot read it ({error.strerror}); expected that right (chgrp and chmod g+r)"
    except OSError as error:
        reason = error.strerror or str(error)
    except ValueError as error:  # a NUL in the path
        reason = str(error)
    else:
        reason = "expected a file"
    msg = f"configuration {path}: {reason}"
    raise ConfigurationError(msg)


def _own_name() -> str:
    import pwd  # noqa: PLC0415 - seldom needed

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def check_own_code() -> None:
    """Check that nobody but root could have written the code that runs as root now; raises NotPermittedError with the path.

    Looks at the interpreter and every module loaded from a file, and at each directory above them.
    """
    if not sys.flags.isolated:
        msg = "the privileged part runs in an interpreter that is not isolated: expected python -I"
        raise SystemFailureError(msg)
    # The interpreter by its name and what that leads to, and what makes it run in a virtual environment.
    files = {os.path.abspath(sys.executable), os.path.realpath(sys.executable), os.path.join(sys.prefix, "pyvenv.cfg")}
    for module in list(sys.modules.values()):
        loaded = (getattr(module, attribute, None) for attribute in ("__file__", "__cached__"))
        files |= {os.path.realpath(file) for file in loaded if file and os.path.exists(file)}
    for directory in map(os.path.realpath, sys.path):
        # What is imported next is looked for here first, and site runs every .pth file, isolated or not.
        with contextlib.suppress(OSError):
            files |= {directory, *(os.path.join(directory, name) for name in os.listdir(directory) if name.endswith(".pth"))}
    check_written_by_root(files, "root would run code that others may change")


def check_written_by_root(files: Iterable[str], why: str) -> None:
    """Check each of these absolute paths, and every directory above it; raises NotPermittedError that begins with `why`."""
    checked: set[str] = set()
    for path in sorted(files):
        while path not in checked:
            checked.add(path)
            with contextlib.suppress(FileNotFoundError):
                _check_written_by_root(path, why)
            path = os.path.dirname(path)  # noqa: PLW2901


def _check_written_by_root(path: str, why: str) -> None:
    info = os.stat(path)
    others_write = info.st_mode & stat.S_IWOTH and not (stat.S_ISDIR(info.st_mode) and info.st_mode & stat.S_ISVTX)
    if info.st_uid != 0 or others_write or (info.st_mode & stat.S_IWGRP and (info.st_gid != 0 or _has_access_list(path))):
        mode = f"{stat.S_IMODE(info.st_mode):04o}"
        msg = f"{why}: {path} belongs to uid {info.st_uid} with mode {mode}; expected a file of root that root alone may write"
        raise NotPermittedError(msg)


def _has_access_list(path: str) -> bool:
    """Whether the bits of the group are a mask, so that any entry that may write shows there: acl(5)."""
    try:
        return "system.posix_acl_access" in os.listxattr(path)
    except OSError:
        return False  # a file system without
