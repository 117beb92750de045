"""Reads a configuration file. With privilege only one that nobody else could have written.

Runs with whatever privilege the caller has (launcher, `check`), and in the supervisor, which has none, for a reload.
Sources: open(2), path_resolution(7), proc(5) on CapEff, TOML 1.0 (tomllib).
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from typing import TYPE_CHECKING

from jvmbind.config.named import with_name
from jvmbind.config.schema import Values, build, read_document
from jvmbind.errors import ConfigurationError, NotPermittedError

if TYPE_CHECKING:
    from jvmbind.config.request import Request

_LARGEST = 1 << 20  # bytes
_LINKS = 40  # as many symbolic links as the kernel follows: path_resolution(7)
_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def load(path: str) -> Request:
    """Return what the file asks for. With `path` absolute, the request says where a reload reads it again.

    Raises ConfigurationError, with the file and the line or key path, and NotPermittedError for a file that somebody
    else could have written, where this process has a privilege.
    """
    return build(read_file(path), path, absolute(path))


def absolute(path: str) -> str:
    """Return the path under which a reload finds the file, whatever its working directory is."""
    return os.path.abspath(path)


def read_file(path: str) -> Values:
    """Return the values of the file by key path, for others to be laid over them; raises as `load` does."""
    return with_name(path, read_text(path, _read(path)))


def read_text(source: str, data: bytes) -> Values:
    """Return the values of TOML text by key path; `source` is how messages call it. Raises ConfigurationError."""
    return read_document(_parse(source, data), source)


def is_privileged() -> bool:
    """Whether this process is root or has any capability in effect."""
    if os.geteuid() == 0:
        return True
    with open("/proc/self/status", encoding="utf-8", errors="replace") as lines:
        return any(int(line.split()[1], 16) != 0 for line in lines if line.startswith("CapEff:"))


def _read(path: str) -> bytes:
    try:
        # Not to wait for a pipe, not to become a terminal's owner. What was opened is what is judged and read.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        if isinstance(error, PermissionError):
            reason = f"user {_own_name()} cannot read it ({error.strerror}); expected that right (chgrp and chmod g+r)"
        msg = f"configuration {path}: {reason}"
        raise ConfigurationError(msg) from error
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            msg = f"configuration {path}: expected a file"
            raise ConfigurationError(msg)
        if is_privileged():
            _check_owned(path, info, path)
            _check_way(path, info)
        data = b""
        while chunk := os.read(fd, _LARGEST):
            data += chunk
            if len(data) > _LARGEST:
                msg = f"configuration {path}: expected at most {_LARGEST} bytes"
                raise ConfigurationError(msg)
    except OSError as error:
        msg = f"configuration {path}: {error.strerror}"
        raise ConfigurationError(msg) from error
    finally:
        os.close(fd)
    return data


def _own_name() -> str:
    import pwd  # noqa: PLC0415 - seldom needed

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _check_owned(path: str, info: os.stat_result, what: str) -> None:
    """Check the owner and that nobody else may write; an access list shows in the group's bits (acl(5), mask)."""
    owners = {0, os.geteuid()}
    # Nobody can replace what is another's in a sticky directory: the file there is checked itself.
    sticky = stat.S_ISDIR(info.st_mode) and info.st_mode & stat.S_ISVTX
    writable = info.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not stat.S_ISLNK(info.st_mode) and not sticky
    if info.st_uid in owners and not writable:
        return
    msg = (
        f"configuration {path}: read with privilege, so others must not be able to change it: {what} belongs to uid "
        f"{info.st_uid} with mode {stat.S_IMODE(info.st_mode):04o}; expected {' or '.join(f'uid {uid}' for uid in sorted(owners))} "
        "and no write permission for group and others"
    )
    raise NotPermittedError(msg)


def _check_way(path: str, opened: os.stat_result) -> None:
    """Check each directory and symbolic link on the way to the file: who may write to one could put another file there."""
    rest = [word for word in os.path.abspath(path).split("/") if word]
    here, links = "/", 0
    _check_owned(path, os.lstat(here), here)
    while rest:
        word = rest.pop(0)
        if word == "..":
            here = os.path.dirname(here)
            continue
        there = os.path.join(here, word)
        info = os.lstat(there)
        _check_owned(path, info, there)
        if not stat.S_ISLNK(info.st_mode):
            here = there
            continue
        links += 1
        target = os.readlink(there)
        if links > _LINKS:
            msg = f"configuration {path}: too many symbolic links"
            raise ConfigurationError(msg)
        rest = [part for part in target.split("/") if part not in {"", "."}] + rest
        if target.startswith("/"):
            here = "/"
    found = os.lstat(here)
    if (found.st_dev, found.st_ino) != (opened.st_dev, opened.st_ino):
        msg = f"configuration {path}: was replaced while it was being read; expected a file that stays in place"
        raise NotPermittedError(msg)


def _parse(path: str, data: bytes) -> dict[str, object]:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = len(data[data.rfind(b"\n", 0, error.start) + 1 : error.start].decode("utf-8", "replace")) + 1
        msg = f"{path}: line {line}, column {column}: expected text in UTF-8"
        raise ConfigurationError(msg) from error
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        msg = f"{path}: tables or arrays are nested too deeply"
        raise ConfigurationError(msg) from error
    except ValueError as error:  # TOMLDecodeError is one; int() raises a bare one for too many digits
        raise ConfigurationError(_syntax_error(path, text, str(error))) from error


def _syntax_error(path: str, text: str, message: str) -> str:
    found = _POSITION.search(message)
    if found is None:
        return f"{path}: not TOML: {message}"
    lines = text.split("\n")
    line, column = found.groups() if found.group(1) else (len(lines), len(lines[-1]) + 1)
    return f"{path}: line {line}, column {column}: not TOML: {message[: found.start()]}"
