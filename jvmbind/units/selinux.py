"""A SELinux policy module for one service, made of its configuration. Pure: `jvmbind unit --selinux`, as any user.

In the language of checkmodule(8), with types of the reference policy and none of its macros. Binding is allowed on one type of
port, which is the service's own. Sources: checkmodule(8), semanage-port(8), systemd.exec(5) on SELinuxContext=, the classes and
permissions of security/selinux/include/classmap.h.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from jvmbind.units.wanted import Way

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jvmbind.units.wanted import Wanted

_SOCKET = "{ create bind connect listen accept read write getattr setattr getopt setopt ioctl lock append shutdown map }"
_INHERITED = "{ accept bind read write getattr setattr getopt setopt ioctl listen shutdown }"
_READ = "{ getattr open read ioctl lock map }"
_WRITE = "{ append create getattr ioctl link lock map open read rename setattr unlink write }"
_SEARCH = "{ getattr ioctl lock open read search }"
_TYPES = (
    "init_t", "bin_t", "shell_exec_t", "lib_t", "ld_so_t", "ld_so_cache_t", "textrel_shlib_t", "usr_t", "etc_t", "cert_t",
    "locale_t", "net_conf_t", "proc_t", "proc_net_t", "sysctl_t", "sysctl_kernel_t", "sysctl_net_t", "sysctl_vm_t",
    "sysctl_vm_overcommit_t", "sysfs_t", "cgroup_t", "null_device_t", "zero_device_t", "random_device_t", "urandom_device_t",
    "root_t", "device_t", "tmp_t", "tmpfs_t", "var_t", "var_lib_t", "var_run_t", "node_t", "syslogd_t", "devlog_t",
)  # fmt: skip
_CLASSES = {
    "capability": "{ net_bind_service setuid setgid setpcap chown }",
    "cap_userns": "{ net_admin setpcap }",
    "dir": "{ add_name create getattr ioctl lock open read remove_name rename reparent rmdir search setattr write }",
    "file": "{ append create entrypoint execute execute_no_trans getattr ioctl link lock map open read rename setattr unlink "
    "write }",
    "lnk_file": "{ getattr read }",
    "chr_file": "{ append getattr ioctl lock map open read write }",
    "fd": "use",
    "fifo_file": "{ append getattr ioctl lock open read write }",
    "sock_file": "{ create getattr setattr unlink write }",
    "process": "{ execmem fork getattr getcap getrlimit getsched noatsecure ptrace rlimitinh setcap setpgid setrlimit setsched "
    "sigchld siginh sigkill signal signull sigstop transition }",
    "process2": "{ nnp_transition nosuid_transition }",
    "tcp_socket": "{ accept append bind connect create getattr getopt ioctl listen lock map name_bind name_connect node_bind read "
    "setattr setopt shutdown write }",
    "udp_socket": "{ accept append bind connect create getattr getopt ioctl listen lock map name_bind node_bind read setattr "
    "setopt shutdown write }",
    "unix_stream_socket": "{ accept append bind connect connectto create getattr getopt ioctl listen lock map read setattr "
    "setopt shutdown write }",
    "unix_dgram_socket": "{ accept append bind connect create getattr getopt ioctl listen lock map read sendto setattr setopt "
    "shutdown write }",
    "netlink_route_socket": "{ bind create getattr getopt nlmsg_read read setopt write }",
    "netlink_tcpdiag_socket": "{ bind create getattr getopt nlmsg_read read setopt write }",
}  # fmt: skip


def identifier(name: str) -> str:
    """Return the module's name for a service; of two services never the same, as each has a domain of its own."""
    if re.fullmatch("[A-Za-z0-9]+", name):
        return f"jvmbind_{name}"
    return f"jvmbind_{re.sub('[^A-Za-z0-9]', '_', name)}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def module(wanted: Wanted) -> str:
    """Return the text of NAME.te."""
    return "\n".join(_lines(wanted)) + "\n"


def labels(wanted: Wanted) -> list[str]:
    """Return the command that gives each port of the service its type, once for each protocol and port."""
    found = {(one.protocol, f"{one.port}") for one in wanted.listeners if one.protocol != "unix"}
    kind = f"{identifier(wanted.name)}_port_t"
    command = "semanage port {{}} -t {} -p {} {}"
    lines = (command.format(kind, protocol, port) for protocol, port in sorted(found))
    return [f"{line.format('-a')} || {line.format('-m')}" for line in lines]


def _lines(wanted: Wanted) -> Iterator[str]:
    name = identifier(wanted.name)
    yield f"# Made by `jvmbind unit {wanted.name} --selinux`; made anew by the same command. Save it as {name}.te, then:"
    yield f"#   checkmodule -M -m -o {name}.mod {name}.te"
    yield f"#   semodule_package -o {name}.pp -m {name}.mod && semodule -i {name}.pp"
    yield "# Label the ports; -m takes a port from the type that the distribution gives it, and so from its servers:"
    yield from (f"#   {line}" for line in labels(wanted))
    yield "# Start the service in the domain (systemctl edit):"
    yield "#   [Service]"
    yield f"#   SELinuxContext=system_u:system_r:{name}_t:s0"
    yield f"# First with  semanage permissive -a {name}_t : what a server needs beside this is in the audit log."
    yield f"module {name} 1.0;"
    yield ""
    yield "require {"
    yield "    role system_r;"
    yield "    attribute domain, port_type, file_type;"
    yield from (f"    type {one};" for one in _TYPES)
    yield from (f"    class {one} {permissions};" for one, permissions in _CLASSES.items())
    yield "}"
    yield ""
    yield "# the domain of the service, the type of its ports, and that of what it writes"
    yield f"type {name}_t, domain;"
    yield f"type {name}_port_t, port_type;"
    yield f"type {name}_file_t, file_type;"
    yield f"role system_r types {name}_t;"
    for rule in (*_start(), *_ports(wanted), *_network(wanted), *_processes(), *_files()):
        yield rule.replace("SELF", f"{name}_t").replace("PORT", f"{name}_port_t").replace("FILE", f"{name}_file_t")


def _start() -> Iterator[str]:
    yield ""
    yield "# systemd starts it in this domain, with NoNewPrivileges= as well, and learns of its end"
    yield "allow init_t SELF:process { transition siginh rlimitinh noatsecure signal sigkill signull getattr };"
    yield "allow init_t SELF:process2 { nnp_transition nosuid_transition };"
    yield "allow SELF init_t:process sigchld;"
    yield "allow SELF init_t:fd use;"
    yield "allow SELF bin_t:file entrypoint;"
    yield "# readiness, the descriptors that systemd keeps, the journal"
    yield "allow SELF init_t:unix_dgram_socket sendto;"
    yield "allow SELF init_t:unix_stream_socket { connectto getattr getopt ioctl read write };"
    yield "allow SELF { syslogd_t }:unix_dgram_socket sendto;"
    yield "allow SELF { devlog_t var_run_t }:sock_file write;"


def _ports(wanted: Wanted) -> Iterator[str]:
    protocols = sorted({one.protocol for one in wanted.listeners if one.protocol != "unix"})
    binder = "init_t" if wanted.way is Way.SOCKET else "SELF"
    yield ""
    yield "# the ports that are labelled as the service's, and no others; a port that the kernel picks is not asked about"
    for protocol in protocols:
        yield f"allow {binder} PORT:{protocol}_socket name_bind;"
    if not protocols:
        yield "# (no listener of the configuration has a port)"
    yield "allow SELF node_t:tcp_socket node_bind;"
    yield "allow SELF node_t:udp_socket node_bind;"
    if wanted.way is Way.SOCKET:
        yield "# systemd's sockets; it binds them"
        for kind in ("tcp", "udp", "unix_stream", "unix_dgram"):
            yield f"allow SELF init_t:{kind}_socket {_INHERITED};"
    if wanted.way is Way.ROOT:
        yield "# until the start has bound the ports, changed the user and emptied the bounding set: then they are gone for good"
        yield "allow SELF self:capability { net_bind_service setuid setgid setpcap chown };"
    elif wanted.needs_capability:
        yield "# ports below 1024; cleared before the JVM exists"
        yield "allow SELF self:capability net_bind_service;"


def _network(wanted: Wanted) -> Iterator[str]:
    yield ""
    yield "# sockets of Java, addresses of the machine, and jvmbind's look at the state of its sockets"
    for kind in ("tcp", "udp", "unix_stream", "unix_dgram"):
        yield f"allow SELF self:{kind}_socket {_SOCKET};"
    yield "allow SELF self:unix_stream_socket connectto;"
    yield "allow SELF self:unix_dgram_socket sendto;"
    for kind in ("route", "tcpdiag"):
        yield f"allow SELF self:netlink_{kind}_socket {{ bind create getattr getopt nlmsg_read read setopt write }};"
    ports = wanted.request.template.connect_ports
    if wanted.request.template.isolate_network:
        yield "# in the user namespace that comes with each JVM's network, and given up before the JVM exists"
        yield "allow SELF self:cap_userns { net_admin setpcap };"
    if ports == () or wanted.isolated or wanted.request.template.isolate_network:
        yield "# no name_connect: the configuration says that it connects nowhere"
    else:
        reason = "connect_ports, by Landlock, is closer" if ports else "the configuration names no connect_ports"
        yield f"# left open: databases and other servers have types of their own; {reason}"
        yield "allow SELF port_type:tcp_socket name_connect;"


def _processes() -> Iterator[str]:
    yield ""
    yield "# the supervisor, the worker, the process that answers binds and what the application starts: among themselves"
    yield "allow SELF self:process { fork getattr getcap getrlimit getsched ptrace setcap setpgid setrlimit setsched sigchld"
    yield "    sigkill signal signull sigstop };"
    yield "# the JIT"
    yield "allow SELF self:process execmem;"
    yield "allow SELF self:fd use;"
    yield "allow SELF self:fifo_file { append getattr ioctl lock open read write };"
    yield "allow SELF self:dir { getattr open read search };"
    yield "allow SELF self:file { append getattr ioctl lock open read write };"
    yield "allow SELF self:lnk_file { getattr read };"


def _files() -> Iterator[str]:
    yield ""
    yield "# programs and libraries: the command, Python, Java"
    yield f"allow SELF {{ bin_t shell_exec_t lib_t ld_so_t textrel_shlib_t usr_t }}:file {_READ};"
    yield "allow SELF { bin_t shell_exec_t lib_t ld_so_t textrel_shlib_t usr_t }:file { execute execute_no_trans };"
    yield "# configuration, certificates, users, and what a JVM asks of the machine"
    readable = "etc_t cert_t locale_t net_conf_t ld_so_cache_t proc_t proc_net_t sysctl_t sysctl_kernel_t sysctl_net_t"
    readable += " sysctl_vm_t sysctl_vm_overcommit_t sysfs_t cgroup_t"
    yield f"allow SELF {{ {readable} }}:file {_READ};"
    folders = f"{readable} bin_t lib_t usr_t root_t device_t tmp_t tmpfs_t var_t var_lib_t var_run_t"
    yield f"allow SELF {{ {folders} }}:dir {_SEARCH};"
    yield f"allow SELF {{ {folders} }}:lnk_file {{ getattr read }};"
    yield "allow SELF { null_device_t zero_device_t random_device_t urandom_device_t }:chr_file"
    yield "    { append getattr ioctl lock map open read write };"
    yield "# its own files, in /tmp, /run/jvmbind and /var/lib/jvmbind: what it makes there gets its type"
    for place in ("tmp_t", "tmpfs_t", "var_run_t", "var_lib_t"):
        yield f"type_transition SELF {place}:file FILE;"
        yield f"type_transition SELF {place}:dir FILE;"
        yield f"type_transition SELF {place}:sock_file FILE;"
        yield f"allow SELF {place}:dir {{ add_name remove_name write }};"
    yield f"allow SELF FILE:file {_WRITE};"
    yield "allow SELF FILE:sock_file { create getattr setattr unlink write };"
    yield "allow SELF FILE:dir { add_name create getattr ioctl lock open read remove_name rename reparent rmdir search setattr"
    yield "    write };"
    yield "# types that one distribution has and another has not"
    for kind, permissions in (("passwd_file_t:file", _READ), ("syslogd_runtime_t:sock_file", "write")):
        yield f"optional {{ require {{ type {kind.partition(':')[0]}; }} allow SELF {kind} {permissions}; }}"
    yield "# jvmbind's sealed memory files"
    yield "allow SELF tmpfs_t:file { getattr map open read write };"
