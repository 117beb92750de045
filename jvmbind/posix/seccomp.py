"""A seccomp filter that sends a few system calls to user notification, and the notifications themselves.

Runs in the worker, as the service user; needs no_new_privs and no capability. Sources: seccomp(2),
seccomp_unotify(2), linux/seccomp.h, linux/audit.h, linux/filter.h; kernel 5.0 or later.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from typing import NamedTuple

from jvmbind.errors import SystemFailureError

_SET_MODE_FILTER = 1
_FLAG_NEW_LISTENER = 1 << 3
_FLAG_WAIT_KILLABLE_RECV = 1 << 5  # since Linux 5.19: a signal no longer repeats a call that is being answered

RET_ALLOW = 0x7FFF0000
RET_USER_NOTIF = 0x7FC00000
RET_ERRNO = 0x00050000

_LD_W_ABS = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JEQ = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_JGE = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_RET = 0x06  # BPF_RET | BPF_K

# Offsets in struct seccomp_data; the low half of an argument comes first on these little-endian machines.
_NR, _ARCH, _ARG0, _ARG1 = 0, 4, 16, 24
_X32_BIT = 0x40000000

_NOTIF = struct.Struct("=QIIiIQ6Q")  # struct seccomp_notif
_RESP = struct.Struct("=QqiI")  # struct seccomp_notif_resp
_IOCTL_RECV = 0xC0502100  # SECCOMP_IOCTL_NOTIF_RECV
_IOCTL_SEND = 0xC0182101  # SECCOMP_IOCTL_NOTIF_SEND
_FLAG_CONTINUE = 1


class Machine(NamedTuple):
    """The numbers of one architecture. `dup2` is -1 where it does not exist."""

    audit: int
    seccomp: int
    clone: int
    bind: int
    listen: int
    dup: int
    dup2: int
    dup3: int
    io_uring_setup: int


MACHINES = {
    "x86_64": Machine(0xC000003E, 317, 56, 49, 50, 32, 33, 292, 425),
    "aarch64": Machine(0xC00000B7, 277, 220, 200, 201, 23, -1, 24, 425),
}


def this_machine() -> Machine:
    """Return the numbers of the running machine; raises SystemFailureError on one that is not known."""
    name = os.uname().machine
    if name not in MACHINES or struct.calcsize("P") != 8:
        msg = f"hand-over at bind needs x86_64 or aarch64 in 64 bits, this is {name}"
        raise SystemFailureError(msg)
    return MACHINES[name]


def filter_program(machine: Machine, *, strict: bool) -> bytes:
    """Return the filter as an array of struct sock_filter.

    Notified: bind, listen, dup(0), and dup2 or dup3 onto 0, 1 or 2. With `strict`, ways round the notification are
    closed: other architectures and the x32 interface get ENOSYS, io_uring_setup EPERM. All else is allowed.
    """
    other = RET_ERRNO | errno.ENOSYS if strict else RET_ALLOW
    code: list[tuple[int, int, int, int]] = []

    def answer(number: int, action: int) -> None:
        code.extend([(_JEQ, 0, 1, number), (_RET, 0, 0, action)])

    code += [(_LD_W_ABS, 0, 0, _ARCH), (_JEQ, 1, 0, machine.audit), (_RET, 0, 0, other), (_LD_W_ABS, 0, 0, _NR)]
    if machine.audit == MACHINES["x86_64"].audit:
        code += [(_JGE, 0, 1, _X32_BIT), (_RET, 0, 0, other)]
    answer(machine.bind, RET_USER_NOTIF)
    answer(machine.listen, RET_USER_NOTIF)
    if strict:
        answer(machine.io_uring_setup, RET_ERRNO | errno.EPERM)
    # dup: System.inheritedChannel() begins with dup(0)
    code += [
        (_JEQ, 0, 4, machine.dup),
        (_LD_W_ABS, 0, 0, _ARG0),
        (_JEQ, 0, 1, 0),
        (_RET, 0, 0, RET_USER_NOTIF),
        (_RET, 0, 0, RET_ALLOW),
    ]
    # dup2, dup3: closing that channel points 0, 1 and 2 at /dev/null; a new descriptor of 3 or more is nobody's business
    if machine.dup2 >= 0:
        code += [(_JEQ, 1, 0, machine.dup2)]
    code += [(_JEQ, 0, 3, machine.dup3), (_LD_W_ABS, 0, 0, _ARG1), (_JGE, 1, 0, 3), (_RET, 0, 0, RET_USER_NOTIF)]
    code += [(_RET, 0, 0, RET_ALLOW)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def install(program: bytes, libc: ctypes.CDLL) -> int:
    """Install the filter on this thread and all that it will start; return the descriptor of its notifications.

    Raises SystemFailureError where this kernel or sandbox has no user notification.
    """
    number = this_machine().seccomp
    buffer = ctypes.create_string_buffer(program, len(program))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    prog = Program(len(program) // 8, ctypes.addressof(buffer))
    error = 0
    for flags in (_FLAG_NEW_LISTENER | _FLAG_WAIT_KILLABLE_RECV, _FLAG_NEW_LISTENER):
        fd = int(libc.syscall(number, _SET_MODE_FILTER, flags, ctypes.byref(prog)))
        if fd >= 0:
            return fd
        error = ctypes.get_errno()
        if error != errno.EINVAL:
            break
    msg = (
        f"no seccomp user notification here ({os.strerror(error)}): hand-over at bind needs Linux 5.0 or later, "
        "no_new_privs, and a sandbox that allows the seccomp system call (systemd: SystemCallFilter=seccomp)"
    )
    raise SystemFailureError(msg)


class Notification(NamedTuple):
    """One system call that waits for its answer."""

    id: int
    tid: int
    number: int
    args: tuple[int, ...]


def receive(fd: int) -> Notification | None:
    """Wait for a system call and return it; None where its thread has gone meanwhile. Raises OSError."""
    buffer = bytearray(_NOTIF.size)
    try:
        fcntl.ioctl(fd, _IOCTL_RECV, buffer, True)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.EINTR}:
            return None
        raise
    ident, tid, _, number, _, _, *args = _NOTIF.unpack(buffer)
    return Notification(ident, tid, number, tuple(args))


def send(fd: int, ident: int, *, value: int = 0, error: int = 0, proceed: bool = False) -> None:
    """Answer: return `value`, or fail with errno `error`, or let the kernel `proceed` with the call. Raises OSError."""
    buffer = bytearray(_RESP.pack(ident, value, -error, _FLAG_CONTINUE if proceed else 0))
    try:
        fcntl.ioctl(fd, _IOCTL_SEND, buffer, True)
    except OSError as failure:
        if failure.errno != errno.ENOENT:  # the thread was killed while it waited
            raise
