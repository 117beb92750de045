"""The sockets that a declared listener consists of.

Used by every role as any user; pure, no system calls. Sources: ip(7), ipv6(7), tcp(7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jvmbind.spec import listener_families

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
        common = spec._replace(of=spec.name, optional=True, inherited=False, options=())
        if spec.bind_only:
            numbers = range(1, spec.bind_only + 1)
            further += [common._replace(name=f"{spec.name}+{number}") for number in numbers]
            if 4 in listener_families(spec):
                further += [common._replace(name=f"{spec.name}+ipv4-{number}", ipv4=True) for number in numbers]
        elif spec.is_dual:
            further.append(common._replace(name=f"{spec.name}+ipv4", host="0.0.0.0", ipv4=True))  # noqa: S104 - as declared
    return tuple(further)
