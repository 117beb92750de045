"""TCP connections to a few ports alone: a Landlock domain, and a seccomp filter for the ways that Landlock does not see.

Runs in the worker, as the service user, on the thread that becomes Java's; needs no_new_privs and no capability. Landlock's
rule LANDLOCK_ACCESS_NET_CONNECT_TCP (ABI 4, Linux 6.7) is asked by connect(2) of a TCP socket. On Linux 6.18 it is not asked
where sendto(2) with MSG_FASTOPEN connects, nor by a socket of MPTCP, SCTP or SMC, which reach the same ports: the filter refuses
these, and what could pass by the filter. Sources: landlock(7), tcp(7) on TCP Fast Open, socket(2), seccomp(2), io_uring_setup(2).
"""

from __future__ import annotations

import errno
import os
import struct

from jvmbind.errors import SystemFailureError
from jvmbind.posix import landlock, seccomp
from jvmbind.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes

_LD_W_ABS, _JEQ, _JGE, _JSET, _AND, _RET = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06  # linux/bpf_common.h
_NR, _ARCH, _ARG0, _ARG1, _ARG2, _ARG3 = 0, 4, 16, 24, 32, 40  # low halves of the arguments in struct seccomp_data
_X32_BIT = 0x40000000
_MSG_FASTOPEN = 0x20000000
_AF_INET, _AF_INET6, _AF_RDS, _AF_SMC = 2, 10, 21, 43
_SOCK_TYPE_MASK, _SOCK_DGRAM, _IPPROTO_TCP = 0xF, 2, 6


class Calls(NamedTuple):
    """The numbers of the calls of one architecture that can connect a TCP socket, or make one of another kind."""

    socket: int
    sendto: int
    sendmsg: int
    sendmmsg: int


# asm/unistd_64.h, asm-generic/unistd.h
CALLS = {"x86_64": Calls(41, 44, 46, 307), "aarch64": Calls(198, 206, 211, 269)}


def missing(libc: ctypes.CDLL) -> str:
    """Return why this kernel cannot keep to `connect_ports`, in words for a line; "" where it can."""
    version = landlock.abi(libc)
    if version >= landlock.ABI_NET:
        return ""
    found = f"Landlock's ABI is {version}" if version else "Landlock is not there, or a sandbox refuses its calls"
    return f"{found}; expected Linux 6.7 or later with landlock among its lsm=, or no connect_ports"


def restrict(libc: ctypes.CDLL, ports: tuple[int, ...]) -> None:
    """Let this thread, and all that it will start, connect TCP sockets to `ports` alone, for good.

    Raises SystemFailureError: who asked for this is not to run without it.
    """
    why = missing(libc)
    if why:
        msg = f"connect_ports: {why}"
        raise SystemFailureError(msg)
    try:
        landlock.allow_connects(libc, ports)
    except OSError as error:
        msg = f"connect_ports: {error}"
        raise SystemFailureError(msg) from error
    number = seccomp.add(filter_program(os.uname().machine), libc)
    if number:
        msg = f"connect_ports: seccomp: {os.strerror(number)}; expected a sandbox that allows it"
        raise SystemFailureError(msg)


def filter_program(name: str) -> bytes:
    """Return the filter for the machine `name` (uname(2)) as an array of struct sock_filter.

    Calls by another architecture or the x32 interface get ENOSYS and io_uring_setup EPERM, as they would pass by the rest.
    MSG_FASTOPEN gets EOPNOTSUPP, and sockets of other stream protocols EPROTONOSUPPORT, as on a kernel that lacks them:
    programs fall back to plain TCP.
    """
    machine, calls = seccomp.MACHINES[name], CALLS[name]
    allow, missing_call = (_RET, 0, 0, seccomp.RET_ALLOW), (_RET, 0, 0, seccomp.RET_ERRNO | errno.ENOSYS)
    no_protocol = (_RET, 0, 0, seccomp.RET_ERRNO | errno.EPROTONOSUPPORT)
    code = [(_LD_W_ABS, 0, 0, _ARCH), (_JEQ, 1, 0, machine.audit), missing_call, (_LD_W_ABS, 0, 0, _NR)]
    if name == "x86_64":
        code += [(_JGE, 0, 1, _X32_BIT), missing_call]
    code += [(_JEQ, 0, 1, machine.io_uring_setup), (_RET, 0, 0, seccomp.RET_ERRNO | errno.EPERM)]
    for number, flags in ((calls.sendto, _ARG3), (calls.sendmsg, _ARG2), (calls.sendmmsg, _ARG3)):
        refused = (_RET, 0, 0, seccomp.RET_ERRNO | errno.EOPNOTSUPP)
        code += [(_JEQ, 0, 4, number), (_LD_W_ABS, 0, 0, flags), (_JSET, 0, 1, _MSG_FASTOPEN), refused, allow]
    stream = [
        (_LD_W_ABS, 0, 0, _ARG1),
        (_AND, 0, 0, _SOCK_TYPE_MASK),
        (_JEQ, 4, 0, _SOCK_DGRAM),
        (_LD_W_ABS, 0, 0, _ARG2),
        (_JEQ, 2, 0, 0),  # the default of a stream, TCP
        (_JEQ, 1, 0, _IPPROTO_TCP),
        no_protocol,
        allow,
    ]
    # Both make TCP connections in the kernel, which no rule is asked about.
    kernels = [(_JEQ, 1, 0, _AF_SMC), (_JEQ, 0, 1, _AF_RDS), no_protocol]
    families = [(_JEQ, 2, 0, _AF_INET), (_JEQ, 1, 0, _AF_INET6), allow]
    code += [(_JEQ, 0, 1 + len(kernels) + len(families) + len(stream), calls.socket), (_LD_W_ABS, 0, 0, _ARG0)]
    code += [*kernels, *families, *stream, allow]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
