"""What an application wants to bind: sockaddr bytes to an address, and which listener answers to it.

Runs in the worker; pure. Sources: ip(7), ipv6(7), unix(7), RFC 4291 section 2.5.5.2.
"""

from __future__ import annotations

import os
import socket
import struct

from jvmbind.record import NamedTuple
from jvmbind.spec import ListenSpec, host_port, is_wildcard, listener_families, same_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SOCKADDR_MAX = 128  # sizeof(struct sockaddr_storage)
_MAPPED = bytes(10) + b"\xff\xff"  # what an IPv4-mapped IPv6 address begins with


class Wanted(NamedTuple):
    """An address that the application asked for. `host` is "::" or "0.0.0.0" for a wildcard, "" for a Unix path."""

    protocol: str
    host: str = ""
    port: int = 0
    path: str = ""
    v6only: bool = False
    ipv4: bool = False  # the application's socket is of family AF_INET

    def __str__(self) -> str:
        """Return the address as a listener is written."""
        if self.protocol == "unix":
            return f"unix:{self.path}"
        return f"{host_port(self.host, self.port)}/{self.protocol}"


def parse_sockaddr(raw: bytes, *, unspecified_is_ipv4: bool = False) -> tuple[int, str, int, str]:
    """Return (family, host, port, path) of the bytes of a sockaddr; the family alone where it is another kind or too short.

    `unspecified_is_ipv4`: for a socket of family AF_INET the kernel takes AF_UNSPEC for that: inet_bind in net/ipv4.
    """
    if len(raw) < 2:
        return socket.AF_UNSPEC, "", 0, ""
    (family,) = struct.unpack_from("=H", raw)
    if unspecified_is_ipv4 and family == socket.AF_UNSPEC:
        family = socket.AF_INET
    if family == socket.AF_UNIX:
        path = raw[2:].partition(b"\0")[0]
        return family, "", 0, os.fsdecode(path)
    if family == socket.AF_INET and len(raw) >= 16:
        (port,) = struct.unpack_from("!H", raw, 2)
        return family, socket.inet_ntop(socket.AF_INET, raw[4:8]), port, ""
    if family == socket.AF_INET6 and len(raw) >= 24:
        (port,) = struct.unpack_from("!H", raw, 2)
        mapped = raw[8:20] == _MAPPED
        host = socket.inet_ntop(socket.AF_INET, raw[20:24]) if mapped else socket.inet_ntop(socket.AF_INET6, raw[8:24])
        return family, host, port, ""
    return (family if family not in {socket.AF_INET, socket.AF_INET6} else socket.AF_UNSPEC), "", 0, ""


class Match(NamedTuple):
    """The answer to a wanted address: the listeners that fit, best first, or why one of that port does not."""

    indexes: tuple[int, ...]
    refusal: str = ""
    wider: int = -1  # that listener


def by_port(specs: Sequence[ListenSpec]) -> dict[tuple[str, int], list[int]]:
    """Return the indexes of the internet listeners by protocol and the port that the application binds, for `find`."""
    index: dict[tuple[str, int], list[int]] = {}
    for i, spec in enumerate(specs):
        index.setdefault((spec.protocol, spec.app_port), []).append(i)
    return index


def find(
    specs: Sequence[ListenSpec],
    wanted: Wanted,
    ports: Mapping[tuple[str, int], Sequence[int]] | None = None,
    every_address: str = "",
    *,
    in_file: bool = False,
) -> Match:
    """Find the listeners that an application may be given for the address it wants.

    `ports` is what `by_port` returned for `specs`, made anew where it is not given. `every_address` is how this server is
    told to listen on every address, where that is known. `in_file`: the service has a configuration file.

    A specific address is only ever answered by a listener on that address: a wildcard would widen what the application
    meant to expose. A wildcard is answered by a wildcard, or by a narrower listener, which the administrator chose.
    """
    if wanted.protocol == "unix":
        path = real_path(wanted.path)
        return Match(tuple(i for i, s in enumerate(specs) if s.protocol == "unix" and real_path(s.path) == path))
    on_port = (by_port(specs) if ports is None else ports).get((wanted.protocol, wanted.port), ())
    exact: list[int] = []
    narrower: list[int] = []
    wider: list[int] = []
    loose: list[int] = []
    families = _wanted_families(wanted)
    for index in on_port:
        spec = specs[index]
        covered = listener_families(spec)
        if not covered & families or not _is_of_use(spec, wanted, [specs[i] for i in on_port]):
            continue
        if not is_wildcard(spec.host):
            if is_wildcard(wanted.host):
                narrower.append(index)
            elif same_address(spec.host or "") == same_address(wanted.host):
                exact.append(index)
        elif not is_wildcard(wanted.host) or (wanted.v6only and 4 in covered):
            # One that never listens exposes nothing; it only leaves the choice of its own address to the kernel.
            (loose if spec.bind_only else wider).append(index)
        elif spec.host in {None, wanted.host} or wanted.host == "0.0.0.0":  # noqa: S104 - a comparison
            # An AF_INET socket has its own answer, where there is one: see _is_of_use.
            exact.append(index)
        else:
            narrower.append(index)
    if exact or narrower or loose:
        return Match(tuple(exact + narrower + loose))
    if wider:
        spec = specs[wider[0]]
        every = every_address and f" ({every_address})"
        return Match(
            (),
            f"listener {spec.name!r} ({spec.address}/{spec.protocol}) is wider than the address asked for; declare it as "
            f"{_narrowed(spec, wanted, in_file=in_file)}, or let the server listen on every address{every}",
            wider[0],
        )
    return Match(())


def declared_as(text: str, name: str, *, in_file: bool) -> str:
    """Return how a listener is declared as an option, and as the key of a file where the service has one.

    A name that begins with a digit was made from the port: then the file has an array.
    """
    option = f"-l '{text}'" if "[" in text else f"-l {text}"
    key = f'listen = ["{text}"]' if name[:1].isdigit() else f'[listen] {name} = "{text}"'
    return f"{option}, in the file {key}" if in_file else option


def _narrowed(spec: ListenSpec, wanted: Wanted, *, in_file: bool) -> str:
    """Return a listener as it must be declared for the application to have it."""
    text = host_port(wanted.host, spec.port)
    if spec.app_port != spec.port:
        text += f":{spec.app_port}"
    if spec.protocol == "udp":
        text += "/udp"
    if is_wildcard(wanted.host):
        text += ",v6only"
    return declared_as(text, spec.name, in_file=in_file)


def _is_of_use(spec: ListenSpec, wanted: Wanted, on_port: Sequence[ListenSpec]) -> bool:
    """Whether a socket of a listener may stand for the application's, by the family of that one and by what it is for."""
    if spec.of:
        return spec.ipv4 == wanted.ipv4
    further = [other for other in on_port if other.of == spec.name]
    if spec.bind_only:
        return not further  # its own socket is kept
    return not (further and wanted.ipv4 and wanted.host == "0.0.0.0")  # noqa: S104 - a comparison


def _wanted_families(wanted: Wanted) -> set[int]:
    if wanted.host == "::" and not wanted.v6only:
        return {4, 6}
    return {6} if ":" in wanted.host else {4}


def real_path(path: str) -> str:
    """Return a path with its directory resolved, as two spellings of one Unix socket must compare equal."""
    directory, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(directory), name)
