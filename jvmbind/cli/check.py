"""`jvmbind check NAME|FILE [--json]`: validates a configuration and shows what would be done with it.

Runs with whatever privilege the caller has, needs none, and binds, starts and changes nothing. As root the question
what the service user may read is put to the kernel; for another user it is answered from owners and modes.
"""

from __future__ import annotations

import argparse
import contextlib
import grp
import json
import os
import pwd
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

from jvmbind.broker import client
from jvmbind.config.named import config_path
from jvmbind.errors import (
    ConfigurationError,
    JavaLaunchError,
    JavaRefusedError,
    JvmbindError,
    NotPermittedError,
    UsageError,
    printable,
)
from jvmbind.listen import number_names
from jvmbind.plan import java, service
from jvmbind.plan.reading import read_configuration
from jvmbind.plan.rights import as_user, check_readable, in_child
from jvmbind.posix.binding import first_unprivileged_port
from jvmbind.posix.runtime_dir import lacks_place
from jvmbind.posix.user import resolve_user
from jvmbind.root.process import check_proc, set_limits
from jvmbind.spec import ListenSpec, UserSpec
from jvmbind.worker.arguments import MODE_NAMES, JavaCommand, jdk_feature
from jvmbind.worker.java_home import find_java_home, ignored_java_home

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jvmbind.config.request import Request

T = TypeVar("T")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Report wrong usage as every other failure is reported: one line, status 64."""
        msg = f"check: {message} (jvmbind check --help)"
        raise UsageError(msg)


class Needed(NamedTuple):
    """One file that the service user must be able to read or run."""

    what: str
    path: str
    mode: int
    problem: str  # "" = it can


class Report(NamedTuple):
    """What would be done. Where a step failed, what depends on it is None or empty, and `problems` says why."""

    request: Request
    name: str
    user: UserSpec | None
    listeners: tuple[ListenSpec, ...]
    java_home: str
    java_version: str
    command: JavaCommand | None
    files: tuple[Needed, ...]
    environ: dict[str, str] | None  # None: the caller's own
    dropped: list[str]  # variables of the caller that the service does not get
    notes: tuple[str, ...]
    problems: tuple[JvmbindError, ...]


def main(argv: list[str]) -> None:
    """Run the command; raises the first problem as the JvmbindError with which `run` would end."""
    parser = _Parser(
        prog="jvmbind check", description="Validate a service's configuration and show what would be done.", allow_abbrev=False
    )
    parser.add_argument("file", metavar="NAME", help="the service /etc/jvmbind/NAME.toml, or the path of a configuration file")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(argv)
    try:
        check_proc()  # the file is opened by way of /proc/self/fd
        report = examine(read_configuration(config_path(options.file)))
    except JvmbindError as error:
        if options.json:
            problem = {"status": error.status, "text": str(error)}
            sys.stdout.write(json.dumps({"ok": False, "problems": [problem], "config": options.file}, indent=2) + "\n")
        raise
    sys.stdout.write(json.dumps(as_json(report), indent=2) + "\n" if options.json else as_text(report))
    sys.stdout.flush()
    if report.problems:
        raise _for_stderr(report.problems[0])


def _for_stderr(error: JvmbindError) -> JvmbindError:
    """Return what ends the command; standard output has the report, so what `java` says there goes to standard error too."""
    if not isinstance(error, JavaRefusedError):
        return error
    told = JavaRefusedError("", error.out + error.err)
    for note in getattr(error, "__notes__", ()):
        told.add_note(note)
    return told


def examine(request: Request) -> Report:
    """Take every step of a start that changes nothing, in the launcher's order; what fails is collected.

    Raises SystemFailureError without /proc.
    """
    check_proc()
    problems: list[JvmbindError] = []

    def step(work: Callable[[], T]) -> T | None:
        try:
            return work()
        except JvmbindError as error:
            problems.append(error)
            return None

    user = step(lambda: _who(request.user))
    java_home = step(lambda: find_java_home(request.java_home, os.environ)) or ""
    listeners = step(lambda: number_names(list(request.listeners))) or ()
    changes_user = user is not None and user.uid != os.geteuid()
    environ: dict[str, str] = dict(os.environ)
    if user is not None:
        environ = step(partial(service.environment, request, os.environ, user, changes_user=changes_user)) or environ
    notes = service.environment_notes(request._replace(verbose=False), os.environ, environ)
    step(lambda: service.delegated_control(request))
    command: JavaCommand | None = None
    files: tuple[Needed, ...] = ()
    if java_home and user is not None:
        notes.append(ignored_java_home(request.java_home, os.environ, java_home))
        notes += step(partial(_ask, request, java_home, environ, user)) or []
        refused = [problem for problem in problems if isinstance(problem, JavaRefusedError)]
        notes += [note for problem in refused for note in getattr(problem, "__notes__", ())]
        with contextlib.suppress(JvmbindError):
            command, files = _understood(request, java_home, environ, user)
            known = {str(problem) for problem in problems}
            problems += [ConfigurationError(file.problem) for file in files if file.problem and file.problem not in known]
    starts = user is not None and os.geteuid() in {0, user.uid}  # who asks could start it as well
    if starts:
        step(lambda: in_child(partial(_limited, request), "the check of the limits"))
    if user is not None and starts and not (request.template.direct or request.template.control):
        notes.append(service.without_control(lacks_place(user, os.environ, changes_user=changes_user), "PID"))
    if starts and not changes_user:
        notes += client.outlook(client.find(os.environ), listeners)
    if listeners:  # without any, only the start can tell which come from a parent
        step(lambda: service.check_inherit(request.template.inherit, [listener.name for listener in listeners]))
    name = request.name or (service.default_name(request, command) if java_home and (command or request.template.script) else "")
    version = _java_version(java_home) if java_home else ""
    lost = service.dropped(os.environ, environ)
    said = tuple(note for note in notes if note)
    return Report(
        request,
        name,
        user,
        listeners,
        java_home,
        version,
        command,
        files,
        environ if changes_user else None,
        lost,
        said,
        tuple(problems),
    )


def _limited(request: Request) -> str:
    set_limits(request.limits)
    return ""


def _ask(request: Request, java_home: str, environ: dict[str, str], user: UserSpec) -> list[str]:
    """Return the notes of a start; raises what a start would. Another user's rights are known to root alone."""

    def question() -> str:
        return json.dumps(java.examine(request, java_home, environ, user, thorough=True).notes)

    may_become = os.geteuid() == 0 and user.uid != 0
    found: list[str] = json.loads(as_user(user, question, changes_user=may_become))
    return found


def _understood(
    request: Request, java_home: str, environ: dict[str, str], user: UserSpec
) -> tuple[JavaCommand | None, tuple[Needed, ...]]:
    """Return what the command line says, and the files that it needs; root reads no jar and no file of arguments itself."""

    def question() -> str:
        try:
            command = java.understand(request, java_home, environ)
            wanted = java.needed(request, java_home, command, environ)
        except JavaLaunchError as error:
            if not isinstance(error.__cause__, PermissionError):
                raise
            command, wanted = None, [("file", error.__cause__.filename, os.R_OK)]
        return json.dumps([command, [(what, path, mode, _problem(user, what, path, mode)) for what, path, mode in wanted]])

    may_become = os.geteuid() == 0 and user.uid != 0
    words, files = json.loads(as_user(user, question, changes_user=may_become))
    fields: list[Any] = [tuple(one) if isinstance(one, list) else one for one in words or ()]
    return JavaCommand(*fields) if fields else None, tuple(Needed(*one) for one in files)


def _who(text: str | None) -> UserSpec:
    """Resolve the user as the launcher does, without the right to become it."""
    try:
        return resolve_user(text)
    except NotPermittedError:
        if text is None:
            raise
    name, _, group = text.partition(":")
    gid = None if not group else int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    try:
        entry = pwd.getpwnam(name) if name and not name.isdigit() else pwd.getpwuid(int(name or os.geteuid()))
    except KeyError:
        return UserSpec(int(name), gid or 0, (gid or 0,), name, "/", "")  # a number without an entry has its group given
    gid = entry.pw_gid if gid is None else gid
    groups = tuple(os.getgrouplist(entry.pw_name, gid))
    if 0 in {gid, *groups}:
        msg = f"user {text}: group 0 is root's, and nothing of root may be left; expected another group"
        raise ConfigurationError(msg)
    return UserSpec(entry.pw_uid, gid, groups, entry.pw_name, entry.pw_dir, entry.pw_shell)


def _problem(user: UserSpec, what: str, path: str, mode: int) -> str:
    """Return why `user`, who this process is by now if it could become that, cannot use a file; "" where it can."""
    if user.uid != os.geteuid():
        return _by_modes(user, what, os.path.abspath(path), mode)
    try:
        check_readable(user, [(what, path, mode)])
    except JvmbindError as error:
        return str(error)
    return ""


def _by_modes(user: UserSpec, what: str, path: str, mode: int) -> str:
    """Judge by owner and mode alone: access lists and security modules are not seen. path_resolution(7)."""
    above = [str(parent) for parent in reversed(Path(path).parents)]
    for place, wanted in [*((parent, os.X_OK) for parent in above), (path, mode)]:
        try:
            info = os.stat(place)
        except OSError as error:
            return f"{what} {path}: {place}: {error.strerror}"
        shift = 6 if info.st_uid == user.uid else 3 if info.st_gid in {user.gid, *user.groups} else 0
        if (info.st_mode >> shift) & wanted != wanted:
            verb = "enter" if place != path else "execute" if wanted & os.X_OK else "read"
            return f"{what} {path}: user {user.name} may not {verb} {place} (by its mode {info.st_mode & 0o7777:04o})"
    return ""


def _java_version(home: str) -> str:
    try:
        lines = Path(home, "release").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    found = [line.partition("=")[2].strip('"') for line in lines if line.startswith("JAVA_VERSION=")]
    return found[0] if found else str(jdk_feature(Path(home)) or "")


def _needs_privilege(listener: ListenSpec) -> bool:
    return listener.protocol != "unix" and listener.port < first_unprivileged_port()


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as JSON values."""
    request, command = report.request, report.command
    spec = request.template
    supervise = {
        name: getattr(spec, name)
        for name in (
            "ready",
            "start_timeout",
            "stop_timeout",
            "drain_timeout",
            "stop_drain_timeout",
            "restart",
            "start_limit",
            "standby",
            "watchdog",
        )
    }
    return {
        "ok": not report.problems,
        "problems": [{"status": error.status, "text": str(error)} for error in report.problems],
        "config": spec.config,
        "name": report.name,
        "user": report.user._asdict() if report.user else None,
        "listeners": [
            {
                "name": listener.name,
                "address": listener.address,
                "protocol": listener.protocol,
                "app_port": listener.app_port,
                "needs_privilege": _needs_privilege(listener),
            }
            for listener in report.listeners
        ],
        "java": {
            "home": report.java_home,
            "version": report.java_version,
            "options": list(command.options) if command else [],
            "mode": MODE_NAMES[command.mode] if command else "",
            "what": command.what if command else None,
            "arguments": list(command.arguments) if command else [],
            "daemon": spec.daemon,
            "script": list(spec.script),
        },
        "supervise": {"direct": spec.direct, **supervise},
        "security": {
            "strict_binds": spec.strict_binds,
            "connect_ports": None if spec.connect_ports is None else list(spec.connect_ports),
            "isolate_network": spec.isolate_network,
            "no_new_privs": True,
            "umask": None if request.umask is None else f"{request.umask:04o}",
            "limits": {limit.name: [limit.soft, limit.hard] for limit in request.limits},
        },
        "files": [
            {"what": f.what, "path": f.path, "access": _verb(f.mode), "ok": not f.problem, "problem": f.problem}
            for f in report.files
        ],
        "environment": report.environ,
        "dropped": report.dropped,
        "notes": list(report.notes),
    }


def _verb(mode: int) -> str:
    return "execute" if mode & os.X_OK else "read"


def as_text(report: Report) -> str:
    """Return the report for people."""
    request, spec, command = report.request, report.request.template, report.command
    lines = [f"service      {report.name or '?'} ({spec.config})"]
    if report.user:
        groups = ",".join(map(str, report.user.groups)) or "none"
        lines.append(f"user         {report.user.name}: uid {report.user.uid}, gid {report.user.gid}, groups {groups}")
    for listener in report.listeners:
        needs = "needs privilege to bind" if _needs_privilege(listener) else "needs no privilege"
        sees = f", the application binds {listener.app_port}" if listener.app_port != listener.port else ""
        lines.append(f"listener     {listener.name}: {listener.address}/{listener.protocol}{sees} ({needs})")
    if not report.listeners:
        lines.append("listener     none declared; sockets from a parent are adopted")
    if report.java_home:
        lines.append(f"java         {report.java_home} (version {report.java_version or 'unknown'})")
    if command is not None:
        lines += [f"JVM option   {option}" for option in command.options]
        kind = {"class": "main class", "jar": "jar", "module": "module", "source": "source file"}.get(MODE_NAMES[command.mode])
        what = f"{'commons-daemon class' if spec.daemon else kind} {spec.daemon or command.what}"
        lines.append(f"runs         {what if kind or spec.daemon else 'nothing: a question to java'}")
        lines += [f"argument     {argument!r}" for argument in command.arguments]
    elif spec.script:
        lines.append(f"runs         script {' '.join(spec.script)}")
    lines.append(f"supervised   {_supervised(request)}")
    lines += [f"file         {f.what} {f.path}: {'NO' if f.problem else 'may'} {_verb(f.mode)}" for f in report.files]
    if request.umask is not None:
        lines.append(f"umask        {request.umask:04o}")
    lines += [f"limit        {limit.name} {_limit(limit.soft)}:{_limit(limit.hard)}" for limit in request.limits]
    lines += _environment(report)
    lines += [f"note         {note}" for note in report.notes]
    lines += [f"problem      {error}" for error in report.problems] or ["result       ok"]
    return "".join(f"{printable(line)}\n" for line in lines)


def _environment(report: Report) -> Sequence[str]:
    if report.environ is None:
        return ["environment  the caller's own"]
    names = ", ".join(report.dropped)
    keep = f"""not passed   {names} (env = ["NAME"] passes one, preserve_env = true all but those for the loader and Python)"""
    return [*(f"environment  {name}={value!r}" for name, value in sorted(report.environ.items())), *([keep] if names else [])]


def _limit(value: int) -> str:
    return "unlimited" if value < 0 else str(value)


def _supervised(request: Request) -> str:
    spec = request.template
    if spec.direct:
        return "no (direct)"
    return (
        f"yes: ready by {spec.ready} within {spec.start_timeout:g} s, restart {spec.restart}, standby {spec.standby}, "
        f"drain {spec.drain_timeout:g} s ({spec.stop_drain_timeout:g} s at a stop), stop {spec.stop_timeout:g} s"
    )
