"""Socket units: systemd binds the ports, and the service needs no privilege at all.

Pure. Used by `jvmbind unit --socket`, as any user. Source: systemd.socket(5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jvmbind.spec import ListenSpec, host_port
from jvmbind.units.service import MARK, socket_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jvmbind.units.wanted import Wanted


def socket_units(wanted: Wanted) -> dict[str, str]:
    """Return unit name -> text, one for each listener: systemd gives the sockets of one unit one name only."""
    return {name: "\n".join(_lines(wanted, one)) + "\n" for name, one in zip(socket_names(wanted), wanted.listeners, strict=True)}


def lacking(listener: ListenSpec) -> list[str]:
    """Return what systemd cannot do for this listener, in words; [] for nothing."""
    found = []
    if listener.bind_only:
        found.append("bind-only: systemd would listen there")
    if listener.fastopen:
        found.append("fastopen: systemd.socket(5) has no such directive")
    return found


def _lines(wanted: Wanted, listener: ListenSpec) -> Iterator[str]:
    yield f"{MARK} --socket for {wanted.run}"
    yield "[Unit]"
    yield f"Description=Listener {listener.name} of {wanted.name}"
    yield ""
    yield "[Socket]"
    kind = "Datagram" if listener.protocol == "udp" else "Stream"
    address = listener.path.replace("%", "%%") if listener.protocol == "unix" else host_port(listener.host, listener.port)
    yield f"Listen{kind}={address}"
    yield "# How jvmbind knows it: by what it is, and by this name."
    yield f"FileDescriptorName={listener.name}"
    yield f"Service={wanted.name}.service"
    if listener.protocol == "unix":
        yield f"SocketMode={listener.mode:04o}"
        yield "RemoveOnStop=yes"
    elif listener.host is None:
        yield f"BindIPv6Only={'ipv6-only' if listener.v6only else 'both'}"
    if listener.listens:
        yield f"Backlog={listener.backlog}"
    for name, value in (
        ("ReusePort", "yes" if listener.reuseport else ""),
        ("FreeBind", "yes" if listener.freebind else ""),
        ("BindToDevice", listener.device),
        ("ReceiveBuffer", str(listener.rcvbuf or "")),
        ("DeferAcceptSec", str(listener.defer_accept or "")),
    ):
        if value:
            yield f"{name}={value}"
    yield ""
    yield "[Install]"
    yield "WantedBy=sockets.target"
