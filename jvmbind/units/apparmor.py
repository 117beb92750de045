"""An AppArmor profile for one service, made of its configuration. Pure: `jvmbind unit --apparmor`, as any user.

AppArmor 3 knows families and kinds of sockets, and no ports: which ports the service has is the business of its privilege, of
strict_binds and of connect_ports. Sources: apparmor.d(5), apparmor_parser(8), systemd.exec(5) on AppArmorProfile=.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jvmbind.units.wanted import Places, Way

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jvmbind.units.wanted import Wanted

_SPECIAL = '\\"*?[]{}^@,'


def quote(path: str, tail: str = "") -> str:
    """Return a path as a file rule has it, each of its characters meant as it stands; `tail` is a pattern behind it."""
    return '"' + "".join("\\" + char if char in _SPECIAL else char for char in path) + tail + '"'


def profile(wanted: Wanted, places: Places) -> str:
    """Return the text of /etc/apparmor.d/jvmbind-NAME."""
    return "\n".join(_lines(wanted, places)) + "\n"


def _lines(wanted: Wanted, places: Places) -> Iterator[str]:
    name = f"jvmbind-{wanted.name}"
    yield f"# Made by `jvmbind unit {wanted.name} --apparmor`; made anew by the same command."
    yield f"# Put it into /etc/apparmor.d/{name}, load it:  apparmor_parser -r /etc/apparmor.d/{name}"
    yield "# and name it in the unit (systemctl edit):"
    yield "#   [Service]"
    yield f"#   AppArmorProfile={name}"
    yield "# First with flags=(complain, attach_disconnected): what a server needs beside this is in the kernel's log."
    yield "abi <abi/3.0>,"
    yield "include <tunables/global>"
    yield ""
    yield "# attach_disconnected: under systemd's sandbox paths may lie outside the mount namespace"
    yield f'profile "{name}" flags=(attach_disconnected) {{'
    yield from (f"  {line}" if line else "" for line in (*_rights(wanted), "", *_files(wanted, places)))
    yield "}"


def _rights(wanted: Wanted) -> Iterator[str]:
    yield "# the C library, locales, /dev/null and /dev/urandom; users, groups and name resolution; trusted certificates"
    yield "include <abstractions/base>"
    yield "include <abstractions/nameservice>"
    yield "include <abstractions/ssl_certs>"
    yield ""
    if wanted.way is Way.ROOT:
        yield "# until the start has bound the ports, changed the user and emptied the bounding set: then they are gone for good"
        for one in ("net_bind_service", "setuid", "setgid", "setpcap", "chown"):
            yield f"capability {one},"
    elif wanted.needs_capability:
        yield "# ports below 1024; cleared before the JVM exists"
        yield "capability net_bind_service,"
    else:
        yield "# no capability: the sockets come from systemd, or no port is below 1024"
    if wanted.request.template.isolate_network:
        yield "# isolate_network: in the user namespace that comes with each JVM's network, and given up before the JVM exists"
        yield "capability net_admin,"
        yield "capability setpcap,"
    yield "# sockets of Java, and jvmbind's look at the state of its sockets (sock_diag(7)); no raw and no packet sockets"
    for rule in ("inet stream", "inet6 stream", "inet dgram", "inet6 dgram", "netlink raw"):
        yield f"network {rule},"
    yield "# the supervisor, the worker, the process that answers binds and what the application starts: among themselves"
    yield "signal (send, receive) peer=@{profile_name},"
    yield "ptrace (read, readby, trace, tracedby) peer=@{profile_name},"
    yield "unix (create, bind, listen, shutdown, getattr, setattr, getopt, setopt),"
    yield "unix (connect, accept, send, receive) peer=(label=@{profile_name}),"
    yield "# the service manager and the administrator stop it, and ask it"
    yield "signal (receive) peer=unconfined,"
    yield "unix (connect, accept, send, receive) peer=(label=unconfined),"


def _files(wanted: Wanted, places: Places) -> Iterator[str]:
    yield "# the command, its interpreter and the libraries of both"
    for path in places.programs:
        yield f"{quote(path)} mrix,"
    yield "/usr/bin/{python3*,env} mrix,"
    yield "/{usr/,}bin/{dash,sh} mrix,"
    yield "/{usr/,}lib/** mr,"
    for path in places.folders:
        yield f"{quote(path, '/**')} mr,"
    yield "# the Java runtime: its libraries are mapped, its helpers are run"
    yield f"{quote(places.java_home, '/**')} mr,"
    yield f"{quote(places.java_home, '/{bin/*,lib/jspawnhelper}')} ix,"
    yield "/etc/{java-*,ssl}/** r,"
    yield "# what a JVM asks of the machine: memory, processors, control groups, its own threads and mappings"
    yield "@{PROC}/ r,"
    yield "@{PROC}/{cgroups,cpuinfo,meminfo,stat,version,filesystems} r,"
    yield "@{PROC}/sys/{net/**,vm/**,kernel/**,fs/**} r,"
    yield "owner @{PROC}/@{pids}/{cgroup,cmdline,comm,environ,limits,maps,mem,mountinfo,smaps,stat,statm,status,timerslack_ns} r,"
    yield "owner @{PROC}/@{pids}/{auxv,fd/,fd/**,fdinfo/**,net/**,ns/**,task/,task/**} r,"
    if wanted.request.template.isolate_network:
        yield "# the ids of that user namespace, which has none of its own below it"
        yield "owner @{PROC}/@{pids}/{uid_map,gid_map,setgroups} w,"
        yield "@{PROC}/sys/user/max_{user,net}_namespaces w,"
    yield "# names of threads, the score of the OOM killer, coredump_filter"
    yield "owner @{PROC}/@{pids}/{comm,coredump_filter,oom_score_adj,task/*/comm} rw,"
    yield "/sys/{fs/cgroup/**,devices/system/**,kernel/mm/**} r,"
    yield "# jvmbind passes specifications and keeps state in sealed memory files, and the JVM maps its own"
    yield '"/memfd:**" mrw,'
    yield "owner /dev/shm/** rwkl,"
    yield "# hsperfdata, the socket for jcmd, idle sockets"
    yield "owner /{var/,}tmp/ rw,"
    yield "owner /{var/,}tmp/** mrwkl,"
    yield "# configurations of services, the control socket of this one, where its output goes"
    yield "/etc/jvmbind/ r,"
    yield "/etc/jvmbind/*.toml r,"
    yield "/run/jvmbind/ rw,"
    yield f"{quote('/run/jvmbind/' + wanted.name, '{,.*}')} rw,"
    yield f"{quote('/run/jvmbind/' + wanted.name, '/**')} rw,"
    yield "/run/systemd/{notify,journal/socket,journal/stdout} rw,"
    yield "/run/jvmbind/broker.sock rw,"
    if places.read:
        yield "# what the configuration names: the application is read from here"
    for path in places.read:
        yield f"{quote(path, '{,/**}')} mr,"
    yield "# what it writes; more: jvmbind unit --write PATH"
    for path in dict.fromkeys((f"/var/lib/jvmbind/{wanted.name}", *wanted.writable)):
        yield f"{quote(path, '{,/**}')} mrwkl,"
    if wanted.request.template.script:
        yield "# a script runs the programs of the distribution, and what lies beside it"
        yield "/{usr/,}bin/* mrix,"
        for path in places.read:
            yield f"{quote(path, '{,/**}')} ix,"
