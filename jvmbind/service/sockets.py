"""Listeners that are there before the service is: sockets that the program holds, ports that the kernel chooses, LISTEN_FDS.

Runs in the program. The service gets a descriptor of its own of each, in the way of sd_listen_fds(3); the program's stays the
program's. Sources: sd_listen_fds(3), ip(7) on port 0, socket(7).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from jvmbind.errors import ArgumentTypeError, ArgumentValueError, ConfigurationError, SystemFailureError, UsageError
from jvmbind.listen import number_names
from jvmbind.posix.binding import bind_listeners
from jvmbind.posix.inherited import describe, inherited_fds, match_inherited
from jvmbind.spec import ListenSpec, parse_listen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jvmbind.config.request import Request
    from jvmbind.config.tables import Held

_FD = "fd:"


def take_held(listen: object) -> tuple[object, dict[int, tuple[str, Held | int]]]:
    """Return `listen` with a specification for each held socket and each free port, and by place what is held.

    Raises ArgumentTypeError, ArgumentValueError for a descriptor that is no socket which can be a listener.
    """
    held: dict[int, tuple[str, Held | int]] = {}
    if isinstance(listen, Mapping):
        return {key: _taken(item, f"listen[{key!r}]", place, held) for place, (key, item) in enumerate(listen.items())}, held
    if isinstance(listen, Sequence) and not isinstance(listen, str | bytes | bytearray):
        return [_taken(item, f"listen[{place}]", place, held) for place, item in enumerate(listen)], held
    return listen, held


def _taken(item: object, name: str, place: int, held: dict[int, tuple[str, Held | int]]) -> object:
    if isinstance(item, str) and item.startswith(_FD):
        number, colon, app_port = item.removeprefix(_FD).partition(":")
        if not _is_number(number) or (colon and not (_is_number(app_port) and 1 <= int(app_port) <= 65535)):
            msg = f"{name}: expected fd:NUMBER or fd:NUMBER:APP_PORT, got {item!r}"
            raise ArgumentValueError(msg, name)
        held[place] = name, int(number)
        spec = _describe(int(number), name)
        return spec._replace(app_port=int(app_port)) if colon else spec
    if callable(getattr(item, "fileno", None)):
        one: Held = item  # type: ignore[assignment]  # as has just been asked
        held[place] = name, one
        return _describe(_number(one, name), name)
    if isinstance(item, str | int) and not isinstance(item, bool):
        return _free(str(item)) or item
    return item


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _free(text: str) -> ListenSpec | None:
    """Return the specification of a listener on any free port; None where `text` is something else."""
    try:
        spec = parse_listen(text, free=True)
    except UsageError:
        return None
    return None if spec.port or spec.protocol == "unix" else spec


def _number(one: Held | int, name: str) -> int:
    number: object = one if isinstance(one, int) else one.fileno()
    if not isinstance(number, int):
        msg = f"{name}: expected a socket, got {one!r} ({type(one).__name__})"
        raise ArgumentTypeError(msg, name)
    return number


def _still(one: Held | int, name: str, spec: ListenSpec) -> int:
    number = _number(one, name)
    now = _describe(number, name)
    if (now.protocol, now.host, now.port, now.path) != (spec.protocol, spec.host, spec.port, spec.path):
        msg = f"{name}: descriptor {number} is {now.address} by now; expected {spec.address}, as at Service()"
        raise ArgumentValueError(msg, name)
    return number


def _describe(number: int, name: str) -> ListenSpec:
    try:
        with socket.socket(fileno=os.dup(number)) as sock:
            return describe("", f"{name}: descriptor {number}", sock)._replace(inherited=False)
    except ConfigurationError as error:
        raise ArgumentValueError(str(error), name) from None
    except (OSError, OverflowError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        msg = f"{name}: descriptor {number}: {why}; expected a bound socket"
        raise ArgumentValueError(msg, name) from error


class Sockets:
    """The sockets that are passed at a start or a reload, and the request with the ports that they have."""

    def __init__(
        self, request: Request, held: Mapping[int, tuple[str, Held | int]], ports: Mapping[str, int] | None = None
    ) -> None:
        """Bind what is to be bound on a free port, but for those that have a port in `ports` already.

        Raises ArgumentValueError for a held socket that is another by now, PortUnavailableError, SystemFailureError.
        """
        self.passed: list[tuple[str, int]] = []
        self._opened: list[socket.socket] = []
        listeners = list(number_names(list(request.listeners)))
        try:
            for place, spec in enumerate(listeners):
                if place in held:
                    argument, one = held[place]
                    self.passed.append((spec.name, _still(one, argument, spec)))
                elif spec.protocol != "unix" and not spec.port:
                    port = (ports or {}).get(spec.name, 0) or self._bind(spec)
                    listeners[place] = spec._replace(port=port, app_port=spec.app_port or port)
        except BaseException:
            self.close()
            raise
        self.request = request._replace(listeners=tuple(listeners))

    def _bind(self, spec: ListenSpec) -> int:
        ((_, sock),) = bind_listeners([spec])
        self._opened.append(sock)
        self.passed.append((spec.name, sock.fileno()))
        port: int = sock.getsockname()[1]
        return port

    def add_announced(self) -> None:
        """Pass on what LISTEN_FDS announces to this process and the service declares, under the declared names.

        Raises ConfigurationError, as `jvmbind run` does.
        """
        mine = {number for _, number in self.passed}
        there = [(name, number) for name, number in inherited_fds(os.environ) if number not in mine]
        known = {name for name, _ in self.passed}
        found = list(_identified(there))
        try:
            specs = [spec for spec in self.request.listeners if spec.name not in known]
            declared = {spec.name for spec in specs}
            for spec, sock in match_inherited(specs, found)[1]:
                if spec.name in declared:
                    self.passed += [(spec.name, fd) for _, fd in there if os.path.sameopenfile(fd, sock.fileno())][:1]
        finally:
            for _, sock in found:
                sock.close()

    def close(self) -> None:
        """Close what was bound here; the program's own sockets stay open."""
        opened, self._opened = self._opened, []
        for sock in opened:
            sock.close()


def _identified(there: Sequence[tuple[str, int]]) -> Iterator[tuple[ListenSpec, socket.socket]]:
    for name, number in there:
        copy = -1
        try:
            copy = os.dup(number)
            sock = socket.socket(fileno=copy)
        except OSError as error:
            if copy >= 0:
                os.close(copy)
            msg = f"LISTEN_FDS: descriptor {number} ({name}): {error.strerror}; expected what a service manager passes"
            raise SystemFailureError(msg) from error
        try:
            spec = describe(name, f"LISTEN_FDS: descriptor {number} ({name})", sock)._replace(inherited=True)
        except ConfigurationError:
            sock.close()  # the program's own, of another kind
            continue
        yield spec, sock


def ports_of(request: Request) -> dict[str, int]:
    """Return the port of each listener that has one, by its name."""
    return {spec.name: spec.port for spec in request.listeners if spec.protocol != "unix"}
