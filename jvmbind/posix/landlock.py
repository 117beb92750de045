"""A Landlock domain for the worker: no signals to anything outside, and with strict binds no TCP bind but by hand-over.

A further one, on request, leaves TCP connects to a few ports alone (`jvmbind.posix.connect_rules`).

Runs in the worker, before its second thread exists; needs no_new_privs and no capability. Where the kernel lacks a part,
that part is left out: signal scoping is there from Linux 6.12 (ABI 6), TCP rules from 6.7 (ABI 4). Sources: landlock(7),
Documentation/userspace-api/landlock.rst, linux/landlock.h.
"""

from __future__ import annotations

import ctypes
import os
import struct

# The same numbers on every architecture: asm-generic/unistd.h
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_ACCESS_NET_BIND_TCP, _ACCESS_NET_CONNECT_TCP = 1, 2
_RULE_NET_PORT = 2
_SCOPE_ABSTRACT_UNIX_SOCKET, _SCOPE_SIGNAL = 1, 2
ABI_NET, ABI_SCOPE = 4, 6


def abi(libc: ctypes.CDLL) -> int:
    """Return the Landlock version of this kernel, 0 where there is none."""
    return max(0, int(libc.syscall(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION)))


def enclose(libc: ctypes.CDLL, *, strict_binds: bool) -> tuple[bool, bool]:
    """Put this thread and all that it will start into a domain; return whether signals and binds are restricted.

    The rule for port 0 keeps clients, and the idle sockets of a drained worker, possible. Raises OSError.
    """
    version = abi(libc)
    signals, binds = version >= ABI_SCOPE, strict_binds and version >= ABI_NET
    if not signals and not binds:
        return False, False
    _restrict(
        libc,
        _ACCESS_NET_BIND_TCP if binds else 0,
        (0,) if binds else (),
        _SCOPE_SIGNAL if signals else 0,
    )
    return signals, binds


def allow_connects(libc: ctypes.CDLL, ports: tuple[int, ...], *, abstract: bool = True) -> None:
    """Put this thread and all that it will start into a further domain: TCP connects to `ports` alone; needs ABI_NET.

    Without `abstract`, which needs ABI_SCOPE, no abstract Unix socket of a process outside is reached either.
    Raises OSError, E2BIG where it is in 16 domains already.
    """
    _restrict(libc, _ACCESS_NET_CONNECT_TCP, ports, 0 if abstract else _SCOPE_ABSTRACT_UNIX_SOCKET)


def _restrict(libc: ctypes.CDLL, access: int, ports: tuple[int, ...], scoped: int) -> None:
    # struct landlock_ruleset_attr: handled_access_fs, handled_access_net, scoped; a kernel before ABI 6 lacks the last one
    attributes = struct.pack("=QQQ", 0, access, scoped)
    ruleset = _checked("landlock_create_ruleset", libc.syscall(_CREATE_RULESET, attributes, len(attributes) if scoped else 16, 0))
    try:
        for port in ports:
            rule = struct.pack("=QQ", access, port)  # struct landlock_net_port_attr
            _checked("landlock_add_rule", libc.syscall(_ADD_RULE, ruleset, _RULE_NET_PORT, rule, 0))
        _checked("landlock_restrict_self", libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)


def _checked(what: str, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return int(result)
