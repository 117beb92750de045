"""The seccomp filter, run by a small interpreter of classic BPF for both architectures: what is notified and what is not."""

from __future__ import annotations

import errno
import itertools
import struct
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jvmbind.posix.seccomp import MACHINES, RET_ALLOW, RET_ERRNO, RET_USER_NOTIF, Machine, filter_program

ENOSYS = RET_ERRNO | errno.ENOSYS
EPERM = RET_ERRNO | errno.EPERM
X32_BIT = 0x40000000
AUDIT_ARCH_I386 = 0x40000003
AUDIT_ARCH_ARM = 0x40000028
HIGH = 1 << 32

# linux/audit.h and the syscall tables of both machines, written down here a second time on purpose.
NUMBERS = {
    "x86_64": {
        "arch": 0xC000003E,
        "bind": 49,
        "listen": 50,
        "dup": 32,
        "dup2": 33,
        "dup3": 292,
        "io_uring_setup": 425,
        "ioctl": 16,
        "prlimit": 302,
        "compat": 0x40000003,
        "compat_ioctl": 54,
        "compat_prlimit": 340,
    },
    "aarch64": {
        "arch": 0xC00000B7,
        "bind": 200,
        "listen": 201,
        "dup": 23,
        "dup2": -1,
        "dup3": 24,
        "io_uring_setup": 425,
        "ioctl": 29,
        "prlimit": 261,
        "compat": 0x40000028,
        "compat_ioctl": 54,
        "compat_prlimit": 369,
    },
}
# sched_setparam, sched_setscheduler, sched_setaffinity, sched_setattr; setpriority; ioprio_set
SCHEDULING = {
    0xC000003E: ((142, 144, 203, 314), 141, 251),
    0xC00000B7: ((118, 119, 122, 274), 140, 30),
    AUDIT_ARCH_I386: ((154, 156, 241, 351), 97, 289),
    AUDIT_ARCH_ARM: ((154, 156, 241, 380), 97, 314),
}
PRCTL = {0xC000003E: 157, 0xC00000B7: 167, AUDIT_ARCH_I386: 172, AUDIT_ARCH_ARM: 172}
# linux/seccomp.h, asm-generic/ioctls.h
NOTIFY_IOCTLS = {"RECV": 0xC0502100, "SEND": 0xC0182101, "ID_VALID": 0x40082102, "old ID_VALID": 0x80082102,
                 "ADDFD": 0x40182103, "larger ADDFD": 0x40202103, "SET_FLAGS": 0x40082104}  # fmt: skip
TIOCSTI, TIOCLINUX, TIOCGWINSZ, FIONREAD = 0x5412, 0x541C, 0x5413, 0x541B


class Call(NamedTuple):
    """struct seccomp_data, without the instruction pointer's meaning."""

    number: int
    arch: int
    arguments: tuple[int, ...] = (0, 0, 0, 0, 0, 0)

    def pack(self) -> bytes:
        """Return the bytes that the filter reads."""
        return struct.pack("<iIQ6Q", _signed(self.number), self.arch, 0x7FFF00001234, *self.arguments)


def _signed(number: int) -> int:
    return number - (1 << 32) if number >= 1 << 31 else number


def run(program: bytes, data: bytes) -> int:
    """Interpret the few instructions of classic BPF that a seccomp filter needs (linux/filter.h, bpf_check_classic)."""
    code = list(struct.iter_unpack("=HBBI", program))
    accumulator = 0
    position = 0
    while True:
        operation, if_true, if_false, operand = code[position]
        position += 1
        if operation == 0x20:  # BPF_LD | BPF_W | BPF_ABS; seccomp wants whole, aligned words inside the structure
            assert operand % 4 == 0
            assert operand + 4 <= len(data)
            (accumulator,) = struct.unpack_from("<I", data, operand)
        elif operation in {0x15, 0x25, 0x35}:  # BPF_JMP with BPF_JEQ, BPF_JGT, BPF_JGE and BPF_K
            holds = {0x15: accumulator == operand, 0x25: accumulator > operand, 0x35: accumulator >= operand}[operation]
            position += if_true if holds else if_false
        elif operation == 0x54:  # BPF_ALU | BPF_AND | BPF_K
            accumulator &= operand
        elif operation == 0x05:  # BPF_JMP | BPF_JA
            position += operand
        else:
            assert operation == 0x06, f"instruction {operation:#x} is not known here"  # BPF_RET | BPF_K
            return int(operand)


def harms_others(call: Call, ioctl: int, prlimit: int) -> bool:
    """Whether a call types into a terminal, meddles with notifications, or sets a limit of another process."""
    if call.number == ioctl:
        command = call.arguments[1] % HIGH
        return command in {TIOCSTI, TIOCLINUX} or command >> 8 & 0xFF == ord("!")
    return call.number == prlimit and call.arguments[0] % HIGH != 0 and call.arguments[2] != 0


def is_about_another(call: Call, *, x32: bool = False) -> bool:
    """Whether a call changes the priority of another thread than the caller's own, or the signal at the parent's death."""
    by_pid, setpriority, ioprio_set = SCHEDULING[call.arch]
    number = call.number - X32_BIT if x32 else call.number
    first, second = (argument % HIGH for argument in call.arguments[:2])
    own_process = {setpriority: (0, 0), ioprio_set: (1, 0)}
    if number == PRCTL[call.arch]:
        return first == 1
    return (number in by_pid and first != 0) or (number in own_process and (first, second) != own_process[number])


def expected(machine: str, call: Call, *, strict: bool) -> int:
    """Say in plain words what must become of a call."""
    numbers = NUMBERS[machine]
    if call.arch != numbers["arch"]:
        if strict:
            return ENOSYS
        harms = call.arch == numbers["compat"] and (
            harms_others(call, numbers["compat_ioctl"], numbers["compat_prlimit"]) or is_about_another(call)
        )
        return EPERM if harms else RET_ALLOW
    if machine == "x86_64" and call.number >= X32_BIT:
        if strict:
            return ENOSYS
        return EPERM if harms_others(call, X32_BIT + 514, X32_BIT + 302) or is_about_another(call, x32=True) else RET_ALLOW
    if harms_others(call, numbers["ioctl"], numbers["prlimit"]):
        return EPERM
    if call.number in {numbers["bind"], numbers["listen"]} or is_about_another(call):
        return RET_USER_NOTIF
    if strict and call.number == numbers["io_uring_setup"]:
        return EPERM
    if call.number == numbers["dup"] and call.arguments[0] % HIGH == 0:
        return RET_USER_NOTIF
    if call.number in {numbers["dup2"], numbers["dup3"]} and call.arguments[1] % HIGH in {0, 1, 2}:
        return RET_USER_NOTIF
    return RET_ALLOW


STRICT = pytest.mark.parametrize("strict", [False, True], ids=["", "strict"])
ON_EACH = pytest.mark.parametrize("machine", sorted(NUMBERS))


def verdict(machine: str, call: Call, *, strict: bool) -> int:
    """Run the product's filter."""
    return run(filter_program(MACHINES[machine], strict=strict), call.pack())


def test_machines() -> None:
    """The numbers of both machines are those of their system call tables, and no other machine is known."""
    assert sorted(MACHINES) == sorted(NUMBERS)
    for name, numbers in NUMBERS.items():
        machine: Machine = MACHINES[name]
        assert machine.audit == numbers["arch"]
        assert (machine.bind, machine.listen, machine.dup) == (numbers["bind"], numbers["listen"], numbers["dup"])
        assert (machine.dup2, machine.dup3) == (numbers["dup2"], numbers["dup3"])
        assert machine.io_uring_setup == numbers["io_uring_setup"]
        assert (machine.ioctl, machine.prlimit) == (numbers["ioctl"], numbers["prlimit"])
        compat = (numbers["compat"], numbers["compat_ioctl"], numbers["compat_prlimit"])
        assert (machine.compat, machine.compat_ioctl, machine.compat_prlimit) == compat
    assert (MACHINES["x86_64"].seccomp, MACHINES["aarch64"].seccomp) == (317, 277)
    assert (MACHINES["x86_64"].clone, MACHINES["aarch64"].clone) == (56, 220)


@STRICT
@ON_EACH
def test_every_number(machine: str, strict: bool) -> None:
    """Each system call from 0 to 500, with first and second arguments around 0 to 3, is answered as the table says.

    Those that the table names get each pair of arguments, the others each value in each place.
    """
    arch = NUMBERS[machine]["arch"]
    values = (0, 1, 2, 3, 4, 1000, HIGH - 1, HIGH, HIGH + 2, HIGH + 3)
    by_pid, setpriority, ioprio_set = SCHEDULING[arch]
    named = {*NUMBERS[machine].values(), *by_pid, setpriority, ioprio_set, PRCTL[arch]}
    for number in range(501):
        pairs = itertools.product(values, repeat=2) if number in named else zip(values, reversed(values), strict=True)
        for first, second in pairs:
            call = Call(number, arch, (first, second, 0, 0, 0, 0))
            assert verdict(machine, call, strict=strict) == expected(machine, call, strict=strict), call


@STRICT
@ON_EACH
def test_what_is_notified(machine: str, strict: bool) -> None:
    """Of all calls only bind, listen and changes of a priority are notified, and dup and dup2/3 only onto 0, 1 and 2."""
    arch = NUMBERS[machine]["arch"]
    harmless = (7, 8, 0, 0, 0, 0)
    notified = {n for n in range(501) if verdict(machine, Call(n, arch, harmless), strict=strict) == RET_USER_NOTIF}
    by_pid, setpriority, ioprio_set = SCHEDULING[arch]
    assert notified == {NUMBERS[machine]["bind"], NUMBERS[machine]["listen"], *by_pid, setpriority, ioprio_set}


@STRICT
@ON_EACH
@pytest.mark.parametrize("arch", [AUDIT_ARCH_I386, AUDIT_ARCH_ARM, 0, 0xFFFFFFFF, 0xC000003E, 0xC00000B7], ids=hex)
def test_foreign_architecture(machine: str, strict: bool, arch: int) -> None:
    """A call of another architecture is allowed, and with strict binds there is no such call, whatever its number."""
    for number in (0, 49, 50, 200, 361, 425):
        call = Call(number, arch)
        assert verdict(machine, call, strict=strict) == expected(machine, call, strict=strict)
    if arch not in {0xC000003E, 0xC00000B7}:
        assert verdict(machine, Call(49, arch), strict=strict) == (ENOSYS if strict else RET_ALLOW)


@STRICT
def test_x32(strict: bool) -> None:
    """The x32 forms of bind and listen on x86-64 cannot be used to pass by the notification of strict binds."""
    arch = NUMBERS["x86_64"]["arch"]
    for number in (49, 50, 0, 425, 0x3FFFFFFF, 0x7FFFFFFF, 0xBFFFFFFF):
        assert verdict("x86_64", Call(X32_BIT | number, arch), strict=strict) == (ENOSYS if strict else RET_ALLOW)


@ON_EACH
def test_io_uring(machine: str) -> None:
    """Setting up io_uring, which can bind since Linux 6.11, is refused with EPERM under strict binds and only there."""
    call = Call(425, NUMBERS[machine]["arch"])

    assert verdict(machine, call, strict=True) == EPERM
    assert verdict(machine, call, strict=False) == RET_ALLOW


def ways_in(machine: str) -> list[tuple[int, int, int]]:
    """Return (architecture, number of ioctl, number of prlimit64) for each interface that the kernel may take calls by."""
    numbers = NUMBERS[machine]
    ways = [(numbers["arch"], numbers["ioctl"], numbers["prlimit"])]
    ways.append((numbers["compat"], numbers["compat_ioctl"], numbers["compat_prlimit"]))
    return [*ways, (numbers["arch"], X32_BIT + 514, X32_BIT + 302)] if machine == "x86_64" else ways


@STRICT
@ON_EACH
@pytest.mark.parametrize("notify", [True, False], ids=["", "no-listeners"])
def test_what_harms_others_is_refused(machine: str, strict: bool, notify: bool) -> None:
    """10.6: in every mode and by every interface these are refused: ioctls that type, those of notifications, foreign limits."""
    program = filter_program(MACHINES[machine], strict=strict, notify=notify)
    for arch, ioctl, prlimit in ways_in(machine):
        refused = EPERM if arch == NUMBERS[machine]["arch"] and ioctl < X32_BIT else ENOSYS if strict else EPERM
        for command in (*NOTIFY_IOCTLS.values(), TIOCSTI, TIOCLINUX):
            for high in (0, HIGH):
                assert run(program, Call(ioctl, arch, (5, high + command, 0, 0, 0, 0)).pack()) == refused, hex(command)
        for pid in (1, 4711, HIGH + 1, HIGH - 1):
            for new_limit in (0x1000, 0x7FFF00000000):
                assert run(program, Call(prlimit, arch, (pid, 7, new_limit, 0, 0, 0)).pack()) == refused


@ON_EACH
def test_what_harms_nobody_is_allowed(machine: str) -> None:
    """A program's own limits, the reading of any limits, and all other ioctls pass."""
    program = filter_program(MACHINES[machine], strict=False)
    for arch, ioctl, prlimit in ways_in(machine):
        for command in (TIOCGWINSZ, FIONREAD, 0x5401, 0x8912, 0x2200, 0):
            assert run(program, Call(ioctl, arch, (5, command, 0, 0, 0, 0)).pack()) == RET_ALLOW
        for pid, new_limit in ((0, 0x1000), (4711, 0), (HIGH, 0x1000)):
            assert run(program, Call(prlimit, arch, (pid, 7, new_limit, 0, 0, 0)).pack()) == RET_ALLOW


@STRICT
@ON_EACH
def test_nothing_is_notified_without_listeners(machine: str, strict: bool) -> None:
    """The filter of a worker without listeners sends no call to anybody who answers."""
    program = filter_program(MACHINES[machine], strict=strict, notify=False)
    arch = NUMBERS[machine]["arch"]

    assert all(run(program, Call(number, arch, (0, 0, 0, 0, 0, 0)).pack()) != RET_USER_NOTIF for number in range(501))


WORDS = st.integers(0, 2**64 - 1)
CALLS = st.builds(
    Call,
    st.one_of(st.integers(0, 500), st.integers(0, 2**32 - 1)),
    st.one_of(st.sampled_from([0xC000003E, 0xC00000B7, AUDIT_ARCH_I386]), st.integers(0, 2**32 - 1)),
    st.tuples(*[st.one_of(st.integers(0, 5), WORDS)] * 6),
)


@given(st.sampled_from(sorted(NUMBERS)), CALLS, st.booleans())
def test_any_call(machine: str, call: Call, strict: bool) -> None:
    """Any call at all gets the verdict that the table says."""
    assert verdict(machine, call, strict=strict) == expected(machine, call, strict=strict)


@STRICT
@ON_EACH
def test_the_kernel_would_take_it(machine: str, strict: bool) -> None:
    """Every jump stays inside the program and goes forward, and the program ends in a return, as the kernel demands."""
    for notify in (True, False):
        check_form(filter_program(MACHINES[machine], strict=strict, notify=notify))


def check_form(program: bytes) -> None:
    """Check what bpf_check_classic of the kernel checks."""
    code = list(struct.iter_unpack("=HBBI", program))
    assert 0 < len(code) <= 4096
    assert code[-1][0] == 0x06
    for position, (operation, if_true, if_false, _) in enumerate(code):
        if operation & 0x07 == 0x05:
            assert position + 1 + max(if_true, if_false) < len(code)


@ON_EACH
def test_above_workers(machine: str) -> None:
    """A wrapper script is refused what types and foreign limits, but not the notifications of the workers below it."""
    program = filter_program(MACHINES[machine], strict=False, notify=False, above_workers=True)
    for arch, ioctl, prlimit in ways_in(machine):
        for command in (TIOCSTI, TIOCLINUX, HIGH + TIOCSTI):
            assert run(program, Call(ioctl, arch, (5, command, 0, 0, 0, 0)).pack()) == EPERM
        for command in (*NOTIFY_IOCTLS.values(), 0, 1, 0x100, 0x5401):
            assert run(program, Call(ioctl, arch, (5, command, 0, 0, 0, 0)).pack()) == RET_ALLOW
        assert run(program, Call(prlimit, arch, (4711, 7, 0x1000, 0, 0, 0)).pack()) == EPERM
    check_form(program)
