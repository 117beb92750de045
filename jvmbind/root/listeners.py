"""Opens the listeners that no parent has opened.

Runs with privilege, before the drop, and in a supervisor for what needs none; `jvmbind.posix.binding` finds the words for a
refusal. Sources: ip(7), ipv6(7), tcp(7), unix(7), socket(7).
"""

from __future__ import annotations

import contextlib
import errno
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from jvmbind.root.unix_socket import open_unix, remove_unix
from jvmbind.spec import ListenSpec, UserSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    _Refused = Callable[[ListenSpec, OSError | OverflowError], Exception]

NOWHERE_IPV4 = ("127.0.0.1", 9)  # discard: a port that needs a privilege, on an address that is this machine's alone
_IP_FREEBIND = 15  # linux/in.h; not in the socket module
_IPV6_FREEBIND = 78  # linux/in6.h

Listener = tuple[ListenSpec, socket.socket]


class NotBoundError(Exception):
    """What the kernel said of a listener; the words for it are found without privilege."""

    def __init__(self, spec: ListenSpec, error: OSError | OverflowError) -> None:
        super().__init__(spec, error)
        self.spec = spec
        self.error = error


def jvm_uses_ipv6() -> bool:
    """Tell whether a JVM would open IPv6 sockets: where there are any, and an address, as far as it sees.

    JDK, IPv6_supported: /proc/net/if_inet6 must not be empty; where it cannot be read (ProcSubset=pid) that is no question.
    """
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_STREAM).close()
    except OSError:
        return False
    try:
        return bool(Path("/proc/net/if_inet6").read_bytes())
    except OSError:
        return True


def bind_listeners(
    specs: Sequence[ListenSpec],
    adopted: Sequence[Listener] = (),
    user: UserSpec | None = None,
    refused: _Refused = NotBoundError,
) -> list[Listener]:
    """Open every listener of `specs` that is not among `adopted`, and return all of them, in the order of `specs`.

    Sockets are non-blocking and close-on-exec; stream sockets listen, unless they are bind-only. `user` is who will
    own a Unix socket. A further socket of a listener is opened with that one only: none is added to one that was adopted.
    If one of them fails, nothing is left bound by this call.
    Raises what `refused` makes of the kernel's error.
    """
    ready = {spec.name: (spec, sock) for spec, sock in adopted}
    opened: dict[str, Listener] = {}
    try:
        for spec in specs:
            if spec.name not in ready and (not spec.of or _belongs(spec, opened)):
                opened[spec.name] = ready[spec.name] = (spec, _open(spec, user, refused))
        # All of one port are bound before the first listens: with SO_REUSEADDR a listening socket is in the way, ip(7).
        for spec, sock in list(ready.values()):
            if not _finish(spec, sock, refused):
                del ready[spec.name]
                sock.close()
    except BaseException:
        release(list(opened.values()), user)
        raise
    order = {spec.name: position for position, spec in enumerate(specs)}
    return sorted(ready.values(), key=lambda listener: order.get(listener[0].name, len(order)))


def release(listeners: Sequence[Listener], user: UserSpec | None) -> None:
    """Close listeners, and remove the names of Unix sockets that were bound here: a start that fails leaves nothing."""
    for _, sock in listeners:
        sock.close()  # all first: to find a directory takes descriptors, of which there may be none left
    for spec, _ in listeners:
        if spec.protocol == "unix" and not spec.inherited:
            with contextlib.suppress(OSError):
                remove_unix(spec.path, user)


def _belongs(spec: ListenSpec, opened: Mapping[str, Listener]) -> bool:
    """Whether a further socket is to be opened: its listener was, and takes what the further one is for."""
    first = opened.get(spec.of)
    return first is not None and (bool(spec.bind_only) or not spec.ipv4 or first[1].family == socket.AF_INET6)


def _open(spec: ListenSpec, user: UserSpec | None, refused: _Refused) -> socket.socket:
    if spec.protocol == "unix":
        try:
            return open_unix(spec, user)
        except OSError as error:
            raise refused(spec, error) from error
    kind = socket.SOCK_STREAM if spec.protocol == "tcp" else socket.SOCK_DGRAM
    family, host = (socket.AF_INET, spec.host or "0.0.0.0") if spec.ipv4 else _family(spec.host)  # noqa: S104 - as declared
    sock = None
    try:
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        _set_options(sock, spec, family)
        sock.bind(socket.getaddrinfo(host, spec.port, family, kind, 0, socket.AI_NUMERICHOST)[0][4])
    except (OSError, OverflowError) as error:
        if sock is not None:
            sock.close()
        raise refused(spec, error) from error
    return sock


def _finish(spec: ListenSpec, sock: socket.socket, refused: _Refused) -> bool:
    """Let a bound socket listen, and take back what let several sockets have one port.

    Returns whether the socket is of use.
    """
    try:
        if spec.protocol == "udp" and not spec.reuseport and not spec.inherited:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
        if spec.bind_only and not spec.inherited:
            # Anybody may bind a port of another's with SO_REUSEADDR on both sides, where it needs no privilege: socket(7).
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        if spec.protocol == "udp" and spec.of:
            # It would get every IPv4 datagram; connected to a peer that never sends, it gets none: udp(7).
            with contextlib.suppress(OSError):
                sock.connect(NOWHERE_IPV4)
                return True
            return False  # no way leads there from its device
        if spec.listens and not spec.of and not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            sock.listen(spec.backlog)
    except OSError as error:
        if spec.inherited and error.errno == errno.EADDRINUSE:
            return True  # a further socket of this listener listens in its place
        raise refused(spec, error) from error
    return True


def _family(host: str | None) -> tuple[socket.AddressFamily, str]:
    """Choose the family that the JVM would choose, so that Java code can send from the socket too.

    With IPv6 at hand Java opens AF_INET6 sockets only and binds an IPv4 address in its mapped form; a datagram socket
    of family AF_INET would refuse the AF_INET6 addresses that such a JVM passes to sendto(2).
    """
    if host is not None and ":" in host:
        return socket.AF_INET6, host
    if not jvm_uses_ipv6():
        return socket.AF_INET, host or "0.0.0.0"  # noqa: S104 - the wildcard was asked for
    return socket.AF_INET6, "::" if host is None else f"::ffff:{host}"


def _set_options(sock: socket.socket, spec: ListenSpec, family: socket.AddressFamily) -> None:
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, spec.v6only)
    if spec.protocol == "tcp":
        # Java sets it on every server socket; without it a bind fails while old connections are in TIME_WAIT.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if spec.reuseport or (spec.protocol == "udp" and (spec.of or spec.is_dual)):  # see _finish
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if spec.freebind and family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
    elif spec.freebind:
        sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
    if spec.device:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, spec.device.encode() + b"\0")
    if spec.rcvbuf:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, spec.rcvbuf)
    if spec.defer_accept:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, spec.defer_accept)
    if spec.fastopen:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, spec.fastopen)
