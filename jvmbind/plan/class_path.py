"""The class path and the main class, as far as files tell: `java` leaves out what it cannot read, and says nothing of it.

Runs as the service user, before anything is bound. Source: the `java` manual page on -cp; APPNOTE.TXT of the zip format.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from jvmbind.worker.arguments import Mode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jvmbind.worker.arguments import JavaCommand

_TAIL = 22 + 0xFFFF  # the end record and the longest comment
_END = b"PK\x05\x06"
_ZIP64 = 0xFFFFFFFF
_SHOWN = 3  # notes of one kind
_MODULE_PATHS = ("--module-path=", "--upgrade-module-path=")


def notes(command: JavaCommand, user: str) -> list[str]:
    """Return what is to be said of entries of the class path and module path that `java` will leave out."""
    found = [f"class path entry {text}" for text in _left_out(_entries(command), user)]
    for option in command.options:
        if option.startswith(_MODULE_PATHS):
            found += [f"module path entry {text}" for text in _left_out(option.partition("=")[2].split(":"), user)]
    more = len(found) - _SHOWN
    return [*found[:_SHOWN], f"and {more} more entries like these"] if more > 0 else found


def _entries(command: JavaCommand) -> list[str]:
    if command.mode is Mode.JAR or command.class_path is None:  # the jar itself is checked as a file that is needed
        return []
    return command.class_path.split(":")


def _left_out(entries: list[str], user: str) -> Iterator[str]:
    for entry in dict.fromkeys(entries):
        path = entry or "."
        try:
            info = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            jars = os.path.basename(path) == "*"
            yield f"{path}: {'there is no jar' if jars else 'no such file or directory'}; java ignores it"
        except PermissionError:
            yield f"{path}: user {user} may not enter {_closed(path)} (chmod o+x); java ignores it"
        except (OSError, ValueError):
            continue  # java says what it thinks of such a name
        else:
            if stat.S_ISDIR(info.st_mode) and not os.access(path, os.X_OK, effective_ids=True):
                yield f"{path}: user {user} may not enter it (chmod o+x); java ignores it"
            elif not os.access(path, os.R_OK, effective_ids=True):
                yield f"{path}: user {user} may not read it (chmod o+r); java ignores it"


def _closed(path: str) -> str:
    """Return the first directory on the way that cannot be entered."""
    above = reversed(Path(os.path.abspath(path)).parents)
    return next((str(one) for one in above if not os.access(one, os.X_OK, effective_ids=True)), "a directory above it")


def may_lack_main_class(command: JavaCommand) -> bool:
    """Whether no entry of the class path has the main class: then `java` is asked, which knows more ways to find it."""
    if command.mode is not Mode.CLASS or not command.what:
        return False
    name = command.what.replace(".", "/") + ".class"
    return not any(_has(entry or ".", name) for entry in _entries(command))


def _has(entry: str, name: str) -> bool:
    """Whether a directory has the file, or a jar speaks of it; True where that cannot be told."""
    try:
        if os.path.isdir(entry):
            return os.path.exists(os.path.join(entry, name))
        fd = os.open(entry, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError):
        return False
    try:
        return _speaks_of(fd, name.encode("utf-8", "surrogateescape"))
    except (OSError, OverflowError):
        return True
    finally:
        os.close(fd)


def _speaks_of(fd: int, name: bytes) -> bool:
    length = os.lseek(fd, 0, os.SEEK_END)
    start = max(0, length - _TAIL)
    tail = os.pread(fd, length - start, start)
    here = tail.rfind(_END)
    if here < 0:
        return False
    size, offset = (int.from_bytes(tail[here + at : here + at + 4], "little") for at in (12, 16))
    if _ZIP64 in {size, offset}:
        return True
    directory = start + here - size
    return name in os.pread(fd, size, max(0, directory))
