"""Services by name: /etc/jvmbind/NAME.toml is service NAME.

Runs with whatever privilege the caller has, before anything is read; standard library only. Looks for files and reads none.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from jvmbind.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from jvmbind.config.schema import Values

DIRECTORY = "/etc/jvmbind"
SUFFIX = ".toml"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def config_path(text: str) -> str:
    """Return the configuration file that a command's word stands for: a path as it is, and for a name the file of that service.

    A path has a '/' or ends in .toml: what lies in the working directory never stands for a name. Raises UsageError for
    a name without a file.
    """
    if "/" in text or text.endswith(SUFFIX):
        return text
    path = f"{DIRECTORY}/{text}{SUFFIX}"
    if _NAME.fullmatch(text) and _may_be_there(path):
        return path
    known = ", ".join(configured())
    expected = f"one of {known}, " if known else ""
    msg = f"no service {text!r}: there is no {path}; expected {expected}the name of such a file, or a path with a '/'"
    raise UsageError(msg)


def _may_be_there(path: str) -> bool:
    """Whether there is a file; where this process may not look it is for root to say, who opens it."""
    try:
        os.lstat(path)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def chosen(name: str | None, config: str | None, command: str) -> str | None:
    """Return the file that a command line names by a service or by --config, None for neither; raises UsageError."""
    if name is None:
        return config
    if config is not None:
        msg = f"{command}: {name!r} and --config {config!r} both say what is to be run; expected one of the two"
        raise UsageError(msg)
    return config_path(name)


def configured() -> tuple[str, ...]:
    """Return the names of all services that have a file in DIRECTORY; none where that cannot be listed."""
    try:
        files = sorted(os.listdir(DIRECTORY))
    except OSError:
        return ()
    names = (file.removesuffix(SUFFIX) for file in files if file.endswith(SUFFIX))
    return tuple(name for name in names if _NAME.fullmatch(name))


def name_of(path: str) -> str | None:
    """Return the name that a service has by the place of its file, None elsewhere."""
    folder, file = os.path.split(os.path.abspath(path))
    name = file.removesuffix(SUFFIX)
    return name if folder == DIRECTORY and file.endswith(SUFFIX) and _NAME.fullmatch(name) else None


def with_name(path: str, values: Values) -> Values:
    """Return the values of a file with the service's name among them; raises ConfigurationError where the file says another."""
    name = name_of(path)
    if name is None:
        return values
    if values.get("name", name) != name:
        msg = f"{path}: name: expected {name!r}, as the file is called, or no such key; got {values['name']!r}"
        raise ConfigurationError(msg)
    return {**values, "name": name}
