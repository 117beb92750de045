"""What can be known of a Java command line before it is run: files, class path, options, main class.

Runs as the service user, before anything is bound: in `run` and `wrap`, in `check`, and before a reload or restart. One
function for all of them, so that `check` cannot say yes where `run` says no.
"""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import jvmbind
from jvmbind.errors import ConfigurationError, JavaLaunchError, JavaRefusedError, SystemFailureError
from jvmbind.plan import class_path
from jvmbind.plan.rights import check_readable
from jvmbind.posix import connect_rules, own_network, role
from jvmbind.posix.process import find_program
from jvmbind.worker import arguments
from jvmbind.worker.java_home import libjvm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jvmbind.config.request import Request
    from jvmbind.spec import UserSpec

_LIBPYTHON = re.compile(r"/.*/libpython[^/]*")


class Examined(NamedTuple):
    """What the command line says (None where a script is run), and what is to be said about it, one line each."""

    command: arguments.JavaCommand | None
    notes: tuple[str, ...]


def examine(request: Request, java_home: str, environ: Mapping[str, str], user: UserSpec, *, thorough: bool = False) -> Examined:
    """Check, with the rights of this process, which are `user`'s, that it can be run; raises JvmbindError.

    The JVM itself is asked where an option is not known, or the main class is not seen; with `thorough` always, and
    about the main class too: that takes the time of a JVM's start.
    """
    _check_kernel(request)
    try:
        command = understand(request, java_home, environ)
    except JavaLaunchError as error:
        if isinstance(error.__cause__, PermissionError):
            check_readable(user, [("file", error.__cause__.filename, os.R_OK)])  # says which directory denies it
        raise
    check_readable(user, needed(request, java_home, command, environ))
    readable = _unreadable(request, user)
    if command is None:
        return Examined(None, tuple(readable))
    notes = class_path.notes(command, user.name)
    lacks = class_path.may_lack_main_class(command) and not request.template.daemon
    if thorough or lacks or _asks(command, environ, java_home):
        from jvmbind.plan.java_asked import ask  # noqa: PLC0415 - seldom on the way of a start

        try:
            ask(java_home, command, environ, main_class=(thorough or lacks) and not request.template.daemon)
        except JavaRefusedError as error:
            for note in [*_script(request, command), *notes]:
                error.add_note(note)
            raise
    return Examined(command, (*notes, *readable))


def _check_kernel(request: Request) -> None:
    if request.template.isolate_network:
        why = own_network.missing()
        if why:
            msg = f"isolate_network cannot be kept to on this machine: {why}"
            raise SystemFailureError(msg).about(key="security.isolate_network")
    if request.template.connect_ports is None:
        return
    why = connect_rules.missing(ctypes.CDLL(None, use_errno=True))
    if why:
        msg = f"connect_ports cannot be kept to on this machine: {why}"
        raise SystemFailureError(msg).about(key="security.connect_ports")


def _unreadable(request: Request, user: UserSpec) -> list[str]:
    """Return what is to be said where the service could be started from a file that it cannot read again."""
    path = request.template.config
    if not path or request.template.direct or os.access(path, os.R_OK, effective_ids=True):
        return []
    why = "so reload and restart will be refused (chgrp and chmod g+r)"
    return [f"configuration {path}: user {user.name} cannot read it, {why}"]


def _script(request: Request, command: arguments.JavaCommand) -> list[str]:
    """Return what is to be said where the first word, which `java` takes for a class, is a script."""
    path = request.java_arguments[0] if request.java_arguments else ""
    if command.mode is not arguments.Mode.CLASS or path.startswith(("-", "@")):
        return []
    if not os.path.isfile(path) or not os.access(path, os.X_OK):  # a pipe would be waited for
        return []
    try:
        with open(path, "rb") as file:
            is_script = file.read(2) == b"#!"
    except OSError:
        return []
    return [f"{path} is a script, and run takes what comes after java: jvmbind wrap runs one"] if is_script else []


def _asks(command: arguments.JavaCommand, environ: Mapping[str, str], java_home: str) -> bool:
    from jvmbind.plan.java_options import needs_asking  # noqa: PLC0415 - as above

    return command.delegate is None and needs_asking(command.options, environ, arguments.jdk_feature(Path(java_home)))


def understand(request: Request, java_home: str, environ: Mapping[str, str]) -> arguments.JavaCommand | None:
    """Return what the `java` command line says, None where a script is run; raises JavaLaunchError, ConfigurationError."""
    if request.template.script:
        name, path = request.template.script[0], environ.get("PATH", os.defpath)
        if not find_program(name, path):
            hint = f"; expected ./{name} for the one in this directory" if os.path.isfile(name) else ""
            msg = f"script {name}: no such command on the PATH of the service, {path}{hint}"
            raise ConfigurationError(msg).about(key="java.script")
        return None
    home = Path(java_home)
    return arguments.parse(request.java_arguments, environ, jdk_feature=arguments.jdk_feature(home), java_home=home)


def needed(
    request: Request, java_home: str, command: arguments.JavaCommand | None, environ: Mapping[str, str]
) -> list[tuple[str, str, int]]:
    """Return what the service user must be able to run or read: the interpreter, this package, the JVM, the jar or script.

    Each is (what it is, its path, the access mode such as os.R_OK).
    """
    interpreter, _, entry = role.command("worker", ())
    found = [
        ("interpreter", interpreter, os.X_OK),
        ("interpreter", os.path.realpath(interpreter), os.X_OK),
        *(("interpreter's library", path, os.R_OK) for path in libraries()),
        ("package", os.path.dirname(os.path.abspath(jvmbind.__file__)), os.R_OK | os.X_OK),
        ("package", entry, os.R_OK),
        ("Java runtime", libjvm(java_home, command.vm if command else "server"), os.R_OK),
    ]
    if command is None:
        script = find_program(request.template.script[0], environ.get("PATH", os.defpath))
        found.append(("script", script, os.R_OK | os.X_OK))
    elif command.mode is arguments.Mode.JAR and command.what is not None:
        found.append(("jar", command.what, os.R_OK))
    return found


def libraries() -> list[str]:
    """Return what the interpreter itself loads: libpython, where it is a file of its own, and the standard library."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape")
    shared = {found.group() for line in maps.splitlines() if (found := _LIBPYTHON.search(line))}
    return [*sorted(shared), os.path.abspath(os.__file__)]
