"""What `run` and `wrap` ask for, as a plan for root: text to Plan.

Runs in two children that have given every privilege up: `read_service` as nobody, since the user is not known yet, and
`examine_service` as the service user, who alone can tell what that user may read. Where no user is changed the first does
both. What they refuse they say themselves.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from jvmbind.broker import client
from jvmbind.config.request import Request
from jvmbind.errors import SystemFailureError, printable
from jvmbind.listen import further_sockets, number_names
from jvmbind.plan import service
from jvmbind.plan.flat import write_plan
from jvmbind.posix import inherited
from jvmbind.posix.fds import passed_fd
from jvmbind.posix.runtime_dir import name_service, safe_name
from jvmbind.posix.user import Caller, resolve_user, split_user
from jvmbind.root.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from jvmbind.root.child import Channel
    from jvmbind.spec import ListenSpec, UserSpec

# What the service manager tells its main process: sd_notify(3), sd_watchdog_enabled(3). For the supervisor alone.
_MANAGER = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "FDSTORE")


def read_service(
    argv: Sequence[str], given: bytes, ids: tuple[int, int, tuple[int, ...]], pid: int, channel: Channel, *, may_bind: bool
) -> bytes:
    """Return the plan of what the words behind `jvmbind` ask for; raises JvmbindError.

    `given` is the environment that process `pid` was started with, `ids` are its user, group and groups, `may_bind` is
    whether it can bind any port, and `channel` is the way to it.
    """
    _check_passed(passed_fd(os.environ))
    request = _request(argv, channel.open)
    caller = Caller(*ids)
    user = resolve_user(request.user, caller)
    declared = number_names(list(request.listeners))
    group, allow = service.delegated_control(request)
    broker = client.find(os.environ)
    template = request.template._replace(control_gid=group, control_allow=allow, at_start=service.at_start(request), broker=broker)
    request = request._replace(template=template)
    listeners, of_store = _listeners(declared, pid, request.template.inherit)
    if not may_bind and caller.uid != 0:  # a broker goes by who asks, and this child of root's is nobody
        listeners = _of_broker(broker, listeners, channel)
    plan = Plan(
        chosen=request.name is not None,
        direct=template.direct,
        limits=tuple((limit.name, limit.soft, limit.hard) for limit in request.limits),
        listeners=listeners,
        rest=json.dumps({"request": request.to_json().decode(), "of_store": of_store}).encode(),
    )
    named = not template.direct and not template.control
    if caller.uid != 0:
        return _examined(plan, given, user, named=named)
    name, group_name = split_user(request.user or "")
    return write_plan(plan._replace(user=name or str(user.uid), group=group_name, name=request.name or "java", control=named))


def examine_service(rest: bytes, given: bytes, user: UserSpec) -> bytes:
    """Return the plan with the name and what is run, asked with the rights of `user`; raises JvmbindError."""
    return _examined(Plan(rest=rest), given, user, named=False, changes_user=True)


def _examined(plan: Plan, given: bytes, user: UserSpec, *, named: bool, changes_user: bool = False) -> bytes:
    from jvmbind.plan.java import examine  # noqa: PLC0415 - in the child of the service user alone
    from jvmbind.worker.java_home import find_java_home, ignored_java_home  # noqa: PLC0415

    rest = json.loads(plan.rest)
    request, environ = Request.from_json(rest["request"].encode()), os.environ
    java_home = find_java_home(request.java_home, environ)
    own = service.environment(request, environ, user, changes_user=changes_user, given=given)
    command, notes = examine(request, java_home, own, user)
    said = [*service.environment_notes(request, environ, own), ignored_java_home(request.java_home, environ, java_home), *notes]
    service.check_limits(request.limits)
    name, made, why = request.name or safe_name(service.default_name(request, command)), "", ""
    if named:
        name, made, why = name_service(name, user, environ, chosen=request.name is not None)
        said.append(service.without_control(why, str(os.getppid())))
    _say(said)
    template = request.template._replace(
        java_home=java_home,
        java_arguments=request.java_arguments,
        not_passed=tuple(service.of_interest(service.dropped(environ, own))) if request.template.script else (),
    )
    # The names of what came from the manager's store, where it was passed to this process.
    for variable in (*_MANAGER, *(("LISTEN_FDNAMES",) if rest["of_store"] else ())):
        own.pop(variable, None)
        if variable in environ and not template.direct:
            own[variable] = environ[variable]
    found = {"spec": template.to_json().decode(), "environ": own, "umask": request.umask}
    return write_plan(plan._replace(name=name, made=made, rest=json.dumps(found).encode()))


def _check_passed(fd: int) -> None:
    """Check the descriptor on which `jvmbind.Service` listens; raises SystemFailureError."""
    if fd < 0:
        return
    try:
        os.fstat(fd)
    except OSError as error:
        msg = f"NOTIFY_SOCKET=fd:{fd}: {error.strerror}; expected an open descriptor"
        raise SystemFailureError(msg) from error


def _request(argv: Sequence[str], give: Callable[[str], int]) -> Request:
    if argv[1:2] == ["--request-fd"] and len(argv) == 3:
        return _passed(argv[2])
    from jvmbind.plan.options import read_request  # noqa: PLC0415 - argparse takes 10 ms to load

    request = read_request(list(argv[1:]), command=argv[0], give=give)
    if request.template.config:
        request = request._replace(template=request.template._replace(command_line=tuple(argv[1:])))
    return request


def _passed(text: str) -> Request:
    """Read how `jvmbind.Service` starts a service: the request itself, as JSON in a sealed memory file."""
    from jvmbind.posix.fds import read_memory  # noqa: PLC0415 - for the Python API alone

    try:
        return Request.from_json(read_memory(int(text)))
    except (OSError, ValueError, TypeError, KeyError) as error:
        msg = f"--request-fd {text}: for jvmbind.Service alone ({error})"
        raise SystemFailureError(msg) from error


def _listeners(declared: tuple[ListenSpec, ...], pid: int, inherit: str) -> tuple[tuple[tuple[ListenSpec, int], ...], bool]:
    """Return all sockets of the service, each with the descriptor that a parent has passed, and whether any was announced."""
    there = inherited.inherited_listeners(os.environ, pid)
    announced = bool(inherited.inherited_fds(os.environ, pid))
    fd = None if there else inherited.inetd_fd()
    if fd is not None:
        there = [inherited.identify(inherited.INETD_NAME, os.dup(fd))]
    specs, adopted = inherited.match_inherited((*declared, *further_sockets(declared)), there)
    service.check_inherit(inherit, [spec.name for spec in specs if not spec.of])
    numbers = {spec.name: sock.fileno() if fd is None else fd for spec, sock in adopted}
    known = {spec.name: spec for spec, _ in adopted}
    return tuple((known.get(spec.name, spec), numbers.get(spec.name, -1)) for spec in specs), announced


def _of_broker(broker: str, listeners: Sequence[tuple[ListenSpec, int]], channel: Channel) -> tuple[tuple[ListenSpec, int], ...]:
    """Return the listeners with those among them that a broker has bound, which are passed on."""
    obtained = client.obtain(broker, [spec for spec, fd in listeners if fd == -1])
    numbers = {spec.name: number for number, (spec, _) in enumerate(obtained)}
    for _, sock in obtained:
        channel.send(sock.fileno())
    return tuple((spec, -2 - numbers[spec.name] if spec.name in numbers else fd) for spec, fd in listeners)


def _say(notes: Iterable[str]) -> None:
    """Write a line for each note that is not empty, before anything is bound."""
    try:
        sys.stderr.write("".join(f"jvmbind: {printable(note)}\n" for note in notes if note))
        sys.stderr.flush()
    except OSError:
        pass  # nobody reads them: no reason not to start
