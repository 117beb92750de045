"""What a user can read: the question is put to the kernel with the rights of that user, before anything is bound.

Runs in a child that has dropped, so that access lists and security modules count too. Where `check` is run as root it makes
that child here. Sources: path_resolution(7), access(2).
"""

from __future__ import annotations

import json
import os
import select
import stat
from typing import TYPE_CHECKING

from jvmbind import errors
from jvmbind.errors import ConfigurationError, JvmbindError, NotPermittedError
from jvmbind.root.drop import drop_permanently
from jvmbind.root.process import end_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jvmbind.spec import UserSpec


_PATIENCE = 60_000  # milliseconds without an answer: a file that never ends, a pipe that nobody writes to


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
    data, poll = b"", select.poll()
    poll.register(reader, select.POLLIN)
    while poll.poll(_PATIENCE) and (chunk := os.read(reader, 65536)):
        data += chunk
    os.close(reader)
    status = end_of(child, 1000)
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
        raise ConfigurationError(msg).about(key="java")


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
