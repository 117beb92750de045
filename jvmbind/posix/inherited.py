"""Finds out which listeners a parent has opened: systemd (LISTEN_FDS), inetd in its `wait` form (fd 0), another jvmbind.

Runs in a child that has dropped, with the same descriptors as root, before anything is bound. An inherited socket is
believed for what getsockname(2), SO_TYPE and SO_PROTOCOL say of it, and its name only tells candidates apart; never its
position. Sources: sd_listen_fds(3), inetd(8), socket(7).
"""

from __future__ import annotations

import ctypes
import itertools
import os
import socket
import stat

from jvmbind.errors import ConfigurationError
from jvmbind.spec import ListenSpec, is_wildcard, same_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jvmbind.root.listeners import Listener

LISTEN_FDS_START = 3
INETD_NAME = "inetd"


def inherited_fds(environ: Mapping[str, str], pid: int = 0) -> list[tuple[str, int]]:
    """Return (name, fd) of what LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES announce to `pid`, this very process by default.

    Raises ConfigurationError where the three contradict each other.
    """
    if environ.get("LISTEN_PID") != str(pid or os.getpid()):
        return []
    try:
        count = int(environ.get("LISTEN_FDS", "0"))
    except ValueError:
        count = -1
    if not 0 <= count <= 65536:
        msg = f"LISTEN_FDS={environ.get('LISTEN_FDS')!r}: expected the number of inherited sockets"
        raise ConfigurationError(msg)
    names = environ["LISTEN_FDNAMES"].split(":") if environ.get("LISTEN_FDNAMES") else ["unknown"] * count
    if len(names) != count:
        msg = f"LISTEN_FDNAMES has {len(names)} names for LISTEN_FDS={count}: expected as many names as sockets"
        raise ConfigurationError(msg)
    return [(name, LISTEN_FDS_START + i) for i, name in enumerate(names)]


def inherited_listeners(environ: Mapping[str, str], pid: int = 0) -> list[Listener]:
    """Take over what LISTEN_FDS announces; raises ConfigurationError.

    A further socket of a bind-only listener may be a connection that an earlier life of this service had: it ends.
    """
    found = []
    for name, fd in inherited_fds(environ, pid):
        if "+" in name and _is_connection(fd):
            os.close(fd)
        else:
            found.append(identify(name, fd))
    return found


def _is_connection(fd: int) -> bool:
    try:
        with socket.socket(fileno=os.dup(fd)) as sock:
            return sock.type == socket.SOCK_STREAM and _connected(sock)
    except OSError:
        return False


def inetd_fd() -> int | None:
    """Return 0 where standard input is a socket that waits for clients, as inetd's `wait` form passes it."""
    try:
        if not stat.S_ISSOCK(os.fstat(0).st_mode):
            return None
        with socket.socket(fileno=os.dup(0)) as sock:
            if sock.family not in {socket.AF_INET, socket.AF_INET6, socket.AF_UNIX}:
                return None
            if sock.type == socket.SOCK_STREAM:
                return 0 if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) else None
            bound = sock.family != socket.AF_UNIX and sock.type == socket.SOCK_DGRAM and sock.getsockname()[1]
            return 0 if bound and not _connected(sock) else None
    except OSError:
        return None


def _connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def _disconnect(sock: socket.socket) -> None:
    """Undo connect(2) on a datagram socket: connect to AF_UNSPEC, which Python's own connect does not know."""
    ctypes.CDLL(None).connect(sock.fileno(), b"\0" * 16, 16)


def identify(name: str, fd: int) -> Listener:
    """Take `fd` over as a listener: non-blocking and close-on-exec.

    Raises ConfigurationError for anything but a bound TCP, UDP or Unix stream socket that is not connected.
    """
    where = f"inherited fd {fd} ({name})"
    try:
        info = os.fstat(fd)
        if not stat.S_ISSOCK(info.st_mode):
            msg = f"{where}: expected a socket"
            raise ConfigurationError(msg)
        sock = socket.socket(fileno=fd)
        own = name.removesuffix(f"@{info.st_ino}")  # see Notifier.store_listeners
        if sock.family in {socket.AF_INET, socket.AF_INET6} and sock.type == socket.SOCK_DGRAM:
            _disconnect(sock)  # an earlier life of this service may have left it connected, and passed it by way of systemd
        spec = describe(own, where, sock)._replace(stored=own != name)
        sock.setblocking(False)
        sock.set_inheritable(False)
    except OSError as error:
        msg = f"{where}: {error.strerror}"
        raise ConfigurationError(msg) from error
    return spec, sock


def describe(name: str, where: str, sock: socket.socket) -> ListenSpec:
    """Return the specification that a socket answers to; changes nothing of it.

    Raises ConfigurationError for anything but a bound TCP, UDP or Unix stream socket that is not connected.
    """
    protocol = {
        (socket.SOCK_STREAM, socket.IPPROTO_TCP): "tcp",
        (socket.SOCK_DGRAM, socket.IPPROTO_UDP): "udp",
    }.get((sock.type, sock.proto))
    if sock.family == socket.AF_UNIX and sock.type == socket.SOCK_STREAM:
        protocol = "unix"
    elif sock.family not in {socket.AF_INET, socket.AF_INET6}:
        protocol = None
    if protocol is None:
        msg = f"{where}: expected a TCP, UDP or Unix stream socket"
        raise ConfigurationError(msg)
    if _connected(sock):
        msg = f"{where}: the socket is one client's connection; expected the listening socket (systemd: Accept=no, inetd: wait)"
        raise ConfigurationError(msg)
    address = sock.getsockname()
    if protocol == "unix":
        path = os.fsdecode(address)
        if not path or path.startswith("\0"):
            msg = f"{where}: expected a Unix socket with a path"
            raise ConfigurationError(msg)
        return ListenSpec(name=name, protocol="unix", path=path, inherited=True)
    if not address[1]:
        msg = f"{where}: expected a socket that is bound to a port"
        raise ConfigurationError(msg)
    v6only = sock.family == socket.AF_INET6 and bool(sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
    host: str | None = str(same_address(address[0]))
    if sock.family == socket.AF_INET6 and address[0] == "::" and not v6only:
        host = None  # as `--listen PORT` opens it
    return ListenSpec(name=name, protocol=protocol, host=host, port=address[1], app_port=address[1], v6only=v6only, inherited=True)


def match_inherited(specs: Sequence[ListenSpec], inherited: Sequence[Listener]) -> tuple[list[ListenSpec], list[Listener]]:
    """Find for each declared listener the inherited socket that is it; return all specs and the adopted listeners.

    An inherited socket that nothing declares is a listener of its own, under the name that its parent gave; where
    others are declared it is optional. What this service has stored itself and declares no more is closed. Its further
    sockets come back under the names of their listener at that time, which a reload may have renamed since.
    Raises ConfigurationError where a name and what the socket is contradict each other, or two sockets fit.
    """
    rest = list(inherited)
    adopted: list[Listener] = []
    result: list[ListenSpec] = []
    unmet: list[ListenSpec] = []
    known_as: dict[str, str] = {}  # declared name -> name of the socket that it got
    for spec in specs:
        fitting = [listener for listener in rest if _fits(spec, listener[0])]
        if spec.of:
            name = known_as.get(spec.of, spec.of) + spec.name[len(spec.of) :]
            fitting = [one for one in fitting if one[0].name == name]
        elif any(other.of == spec.name for other in specs):
            fitting = [one for one in fitting if one[0].name == spec.name] or [one for one in fitting if "+" not in one[0].name]
        chosen = [one for one in fitting if one[0].name == spec.name] or fitting
        if len(chosen) > 1 and all(one[0].stored for one in chosen):
            # Opened by this service for one address and shared there: any of them will do, but for one that another is named for.
            chosen = sorted(chosen, key=lambda one: one[0].name in {other.name for other in specs if other != spec})[:1]
        if len(chosen) > 1:
            msg = f"listener {spec.name!r}: {len(chosen)} inherited sockets fit; expected one, or one of that name"
            raise ConfigurationError(msg)
        if chosen:
            rest.remove(chosen[0])
            found = chosen[0][0]
            known_as[spec.name] = found.name
            spec = spec._replace(host=found.host, v6only=found.v6only, inherited=True, stored=found.stored)  # noqa: PLW2901
            adopted.append((spec, chosen[0][1]))
        elif not spec.of:
            unmet.append(spec)
        result.append(spec)
    _check_contradictions(unmet, rest)
    for spec, sock in rest:
        if "+" in spec.name or spec.stored:
            sock.close()  # of a listener that is declared no more
            continue
        name, number = spec.name, 1
        while any(name == other.name for other in result):
            number += 1
            name = f"{spec.name}-{number}"
        named_spec = spec._replace(name=name, optional=bool(specs))
        result.append(named_spec)
        adopted.append((named_spec, sock))
    return result, adopted


def _check_contradictions(unmet: Sequence[ListenSpec], rest: Sequence[Listener]) -> None:
    """Refuse what is declared, was not passed, and cannot or should not be opened beside what was passed instead."""
    for spec, (found, _) in itertools.product(unmet, rest):
        there, wanted = f"{found.address}/{found.protocol}", f"{spec.address}/{spec.protocol}"
        if found.stored and "+" not in found.name and not spec.reuseport and _overlap(spec, found):
            msg = (
                f"listener {spec.name!r}: the service manager's store still holds {there} for this service, expected {wanted}; "
                "stop the service, which empties the store, and start it"
            )
            raise ConfigurationError(msg)
        if found.name == spec.name and not found.stored:
            msg = f"listener {spec.name!r}: the inherited socket of that name is {there}, expected {wanted}"
            raise ConfigurationError(msg)


def _overlap(spec: ListenSpec, found: ListenSpec) -> bool:
    """Whether the one cannot be bound beside the other: a port on all addresses, and on one of them."""
    if spec.protocol == "unix" or (spec.protocol, spec.port) != (found.protocol, found.port):
        return False
    return is_wildcard(spec.host) or is_wildcard(found.host)


def _fits(spec: ListenSpec, found: ListenSpec) -> bool:
    if spec.protocol != found.protocol:
        return False
    if spec.protocol == "unix":
        return spec.path == found.path
    if spec.port != found.port:
        return False
    if found.stored and spec.host is None and not is_wildcard(found.host):
        return False
    if spec.host is None or spec.host == found.host:
        return spec.host is not None or spec.v6only == found.v6only or not is_wildcard(found.host)
    return spec.host == "::" and found.host is None and not spec.v6only
