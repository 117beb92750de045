"""A seccomp filter that sends a few system calls to user notification and refuses others, and the notifications themselves.

Runs in the worker, as the service user; needs no_new_privs and no capability. Sources: seccomp(2),
seccomp_unotify(2), ioctl_tty(2), prlimit(2), linux/seccomp.h, linux/audit.h, linux/filter.h; kernel 5.0 or later.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct

from jvmbind.errors import SystemFailureError
from jvmbind.record import NamedTuple

_SET_MODE_FILTER = 1
_FLAG_NEW_LISTENER = 1 << 3
_FLAG_WAIT_KILLABLE_RECV = 1 << 5  # since Linux 5.19: a signal no longer repeats a call that is being answered

RET_ALLOW = 0x7FFF0000
RET_USER_NOTIF = 0x7FC00000
RET_ERRNO = 0x00050000

_LD_W_ABS = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JEQ = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_JGE = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
_RET = 0x06  # BPF_RET | BPF_K

# Offsets in struct seccomp_data; the low half of an argument comes first on these little-endian machines.
_NR, _ARCH, _ARG0, _ARG1, _ARG2 = 0, 4, 16, 24, 32
_X32_BIT = 0x40000000

_NOTIF = struct.Struct("=QIIiIQ6Q")  # struct seccomp_notif
_RESP = struct.Struct("=QqiI")  # struct seccomp_notif_resp
_IOCTL_RECV = 0xC0502100  # SECCOMP_IOCTL_NOTIF_RECV
_IOCTL_SEND = 0xC0182101  # SECCOMP_IOCTL_NOTIF_SEND
_FLAG_CONTINUE = 1

# They put characters into a terminal's input, which a shell of somebody else may read: ioctl_tty(2), ioctl_console(2).
_TERMINAL_IOCTLS = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
# The type byte that all ioctls of a descriptor of notifications have, and no others (ioctl-number.rst). It is compared
# alone because the kernel takes SECCOMP_IOCTL_NOTIF_ADDFD with any size in the other bits.
_NOTIFY_TYPE = ord("!") << 8
_NO_TYPE = 1  # its low byte is masked out before the comparison


class Scheduling(NamedTuple):
    """The numbers of the calls by which a process changes how much of the processor or the disk another one gets."""

    by_pid: tuple[int, int, int, int]  # sched_setparam, sched_setscheduler, sched_setaffinity, sched_setattr: pid first
    setpriority: int  # which, who
    ioprio_set: int

    @property
    def all(self) -> tuple[int, ...]:
        """All of them."""
        return (*self.by_pid, self.setpriority, self.ioprio_set)


PR_SET_PDEATHSIG = 1  # prctl(2)
PRIO_PROCESS, PRIO_PGRP = 0, 1  # setpriority(2)
IOPRIO_WHO_PROCESS, IOPRIO_WHO_PGRP = 1, 2  # ioprio_set(2)


class Machine(NamedTuple):
    """The numbers of one architecture. `dup2` is -1 where it does not exist.

    `compat` is the 32-bit architecture whose calls the kernel may take too, with its own numbers.
    """

    audit: int
    seccomp: int
    clone: int
    bind: int
    listen: int
    dup: int
    dup2: int
    dup3: int
    io_uring_setup: int
    ioctl: int
    prlimit: int
    compat: int
    compat_ioctl: int
    compat_prlimit: int
    scheduling: Scheduling
    compat_scheduling: Scheduling
    prctl: int
    compat_prctl: int


MACHINES = {
    "x86_64": Machine(
        0xC000003E, 317, 56, 49, 50, 32, 33, 292, 425, 16, 302, 0x40000003, 54, 340,
        Scheduling((142, 144, 203, 314), 141, 251), Scheduling((154, 156, 241, 351), 97, 289), 157, 172,
    ),
    "aarch64": Machine(
        0xC00000B7, 277, 220, 200, 201, 23, -1, 24, 425, 29, 261, 0x40000028, 54, 369,
        Scheduling((118, 119, 122, 274), 140, 30), Scheduling((154, 156, 241, 380), 97, 314), 167, 172,
    ),
}  # fmt: skip
_X32_IOCTL, _X32_PRLIMIT = _X32_BIT | 514, _X32_BIT | 302


def this_machine() -> Machine:
    """Return the numbers of the running machine; raises SystemFailureError on one that is not known."""
    name = os.uname().machine
    if name not in MACHINES or struct.calcsize("P") != 8:
        msg = f"hand-over at bind needs x86_64 or aarch64 in 64 bits, this is {name}"
        raise SystemFailureError(msg)
    return MACHINES[name]


_Code = list[tuple[int, int, int, int]]


def _refusals(ioctl: int, prlimit: int, notify_type: int) -> _Code:
    """Return the instructions that refuse what harms others, with EPERM, and go on behind themselves with all other calls.

    The number of the call is in the accumulator before, and after. Refused are the ioctls above, and prlimit(2) that sets a
    limit of another process: with the supervisor's RLIMIT_NOFILE, _AS or _CPU that would end it, whatever Landlock says. A
    program sets its own limits with pid 0, as setrlimit(2) of the C library does. A `notify_type` that no ioctl has lets those
    of notifications pass.
    """
    terminal = [(_JEQ, len(_TERMINAL_IOCTLS) - i + 1, 0, command) for i, command in enumerate(_TERMINAL_IOCTLS)]
    commands = [(_LD_W_ABS, 0, 0, _ARG1), *terminal, (_AND, 0, 0, 0xFF00), (_JEQ, 0, 1, notify_type)]
    ends = [(_RET, 0, 0, RET_ERRNO | errno.EPERM), (_RET, 0, 0, RET_ALLOW)]
    limits = [(_LD_W_ABS, 0, 0, _ARG0), (_JEQ, 5, 0, 0)]  # the kernel takes the low half: pid_t
    limits += [(_LD_W_ABS, 0, 0, _ARG2), (_JEQ, 0, 2, 0), (_LD_W_ABS, 0, 0, _ARG2 + 4), (_JEQ, 1, 0, 0)]  # new_limit
    return [
        (_JEQ, 0, len(commands) + len(ends), ioctl),
        *commands,
        *ends,
        (_JEQ, 0, len(limits) + len(ends), prlimit),
        *limits,
        *ends,
    ]


def _scheduling(calls: Scheduling, action: int, *, x32: bool = False) -> _Code:
    """Return the instructions that end in `action` where one of `calls` is about another process than the caller.

    A supervisor that is given SCHED_IDLE, a nice value of 19 or another's processor cannot undo it without a privilege, and
    each worker inherits it. The number of the call is in the accumulator before and, with all other calls, after.
    """
    bit = _X32_BIT if x32 else 0
    ends = [(_RET, 0, 0, action), (_RET, 0, 0, RET_ALLOW)]
    more = len(calls.by_pid) - 1
    code = [(_JEQ, more - i, 0 if i < more else 2 + len(ends), bit | number) for i, number in enumerate(calls.by_pid)]
    code += [(_LD_W_ABS, 0, 0, _ARG0), (_JEQ, 1, 0, 0), *ends]
    for number, process in ((calls.setpriority, PRIO_PROCESS), (calls.ioprio_set, IOPRIO_WHO_PROCESS)):
        own = [(_LD_W_ABS, 0, 0, _ARG0), (_JEQ, 0, 2, process), (_LD_W_ABS, 0, 0, _ARG1), (_JEQ, 1, 0, 0)]
        code += [(_JEQ, 0, len(own) + len(ends), bit | number), *own, *ends]
    return code


def _parent_death(prctl: int, action: int) -> _Code:
    """Return the instructions that end in `action` where prctl sets the signal at the death of the parent.

    It is by that signal that a killed supervisor takes its workers along. The number of the call is in the accumulator.
    """
    return [
        (_JEQ, 0, 4, prctl),
        (_LD_W_ABS, 0, 0, _ARG0),
        (_JEQ, 0, 1, PR_SET_PDEATHSIG),
        (_RET, 0, 0, action),
        (_RET, 0, 0, RET_ALLOW),
    ]


def filter_program(machine: Machine, *, strict: bool, notify: bool = True, above_workers: bool = False) -> bytes:
    """Return the filter as an array of struct sock_filter.

    Notified, unless `notify` is false: bind, listen, dup(0), dup2 or dup3 onto 0, 1 or 2, and what changes the priority of
    another thread or process or the signal at the parent's death, which by a foreign interface is refused. Refused in every way in
    which this machine takes system calls: see `_refusals`. With `strict`, ways round the notification are closed: other
    architectures and the x32 interface get ENOSYS, io_uring_setup EPERM. All else is allowed. `above_workers`: for a script
    below which workers are started, who are to receive notifications of their own.
    """
    kind = _NO_TYPE if above_workers else _NOTIFY_TYPE
    allow, missing = (_RET, 0, 0, RET_ALLOW), (_RET, 0, 0, RET_ERRNO | errno.ENOSYS)
    foreign: _Code = [missing]
    x32: _Code = [missing]
    if not strict:
        refused = RET_ERRNO | errno.EPERM
        compat = [(_LD_W_ABS, 0, 0, _NR), *_refusals(machine.compat_ioctl, machine.compat_prlimit, kind)]
        compat += (
            [*_scheduling(machine.compat_scheduling, refused), *_parent_death(machine.compat_prctl, refused)] if notify else []
        )
        foreign = [(_JEQ, 0, len(compat), machine.compat), *compat, allow]
        x32 = [*_refusals(_X32_IOCTL, _X32_PRLIMIT, kind)]
        x32 += _scheduling(machine.scheduling, refused, x32=True) if notify else []
        x32 += [*_parent_death(_X32_BIT | machine.prctl, refused), allow] if notify else [allow]
    code: _Code = [(_LD_W_ABS, 0, 0, _ARCH), (_JEQ, len(foreign), 0, machine.audit), *foreign, (_LD_W_ABS, 0, 0, _NR)]
    if machine.audit == MACHINES["x86_64"].audit:
        code += [(_JGE, 0, len(x32), _X32_BIT), *x32]

    def answer(number: int, action: int) -> None:
        code.extend([(_JEQ, 0, 1, number), (_RET, 0, 0, action)])

    if notify:
        answer(machine.bind, RET_USER_NOTIF)
        answer(machine.listen, RET_USER_NOTIF)
    if strict:
        answer(machine.io_uring_setup, RET_ERRNO | errno.EPERM)
    code += _refusals(machine.ioctl, machine.prlimit, kind)
    if notify:
        code += [*_scheduling(machine.scheduling, RET_USER_NOTIF), *_parent_death(machine.prctl, RET_USER_NOTIF)]
        # dup: System.inheritedChannel() begins with dup(0)
        code += [(_JEQ, 0, 4, machine.dup), (_LD_W_ABS, 0, 0, _ARG0), (_JEQ, 0, 1, 0), (_RET, 0, 0, RET_USER_NOTIF), allow]
        # dup2, dup3: closing that channel points 0, 1 and 2 at /dev/null; a new descriptor of 3 or more is nobody's business
        if machine.dup2 >= 0:
            code += [(_JEQ, 1, 0, machine.dup2)]
        code += [(_JEQ, 0, 3, machine.dup3), (_LD_W_ABS, 0, 0, _ARG1), (_JGE, 1, 0, 3), (_RET, 0, 0, RET_USER_NOTIF)]
    code += [allow]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def refuse(libc: ctypes.CDLL, *, above_workers: bool = False) -> bool:
    """Install, where nothing is to be notified, the refusals alone; return whether this kernel or sandbox took them."""
    program = filter_program(this_machine(), strict=False, notify=False, above_workers=above_workers)
    return _set_filter(program, libc, 0) == 0


def add(program: bytes, libc: ctypes.CDLL) -> int:
    """Install a filter that notifies nobody, beside those that are there; return 0, or the errno of what went wrong."""
    return 0 if _set_filter(program, libc, 0) == 0 else ctypes.get_errno()


def install(program: bytes, libc: ctypes.CDLL) -> int:
    """Install the filter on this thread and all that it will start; return the descriptor of its notifications.

    Raises SystemFailureError where this kernel or sandbox has no user notification.
    """
    error = 0
    for flags in (_FLAG_NEW_LISTENER | _FLAG_WAIT_KILLABLE_RECV, _FLAG_NEW_LISTENER):
        fd = _set_filter(program, libc, flags)
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


def _set_filter(program: bytes, libc: ctypes.CDLL, flags: int) -> int:
    buffer = ctypes.create_string_buffer(program, len(program))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    prog = Program(len(program) // 8, ctypes.addressof(buffer))
    return int(libc.syscall(this_machine().seccomp, _SET_MODE_FILTER, flags, ctypes.byref(prog)))


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
