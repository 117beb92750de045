"""Orders the steps of a start: check, bind, drop, become the supervisor (or the worker itself).

Runs with whatever privilege the caller has, until the drop. Nothing of the supervisor or of JPype is imported before that:
what runs with privilege is this module, `jvmbind.privileged` and the reading of the command line.

The process becomes the supervisor without an exec. A process that has changed its user is closed to the other processes
of that user, but execve(2) opens it again, and until the new image closed itself any of them could take a listener
(pidfd_getfd(2)), or write into its memory so that it looks untouched later (process_vm_writev(2)).
"""

from __future__ import annotations

import grp
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import jvmbind
from jvmbind.errors import ConfigurationError, JavaLaunchError, NotPermittedError, SystemFailureError, UsageError
from jvmbind.listen import further_sockets, number_names
from jvmbind.posix import role
from jvmbind.posix.fds import LISTEN_FDS_START, arrange_for_exec, fill_standard_fds, passed_fd, sealed_memory
from jvmbind.privileged import adopt
from jvmbind.privileged.closed import close_to_others, forget_start
from jvmbind.privileged.drop import drop_permanently
from jvmbind.privileged.identity import resolve_user, service_environment
from jvmbind.privileged.listeners import bind_listeners, release
from jvmbind.privileged.preflight import as_user, check_own_code, check_proc, check_readable
from jvmbind.privileged.runtime_dir import leave, name_service, safe_name
from jvmbind.worker import arguments
from jvmbind.worker.java_home import find_java_home, libjvm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jvmbind.config.request import Limit, Request
    from jvmbind.privileged.listeners import Listener
    from jvmbind.spec import ListenSpec, ServiceSpec, UserSpec


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
    found_name = as_user(user, lambda: _check(request, java_home, service_environ, user), changes_user=changes_user)
    _set_limits(request.limits)
    name, control = request.name or safe_name(found_name), request.template.control
    named = not request.template.direct and not control
    if named:
        name, control = name_service(name, user, environ, changes_user=changes_user, chosen=request.name is not None)
    owner = user if changes_user else None
    listeners: list[Listener] = []
    try:
        listeners = _open(declared, owner, environ, request.template.inherit)
        spec = request.template._replace(
            name=name,
            control=control,
            control_gid=control_gid,
            control_allow=control_allow,
            java_home=java_home,
            java_arguments=request.java_arguments,
            listeners=tuple(listener for listener, _ in listeners),
        )
        for variable in _MANAGER:
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


def _check(request: Request, java_home: str, environ: Mapping[str, str], user: UserSpec) -> str:
    """Check, as the service user, that the command line can be understood and its files be read; return a service name."""
    try:
        command = understand(request, java_home, environ)
    except JavaLaunchError as error:
        if isinstance(error.__cause__, PermissionError):
            check_readable(user, [("jar", error.__cause__.filename, os.R_OK)])  # says which directory denies it
        raise
    check_readable(user, needed(request, java_home, command))
    return default_name(request, command)


def environment(request: Request, environ: Mapping[str, str], user: UserSpec, *, changes_user: bool) -> dict[str, str]:
    """Return the environment that the service gets."""
    return role.without_coercion(
        service_environment(environ, user, request.environ, changes_user=changes_user, preserve=request.preserve_environ)
    )


def understand(request: Request, java_home: str, environ: Mapping[str, str]) -> arguments.JavaCommand | None:
    """Return what the `java` command line says, None where a script is run; raises JavaLaunchError."""
    if request.template.script:
        return None
    home = Path(java_home)
    return arguments.parse(request.java_arguments, environ, jdk_feature=arguments.jdk_feature(home), java_home=home)


def _set_limits(limits: tuple[Limit, ...]) -> None:
    """Set the resource limits, which every process of the service inherits; raises JvmbindError. Source: getrlimit(2)."""
    for limit in limits:
        import resource  # noqa: PLC0415 - seldom needed

        try:
            resource.setrlimit(getattr(resource, f"RLIMIT_{limit.name.upper()}"), (limit.soft, limit.hard))
        except (OSError, ValueError) as error:
            # ValueError is what the module makes of EPERM: "not allowed to raise maximum limit".
            msg = f"limit {limit.name}: cannot be set to {limit.soft}:{limit.hard}: {error}; a hard limit is raised as root only"
            raise NotPermittedError(msg) from error


def default_name(request: Request, command: arguments.JavaCommand | None) -> str:
    """Return the name of a service that has none: from its script, jar, main class or module."""
    if command is None:
        return os.path.basename(request.template.script[0]).rpartition(".")[0] or os.path.basename(request.template.script[0])
    what = command.what or "java"
    if command.mode is arguments.Mode.JAR:
        return os.path.basename(what).removesuffix(".jar")
    return what.rpartition("/")[2].rpartition(".")[2] or what


def needed(request: Request, java_home: str, command: arguments.JavaCommand | None) -> list[tuple[str, str, int]]:
    """Return what the service user must be able to run or read: the interpreter, this package, the JVM, the jar or script.

    Each is (what it is, its path, the access mode such as os.R_OK).
    """
    interpreter, _, entry = role.command("worker", ())
    found = [
        ("interpreter", interpreter, os.X_OK),
        ("interpreter", os.path.realpath(interpreter), os.X_OK),
        ("package", os.path.dirname(os.path.abspath(jvmbind.__file__)), os.R_OK | os.X_OK),
        ("package", entry, os.R_OK),
        ("Java runtime", libjvm(java_home, command.vm if command else "server"), os.R_OK),
    ]
    if command is None:
        found.append(("script", request.template.script[0], os.R_OK | os.X_OK))
    elif command.mode is arguments.Mode.JAR and command.what is not None:
        found.append(("jar", command.what, os.R_OK))
    return found


def _open(declared: tuple[ListenSpec, ...], user: UserSpec | None, environ: Mapping[str, str], inherit: str) -> list[Listener]:
    inherited = adopt.inherited_listeners(environ)
    fd = None if inherited else adopt.inetd_fd()
    if fd is not None:
        sock = adopt.take_inetd(fd)
        inherited = [adopt.identify(adopt.INETD_NAME, sock.detach())]
    specs, adopted = adopt.match_inherited((*declared, *further_sockets(declared)), inherited)
    names = [spec.name for spec in specs if not spec.of]
    if inherit and inherit not in names:
        msg = f"--inherit {inherit}: no such listener; expected one of {', '.join(names) or 'the declared ones (there is none)'}"
        raise UsageError(msg)
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
