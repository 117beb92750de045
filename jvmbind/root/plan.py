"""The plan: all that root is told of a service, written by a process that has dropped.

Runs with privilege; pure. `key=value`, each closed by a NUL; `listen` begins a listener, whose keys follow. Nothing is believed
that can be checked: a closed set of keys, each once, each within its bounds. Who the user is root looks up itself, which
descriptors are sockets it asks the kernel, and `rest` is never looked into: it is for what runs after the drop.
"""

from __future__ import annotations

import socket
import string
from typing import TYPE_CHECKING, Any, NamedTuple

from jvmbind.errors import NotPermittedError
from jvmbind.spec import BIND_ONLY_MAX, BROKER_SOCKET, NAME_MAX, UNIX_PATH_MAX, ListenSpec

if TYPE_CHECKING:
    from collections.abc import Callable

PLAN_MAX = 16 << 20  # bytes; the kernel takes 6 MB of arguments at most: execve(2)
_SOCKETS_MAX = 65536
_NAME = frozenset(string.ascii_letters + string.digits + "._-")


class Plan(NamedTuple):
    """What root is to do.

    The number of a listener is the descriptor that a parent has passed, -1 where it is to be opened, and -2 - N for socket N
    of those that the child has sent, which a broker has bound.
    """

    user: str = ""
    group: str = ""
    name: str = ""
    chosen: bool = False  # whether the name was given, and must be free
    control: bool = False  # whether root makes the directory of a control socket
    made: str = ""  # the control socket whose directory was made already, by a caller that stays who it is
    direct: bool = False
    limits: tuple[tuple[str, int, int], ...] = ()
    listeners: tuple[tuple[ListenSpec, int], ...] = ()
    rest: bytes = b""


def _number(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
        return number if low <= number <= high else _refuse()

    return read


def _text(most: int) -> Callable[[str], str]:
    return lambda text: text if len(text) <= most else _refuse()


def _refuse() -> Any:  # noqa: ANN401 - it returns nothing, in the place of any value
    raise ValueError


def _flag(text: str) -> bool:
    return text == "1" or _refuse()


def _name(text: str) -> str:
    """What becomes the name of a directory of root's: no way out of it, and no hidden one."""
    return text if text[:1].isalnum() and set(text) <= _NAME and len(text) <= NAME_MAX and text != BROKER_SOCKET else _refuse()


def _protocol(text: str) -> str:
    return text if text in {"tcp", "udp", "unix"} else _refuse()


def _host(text: str) -> str:
    """An address and no name: nothing may be asked of a resolver. OSError is what inet_pton(3) says of anything else."""
    address, _, scope = text.partition("%")
    socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    named = set(scope) <= _NAME and all(scope.split("."))  # what is no name would be one for the idna codec
    return text if not scope or (named and len(scope) < 16) else _refuse()


def _path(text: str) -> str:
    return text if text.startswith("/") and text[-1] != "/" and len(text.encode(errors="surrogateescape")) <= 4095 else _refuse()


def _socket_path(text: str) -> str:
    return _path(text) if len(text.encode(errors="surrogateescape")) <= UNIX_PATH_MAX else _refuse()


def _device(text: str) -> str:
    return text if text.isascii() and "/" not in text and 0 < len(text) < 16 else _refuse()


def _limit(text: str) -> tuple[str, int, int]:
    name, *values = text.split(":")
    soft, hard = (-1 if value == "-1" else _number(0, 2**63 - 1)(value) for value in values)
    return (name if name.isalpha() and name.islower() else _refuse()), soft, hard


_INT = _number(0, 2**31 - 1)
_PORT = _number(1, 65535)
_SERVICE: dict[str, Callable[[str], Any]] = {
    "user": _text(256), "group": _text(256), "name": _name, "chosen": _flag, "control": _flag, "made": _path, "direct": _flag,
    "rest": lambda text: text.encode(errors="surrogateescape"),
}  # fmt: skip
_LISTENER: dict[str, Callable[[str], Any]] = {
    "protocol": _protocol, "host": _host, "port": _PORT, "app_port": _PORT, "path": _socket_path, "mode": _number(0, 0o777),
    "backlog": _INT, "reuseport": _flag, "v6only": _flag, "freebind": _flag, "device": _device,
    "bind_only": _number(1, BIND_ONLY_MAX), "rcvbuf": _INT, "defer_accept": _INT, "fastopen": _INT, "inherited": _flag,
    "stored": _flag, "optional": _flag, "of": _text(512), "ipv4": _flag, "fd": _number(0, 1 << 20),
    "sent": _number(0, _SOCKETS_MAX),
}  # fmt: skip


def read_plan(data: bytes) -> Plan:
    """Return the plan; raises NotPermittedError for anything that `jvmbind.plan` would not have written."""
    service: dict[str, Any] = {"limits": []}
    listeners: list[dict[str, Any]] = []
    here, table, key = service, _SERVICE, ""
    try:
        if len(data) > PLAN_MAX or not data.endswith(b"\0"):
            _refuse()
        for item in data.decode(errors="surrogateescape")[:-1].split("\0"):
            key, _, text = item.partition("=")
            if key == "listen" and len(listeners) < _SOCKETS_MAX:
                listeners.append(here := {"name": _text(512)(text)})
                table = _LISTENER
            elif key == "limit" and here is service:
                service["limits"].append(_limit(text))
            elif key in here:
                _refuse()
            else:
                here[key] = table[key](text)
        key = "listen"
        found = tuple(_listener(values) for values in listeners)
        passed, names = [fd for _, fd in found if fd != -1], {spec.name for spec, _ in found}
        if len(set(passed)) != len(passed) or len(names) != len(found) or {spec.of for spec, _ in found} - {""} - names:
            _refuse()
    except (ValueError, KeyError, TypeError, OSError) as error:
        msg = f"the plan of the service has a wrong {key[:20]!r}: expected what jvmbind itself writes"
        raise NotPermittedError(msg) from error
    return Plan(**{**service, "limits": tuple(service["limits"]), "listeners": found})


def _listener(values: dict[str, Any]) -> tuple[ListenSpec, int]:
    fd, sent = values.pop("fd", -1), values.pop("sent", -1)
    spec = ListenSpec(**values)  # TypeError without a protocol
    has_address = bool(spec.path) if spec.protocol == "unix" else bool(spec.port) and not spec.path
    fits = has_address and (fd >= 0) == spec.inherited and (fd < 0 or sent < 0)
    return (spec, fd if sent < 0 else -2 - sent) if fits else _refuse()
