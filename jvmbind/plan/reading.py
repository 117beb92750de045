"""Reads a configuration for the commands that start nothing: `check`, `doctor`, `unit`, `list` and the rest.

Runs with whatever privilege the caller has. As root it only opens the file, and a child that has dropped reads the text.
"""

from __future__ import annotations

import contextlib
import os

from jvmbind.config.load import load, load_open, open_file
from jvmbind.config.request import Request
from jvmbind.errors import JvmbindError
from jvmbind.plan.java import understand
from jvmbind.plan.rights import as_user
from jvmbind.plan.service import default_name
from jvmbind.posix.runtime_dir import safe_name
from jvmbind.posix.user import resolve_user
from jvmbind.root.user import NOBODY
from jvmbind.worker.java_home import find_java_home


def read_configuration(path: str) -> Request:
    """Return what a configuration asks for; where this is root, a child that is nobody has read it.

    Raises ConfigurationError, with the file and the line or key path, and NotPermittedError for a file that somebody
    else could have written, where this process has a privilege.
    """
    if os.geteuid() != 0:
        return load(path)
    fd = open_file(path)
    try:
        return Request.from_json(as_user(NOBODY, lambda: load_open(fd, path).to_json().decode(), changes_user=True).encode())
    finally:
        os.close(fd)


def read_name(request: Request) -> str:
    """Return the name of a service: its own, or one made of what it runs, for which root reads no jar: its user does.

    Raises JvmbindError where the command line cannot be understood.
    """

    def read() -> str:
        java_home = "" if request.template.script else find_java_home(request.java_home, os.environ)
        return safe_name(default_name(request, understand(request, java_home, os.environ)))

    if request.name or os.geteuid() != 0:
        return request.name or read()
    reader = NOBODY  # where the user is not there yet
    with contextlib.suppress(JvmbindError):
        reader = resolve_user(request.user)
    return as_user(reader, read, changes_user=True)
