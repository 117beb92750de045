"""What every start works out of a request: environment, names, control, limits. `run`, `check`, `reload` and `restart` use it.

Runs in a child that has dropped, or in a command as whoever called it. Binds nothing.
"""

from __future__ import annotations

import grp
import os
import resource
from typing import TYPE_CHECKING

from jvmbind.errors import ConfigurationError, SystemFailureError, UsageError, printable
from jvmbind.posix import role
from jvmbind.posix.user import service_environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jvmbind.config.request import Limit, Request
    from jvmbind.spec import UserSpec
    from jvmbind.worker import arguments

_LEAST = {"as": 256 << 20, "data": 32 << 20, "stack": 128 << 10}  # the same numbers are in scripts/jvmbind


def delegated_control(request: Request) -> tuple[int, tuple[str, ...]]:
    """Return the group whose members may use the control socket (-1: none) and for what; raises ConfigurationError."""
    if not request.control_group:
        return -1, ()
    try:
        return grp.getgrnam(request.control_group).gr_gid, request.control_allow or ("status",)
    except KeyError:
        msg = f"[control] group: no group {request.control_group!r} on this machine; expected the name of a group"
        raise ConfigurationError(msg).about(key="control.group") from None


def at_start(request: Request) -> tuple[tuple[str, str], ...]:
    """Return the keys of a configuration file that count at the start alone, each with what it says; () without a file."""
    spec = request.template
    if not spec.config:
        return ()
    said = {
        "name": request.name,
        "user": request.user,
        "direct": spec.direct,
        "quiet": spec.quiet,
        "log_format": spec.log_format,
        "control": (spec.control, request.control_group, request.control_allow),
        "env": request.environ,
        "preserve_env": request.preserve_environ,
        "security.limits": sorted(request.limits),
        "security.umask": request.umask,
    }
    return tuple((key, repr(value)) for key, value in said.items())


def without_control(why: str, pid: str) -> str:
    """Return what is to be said where there is no place for a control socket, and why; "" where there is one.

    `pid` is the process that is to be the supervisor.
    """
    return why and (
        f"no control socket: {why}; the service runs, but status, reload, restart, stop, dump and upgrade cannot reach it; "
        f"expected a directory that can be written, or --control-socket PATH; to stop it: kill {pid}"
    )


def environment_notes(request: Request, caller: Mapping[str, str], service: Mapping[str, str]) -> list[str]:
    """Return what is to be said of variables that were asked for and are not there, and with `verbose` of those left out."""
    found = [
        f"env {name}: not set in the caller's environment, so not passed; expected a value there, or NAME=VALUE"
        for name in request.environ
        if "=" not in name and name not in caller
    ]
    names = dropped(caller, service)
    if request.verbose and names:
        found.append(f"environment variables that the service does not get: {', '.join(names)}; --env NAME passes one")
    return found


def dropped(caller: Mapping[str, str], service: Mapping[str, str]) -> list[str]:
    """Return the names of the caller's variables that the service does not get; those meant for this process are none."""
    return sorted(name for name in caller if name not in service and not name.startswith(("LISTEN_", "JVMBIND_")))


def of_interest(names: Iterable[str]) -> list[str]:
    """Leave out what every shell sets for itself."""
    return [printable(name) for name in names if name not in {"_", "OLDPWD", "PWD", "SHLVL"}]


def environment(
    request: Request, environ: Mapping[str, str], user: UserSpec, *, changes_user: bool, given: bytes | None = None
) -> dict[str, str]:
    """Return the environment that the service gets; `given` is what this process was started with, as the kernel has it."""
    own = service_environment(environ, user, request.environ, changes_user=changes_user, preserve=request.preserve_environ)
    return role.without_coercion(own, given)


def check_limits(limits: tuple[Limit, ...]) -> None:
    """Check that a JVM can say what it lacks: below these limits it ends by a signal and without a word.

    `limits` are those that will be set, over those that this process has; raises SystemFailureError.
    """
    wanted = {limit.name: limit.soft for limit in limits}
    for name, least in _LEAST.items():
        soft = wanted.get(name, resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))[0])
        if soft != resource.RLIM_INFINITY and soft < least:
            msg = f"resource limit {name}: {soft} bytes; a JVM needs at least {least}"
            raise SystemFailureError(msg).about(key="security.limits")
    if wanted.get("cpu", resource.getrlimit(resource.RLIMIT_CPU)[0]) == 0:  # the kernel takes 0 for 1: setrlimit(2), then SIGKILL
        msg = "resource limit cpu: 0 seconds; expected unlimited, or more than the service takes in all its life"
        raise SystemFailureError(msg).about(key="security.limits")


def default_name(request: Request, command: arguments.JavaCommand | None) -> str:
    """Return the name of a service that has none: from its script, jar, main class or module."""
    if command is None:
        return os.path.basename(request.template.script[0]).rpartition(".")[0] or os.path.basename(request.template.script[0])
    from jvmbind.worker.arguments import Mode  # noqa: PLC0415 - who has a command has loaded it

    what = command.what or "java"
    if command.mode == Mode.JAR:
        return os.path.basename(what).removesuffix(".jar")
    return what.rpartition("/")[2].rpartition(".")[2] or what


def check_inherit(inherit: str, names: list[str]) -> None:
    """Check that there is the listener that System.inheritedChannel() is to give; raises UsageError."""
    if inherit and inherit not in names:
        msg = f"inherit: no listener {inherit!r}; expected one of {', '.join(names) or 'the declared ones (there is none)'}"
        raise UsageError(msg).about(key="inherit")
