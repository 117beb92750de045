"""Reads a configuration file. With privilege only one that nobody else could have written.

Runs in a child that has dropped, which root gives the open file; in `check` with whatever privilege the caller has.
Source: TOML 1.0 (tomllib).
"""

from __future__ import annotations

import os
import re
import tomllib
from typing import TYPE_CHECKING

from jvmbind.config.named import with_name
from jvmbind.config.schema import Values, build, read_document
from jvmbind.errors import ConfigurationError
from jvmbind.root.owned import open_configuration
from jvmbind.root.process import is_privileged

if TYPE_CHECKING:
    from jvmbind.config.request import Request

_LARGEST = 1 << 20  # bytes
_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def load(path: str) -> Request:
    """Return what the file asks for. With `path` absolute, the request says where a reload reads it again.

    Raises ConfigurationError, with the file and the line or key path, and NotPermittedError for a file that somebody
    else could have written, where this process has a privilege.
    """
    return load_open(open_file(path), path)


def load_open(fd: int, path: str) -> Request:
    """Return what an open file asks for, and close it; raises ConfigurationError, as `load` does."""
    return build(read_text(path, read_data(fd, path)), path, absolute(path))


def absolute(path: str) -> str:
    """Return the path under which a reload finds the file, whatever its working directory is."""
    return os.path.abspath(path)


def read_file(path: str) -> Values:
    """Return the values of the file by key path, for others to be laid over them; raises as `load` does."""
    return read_text(path, read_data(open_file(path), path))


def read_text(source: str, data: bytes) -> Values:
    """Return the values of TOML text by key path; `source` is how messages call it. Raises ConfigurationError."""
    return with_name(source, read_document(_parse(source, data), source))


def open_file(path: str) -> int:
    """Open a configuration with the rights of this process; raises as `load` does."""
    return open_configuration(path, owned=is_privileged())


def read_data(fd: int, path: str) -> bytes:
    """Return the content of an open file, and close it; raises ConfigurationError."""
    try:
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
