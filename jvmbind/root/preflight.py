"""Checks, before anything is bound, what the service user can read, and that root runs nothing it could have written.

Runs with privilege. The question "may this user read that" is put to the kernel by a child that has dropped, so that
access lists and security modules count too. Sources: path_resolution(7), access(2).
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
from typing import TYPE_CHECKING

from jvmbind import errors
from jvmbind.errors import ConfigurationError, JvmbindError, NotPermittedError, SystemFailureError
from jvmbind.root.drop import drop_permanently

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jvmbind.spec import UserSpec


def check_proc() -> None:
    """Check that /proc shows at least this process: the drop is proven by it, and a worker sees its JVM there.

    Raises SystemFailureError. systemd's ProcSubset=pid and ProtectProc= (hidepid) leave that.
    """
    try:
        os.listdir("/proc/self/fd")
        os.stat(f"/proc/{os.getpid()}/task/{os.getpid()}/status")
    except OSError as error:
        msg = f"/proc: {error.strerror}; expected a proc file system that shows each process itself (mount -t proc proc /proc)"
        raise SystemFailureError(msg) from error


def as_user(user: UserSpec, question: Callable[[], str], *, changes_user: bool) -> str:
    """Return what `question` returns when `user` asks it: files that belong to the service are not read with privilege.

    With `changes_user` it is asked by a child that has dropped. A JvmbindError of `question` is raised here again, with
    its notes; a child that ends in another way raises NotPermittedError.
    """
    if not changes_user:
        return question()

    def ask() -> str:
        drop_permanently(user.uid, user.gid, user.groups)
        return question()

    return in_child(ask, f"the check of what user {user.name} may read")


def in_child(question: Callable[[], str], what: str) -> str:
    """Return what `question` returns in a child, which it may change as it likes; its JvmbindError is raised here again.

    Raises NotPermittedError for a child that ends in another way; `what` names it.
    """
    reader, writer = os.pipe()
    child = os.fork()  # one thread only so far: drop_permanently would refuse more
    if child == 0:
        try:
            os.close(reader)
            _write_answer(writer, question)
        finally:
            os._exit(1)
    os.close(writer)
    data = b""
    while chunk := os.read(reader, 65536):
        data += chunk
    os.close(reader)
    _, status = os.waitpid(child, 0)
    try:
        kind, parts, notes = json.loads(data)
    except ValueError:
        msg = f"{what} ended with status {status}"
        raise NotPermittedError(msg) from None
    if not kind:
        return str(parts[0])
    failure = getattr(errors, kind)(*parts)
    for note in notes:
        failure.add_note(note)
    raise failure


def _write_answer(writer: int, question: Callable[[], str]) -> None:
    try:
        answer: tuple[str, tuple[str, ...], list[str]] = ("", (question(),), [])
    except JvmbindError as error:
        answer = (type(error).__name__, error.parts, list(getattr(error, "__notes__", ())))
    data = json.dumps(answer).encode()
    while data:
        data = data[os.write(writer, data) :]
    os._exit(0)


def check_readable(user: UserSpec, paths: Iterable[tuple[str, str, int]]) -> None:
    """Check each (what, path, access mode such as os.R_OK) with the rights of this process, which is `user`'s by now.

    Raises ConfigurationError naming the path component that denies it.
    """
    denied = _first_denied(paths)
    if denied:
        msg = denied.replace("\0", user.name)
        raise ConfigurationError(msg)


def _first_denied(paths: Iterable[tuple[str, str, int]]) -> str:
    for what, path, mode in paths:
        denied = _denied(what, os.path.abspath(path), mode)
        if denied:
            return denied
    return ""


def _denied(what: str, path: str, mode: int) -> str:
    parts = path.split("/")
    for count in range(1, len(parts)):
        directory = "/".join(parts[:count]) or "/"
        try:
            if not stat.S_ISDIR(os.stat(directory).st_mode):
                return f"{what} {path}: {directory} is not a directory"
        except FileNotFoundError:
            return f"{what} {path}: no such file or directory: {directory}"
        except OSError as error:
            return f"{what} {path}: {directory}: {error.strerror}"
        if not os.access(directory, os.X_OK, effective_ids=True):
            return f"{what} {path}: user \0 may not enter {directory}; expected that right (chmod o+x), or another place"
    try:
        os.stat(path)
    except FileNotFoundError:
        return f"{what} {path}: no such file or directory"
    except OSError as error:
        return f"{what} {path}: {error.strerror}"
    if not os.access(path, mode, effective_ids=True):
        verb = "execute" if mode & os.X_OK else "read"
        return f"{what} {path}: user \0 may not {verb} it; expected that right (chmod o+r{'x' if mode & os.X_OK else ''})"
    return ""


def check_own_code() -> None:
    """Check that nobody but root could have written the code that runs as root now.

    Looks at the interpreter and every module loaded from a file, and at each directory above them. The owner must be
    root. Raises NotPermittedError naming the path.
    """
    if not sys.flags.isolated:
        msg = "the privileged part runs in an interpreter that is not isolated: expected python -I"
        raise SystemFailureError(msg)
    # The interpreter by its name and what that leads to, and what makes it run in a virtual environment.
    files = {os.path.abspath(sys.executable), os.path.realpath(sys.executable), os.path.join(sys.prefix, "pyvenv.cfg")}
    for module in list(sys.modules.values()):
        for attribute in ("__file__", "__cached__"):
            file = getattr(module, attribute, None)
            if file and os.path.exists(file):
                files.add(os.path.realpath(file))
    for directory in sys.path:
        # What is imported next is looked for here first, and site runs every .pth file, isolated or not.
        with contextlib.suppress(OSError):
            files |= {os.path.join(os.path.realpath(directory), name) for name in os.listdir(directory) if name.endswith(".pth")}
            files.add(os.path.realpath(directory))
    check_written_by_root(files, "root would run code that others may change")


def check_written_by_root(files: Iterable[str], why: str) -> None:
    """Check each of these absolute paths, and every directory above it; raises NotPermittedError that begins with `why`."""
    checked: set[str] = set()
    for file in sorted(files):
        path = file
        while path not in checked:
            checked.add(path)
            _check_not_written_by(path, why)
            path = os.path.dirname(path)


def _has_access_list(path: str) -> bool:
    try:
        return "system.posix_acl_access" in os.listxattr(path)
    except OSError:
        return False  # a file system without


def _check_not_written_by(path: str, why: str) -> None:
    try:
        info = os.stat(path)
    except FileNotFoundError:
        return
    # Whatever group that is: its members are not root. With an access list these bits are the mask, so any entry that may
    # write shows here (acl(5)), even where the group itself is root's.
    group_writes = info.st_mode & stat.S_IWGRP and (info.st_gid != 0 or _has_access_list(path))
    others_write = info.st_mode & stat.S_IWOTH and not (stat.S_ISDIR(info.st_mode) and info.st_mode & stat.S_ISVTX)
    if info.st_uid != 0 or group_writes or others_write:
        mode = f"{stat.S_IMODE(info.st_mode):04o}"
        msg = f"{why}: {path} belongs to uid {info.st_uid} with mode {mode}; expected a file of root that root alone may write"
        raise NotPermittedError(msg)
