"""Works out what a reload runs: the command line and the configuration read again, on the listeners that there are.

Runs in the supervisor as the service user, once for each reload; the reading itself is done by jvmbind.cli.plan in a
process of its own. A new listener is opened here if that needs no privilege. A program that has started the service by
`jvmbind.Service` may send another version, and the sockets of its listeners.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time

from jvmbind.broker.client import RefusedByBrokerError, obtain
from jvmbind.errors import ConfigurationError, JvmbindError, NotPermittedError, PortUnavailableError
from jvmbind.listen import further_sockets
from jvmbind.posix.binding import bind_listeners
from jvmbind.posix.fds import sealed_memory
from jvmbind.posix.inherited import identify
from jvmbind.posix.process import Process
from jvmbind.posix.socket_options import as_bound
from jvmbind.spec import ListenSpec, ServiceSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from jvmbind.root.listeners import Listener

_PATIENCE = 20.0  # seconds for reading the configuration

Listeners = dict[str, tuple[ListenSpec, int]]
Plan = tuple[str, ServiceSpec, Listeners]


class Planning:
    """A process that reads the configuration again; the supervisor goes on meanwhile."""

    def __init__(self, spec: ServiceSpec, environ: Mapping[str, str], given: Sequence[int] = ()) -> None:
        """Start it; raises OSError. Without a configuration file it only checks that what runs can be started again.

        `given` is a memory file with another version, and the sockets that it brings; they stay the caller's.
        """
        self.next_environ: dict[str, str] | None = None  # of that version, once it was read
        self.refusal: dict[str, str] = {}  # what is known of a refusal besides its words
        self._is_given = bool(given)
        self._sockets: list[int] = []
        self._spec = spec
        self._data = b""
        self._process: Process | None = None
        self.deadline = time.monotonic() + _PATIENCE
        script = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "cli", "plan.py")
        # What is to be read is in a file of memory: words of its own could be read by every user, an `--env SECRET=VALUE` too.
        text = json.dumps(spec.command_line).encode() if spec.config else spec.to_json()
        memory = os.dup(given[0]) if given else sealed_memory("jvmbind-planned", text)
        try:
            self._sockets += [os.dup(fd) for fd in given[1:]]
            self.fd, writer = os.pipe()  # to be waited for
            try:
                words = ("--given",) if given else () if spec.config else ("--running",)
                self._process = Process([sys.executable, "-I", script, *words], environ, {0: memory, 1: writer})
            except OSError:
                os.close(self.fd)
                raise
            finally:
                os.close(writer)
        except OSError:
            self._close_sockets()
            raise
        finally:
            os.close(memory)

    @property
    def pid(self) -> int:
        """The process, 0 without one."""
        return self._process.pid if self._process is not None else 0

    def is_done(self, *, readable: bool) -> bool:
        """Read what has come; return whether that is all, or the time is over."""
        if self._process is None:
            return True
        chunk = os.read(self.fd, 65536) if readable else b""
        self._data += chunk
        return (readable and not chunk) or time.monotonic() >= self.deadline

    def close(self) -> None:
        """End the process."""
        self._close_sockets()
        self._end()

    def _close_sockets(self) -> None:
        while self._sockets:
            os.close(self._sockets.pop())

    def _end(self) -> None:
        if self._process is not None:
            self._process.end()
            os.close(self.fd)
            self._process = None

    def result(self, listeners: Mapping[str, tuple[ListenSpec, int]]) -> Plan:
        """Return (why the configuration cannot be used or "", the next specification, all its listeners), and close.

        The name of a service, its control socket and its kind (supervised) never change.
        """
        self._end()
        try:
            return self._result(listeners)
        finally:
            self._close_sockets()

    def _result(self, listeners: Mapping[str, tuple[ListenSpec, int]]) -> Plan:
        spec = self._spec
        try:
            answer: dict[str, Any] = json.loads(self._data)
        except ValueError:
            return "the configuration could not be read", spec, {}
        if not answer.get("ok"):
            self.refusal = answer.get("refusal", {})
            return str(answer.get("error", "the configuration could not be read")), spec, {}
        if not spec.config and not self._is_given:
            return "", spec, dict(listeners)
        try:
            fresh = ServiceSpec.from_json(answer["spec"].encode())
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            msg = f"the installed jvmbind is not the running one ({type(error).__name__}: {error}); stop the service and start it"
            return msg, spec, {}
        sockets: list[Listener] = []
        try:
            sockets = self._identified(answer.get("names", ()))
            chosen = _choose(fresh, listeners, spec.broker, sockets, keeps_inherited=not self._is_given)
        except RefusedByBrokerError as error:
            return str(error), spec, {}
        except NotPermittedError as error:
            self.refusal = _fields(error)
            what = str(error).partition(": ")[0]
            ways = "stop the service and start it as root, pass the socket from a systemd socket unit, or let jvmbind broker run"
            return f"{what} is new and needs a privilege, which a running service no longer has: {ways}", spec, {}
        except JvmbindError as error:
            self.refusal = _fields(error)
            return str(error), spec, {}
        finally:
            for _, sock in sockets:
                sock.close()  # those that were taken are detached
        self.next_environ = answer.get("environ")
        command_line, config = (fresh.command_line, fresh.config) if self._is_given else (spec.command_line, spec.config)
        fresh = fresh._replace(
            listeners=tuple(found for found, _ in chosen.values()),
            name=spec.name,
            control=spec.control,
            control_gid=spec.control_gid,
            control_allow=spec.control_allow,
            command_line=command_line,
            not_passed=spec.not_passed,
            config=config,
            broker=spec.broker,
        )
        return "", fresh, chosen

    def _identified(self, names: Sequence[str]) -> list[Listener]:
        """Return the sockets that came with a new version, by the names that it gives them; raises ConfigurationError."""
        if len(names) != len(self._sockets):
            msg = f"{len(self._sockets)} sockets came with the new version: expected {len(names)}"
            raise ConfigurationError(msg)
        found: list[Listener] = []
        try:
            found.extend(identify(name, self._sockets.pop(0)) for name in names)
        except BaseException:
            for _, sock in found:
                sock.close()
            raise
        return found


def _fields(error: JvmbindError) -> dict[str, str]:
    return {"kind": type(error).__name__, "listener": error.listener, "holder": error.holder, "key": error.key}


def _choose(
    fresh: ServiceSpec,
    listeners: Mapping[str, tuple[ListenSpec, int]],
    broker: str,
    sockets: Sequence[Listener] = (),
    *,
    keeps_inherited: bool = True,
) -> Listeners:
    """Find each declared listener among those that are there, by what it is, and open the rest; raises JvmbindError.

    `sockets` are those that came for it; `keeps_inherited` says that one which a parent has passed stays, undeclared too.
    """
    rest = dict(listeners)
    chosen: Listeners = {}
    missing: list[ListenSpec] = []
    for wanted in fresh.listeners:
        same = [name for name, (there, _) in rest.items() if _is_same(wanted, there)]
        if not same:
            missing.append(wanted)
            continue
        name = wanted.name if wanted.name in same else same[0]
        there, fd = rest.pop(name)
        if not there.inherited and (wanted.v6only, wanted.bind_only) != (there.v6only, there.bind_only):
            what = f"listener {wanted.name!r} ({wanted.address}/{wanted.protocol})"
            msg = f"{what}: v6only and bind-only of a bound socket cannot change; stop the service and start it"
            raise PortUnavailableError(msg)
        wanted = wanted._replace(host=there.host, v6only=there.v6only, options=there.options)  # noqa: PLW2901
        wanted = wanted._replace(inherited=there.inherited, stored=there.stored)  # noqa: PLW2901
        chosen[wanted.name] = (wanted, fd)
        for further, (part, fd_of_part) in list(rest.items()):
            if part.of == name:
                renamed = wanted.name + further[len(name) :]
                chosen[renamed] = (
                    part._replace(name=renamed, of=wanted.name, backlog=wanted.backlog, app_port=wanted.app_port),
                    fd_of_part,
                )
                del rest[further]
    for name, (there, fd) in rest.items():
        if keeps_inherited and there.inherited and not there.stored and name not in chosen:
            chosen[name] = (there, fd)  # nothing declares it, its parent passed it
    brought = _brought(missing, sockets)
    missing = [spec for spec in missing if spec.name not in {one.name for one, _ in brought}]
    opened_here = bind_listeners([*missing, *further_sockets(missing)], obtain(broker, missing))
    for opened, sock in [*brought, *opened_here]:
        fd = sock.detach()
        chosen[opened.name] = (opened._replace(options=as_bound(fd, opened)), fd)
    order = [wanted.name for wanted in fresh.listeners]
    return dict(sorted(chosen.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order)))


def _brought(missing: Sequence[ListenSpec], sockets: Sequence[Listener]) -> list[Listener]:
    """Return the listeners that came as sockets, in the listening state; raises ConfigurationError."""
    found = {spec.name: (spec, sock) for spec, sock in sockets}
    wanted = [spec for spec in missing if spec.name in found]
    for spec in wanted:
        there = found[spec.name][0]
        if (there.protocol, there.port, there.path) != (spec.protocol, spec.port, spec.path):
            msg = (
                f"listener {spec.name!r}: the socket that came for it is {there.address}/{there.protocol}, expected {spec.address}"
            )
            raise ConfigurationError(msg)
    taken = [
        (spec._replace(host=there.host, v6only=there.v6only, inherited=True), sock)
        for spec in wanted
        for there, sock in [found[spec.name]]
    ]
    return bind_listeners([spec for spec, _ in taken], taken)


def _is_same(wanted: ListenSpec, there: ListenSpec) -> bool:
    if there.of or wanted.protocol != there.protocol or wanted.path != there.path or wanted.port != there.port:
        return False
    if wanted.device != there.device or wanted.reuseport != there.reuseport:
        return False
    return wanted.host == there.host or (there.inherited and wanted.host is None)


def adjust(before: Listeners, after: Listeners) -> list[str]:
    """Set on listeners that stay what the configuration says of them now; return what failed, one line each."""
    problems = []
    declared = {fd: spec for spec, fd in before.values()}
    for spec, fd in after.values():
        there = declared.get(fd, spec)
        if spec.inherited or spec == there:
            continue
        try:
            if spec.protocol == "unix" and spec.mode != there.mode:
                os.chmod(spec.path, spec.mode)
            with socket.socket(fileno=os.dup(fd)) as sock:
                if spec.rcvbuf and spec.rcvbuf != there.rcvbuf:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, spec.rcvbuf)
                if spec.defer_accept != there.defer_accept:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, spec.defer_accept)
                if spec.fastopen != there.fastopen:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, spec.fastopen)
                if spec.listens and (spec.backlog != there.backlog or not there.listens):
                    sock.listen(spec.backlog)  # of a socket that listens it changes the limit: listen(2)
        except OSError as error:
            problems.append(f"listener {spec.name!r} ({spec.address}/{spec.protocol}): not all of its options: {error.strerror}")
    return problems
