"""The sandbox of a service's unit: each directive that a JVM can live with, and for each that is left open the reason.

Pure. Used by `jvmbind unit`, as any user. Sources: systemd.exec(5), systemd.resource-control(5), systemd-analyze(1); what a
JVM needs was found by running one under each directive, on systemd 252 and JDK 17 and 25.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jvmbind.units.wanted import Way, path_word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jvmbind.units.wanted import Wanted

# What the start as root needs until it has dropped: the ports, the change of user, the empty bounding set, and the owner of a
# Unix socket and of the directory of the control socket.
ROOTS_CAPABILITIES = "CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID CAP_SETPCAP CAP_CHOWN"

# Everywhere, in a user's own service manager too: none of these needs a privilege of the manager.
_EVERYWHERE = (
    "NoNewPrivileges=yes",
    "LockPersonality=yes",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "SystemCallArchitectures=native",
    "KeyringMode=private",
)
_OF_THE_SYSTEM = (
    "DevicePolicy=closed",
    "PrivateDevices=yes",
    "PrivateIPC=yes",
    "PrivateMounts=yes",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectProc=invisible",
    "RemoveIPC=yes",
)


def sandbox(wanted: Wanted) -> Iterator[str]:
    """Yield the lines."""
    yield "# ---- Sandbox. Each line that begins with '# left open' says what a JVM, or this service, needs it for."
    for line in _EVERYWHERE:
        if line.startswith("RestrictNamespaces=") and wanted.request.template.isolate_network:
            yield "# left open: each JVM gets a network of its own, which an unprivileged process makes with a user namespace"
            yield "RestrictNamespaces=user net"
        else:
            yield line
    if wanted.of_user:
        yield "# left open: a user's own manager has no privilege for PrivateTmp=, ProtectSystem= and their kind"
    else:
        yield from _OF_THE_SYSTEM
        yield from _files(wanted)
        yield from _capabilities(wanted)
    yield from _network(wanted)
    yield from _system_calls(wanted)
    yield "# left open: a JVM writes machine code and runs it (JIT); with this line it does not start, not even with -Xint"
    yield "MemoryDenyWriteExecute=no"


def _files(wanted: Wanted) -> Iterator[str]:
    yield "PrivateTmp=yes"
    if wanted.generic:
        yield "# left open: where the application writes is not known here; the rights of its user count"
        yield "ProtectSystem=full"
        yield "ProtectHome=read-only"
        yield from _proc_and_mask(wanted)
        return
    yield "# The whole file system is read-only but for what is named here; more: systemctl edit, ReadWritePaths=."
    yield "ProtectSystem=strict"
    if wanted.way is not Way.ROOT:
        yield "# Heap dumps, hs_err files and relative paths of the application go to /var/lib/jvmbind/NAME."
        yield f"StateDirectory=jvmbind/{wanted.name}"
        yield "StateDirectoryMode=0750"
        yield f"WorkingDirectory=%S/jvmbind/{wanted.name}"
    if wanted.writable:
        yield f"ReadWritePaths={' '.join(path_word('-' + path) for path in wanted.writable)}"
    if wanted.home:
        yield f"# left open: {', '.join(wanted.home)}"
        yield "ProtectHome=read-only"
    else:
        yield "ProtectHome=yes"
    yield from _proc_and_mask(wanted)


def _proc_and_mask(wanted: Wanted) -> Iterator[str]:
    yield "# left open: without /proc/meminfo and /proc/cgroups a JVM sizes its heap as if there were no MemoryMax="
    yield "ProcSubset=all"
    if wanted.request.umask is None:
        yield "# systemd's own default, 0022, lets everybody read what the service writes; security.umask replaces this."
        yield "UMask=0077"


def _capabilities(wanted: Wanted) -> Iterator[str]:
    if wanted.way is Way.ROOT:
        yield "# left open: until jvmbind has bound the ports, changed the user and emptied the bounding set, which it proves"
        yield f"CapabilityBoundingSet={ROOTS_CAPABILITIES}"
    elif wanted.needs_capability:
        yield "# left open: the one right to bind ports below 1024; jvmbind clears it before the JVM exists"
        yield "CapabilityBoundingSet=CAP_NET_BIND_SERVICE"
        yield "AmbientCapabilities=CAP_NET_BIND_SERVICE"
    else:
        yield "CapabilityBoundingSet="
        yield "AmbientCapabilities="
    yield from _users(wanted)


def _users(wanted: Wanted) -> Iterator[str]:
    if wanted.way is Way.ROOT:
        yield "# left open: in a user namespace the start could not change to the service's user"
    elif wanted.needs_capability:
        yield "# left open: in a user namespace the capability would count for nothing outside it"
    elif wanted.request.control_group:
        yield "# left open: in a user namespace the members of control.group would be nobody"
    elif wanted.attach:
        yield "# left open: into a user namespace jcmd, jstack and profilers cannot attach as the service's user"
    else:
        yield "# jcmd, jstack and profilers can attach as root, not as the service's user: jvmbind unit --attach leaves this open."
        yield "PrivateUsers=yes"
        return
    yield "PrivateUsers=no"


def _network(wanted: Wanted) -> Iterator[str]:
    yield "# left open: sockets of Java and the control socket; by AF_NETLINK jvmbind asks the kernel for the state of its sockets"
    yield "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK"
    if wanted.isolated:
        yield "# The sockets come from systemd, outside; inside is an empty network: the JVM can connect nowhere."
        yield "PrivateNetwork=yes"
        yield "IPAddressDeny=any"
    elif not wanted.of_user:
        if wanted.way is Way.SOCKET:
            yield "# left open: an application that connects nowhere can do without; --isolate-network closes it"
        else:
            yield "# left open: the ports are bound in this network; --socket --isolate-network closes it"
        yield "PrivateNetwork=no"
        yield "# left open: clients come from anywhere; where they do not: IPAddressDeny=any, and IPAddressAllow= for them"


def _system_calls(wanted: Wanted) -> Iterator[str]:
    yield "SystemCallFilter=@system-service"
    if wanted.way is Way.ROOT:
        yield "# left open: @privileged has the calls by which the start changes the user"
        yield "SystemCallFilter=~@resources"
    else:
        yield "SystemCallFilter=~@privileged @resources"
    yield "# Not in every @system-service: seccomp hands listeners over, landlock keeps the JVM from signalling its supervisor,"
    yield "# pidfd_* wait for processes, prlimit64 sets limits (security.limits); mincore is the JVM's."
    yield "SystemCallFilter=seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self"
    yield "SystemCallFilter=pidfd_open pidfd_send_signal prlimit64 mincore"
    if wanted.needs_capability:
        yield "# left open: capset takes the capability away once the ports are bound"
        yield "SystemCallFilter=capset"
    if wanted.request.template.script:
        yield "# left open: pidfd_getfd ends the question of a script whether its own server answers already"
        yield "SystemCallFilter=pidfd_getfd"
    if wanted.request.template.isolate_network and not wanted.needs_capability and wanted.way is not Way.ROOT:
        yield "# left open: capset gives up what the user namespace of isolate_network brings with it"
        yield "SystemCallFilter=capset"
    yield "# What is not allowed fails, as under any other restriction, and does not kill the JVM."
    yield "SystemCallErrorNumber=EPERM"
