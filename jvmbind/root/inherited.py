"""Takes the sockets that a parent has opened: systemd (LISTEN_FDS), inetd in its `wait` form (fd 0), another jvmbind.

Runs with whatever privilege the caller has. Which of them is which listener was found out without privilege
(`jvmbind.posix.inherited`); here the kernel is asked again whether it is that. Sources: sd_listen_fds(3), inetd(8), socket(7).
"""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING

from jvmbind.errors import NotPermittedError

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from jvmbind.spec import ListenSpec

_START = 3
_KINDS = {
    "tcp": ({socket.AF_INET, socket.AF_INET6}, socket.SOCK_STREAM, socket.IPPROTO_TCP),
    "udp": ({socket.AF_INET, socket.AF_INET6}, socket.SOCK_DGRAM, socket.IPPROTO_UDP),
    "unix": ({socket.AF_UNIX}, socket.SOCK_STREAM, 0),
}


def passed(environ: Mapping[str, str]) -> range:
    """Return the descriptors that were announced to this very process; fd 0 where none was."""
    count = environ.get("LISTEN_FDS", "") if environ.get("LISTEN_PID") == str(os.getpid()) else ""
    number = int(count) if count.isascii() and count.isdigit() and len(count) < 6 else 0
    return range(_START, _START + number) if number else range(1)


def take(spec: ListenSpec, fd: int, announced: Container[int]) -> socket.socket:
    """Return the socket, non-blocking and close-on-exec; raises NotPermittedError for one that is not what the plan says."""
    if fd not in announced or not stat.S_ISSOCK(os.fstat(fd).st_mode):
        msg = f"the plan of the service takes descriptor {fd}: expected a socket that a parent or a broker has passed"
        raise NotPermittedError(msg)
    sock = socket.socket(fileno=fd or os.dup(fd))
    families, kind, protocol = _KINDS[spec.protocol]
    fits = sock.family in families and (sock.type, sock.proto) == (kind, protocol)
    if fits and spec.protocol == "unix":
        fits = os.fsdecode(sock.getsockname()) == spec.path
    elif fits:
        fits = sock.getsockname()[1] == spec.port
    if not fits:
        sock.close()
        msg = f"the plan of the service takes descriptor {fd} for {spec.address}/{spec.protocol}: that socket is another"
        raise NotPermittedError(msg)
    sock.setblocking(False)
    sock.set_inheritable(False)
    return sock
