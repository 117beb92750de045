"""Orders the steps of a start: check, bind, drop, become the supervisor (or the worker itself).

Runs with whatever privilege the caller has, until the drop. Nothing of the supervisor or of JPype is imported before that:
what runs with privilege is this module, `jvmbind.root` and the reading of the command line.

The process becomes the supervisor without an exec. A process that has changed its user is closed to the other processes
of that user, but execve(2) opens it again, and until the new image closed itself any of them could take a listener
(pidfd_getfd(2)), or write into its memory so that it looks untouched later (process_vm_writev(2)).
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from jvmbind.broker import client
from jvmbind.errors import ConfigurationError, NotPermittedError, SystemFailureError, UsageError, printable
from jvmbind.listen import further_sockets, number_names
from jvmbind.plan.java import examine
from jvmbind.posix import role
from jvmbind.posix.fds import LISTEN_FDS_START, arrange_for_exec, fill_standard_fds, passed_fd, sealed_memory
from jvmbind.root import adopt
from jvmbind.root.closed import close_to_others, forget_start
from jvmbind.root.drop import drop_permanently
from jvmbind.root.identity import resolve_user, service_environment
from jvmbind.root.listeners import bind_listeners, release
from jvmbind.root.preflight import as_user, check_own_code, check_proc
from jvmbind.root.runtime_dir import leave, name_service, safe_name
from jvmbind.worker import arguments
from jvmbind.worker.java_home import find_java_home, ignored_java_home

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jvmbind.config.request import Limit, Request
    from jvmbind.root.listeners import Listener
    from jvmbind.spec import ListenSpec, ServiceSpec, UserSpec


_LEAST = {"as": 256 << 20, "data": 32 << 20, "stack": 128 << 10}  # the same numbers are in scripts/jvmbind

# What the service manager tells its main process: sd_notify(3), sd_watchdog_enabled(3). For the supervisor alone.
_MANAGER = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "FDSTORE")


def launch(request: Request, environ: Mapping[str, str]) -> NoReturn:
    """Start the service in place of this process. Raises JvmbindError, with nothing bound and nothing left behind."""
    fill_standard_fds()
    check_proc()
    _keep_from_others(passed_fd(environ))
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        # Inherited, it would make the kernel collect every child of every role: waitpid(2), notes on SIGCHLD.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    user = resolve_user(request.user)
    changes_user = os.geteuid() == 0
    java_home = find_java_home(request.java_home, environ)
    declared = number_names(list(request.listeners))
    service_environ = environment(request, environ, user, changes_user=changes_user)
    if not request.template.direct:
        close_to_others()  # after the environment, which then cannot be read from /proc any more
    control_gid, control_allow = delegated_control(request)
    if changes_user:
        check_own_code()
    answer = json.loads(as_user(user, lambda: _check(request, java_home, service_environ, user), changes_user=changes_user))
    notes = [*environment_notes(request, environ, service_environ), ignored_java_home(request.java_home, environ, java_home)]
    notes += answer["notes"]
    set_limits(request.limits)
    _check_limits()
    name, control = request.name or safe_name(answer["name"]), request.template.control
    named = not request.template.direct and not control
    if named:
        name, control, why = name_service(name, user, environ, changes_user=changes_user, chosen=request.name is not None)
        notes.append(without_control(why, str(os.getpid())))
    _say(notes)
    owner = user if changes_user else None
    listeners: list[Listener] = []
    try:
        broker = client.find(environ)
        listeners = _open(declared, owner, environ, request.template.inherit, broker)
        spec = request.template._replace(
            name=name,
            control=control,
            control_gid=control_gid,
            control_allow=control_allow,
            java_home=java_home,
            java_arguments=request.java_arguments,
            listeners=tuple(listener for listener, _ in listeners),
            broker=broker,
            at_start=at_start(request),
            not_passed=tuple(_of_interest(dropped(environ, service_environ))) if request.template.script else (),
        )
        # The names of what came from the manager's store, where it was passed to this process.
        of_store = ("LISTEN_FDNAMES",) if adopt.inherited_fds(environ) else ()
        for variable in (*_MANAGER, *of_store):
            service_environ.pop(variable, None)
            if variable in environ and not spec.direct:
                service_environ[variable] = environ[variable]
        if request.umask is not None:
            os.umask(request.umask)
        drop_permanently(user.uid, user.gid, user.groups)
    except BaseException:
        # Whatever fails from the first bind on, nothing is left of it.
        release(listeners, owner)
        if named and not environ.get("RUNTIME_DIRECTORY"):
            leave(control)
        raise
    _become(spec, listeners, service_environ, changes_user=changes_user)


def _keep_from_others(fd: int) -> None:
    """Let nothing that is started inherit the descriptor on which `jvmbind.Service` listens; raises SystemFailureError."""
    if fd < 0:
        return
    try:
        os.set_inheritable(fd, False)
    except OSError as error:
        msg = f"NOTIFY_SOCKET=fd:{fd}: {error.strerror}; expected an open descriptor"
        raise SystemFailureError(msg) from error


def delegated_control(request: Request) -> tuple[int, tuple[str, ...]]:
    """Return the group whose members may use the control socket (-1: none) and for what; raises ConfigurationError."""
    if not request.control_group:
        return -1, ()
    try:
        return grp.getgrnam(request.control_group).gr_gid, request.control_allow or ("status",)
    except KeyError:
        msg = f"[control] group: no group {request.control_group!r} on this machine; expected the name of a group"
        raise ConfigurationError(msg) from None


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
        "control": (spec.control, request.control_group, request.control_allow),
        "env": request.environ,
        "preserve_env": request.preserve_environ,
        "security.limits": sorted(request.limits),
        "security.umask": request.umask,
    }
    return tuple((key, repr(value)) for key, value in said.items())


def _check(request: Request, java_home: str, environ: Mapping[str, str], user: UserSpec) -> str:
    """Check, as the service user, that the command line can be run; return a service name and what is to be said, as JSON."""
    command, notes = examine(request, java_home, environ, user)
    return json.dumps({"name": default_name(request, command), "notes": notes})


def _say(notes: Iterable[str]) -> None:
    """Write a line for each note that is not empty, before anything is bound."""
    with contextlib.suppress(OSError):  # nobody reads them: no reason not to start
        sys.stderr.write("".join(f"jvmbind: {printable(note)}\n" for note in notes if note))
        sys.stderr.flush()


def without_control(why: str, pid: str) -> str:
    """Return what is to be said where there is no place for a control socket, and why; "" where there is one.

    `pid` is the process that is to be the supervisor.
    """
    return why and (
        f"no control socket: {why}; the service runs, but status, reload, restart, stop and dump cannot reach it; "
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


def _of_interest(names: Iterable[str]) -> list[str]:
    """Leave out what every shell sets for itself."""
    return [printable(name) for name in names if name not in {"_", "OLDPWD", "PWD", "SHLVL"}]


def environment(request: Request, environ: Mapping[str, str], user: UserSpec, *, changes_user: bool) -> dict[str, str]:
    """Return the environment that the service gets."""
    return role.without_coercion(
        service_environment(environ, user, request.environ, changes_user=changes_user, preserve=request.preserve_environ)
    )


def set_limits(limits: tuple[Limit, ...]) -> None:
    """Set the resource limits, which every process of the service inherits; raises JvmbindError. Source: getrlimit(2)."""
    for limit in limits:
        import resource  # noqa: PLC0415 - seldom needed

        try:
            resource.setrlimit(getattr(resource, f"RLIMIT_{limit.name.upper()}"), (limit.soft, limit.hard))
        except (OSError, ValueError) as error:
            # ValueError is what the module makes of EPERM: "not allowed to raise maximum limit".
            msg = f"limit {limit.name}: cannot be set to {limit.soft}:{limit.hard}: {error}; a hard limit is raised as root only"
            raise NotPermittedError(msg) from error


def _check_limits() -> None:
    """Check that a JVM can say what it lacks: below these limits it ends by a signal and without a word."""
    import resource  # noqa: PLC0415 - before anything else is loaded that is not needed for a command

    for name, least in _LEAST.items():
        soft, _ = resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))
        if soft != resource.RLIM_INFINITY and soft < least:
            msg = f"resource limit {name}: {soft} bytes; a JVM needs at least {least}"
            raise SystemFailureError(msg)


def default_name(request: Request, command: arguments.JavaCommand | None) -> str:
    """Return the name of a service that has none: from its script, jar, main class or module."""
    if command is None:
        return os.path.basename(request.template.script[0]).rpartition(".")[0] or os.path.basename(request.template.script[0])
    what = command.what or "java"
    if command.mode is arguments.Mode.JAR:
        return os.path.basename(what).removesuffix(".jar")
    return what.rpartition("/")[2].rpartition(".")[2] or what


def check_inherit(inherit: str, names: list[str]) -> None:
    """Check that there is the listener that System.inheritedChannel() is to give; raises UsageError."""
    if inherit and inherit not in names:
        msg = f"inherit: no listener {inherit!r}; expected one of {', '.join(names) or 'the declared ones (there is none)'}"
        raise UsageError(msg)


def _open(
    declared: tuple[ListenSpec, ...], user: UserSpec | None, environ: Mapping[str, str], inherit: str, broker: str
) -> list[Listener]:
    inherited = adopt.inherited_listeners(environ)
    fd = None if inherited else adopt.inetd_fd()
    if fd is not None:
        sock = adopt.take_inetd(fd)
        inherited = [adopt.identify(adopt.INETD_NAME, sock.detach())]
    specs, adopted = adopt.match_inherited((*declared, *further_sockets(declared)), inherited)
    check_inherit(inherit, [spec.name for spec in specs if not spec.of])
    there = {spec.name for spec, _ in adopted}
    adopted += client.obtain(broker, [spec for spec in specs if spec.name not in there])
    return bind_listeners(specs, adopted, user)


def _become(spec: ServiceSpec, listeners: list[Listener], environ: dict[str, str], *, changes_user: bool) -> NoReturn:
    """Be the supervisor, or the worker. The listeners are on 3, 4, 5, ... from then on."""
    fds = [sock.detach() for _, sock in listeners]
    if spec.direct:
        _exec_worker(spec, fds, environ)
    notify = passed_fd(environ)
    passed = [*fds, *([notify] if notify >= 0 else [])]
    arrange_for_exec(passed)
    for fd in range(LISTEN_FDS_START, LISTEN_FDS_START + len(passed)):
        os.set_inheritable(fd, False)
    fds = list(range(LISTEN_FDS_START, LISTEN_FDS_START + len(fds)))
    if notify >= 0:
        environ["NOTIFY_SOCKET"] = f"fd:{LISTEN_FDS_START + len(fds)}"  # behind the listeners
    os.environ.clear()
    os.environ.update(environ)
    forget_start(f"jvmbind supervisor {spec.name}", environment=changes_user)
    from jvmbind.supervisor.main import supervise  # noqa: PLC0415 - nothing of it is loaded with privilege

    supervise(spec, fds)


def _exec_worker(spec: ServiceSpec, fds: list[int], environ: dict[str, str]) -> NoReturn:
    """Exec: the same pid, a fresh address space. The specification is on the descriptor behind the listeners."""
    memory = sealed_memory("jvmbind-spec", spec.to_json())
    arrange_for_exec([*fds, memory])
    command = role.command("worker", spec.java_arguments)
    try:
        os.execve(command[0], command, environ | role.announce(LISTEN_FDS_START + len(fds)))
    except OSError as error:
        msg = f"{command[0]}: {error.strerror}"
        raise SystemFailureError(msg) from error
