"""A network of its own for a JVM, with nothing in it but loopback, and no way to connect from the sockets that come from outside.

Runs in the worker, as the service user, on the thread that becomes Java's. The network namespace is made together with a user
namespace, which needs no privilege; what that gives is given up at once, and this is proven. The namespace does not bind
sockets that exist already: a listener that was shut down, or a connection that was disconnected, could be connected to any
address of the network in which it was made. So TCP connects are refused as well, by Landlock or where that is too old by a
filter, and the ways that are in no network namespace. Sources: user_namespaces(7), network_namespaces(7), landlock(7),
connect(2) on AF_UNSPEC, netdevice(7), vsock(7), linux/seccomp.h, linux/tcp.h.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import struct

import prctl

from jvmbind.bare import socket
from jvmbind.errors import SystemFailureError
from jvmbind.posix import connect_rules, landlock, seccomp

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_IFREQ = struct.Struct("=16sH22x")  # ifr_name, ifr_flags
_LD_W_ABS, _JEQ, _RET = 0x20, 0x15, 0x06  # linux/bpf_common.h
_NR, _ARCH, _ARG0, _ARG1, _ARG2 = 0, 4, 16, 24, 32  # low halves of the arguments in struct seccomp_data
# AF_UNIX, AF_INET, AF_INET6 and AF_NETLINK are bound to a network namespace; vsock and others reach out of any.
_FAMILIES = (1, 2, 10, 16)
_SOL_TCP, _TCP_ULP = 6, 31
_PR_CAPBSET_READ, _PR_CAPBSET_DROP, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 23, 24, 47, 4
_CAPABILITY_VERSION_3 = 0x20080522  # linux/capability.h
# Settings that forbid it, and the value of each that does: namespaces(7); the first is Debian's, the last Ubuntu's.
_SETTINGS = (
    ("kernel.unprivileged_userns_clone", "0"),
    ("user.max_user_namespaces", "0"),
    ("user.max_net_namespaces", "0"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1"),
)
# asm/unistd_64.h, asm-generic/unistd.h: connect, setsockopt
_CALLS = {"x86_64": (42, 54), "aarch64": (203, 208)}


def missing() -> str:
    """Return why this user cannot have such a network here, in words for a line; "" where it can. Tried by a child that ends."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.dup2(writer, 0)
            os.closerange(1, os.sysconf("SC_OPEN_MAX"))  # it can be traced from the next line on
            prctl.set_dumpable(1)  # else /proc/self/uid_map belongs to root: proc(5)
            _make(ctypes.CDLL(None, use_errno=True))
            os.write(0, b"ok")
        except Exception as error:  # noqa: BLE001 - whatever it is, the start is to say it
            os.write(0, str(getattr(error, "strerror", None) or error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8", errors="replace") as answer:
        said = answer.read()
    os.waitpid(child, 0)
    if said == "ok":
        return ""
    said += _forbidden()
    return f"{said}; expected user namespaces for the service's user, in a unit RestrictNamespaces=user net, or {_OTHER_WAY}"


_OTHER_WAY = "a socket unit without a network (jvmbind unit NAME --socket --isolate-network)"


def _forbidden() -> str:
    """Return the settings of this machine that forbid it."""
    found = []
    for name, value in _SETTINGS:
        with contextlib.suppress(OSError), open(f"/proc/sys/{name.replace('.', '/')}", encoding="ascii") as file:
            if file.read().strip() == value:
                found.append(f"{name} is {value}")
    return f" ({', '.join(found)})" if found else ""


def enter(libc: ctypes.CDLL) -> None:
    """Put this process, which must have one thread, and all that it will start into a network of its own, for good.

    Raises SystemFailureError: who asked for this is not to run without it.
    """
    try:
        _make(libc)
        for what in ("user", "net"):
            # None below this one either. It is a setting of this user namespace, and a sandbox may keep it from being written.
            with contextlib.suppress(OSError):
                _write(f"/proc/sys/user/max_{what}_namespaces", "0")
        _give_up(libc)
        _refuse_connects(libc)
    except OSError as error:
        msg = f"isolate_network: {error.strerror}; expected what there was at the start: see the machine's settings and the sandbox"
        raise SystemFailureError(msg) from error


def _make(libc: ctypes.CDLL) -> None:
    """Make the namespaces, in which each id is what it is outside, and switch loopback on; raises OSError."""
    uid, gid = os.geteuid(), os.getegid()
    _checked("unshare", libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET))
    _write("/proc/self/setgroups", "deny")  # else no unprivileged process may write the next but one
    _write("/proc/self/uid_map", f"{uid} {uid} 1")
    _write("/proc/self/gid_map", f"{gid} {gid} 1")
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        _, flags = _IFREQ.unpack(fcntl.ioctl(sock.fileno(), _SIOCGIFFLAGS, _IFREQ.pack(b"lo", 0)))
        fcntl.ioctl(sock.fileno(), _SIOCSIFFLAGS, _IFREQ.pack(b"lo", flags | _IFF_UP))
    except OSError as error:
        raise OSError(error.errno, f"loopback: {error.strerror}") from error
    finally:
        sock.close()


def _give_up(libc: ctypes.CDLL) -> None:
    """Give up the capabilities that the first process of a user namespace has there, and prove it; raises OSError.

    `jvmbind.root.drop` tries to become root afterwards, which has no number here: setuid(2) says EINVAL.
    """
    _checked("prctl(PR_CAP_AMBIENT)", libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
    capability = 0
    while libc.prctl(_PR_CAPBSET_READ, capability, 0, 0, 0) >= 0:  # EINVAL behind the last one
        _checked("prctl(PR_CAPBSET_DROP)", libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0))
        capability += 1
    header, none = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    _checked("capset", libc.capset(ctypes.byref(header), ctypes.byref(none)))
    with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
        fields = dict(line.split(":", 1) for line in file if ":" in line)
    left = [name for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb") if int(fields[name], 16)]
    left += ["no NoNewPrivs"] if int(fields["NoNewPrivs"]) != 1 else []
    left += ["further threads"] if int(fields["Threads"]) != 1 else []
    if left:
        raise OSError(errno.EPERM, f"the drop in the user namespace is not proven: {', '.join(left)}")


def _refuse_connects(libc: ctypes.CDLL) -> None:
    by_landlock = landlock.abi(libc) >= landlock.ABI_SCOPE
    if by_landlock:
        landlock.allow_connects(libc, (), abstract=False)
    name = os.uname().machine
    for program in (connect_rules.filter_program(name), filter_program(name, by_landlock=by_landlock)):
        number = seccomp.add(program, libc)
        if number:
            raise OSError(number, f"seccomp: {os.strerror(number)}")


def filter_program(name: str, *, by_landlock: bool) -> bytes:
    """Return the filter for the machine `name` (uname(2)) as an array of struct sock_filter, to be used with connect_rules'.

    Refused are sockets of families that no network namespace holds, with EAFNOSUPPORT, and TCP_ULP, which could make a socket
    of SMC of a TCP one, with ENOENT, as on a kernel without them. Without Landlock connect is refused, of Unix sockets too,
    with EACCES: a filter does not see what a descriptor is.
    """
    machine, (connect, setsockopt) = seccomp.MACHINES[name], _CALLS[name]
    allow = (_RET, 0, 0, seccomp.RET_ALLOW)
    code = [(_LD_W_ABS, 0, 0, _ARCH), (_JEQ, 1, 0, machine.audit), allow, (_LD_W_ABS, 0, 0, _NR)]
    if not by_landlock:
        code += [(_JEQ, 0, 1, connect), (_RET, 0, 0, seccomp.RET_ERRNO | errno.EACCES)]
    ulp = [(_LD_W_ABS, 0, 0, _ARG1), (_JEQ, 0, 2, _SOL_TCP), (_LD_W_ABS, 0, 0, _ARG2), (_JEQ, 1, 0, _TCP_ULP), allow]
    code += [(_JEQ, 0, len(ulp) + 1, setsockopt), *ulp, (_RET, 0, 0, seccomp.RET_ERRNO | errno.ENOENT)]
    families = [(_JEQ, len(_FAMILIES) - place, 0, family) for place, family in enumerate(_FAMILIES)]
    code += [(_JEQ, 0, len(families) + 2, connect_rules.CALLS[name].socket), (_LD_W_ABS, 0, 0, _ARG0), *families]
    code += [(_RET, 0, 0, seccomp.RET_ERRNO | errno.EAFNOSUPPORT), allow]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        raise OSError(error.errno, f"{path}: {error.strerror}") from error
    finally:
        os.close(fd)


def _checked(what: str, result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
