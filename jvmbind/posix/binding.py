"""Opens listeners, and finds the words for what the kernel refuses.

Runs as any user: the opening is that of `jvmbind.root.listeners`. At a start by root the words are found by a child that has
dropped. Sources: bind(2), capabilities(7), ip(7).
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from jvmbind.errors import JvmbindError, NotPermittedError, PortUnavailableError, SystemFailureError
from jvmbind.posix.holder import holder_of
from jvmbind.root import listeners
from jvmbind.root.holder import open_holder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jvmbind.root.listeners import Listener
    from jvmbind.spec import ListenSpec, UserSpec

_FIRST_PID_NAMESPACE = 0xEFFFFFFC


def bind_listeners(specs: Sequence[ListenSpec], adopted: Sequence[Listener] = (), user: UserSpec | None = None) -> list[Listener]:
    """Open listeners as `jvmbind.root.listeners.bind_listeners` does.

    Raises PortUnavailableError, NotPermittedError, SystemFailureError.
    """
    try:
        return listeners.bind_listeners(specs, adopted, user)
    except listeners.NotBoundError as refusal:
        raise refused(refusal, os.geteuid(), open_holder) from refusal.error


def refused(refusal: listeners.NotBoundError, uid: int, find: Callable[[str], int]) -> JvmbindError:
    """Return the error for what the kernel said to `uid`; `find` opens what names the process with a socket."""
    spec, error = refusal.spec, refusal.error
    number = getattr(error, "errno", None)
    where = f"listener {spec.name!r} ({spec.address})"
    if spec.protocol == "unix" and number in {errno.ENOENT, errno.ENOTDIR}:
        return PortUnavailableError(f"{where}: no directory {os.path.dirname(spec.path)}")
    if spec.protocol == "unix" and number == errno.ELOOP:
        return NotPermittedError(
            f"{where}: a symbolic link in the path belongs to neither root nor the service's user; expected a path of theirs"
        )
    where = f"listener {spec.name!r} ({spec.address}/{spec.protocol})"
    if number == errno.EADDRINUSE:
        holder = holder_of(spec, find)
        return PortUnavailableError(f"{where}: address already in use{holder}").about(spec.name, holder.removeprefix(" by "))
    if number == errno.EADDRNOTAVAIL:
        msg = f"{where}: no such address on this machine (the option freebind binds it anyway)"
        return PortUnavailableError(msg).about(spec.name)
    if number == errno.ENODEV:
        return PortUnavailableError(f"{where}: no network device {spec.device!r}")
    if number in {errno.EACCES, errno.EPERM}:
        return NotPermittedError(f"{where}: {_ways_out(spec, uid)}").about(spec.name)
    return SystemFailureError(f"{where}: {error}")


def first_unprivileged_port() -> int:
    """Return the lowest port that needs no privilege here: ip(7), ip_unprivileged_port_start."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 1024


def _is_contained() -> bool:
    """Whether this process, or its parent, is what a container runs, alone or below a small init (`docker run --init`).

    A PID namespace that is not the first has another number: linux/proc_ns.h. Below a systemd of its own it is a machine.
    """
    try:
        if os.stat("/proc/self/ns/pid").st_ino == _FIRST_PID_NAMESPACE or not {1, 2} & {os.getpid(), os.getppid()}:
            return False
        return Path("/proc/1/comm").read_text(encoding="utf-8", errors="replace").strip() not in {"systemd", "init"}
    except OSError:
        return False


def _ways_out(spec: ListenSpec, uid: int) -> str:
    if spec.protocol == "unix":
        return f"permission denied to make {spec.path}; expected a directory that this user may write"
    first = first_unprivileged_port()
    if spec.port >= first:
        return "permission denied (a security module or sandbox forbids it)"
    if uid == 0:
        return (
            f"permission denied: this root lacks CAP_NET_BIND_SERVICE, needed below port {first}; expected that "
            "capability (docker: --cap-add NET_BIND_SERVICE), or a socket from a systemd socket unit"
        )
    if _is_contained():
        return (
            f"permission denied: ports below {first} need a privilege; expected net.ipv4.ip_unprivileged_port_start=0 for this "
            "container (docker, podman: --sysctl; Kubernetes: securityContext.sysctls), or a higher port for the program's "
            f"own: -l 8080:{spec.app_port}"
        )
    return (
        f"permission denied: ports below {first} need a privilege; start as root with --user (sudo jvmbind run ...), "
        "or with AmbientCapabilities=CAP_NET_BIND_SERVICE, or pass the socket from a systemd socket unit, or let "
        "jvmbind broker run and give this user the port"
    )
