"""Asks the broker for listeners that need a privilege which this process has not.

Runs in the launcher and, for a reload, in the supervisor, as the user of the service; imports the standard library, `root`,
`spec`, `listen`, `errors` and the message. A broker is asked where there is a socket of one, and nowhere else.
Sources: unix(7) on SCM_RIGHTS, socket(7) on SO_RCVTIMEO and SO_SNDTIMEO.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import time
from typing import TYPE_CHECKING

from jvmbind.broker import message
from jvmbind.errors import JvmbindError, NotPermittedError, PortUnavailableError, SystemFailureError
from jvmbind.listen import further_sockets
from jvmbind.posix.binding import first_unprivileged_port
from jvmbind.posix.holder import holder_of
from jvmbind.root.drop import CAP_NET_BIND_SERVICE, effective_capabilities
from jvmbind.root.holder import open_holder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jvmbind.root.listeners import Listener
    from jvmbind.spec import ListenSpec

VARIABLE = "JVMBIND_BROKER"  # another path; empty: no broker is asked
_PATIENCE = 5  # seconds for a place in its queue, and for its answer
_TRIES = 30  # a broker closes the connections of a user who makes too many in a second
_PAUSE = 0.1  # seconds between two of them


class RefusedByBrokerError(NotPermittedError):
    """The policy of the broker does not let this user have the port."""


def find(environ: Mapping[str, str]) -> str:
    """Return the path of the broker's socket, "" where there is none."""
    path = environ.get(VARIABLE, message.SOCKET)
    return path if path and os.path.exists(path) else ""


def obtain(path: str, specs: Sequence[ListenSpec]) -> list[Listener]:
    """Return those of these listeners, with their further sockets, that need the broker at `path`; [] where it is "".

    Raises RefusedByBrokerError, PortUnavailableError, SystemFailureError; all that was obtained is closed then.
    """
    found: list[Listener] = []
    try:
        for spec in _needed(path, specs):
            found += _obtain(path, spec)
    except BaseException:
        for _, sock in found:
            sock.close()
        raise
    return found


def outlook(path: str, specs: Sequence[ListenSpec]) -> list[str]:
    """Return for each listener that needs the broker at `path` what it would answer; nothing is bound."""
    said = []
    for spec in _needed(path, specs):
        try:
            reply, _ = _ask(path, spec, ask=True)
        except JvmbindError as error:
            said.append(str(error))
            continue
        where = f"listener {spec.name!r} ({spec.address}/{spec.protocol})"
        granted = reply.verdict == message.GRANTED
        said.append(f"{where}: the broker gives it, by {reply.rule}" if granted else str(_refusal(path, spec, reply)))
    return said


def _needed(path: str, specs: Sequence[ListenSpec]) -> list[ListenSpec]:
    if not path or effective_capabilities() >> CAP_NET_BIND_SERVICE & 1:
        return []
    first = first_unprivileged_port()
    return [spec for spec in specs if spec.protocol != "unix" and not spec.of and spec.port < first]


def _obtain(path: str, spec: ListenSpec) -> list[Listener]:
    reply, sockets = _ask(path, spec)
    matched = _match(spec, sockets) if reply.verdict == message.GRANTED and len(sockets) == reply.sockets else []
    if not matched:
        for sock in sockets:
            sock.close()
        raise _refusal(path, spec, reply)
    return matched


def _refusal(path: str, spec: ListenSpec, reply: message.Reply) -> Exception:
    where = f"listener {spec.name!r} ({spec.address}/{spec.protocol})"
    if reply.verdict == message.REFUSED:
        what = f"{os.geteuid()} {spec.address}/{spec.protocol}"
        rule = f"its rule {reply.rule} denies it" if reply.rule else "no rule of its policy allows it"
        return RefusedByBrokerError(
            f"{where}: the broker refused it to uid {os.geteuid()}: {rule} (jvmbind broker --explain {what})"
        )
    if reply.verdict == message.FAILED and reply.errno == errno.EADDRINUSE:
        return PortUnavailableError(f"{where}: address already in use{holder_of(spec, open_holder)}")
    if reply.verdict == message.FAILED:
        return PortUnavailableError(f"{where}: the broker cannot bind it: {os.strerror(reply.errno)}")
    return SystemFailureError(f"{where}: the broker at {path} did not send what was asked for; expected one of this version")


def _match(spec: ListenSpec, sockets: list[socket.socket]) -> list[Listener]:
    """Say of each socket which it is; [] where one is not what was asked for."""
    kind = socket.SOCK_STREAM if spec.protocol == "tcp" else socket.SOCK_DGRAM
    inet = (socket.AF_INET, socket.AF_INET6)
    if not sockets or any(sock.family not in inet or sock.type != kind or sock.getsockname()[1] != spec.port for sock in sockets):
        return []
    rest = list(sockets)
    matched = [(spec, rest.pop(0))]
    for further in further_sockets([spec]):
        family = socket.AF_INET if further.ipv4 else matched[0][1].family
        if rest and rest[0].family == family:
            matched.append((further, rest.pop(0)))
    for _, sock in matched:
        sock.setblocking(False)
    return [] if rest else matched


def _ask(path: str, spec: ListenSpec, *, ask: bool = False) -> tuple[message.Reply, list[socket.socket]]:
    where = f"listener {spec.name!r} ({spec.address}/{spec.protocol})"
    try:
        request = message.encode(spec, ask=ask)
    except ValueError as error:
        msg = f"{where}: {error}"
        raise NotPermittedError(msg) from error
    for _ in range(_TRIES):
        try:
            data, sockets = _exchange(path, request)
        except BlockingIOError as error:
            msg = f"{where}: the broker at {path} did not answer for {_PATIENCE} s; expected one that runs"
            raise SystemFailureError(msg) from error
        except OSError as error:
            msg = f"{where}: the broker at {path}: {error.strerror}; expected one that runs"
            raise SystemFailureError(msg) from error
        if data:
            break
        time.sleep(_PAUSE)
    else:
        msg = f"{where}: the broker at {path} closed {_TRIES} connections unheard; expected fewer requests of this user at once"
        raise SystemFailureError(msg)
    try:
        return message.decode_reply(data), sockets
    except ValueError as error:
        for sock in sockets:
            sock.close()
        msg = f"{where}: the broker at {path}: {error}; expected a broker of this version"
        raise SystemFailureError(msg) from error


def _exchange(path: str, request: bytes) -> tuple[bytes, list[socket.socket]]:
    """Return the answer and the sockets that came with it, b"" where the connection was closed; raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC) as sock:
        patience = struct.pack("@ll", _PATIENCE, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, patience)
        sock.connect(path)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sock.send(request, socket.MSG_NOSIGNAL)
            room = socket.CMSG_SPACE(4 * message.MOST_SOCKETS)
            data, ancillary, _, _ = sock.recvmsg(message.REPLY.size + 1, room, socket.MSG_CMSG_CLOEXEC)
            packed = b"".join(item for level, kind, item in ancillary if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS))
            fds = struct.unpack(f"={len(packed) // 4}i", packed[: len(packed) // 4 * 4])
            return data, [socket.socket(fileno=fd) for fd in fds]
    return b"", []
