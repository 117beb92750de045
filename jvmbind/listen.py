"""Listeners together: the names by which they are told apart, and the sockets that each consists of.

Used by every role as any user; pure, no system calls. Sources: ip(7), ipv6(7), tcp(7).
"""

from __future__ import annotations

from jvmbind.errors import UsageError
from jvmbind.spec import NAME_MAX, NAME_REST, is_wildcard, listener_families

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jvmbind.spec import ListenSpec


def further_sockets(specs: Sequence[ListenSpec]) -> tuple[ListenSpec, ...]:
    """Return the sockets that these listeners have besides their own.

    A listener of both IP versions has one of family AF_INET on the same port: an application that uses such sockets must
    never see an IPv6 address. A bind-only listener has one for each connection at once, and as many of family AF_INET,
    as a socket can only connect to addresses of its own family; its own socket is never given away. The names hold a
    character that no declared name has.
    """
    further: list[ListenSpec] = []
    for spec in specs:
        common = spec._replace(of=spec.name, optional=True, inherited=False, stored=False, options=())
        if spec.bind_only:
            numbers = range(1, spec.bind_only + 1)
            further += [common._replace(name=f"{spec.name}+{number}") for number in numbers]
            if 4 in listener_families(spec):
                further += [common._replace(name=f"{spec.name}+ipv4-{number}", ipv4=True) for number in numbers]
        elif spec.is_dual:
            further.append(common._replace(name=f"{spec.name}+ipv4", host="0.0.0.0", ipv4=True))  # noqa: S104 - as declared
    return tuple(further)


def number_names(specs: list[ListenSpec]) -> tuple[ListenSpec, ...]:
    """Give a name to each listener that has none, and refuse two of one name or one address; raises UsageError.

    A name made here is the port (`80`), the port and `udp` (`53-udp`) or the last part of the path, with a number
    behind it where that is taken. It never holds ':', which LISTEN_FDNAMES uses between names: sd_listen_fds(3).
    """
    taken = [spec.name for spec in specs if spec.name]
    for name in taken:
        if taken.count(name) > 1:
            msg = f"two listeners are named {name!r}: expected a name of its own for each"
            raise UsageError(msg)
    named: list[ListenSpec] = []
    for spec in specs:
        base = spec.name
        if not base:
            base = {"tcp": f"{spec.port}", "udp": f"{spec.port}-udp"}.get(spec.protocol, spec.path.rpartition("/")[2])
            base = "".join(c if c in NAME_REST else "_" for c in base)[:NAME_MAX]
        name, number = base, 1
        while not spec.name and (name in taken or any(name == other.name for other in named)):
            number += 1
            name = f"{base}-{number}"
        named.append(spec._replace(name=name))
    for i, spec in enumerate(named):
        for other in named[:i]:
            if _conflict(spec, other):
                both = f"{other.address} and {spec.address}, {spec.protocol}"
                msg = f"listeners {other.name!r} and {spec.name!r} want the same address ({both}): expected each address once"
                raise UsageError(msg)
    return tuple(named)


def _conflict(one: ListenSpec, two: ListenSpec) -> bool:
    """Whether the kernel would refuse the second: one address, or a wildcard over it, and no SO_REUSEPORT on both."""
    if one.protocol != two.protocol or one.device != two.device:
        return False
    if one.protocol == "unix":
        return one.path == two.path
    if one.port != two.port or not one.port or (one.reuseport and two.reuseport):
        return False
    if is_wildcard(one.host) or is_wildcard(two.host):
        return bool(listener_families(one) & listener_families(two))
    return one.host == two.host
