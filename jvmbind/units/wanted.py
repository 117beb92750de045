"""What a unit is to be made of: the service as its configuration says it, and how it gets its ports.

Pure values. Used by `jvmbind unit`, as any user.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple

from jvmbind.spec import is_wildcard, same_address

if TYPE_CHECKING:
    from jvmbind.config.request import Request
    from jvmbind.spec import ListenSpec

FIRST_UNPRIVILEGED = 1024  # net.ipv4.ip_unprivileged_port_start, where nobody has lowered it: ip(7)


class Way(enum.Enum):
    """Who binds the ports."""

    ROOT = "root"  # jvmbind, before it drops root
    CAPABILITY = "capability"  # jvmbind, as the service user with CAP_NET_BIND_SERVICE, where a port needs it
    SOCKET = "socket"  # systemd


class Wanted(NamedTuple):
    """One service and the unit that is wanted for it."""

    name: str
    way: Way
    command: tuple[str, ...]  # the words of `jvmbind`
    run: str  # what stands behind `jvmbind run`: a name or an absolute path
    request: Request
    listeners: tuple[ListenSpec, ...]  # as declared, with their names
    sockets: int  # how many sockets these are
    generic: bool = False  # for services whose configurations are not known yet
    of_user: bool = False  # for a user's own service manager
    isolated: bool = False  # in a network of its own
    attach: bool = False  # tools of the JDK are to attach as the service's user
    writable: tuple[str, ...] = ()  # paths that the application writes to
    home: tuple[str, ...] = ()  # paths that it needs below /home, /root or /run/user

    @property
    def needs_capability(self) -> bool:
        """Whether a port is bound for which the kernel wants CAP_NET_BIND_SERVICE."""
        ports = [one.port for one in self.listeners if one.protocol != "unix"]
        return self.way is Way.CAPABILITY and not self.of_user and any(port < FIRST_UNPRIVILEGED for port in ports)

    @property
    def has_address(self) -> bool:
        """Whether a listener is bound to an address that the network has to have first."""
        hosts = [one.host for one in self.listeners if one.host is not None and not is_wildcard(one.host) and not one.freebind]
        return any(not same_address(host).is_loopback for host in hosts)


class Places(NamedTuple):
    """Where on this machine lies what the service runs and reads; resolved, as the kernel sees paths."""

    programs: tuple[str, ...]  # the command and its interpreter
    folders: tuple[str, ...]  # jvmbind's and Python's own modules
    java_home: str
    read: tuple[str, ...] = ()  # what the configuration names


def quote(word: str) -> str:
    """Return a word as a command line of a unit has it: systemd.service(5), "Command lines", and % as systemd.unit(5) has it."""
    word = word.replace("%", "%%").replace("$", "$$")
    if word and not set(word) & set(" \t\"'\\;"):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def path_word(path: str) -> str:
    """Return a path as a list of paths in a unit has it."""
    path = path.replace("%", "%%")
    if not set(path) & set(" \t\"'\\"):
        return path
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
