"""Reads the policy from the files of a directory that root alone may write.

Runs in the broker, at its start with whatever privilege it was started with and later with CAP_NET_BIND_SERVICE alone, and in
the command line as any user. Imports the standard library, `root`, `errors` and the policy.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat

from jvmbind.broker.policy import MOST_RULES, Rule, parse
from jvmbind.errors import ConfigurationError
from jvmbind.root.owned import check_written_by_root

DIRECTORY = "/etc/jvmbind/ports.d"
_LARGEST = 1 << 20  # bytes


def load(directory: str) -> list[Rule]:
    """Return the rules of all *.conf of the directory, in the order of the files' names (by their bytes) and of their lines.

    Raises ConfigurationError with file and line, and NotPermittedError where others than root could have written there.
    """
    rules: list[Rule] = []
    try:
        place = os.path.realpath(directory, strict=True)
        check_written_by_root([place], "a policy that others may change gives them every port")
        names = sorted(name for name in os.listdir(os.fsencode(place)) if name.endswith(b".conf") and not name.startswith(b"."))
        for name in names:
            rules += _read(f"{place}/{os.fsdecode(name)}")
    except OSError as error:
        msg = f"policy {error.filename or directory}: {error.strerror}; expected a directory and files that the broker may read"
        raise ConfigurationError(msg) from error
    if len(rules) > MOST_RULES:
        msg = f"policy {directory}: {len(rules)} rules; expected at most {MOST_RULES}"
        raise ConfigurationError(msg)
    return rules


def _read(path: str) -> list[Rule]:
    # Not to follow a link, not to wait for a pipe. The directory is root's, so the file stays the one that is checked here.
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            msg = f"policy {path}: expected a file"
            raise ConfigurationError(msg)
        check_written_by_root([path], "a policy that others may change gives them every port")
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        msg = f"policy {path}: expected at most {_LARGEST} bytes"
        raise ConfigurationError(msg)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        msg = f"{path}:{line}: expected text in UTF-8"
        raise ConfigurationError(msg) from error
    return parse(path, text, lambda name: pwd.getpwnam(name).pw_uid, lambda name: grp.getgrnam(name).gr_gid)
