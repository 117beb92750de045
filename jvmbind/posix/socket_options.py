"""Socket options as they are, as they were bound, and as the application wants them.

Runs in the supervisor, which sets a listener back between two generations, and in the worker, which does so at a bind and
then sets what the application had set on its own socket. Never called for a socket that holds leases (see pool): closing a
duplicate would end them. Sources: option_table, fcntl(2), shutdown(2), connect(2).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
import sys

from jvmbind.posix import multicast
from jvmbind.posix.option_table import IP, IPV6, OPTIONS, SOL_SOCKET, TCP, UDP, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from jvmbind.spec import ListenSpec, ServiceSpec

_GET_FILTER, _DETACH_FILTER, _LOCK_FILTER, _ATTACH_FILTER, _DETACH_REUSEPORT = 26, 27, 44, 26, 68
_BINDTODEVICE, _ULP = 25, 31
_INSTRUCTION = 8  # sizeof(struct sock_filter)
_CLOSED = 7  # TCP_CLOSE: include/net/tcp_states.h
_NOT_HERE = {errno.ENOPROTOOPT, errno.EOPNOTSUPP}
_INT = 4
_LEAST_SEGMENT = 88  # TCP_MIN_MSS, the least that can be set: include/net/tcp.h
_Known = tuple[list[tuple[Option, int, int, int]], dict[Option, "int | bytes"]]
_fresh: dict[tuple[int, int, int], _Known] = {}  # by kind of socket: its options, and their defaults
_READABLE = tuple(one for one in OPTIONS if one.fate in {"carried", "reset"} and one.size)
_FAMILY = "SO_DOMAIN"  # no option that can be set, but IPV6_ADDRFORM changes what it says
_SET_BACK = tuple(one for one in OPTIONS if one.fate in {"carried", "reset"})


@contextlib.contextmanager
def _borrowed(fd: int) -> Iterator[socket.socket]:
    sock = socket.socket(fileno=os.dup(fd))
    try:
        yield sock
    finally:
        sock.close()


def _levels(sock: socket.socket) -> set[int]:
    if sock.family == socket.AF_UNIX:
        return {SOL_SOCKET}
    kind = TCP if sock.type == socket.SOCK_STREAM else UDP
    return {SOL_SOCKET, IP, kind} | ({IPV6} if sock.family == socket.AF_INET6 else set())


def _values(sock: socket.socket) -> dict[Option, int | bytes]:
    """Return the value of each option that this kernel has for this kind of socket."""
    found: dict[Option, int | bytes] = {}
    read = sock.getsockopt
    for option, level, number, size in _known(sock):
        try:
            found[option] = read(level, number) if size == _INT else read(level, number, size)
        except OSError:
            continue
    return found


def _known(sock: socket.socket) -> list[tuple[Option, int, int, int]]:
    """Return the options that a fresh socket of this kind has, as they are read."""
    key = (sock.family, sock.type, sock.proto)
    if key not in _fresh:
        with socket.socket(*key) as fresh:
            levels = _levels(fresh)
            known = [(one, one.level, one.number, one.size) for one in _READABLE if one.level in levels and _has(fresh, one)]
            _fresh[key] = known, {}
            _fresh[key][1].update(_values(fresh))
    return _fresh[key][0]


def _has(sock: socket.socket, option: Option) -> bool:
    try:
        sock.getsockopt(option.level, option.number, option.size)
    except OSError:
        return False
    return True


def _defaults(sock: socket.socket) -> dict[Option, int | bytes]:
    _known(sock)
    return _fresh[sock.family, sock.type, sock.proto][1]


def _hex(value: int | bytes) -> str:
    return _bytes(value).hex()


def _bytes(value: int | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.to_bytes(_INT, sys.byteorder, signed=True)


def _set(sock: socket.socket, option: Option, value: bytes) -> None:
    if option.halve:
        value = (int.from_bytes(value, "little") // 2).to_bytes(4, "little")
    if option.name == "TCP_CONGESTION":
        value = value.rstrip(b"\0")
    sock.setsockopt(option.level, option.number, value)


def _declared(spec: ListenSpec) -> dict[str, int]:
    return {
        name: value
        for name, value in (("SO_RCVBUF", spec.rcvbuf), ("TCP_DEFER_ACCEPT", spec.defer_accept), ("TCP_FASTOPEN", spec.fastopen))
        if value
    }


def as_bound(fd: int, spec: ListenSpec) -> tuple[tuple[str, str], ...]:
    """Return the options of a listener that no application has had yet, where they are not the kernel's defaults.

    What the specification declares is left out: a reload may change it. Raises OSError where `fd` is no socket.
    """
    declared = _declared(spec)
    with _borrowed(fd) as sock:
        defaults = _defaults(sock)
        values = _values(sock).items()
        found = [(one.name, _hex(value)) for one, value in values if value != defaults.get(one) and one.name not in declared]
        return (*found, (_FAMILY, _hex(sock.family)))


def restore(fd: int, spec: ListenSpec) -> list[str]:
    """Set a listener back to what it was when it was bound; return what could not be, one line each.

    Whatever happened to the socket: options, filter, groups, connect(2), shutdown(2), O_ASYNC. A TCP listener listens
    again, with its backlog, unless another of its sockets does in its place. Raises OSError where `fd` is no socket.
    """
    bound = {name: bytes.fromhex(value) for name, value in spec.options}
    declared = _declared(spec)
    problems = []
    with _borrowed(fd) as sock:
        if sock.type == socket.SOCK_DGRAM and not spec.of:
            disconnect(fd)
        _restore_flags(fd)
        problems += _restore_filter(sock)
        for membership in multicast.memberships(fd):
            with contextlib.suppress(OSError):
                multicast.leave(fd, membership)
        defaults, levels = _defaults(sock), _levels(sock)
        values = _values(sock)
        for option in _SET_BACK:
            if option.level not in levels or option.name in declared or (option not in values and not option.blind):
                continue
            wanted = bound.get(option.name, _bytes(defaults.get(option, b"")))
            if option in values and _bytes(values[option]) == wanted and not option.blind:
                continue
            unset = option.unset if option.unset is not None and option.name not in bound else wanted
            try:
                _set(sock, option, unset)
            except OSError as error:
                if error.errno not in _NOT_HERE and not option.blind:
                    problems.append(f"{option.name}: {error.strerror}")
        for name, value in declared.items():
            option = next(one for one in OPTIONS if one.name == name)
            with contextlib.suppress(OSError):
                sock.setsockopt(option.level, option.number, value)
        problems += _beyond_repair(sock, spec)
        if spec.listens and not spec.of:
            _listen(sock, spec)
    return problems


def disconnect(fd: int) -> None:
    """Undo connect(2): connect to AF_UNSPEC, which Python's own connect does not know."""
    import ctypes  # noqa: PLC0415

    ctypes.CDLL(None).connect(fd, b"\0" * 16, 16)


def _restore_flags(fd: int) -> None:
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    if flags & (os.O_ASYNC | os.O_NONBLOCK) != os.O_NONBLOCK:
        fcntl.fcntl(fd, fcntl.F_SETFL, flags & ~os.O_ASYNC | os.O_NONBLOCK)
    if fcntl.fcntl(fd, fcntl.F_GETOWN) or fcntl.fcntl(fd, fcntl.F_GETSIG):
        fcntl.fcntl(fd, fcntl.F_SETSIG, 0)
        fcntl.fcntl(fd, fcntl.F_SETOWN, 0)


def _restore_filter(sock: socket.socket) -> list[str]:
    problems = []
    for number, name in ((_DETACH_FILTER, "SO_ATTACH_FILTER"), (_DETACH_REUSEPORT, "SO_ATTACH_REUSEPORT_CBPF")):
        try:
            sock.setsockopt(SOL_SOCKET, number, 0)
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.EINVAL, *_NOT_HERE}:
                why = " (SO_LOCK_FILTER)" if error.errno == errno.EPERM else ""
                problems.append(f"{name}{why}: {error.strerror}")
    return problems


def _beyond_repair(sock: socket.socket, spec: ListenSpec) -> list[str]:
    """Find what no call takes back without a privilege."""
    problems = []
    if dict(spec.options).get(_FAMILY, _hex(sock.family)) != _hex(sock.family):
        problems.append("IPV6_ADDRFORM: the socket has become an IPv4 one")
    with contextlib.suppress(OSError):
        if sock.getsockopt(SOL_SOCKET, _LOCK_FILTER):
            problems.append("SO_LOCK_FILTER: cannot be taken back")
    try:
        device = sock.getsockopt(SOL_SOCKET, _BINDTODEVICE, 16).rstrip(b"\0").decode(errors="replace")
    except OSError as error:
        # SO_BINDTOIFINDEX takes any number: where there is no such device, nothing ever comes.
        device = "a device that does not exist" if error.errno == errno.ENODEV else spec.device
    if device != spec.device and not spec.inherited:
        problems.append(f"SO_BINDTODEVICE or SO_BINDTOIFINDEX: bound to {device}")
    if sock.type == socket.SOCK_DGRAM:
        from jvmbind.posix.diag import shutdown_of  # noqa: PLC0415 - for datagram sockets alone

        with contextlib.suppress(OSError):
            if shutdown_of(sock):
                problems.append("shutdown(2): the socket is shut down for good")
    return problems


def _listen(sock: socket.socket, spec: ListenSpec) -> None:
    """Listen with the declared backlog, also where it listens: another may have made the queue shorter (listen(2))."""
    try:
        sock.listen(spec.backlog)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:  # by a further socket of this listener
            raise


def carry_over(source: int, target: int, spec: ListenSpec, *, skip: Collection[str] = ()) -> list[str]:
    """Set on `target` what `source` has other than a fresh socket; return what failed, one line each.

    Options, the groups that it is in, and its filter. What the listener declares itself stays as declared. Raises
    OSError where `source` or `target` is no socket.
    """
    declared = _declared(spec)
    problems = []
    with _borrowed(source) as app, _borrowed(target) as listener:
        if app.family == socket.AF_INET6 and listener.family == socket.AF_INET and spec.protocol == "udp":
            problems.append(
                "this inherited UDP socket is IPv4 only, so the JVM cannot send from it; expected a dual-stack socket, "
                "or -Djava.net.preferIPv4Stack=true"
            )
        defaults = _defaults(app)
        for option, value in _values(app).items():
            if value == defaults.get(option) or option.fate != "carried" or option.name in declared or option.name in skip:
                continue
            if option.name == "TCP_MAXSEG" and isinstance(value, int) and value < _LEAST_SEGMENT:
                continue  # worked out by the kernel, not set by anybody
            if option.level == IPV6 and listener.family != socket.AF_INET6:
                continue  # has no meaning on the IPv4 listener that answers for it
            try:
                _set(listener, option, _bytes(value))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    problems.append(f"{option.name} of the application could not be kept: {error.strerror}")
        problems += _carry_filter(app, listener)
    for membership in multicast.memberships(source):
        try:
            multicast.join(target, membership)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                problems.append(f"the group {membership.group} of the application could not be joined: {error.strerror}")
    return problems


def _carry_filter(app: socket.socket, listener: socket.socket) -> list[str]:
    """Attach the application's packet filter; one of extended BPF cannot be read: EACCES.

    The length of SO_GET_FILTER counts instructions of eight bytes, in and out, so that Python's getsockopt, which thinks
    in bytes, must not be used: the kernel would write past the end of its buffer.
    """
    import ctypes  # noqa: PLC0415 - dear to a supervisor, which never comes here

    libc, length = ctypes.CDLL(None), ctypes.c_uint(0)
    if libc.getsockopt(app.fileno(), SOL_SOCKET, _GET_FILTER, None, ctypes.byref(length)) != 0:
        return ["SO_ATTACH_BPF of the application could not be kept: its program cannot be read"]
    if not length.value:
        return []
    program = ctypes.create_string_buffer(length.value * _INSTRUCTION)
    if libc.getsockopt(app.fileno(), SOL_SOCKET, _GET_FILTER, program, ctypes.byref(length)) != 0:
        return ["SO_ATTACH_FILTER of the application could not be kept"]
    return attach_filter(listener, program.raw)


def attach_filter(sock: socket.socket, program: bytes) -> list[str]:
    """Attach a classic packet filter, an array of struct sock_filter; return what failed, one line."""
    import ctypes  # noqa: PLC0415

    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // _INSTRUCTION, ctypes.addressof(buffer))
    try:
        sock.setsockopt(SOL_SOCKET, _ATTACH_FILTER, header)
    except OSError as error:
        return [f"SO_ATTACH_FILTER of the application could not be kept: {error.strerror}"]
    return []


def device_of(fd: int) -> str:
    """Return the network device to which a socket is bound, "" for none: SO_BINDTODEVICE of socket(7)."""
    with contextlib.suppress(OSError), _borrowed(fd) as sock:
        return sock.getsockopt(SOL_SOCKET, _BINDTODEVICE, 16).rstrip(b"\0").decode(errors="replace")
    return ""


def with_options(spec: ServiceSpec, fds: Sequence[int]) -> ServiceSpec:
    """Return the specification with the options of its listeners as bound; raises OSError where one is not a socket."""
    pairs = zip(spec.listeners, fds, strict=True)
    return spec._replace(listeners=tuple(one._replace(options=as_bound(fd, one)) for one, fd in pairs))


def restore_all(listeners: Sequence[tuple[ListenSpec, int]]) -> list[str]:
    """Set listeners back that no generation has; return what could not be, one line each, with the listener's name."""
    problems = []
    for spec, fd in listeners:
        if spec.bind_only:
            continue  # see pool
        try:
            found = restore(fd, spec)
        except OSError as error:
            found = [str(error)]
        problems += [f"listener {spec.name!r} ({spec.address}/{spec.protocol}): {problem}" for problem in found]
    return problems
