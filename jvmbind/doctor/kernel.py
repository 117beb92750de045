"""The kernel and the sandbox around this process: what hand-over, control and protection need of them.

Pure: each function is told what was seen. Used by `jvmbind doctor`, as any user. Sources: seccomp(2), landlock(7),
ip(7), ipv6(7), proc(5), cgroups(7), kernel documentation of Yama.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from jvmbind.doctor.finding import Finding, Level
from jvmbind.spec import is_wildcard

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jvmbind.spec import ListenSpec

_USUAL_START = 1024
_SIGNALS = 6  # the version of Landlock that can keep signals within a domain: Linux 6.12
_START = "net.ipv4.ip_unprivileged_port_start"
_IPV6_OFF = "net.ipv6.conf.all.disable_ipv6"
_HEAP = re.compile(r"-Xmx([0-9]+)([kKmMgGtT]?)")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_PROCESSES = 100  # threads of a small JVM and of what starts it


def user_notification(problem: str) -> Finding | None:
    """Judge why a filter with notifications could not be installed, "" where it could."""
    if not problem:
        return None
    return Finding(
        "user-notification",
        Level.ERROR,
        problem,
        "listeners are handed over at bind by seccomp user notification; without it only System.inheritedChannel() gets one",
        advice="Linux 5.0 or later; in a container a seccomp profile that allows seccomp(2); in a unit SystemCallFilter=seccomp",
    )


def landlock(version: int) -> Finding | None:
    """Judge the version of Landlock, 0 for none."""
    if version >= _SIGNALS:
        return None
    return Finding(
        "landlock",
        Level.NOTE,
        f"Landlock version {version}" if version else "no Landlock",
        "before version 6 (Linux 6.12) a hijacked JVM can end its supervisor; it gains an outage, and no port",
        advice="a kernel from 6.12 on, with landlock in the list of lsm= on its command line",
    )


def yama(scope: str | None, ready: str) -> Finding | None:
    """Judge kernel.yama.ptrace_scope."""
    if scope is None or not scope.strip().isdigit() or int(scope) < 2:
        return None
    return Finding(
        "yama",
        Level.WARNING if ready == "accept" else Level.NOTE,
        f"kernel.yama.ptrace_scope is {scope.strip()}",
        "nobody may trace, so a server without epoll cannot be seen to wait for connections, and is never ready by 'accept'; "
        "jcmd cannot attach either",
        advice='ready = "listen" in [supervise]; or kernel.yama.ptrace_scope = 1',
    )


def port_start(value: str | None, settings: Mapping[str, str]) -> Finding | None:
    """Judge net.ipv4.ip_unprivileged_port_start; `settings` are files of sysctl.d(5) and their texts."""
    if value is None or not value.strip().isdigit() or int(value) >= _USUAL_START:
        return None
    pattern = re.compile(rf"^\s*-?{re.escape(_START)}\s*=", re.MULTILINE)
    files = [path for path, text in settings.items() if pattern.search(text)]
    commands = [f"sed -i '/^[[:space:]]*-\\{{0,1\\}}{re.escape(_START)}[[:space:]]*=/d' {shlex.quote(path)}" for path in files]
    return Finding(
        "port-start",
        Level.WARNING,
        f"{_START} is {value.strip()}{f' (set in {chr(44).join(files)})' if files else ''}",
        "every local user may take a low port that is free for a moment, such as that of a server which restarts; "
        "jvmbind binds low ports without it",
        (*commands, f"sysctl -w {_START}={_USUAL_START}"),
    )


def ipv6(disabled: str | None, *, available: bool, listeners: Iterable[ListenSpec]) -> Finding | None:
    """Judge listeners with an IPv6 address where there is no IPv6, or it is switched off."""
    if available and (disabled is None or disabled.strip() == "0"):
        return None
    wanted = [one for one in listeners if one.protocol != "unix" and one.host is not None and ":" in one.host]
    if not wanted:
        return None
    bound = [one for one in wanted if not is_wildcard(one.host)]
    return Finding(
        "ipv6-off",
        Level.ERROR if bound or not available else Level.WARNING,
        f"IPv6 is {'switched off' if available else 'not there'}, and declared by {', '.join(repr(one.name) for one in wanted)}",
        "no address of IPv6 can be bound, or no client reaches it",
        (f"sysctl -w {_IPV6_OFF}=0",) if available else (),
        "" if available else "boot without ipv6.disable=1, or declare an IPv4 address",
    )


def memory(limit: str | None, words: Iterable[str]) -> Finding | None:
    """Judge the memory that this control group allows, against -Xmx."""
    heaps = [match for word in words if (match := _HEAP.fullmatch(word))]
    if limit is None or not limit.strip().isdigit() or not heaps:
        return None
    heap = int(heaps[-1][1]) * _UNITS[heaps[-1][2].lower()]
    if heap < int(limit):
        return None
    return Finding(
        "memory-limit",
        Level.WARNING,
        f"{heaps[-1][0]}, and this control group may use {int(limit) >> 20} MiB",
        "the kernel ends the JVM (out of memory) before its heap is full",
        advice="a smaller -Xmx or -XX:MaxRAMPercentage=75, or a higher limit of the container or unit",
    )


def processes(limit: str | None) -> Finding | None:
    """Judge the number of processes and threads that this control group allows."""
    if limit is None or not limit.strip().isdigit() or int(limit) >= _PROCESSES:
        return None
    return Finding(
        "pids-limit",
        Level.ERROR,
        f"this control group may have {limit.strip()} processes and threads",
        f"a JVM and its supervisor need {_PROCESSES} or more",
        advice="a higher limit: --pids-limit of the container, TasksMax= of the unit",
    )


def confinement(apparmor: str | None, selinux: str | None, denials: Iterable[str]) -> Finding | None:
    """Judge what a security module has refused to jvmbind or java, by lines of the kernel's log."""
    lines = [line.strip() for line in denials if re.search(r"apparmor=\"DENIED\"|avc:\s+denied", line)]
    ours = [line for line in lines if re.search(r"java|jvmbind|python", line)]
    if not ours:
        return None
    module = "AppArmor" if "apparmor" in ours[-1] else "SELinux"
    state = (apparmor if module == "AppArmor" else selinux) or "active"
    return Finding(
        "denials",
        Level.WARNING,
        f"{module} ({state.strip()}) has refused: {ours[-1]}",
        "what is refused looks like a fault of the server or of jvmbind",
        advice="allow it in the profile or policy (aa-logprof, audit2allow), or leave the service out of it",
    )
