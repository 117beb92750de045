"""The service unit: how it is started, reloaded, stopped and watched, and what systemd keeps for it.

Pure. Used by `jvmbind unit`, as any user. Sources: systemd.service(5), systemd.exec(5), sd_pid_notify_with_fds(3).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from jvmbind.config.request import Request
from jvmbind.units.sandbox import sandbox
from jvmbind.units.wanted import Wanted, Way, quote

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = "# Made by `jvmbind unit`"
_MARGIN = 15  # seconds beside what the configuration says: a thread dump before SIGKILL, and the end of the processes
_LEAST_WATCHDOG = 30  # seconds: a machine under load is no hung supervisor
_PATIENT = 300  # seconds, where the configuration is not known
_DRAIN = 5  # seconds at least that a generation which a reload replaces has to give its listeners up
_STORE = 16  # places at least, for listeners that a reload adds


def service_unit(wanted: Wanted) -> str:
    """Return the text of NAME.service."""
    return "\n".join([*_head(wanted), "", *_service(wanted), *sandbox(wanted), "", *_install(wanted)]) + "\n"


def template_unit() -> str:
    """Return the text of jvmbind@.service, which starts any configured service as root."""
    name = "NAME-OF-INSTANCE"  # which is no word of a unit, so that quoting leaves it as it is
    wanted = Wanted(name, Way.ROOT, ("/usr/bin/jvmbind",), name, Request(()), (), 0, generic=True)
    return service_unit(wanted).replace(name, "%i")


def _head(wanted: Wanted) -> Iterator[str]:
    if wanted.generic:
        yield f"# Service {wanted.run} is what /etc/jvmbind/{wanted.run}.toml says. `jvmbind unit` makes a closer one."
    else:
        yield f"{MARK} for {wanted.run}; made anew by the same command. Changes of your own: systemctl edit."
    yield "[Unit]"
    yield f"Description={wanted.name.replace('%', '%%')}, a Java server under jvmbind"
    if wanted.way is Way.SOCKET:
        units = " ".join(socket_names(wanted))
        yield f"Requires={units}"
        yield f"After={units}"
    elif wanted.has_address:
        yield "# A listener is bound to an address that the network has to have first."
        yield "Wants=network-online.target"
        yield "After=network-online.target"
    else:
        yield "After=network.target"
    yield "# The supervisor restarts the JVM by itself; should it end, systemd never gives up, so the ports are never lost."
    yield "StartLimitIntervalSec=0"


def _service(wanted: Wanted) -> Iterator[str]:
    spec, run = wanted.request.template, " ".join(map(quote, wanted.command))
    yield "[Service]"
    yield f"ExecStart={run} run {quote(wanted.run)}"
    if spec.direct:
        yield "# direct = true: no supervisor tells systemd of readiness, reloads, or keeps the ports."
        yield "Type=exec"
    else:
        yield "Type=notify"
        yield "NotifyAccess=main"
        yield "# Returns when the next generation serves, or with the reason why it does not."
        yield f"ExecReload={run} reload {quote(wanted.name)}"
    yield from _user(wanted)
    yield from _times(wanted)
    if not spec.direct:
        yield "# The listeners survive even a SIGKILL of the supervisor: its successor gets them back. A stop gives them up."
        yield f"FileDescriptorStoreMax={max(_STORE, 2 * wanted.sockets)}"
    yield f"Restart={'on-failure' if spec.restart in {'on-failure', 'always'} else 'on-abnormal'}"
    yield "RestartSec=200ms"
    yield "# Usage, rights or configuration: the next start would say the same."
    yield "RestartPreventExitStatus=64 77 78"
    yield "# What java gives after SIGTERM."
    yield "SuccessExitStatus=143"
    yield "# SIGTERM to the supervisor alone: it drains and stops the JVM itself."
    yield "KillMode=mixed"
    for limit in sorted(wanted.request.limits):
        soft, hard = ("infinity" if value < 0 else str(value) for value in (limit.soft, limit.hard))
        yield f"Limit{limit.name.upper()}={soft}:{hard}"
    if wanted.request.umask is not None:
        yield f"UMask={wanted.request.umask:04o}"
    yield ""


def _user(wanted: Wanted) -> Iterator[str]:
    if wanted.of_user:
        return
    yield "# The control socket is where `jvmbind status` looks for it."
    if wanted.way is Way.ROOT:
        # A directory of the unit's own would be given to root again at each ExecReload=.
        yield "RuntimeDirectory=jvmbind"
        yield "# The directory is common to all services."
        yield "RuntimeDirectoryPreserve=yes"
        yield "# No User=: jvmbind binds the ports as root, then becomes the user of the configuration for good, and proves it."
        return
    yield f"RuntimeDirectory=jvmbind/{wanted.name}"
    user, _, group = (wanted.request.user or "").partition(":")
    if user:
        yield f"User={user}"
        if group:
            yield f"Group={group}"
    else:
        yield "# The configuration names no user: one that exists while the service runs."
        yield "DynamicUser=yes"


def _times(wanted: Wanted) -> Iterator[str]:
    spec = wanted.request.template
    if wanted.generic:
        yield "# For a supervisor that hangs; the times of the configuration jvmbind keeps itself. Longer ones: systemctl edit."
        yield f"TimeoutStartSec={_PATIENT}"
        yield f"TimeoutStopSec={_PATIENT}"
        yield f"WatchdogSec={_LEAST_WATCHDOG}"
        return
    if spec.direct:
        yield f"TimeoutStopSec={_whole(spec.stop_timeout)}"
        return
    stop = spec.stop_drain_timeout + spec.stop_timeout
    reload = spec.start_timeout + max(spec.drain_timeout, _DRAIN) + spec.stop_timeout
    yield "# A start, and the longest reload: start_timeout, drain_timeout, stop_timeout. jvmbind asks for more while it waits."
    yield f"TimeoutStartSec={_whole(reload)}"
    yield "# From a stop to SIGKILL jvmbind takes up to stop_drain_timeout + stop_timeout itself, with a thread dump before it."
    yield f"TimeoutStopSec={_whole(stop)}"
    watched = max(spec.queue_timeout, spec.heartbeat_timeout)
    if watched and "restart" not in spec.watchdog:
        yield "# left out: WatchdogSec=, as the watchdog of the configuration is to say something and not to end anything"
    else:
        yield "# A supervisor that hangs is ended and started anew, with the same ports."
        yield f"WatchdogSec={max(_LEAST_WATCHDOG, _whole(2 * watched, 0))}"


def _whole(seconds: float, margin: int = _MARGIN) -> int:
    return math.ceil(seconds) + margin


def _install(wanted: Wanted) -> Iterator[str]:
    yield "[Install]"
    yield f"WantedBy={'default' if wanted.of_user else 'multi-user'}.target"
    if wanted.way is Way.SOCKET:
        yield f"Also={' '.join(socket_names(wanted))}"


def socket_names(wanted: Wanted) -> list[str]:
    """Return the names of the socket units, one for each listener."""
    return [f"{wanted.name}-{one.name}.socket" for one in wanted.listeners]
