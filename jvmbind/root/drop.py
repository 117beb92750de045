"""Gives privilege up for good, and proves it.

Runs as root, or with CAP_NET_BIND_SERVICE, or with nothing; returns only when no thread of the process has any
privilege left that could be given up. Order and pitfalls: capabilities(7), setresuid(2), prctl(2),
Documentation/userspace-api/no_new_privs.rst. Credentials are kept per thread by the kernel, so a process with more than
one thread is refused.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import prctl

from jvmbind.errors import NotPermittedError

if TYPE_CHECKING:
    from collections.abc import Callable

_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_CAPABILITY_VERSION_3 = 0x20080522  # linux/capability.h
_KEYCTL = {"x86_64": 250, "aarch64": 219}
_KEYCTL_JOIN_SESSION_KEYRING = 1
CAP_SETPCAP = 8
CAP_NET_BIND_SERVICE = 10

SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")

_libc = ctypes.CDLL(None, use_errno=True)


class Credentials(NamedTuple):
    """What /proc/PID/task/TID/status says of one thread."""

    tid: int
    uids: tuple[int, ...]  # real, effective, saved, file system
    gids: tuple[int, ...]
    groups: tuple[int, ...]
    capabilities: dict[str, int]  # by the names in SETS
    no_new_privs: bool


def credentials(pid: int | str = "self") -> list[Credentials]:
    """Read the credentials of every thread of a process from /proc; raises OSError. Source: proc(5)."""
    found = []
    for task in sorted(os.listdir(f"/proc/{pid}/task"), key=int):
        try:
            lines = Path(f"/proc/{pid}/task/{task}/status").read_text(encoding="utf-8", errors="replace").splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread has ended meanwhile
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        found.append(
            Credentials(
                int(task),
                tuple(int(i) for i in fields["Uid"].split()),
                tuple(int(i) for i in fields["Gid"].split()),
                tuple(int(i) for i in fields["Groups"].split()),
                {name: int(fields[name], 16) for name in SETS},
                int(fields["NoNewPrivs"]) == 1,
            )
        )
    return found


def effective_capabilities() -> int:
    """Return the effective capability set of this process as a bit mask."""
    return credentials()[0].capabilities["CapEff"]


def drop_permanently(uid: int, gid: int, groups: tuple[int, ...], keep: int = 0) -> None:
    """Become `uid`, `gid` and `groups` with no capability and no_new_privs, and prove that nothing comes back.

    `keep` is a bit mask of capabilities that stay, permitted and effective alone: for a process that runs no program.
    Where this process may not change its ids, they must be its own already. The bounding set is emptied where
    CAP_SETPCAP is held (root); elsewhere it stays as it was and no_new_privs keeps it from ever mattering.
    No other process of that user can trace this one from then on, until it executes a program.
    Raises NotPermittedError when any step fails or any doubt remains; the caller must then end.
    """
    before = credentials()
    if len(before) != 1:
        msg = f"drop: {len(before)} threads are running; expected one (the kernel keeps credentials per thread)"
        raise NotPermittedError(msg)
    may_bound = bool(before[0].capabilities["CapEff"] >> CAP_SETPCAP & 1)
    root = os.geteuid() == 0
    try:
        # An ambient set exists since Linux 4.3; python-prctl does not know it.
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
        if may_bound:
            # python-prctl's own list ends at the capability it was built with. The kernel's ends where it says EINVAL:
            # prctl(2). That of /proc/sys/kernel/cap_last_cap cannot be seen everywhere (systemd's ProcSubset=pid).
            capability = 0
            while (held := _libc.prctl(_PR_CAPBSET_READ, capability, 0, 0, 0)) >= 0:
                if held and not keep >> capability & 1:
                    _prctl(_PR_CAPBSET_DROP, capability)
                capability += 1
        if root:
            # A change of ids makes a process traceable by its new user where fs.suid_dumpable is 1 (proc_sys_fs(5)). Who
            # keeps its capabilities a moment longer cannot be traced by one that lacks them (ptrace(2)), until it is closed.
            with contextlib.suppress(PermissionError):  # securebits may lock the flag
                prctl.set_keepcaps(1)
            _leave_session_keyring()
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
        prctl.set_dumpable(0)  # before the capabilities go: to give them up leaves a process as traceable as it was
        # Where there is none, no call is needed that a sandbox may forbid (systemd's @privileged); the proof is the same.
        if keep or any(before[0].capabilities[name] for name in ("CapPrm", "CapEff", "CapInh")):
            _clear_capabilities(keep)
        if root:
            with contextlib.suppress(PermissionError):
                prctl.set_keepcaps(0)
        prctl.set_no_new_privs(1)
    except (OSError, ValueError) as error:
        msg = f"drop to uid {uid}, gid {gid}: {error}" + "; a container may lack --cap-add SETUID --cap-add SETGID" * root
        raise NotPermittedError(msg) from error
    prove_dropped(uid, gid, groups if root else before[0].groups, empty_bounding_set=may_bound, keep=keep)


def _prctl(option: int, argument: int) -> None:
    if _libc.prctl(option, argument, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}, {argument}): {os.strerror(number)}")


def _leave_session_keyring() -> None:
    """Join a new, empty session keyring: that of root's login holds Kerberos tickets and fscrypt keys (session-keyring(7)).

    Done before the change of user, whose quota of keys (keyrings(7)) the last life of the service may have used up. Where
    there are no keyrings, or a sandbox forbids them, the service cannot read any either.
    """
    number = _KEYCTL.get(os.uname().machine)
    if number is not None and _libc.syscall(number, _KEYCTL_JOIN_SESSION_KEYRING, None) < 0:
        error = ctypes.get_errno()
        if error not in {errno.ENOSYS, errno.EPERM, errno.EACCES}:
            raise OSError(error, f"keyctl(KEYCTL_JOIN_SESSION_KEYRING): {os.strerror(error)}")


def _clear_capabilities(keep: int) -> None:
    """Leave `keep` in the permitted and effective sets, and nothing in the inheritable one: capset(2), with all 64 bits."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    low, high = keep & 0xFFFFFFFF, keep >> 32
    data = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)  # effective, permitted, inheritable
    if _libc.capset(ctypes.byref(header), ctypes.byref(data)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"capset: {os.strerror(number)}")


def prove_dropped(uid: int, gid: int, groups: tuple[int, ...], *, empty_bounding_set: bool = True, keep: int = 0) -> None:
    """Check every thread against /proc and try to get privilege back; raises NotPermittedError on any doubt."""
    doubts = []
    allowed = {"CapPrm": keep, "CapEff": keep, "CapBnd": keep}
    threads = credentials()
    for thread in threads:
        who = f"thread {thread.tid}"
        if set(thread.uids) != {uid} or set(thread.gids) != {gid}:
            doubts.append(f"{who} has uids {thread.uids} and gids {thread.gids}")
        if set(thread.groups) != set(groups):
            doubts.append(f"{who} has groups {thread.groups}")
        for name, bits in thread.capabilities.items():
            if bits & ~allowed.get(name, 0) and (name != "CapBnd" or empty_bounding_set):
                doubts.append(f"{who} has {name} {bits:#x}")
        if not thread.no_new_privs:
            doubts.append(f"{who} lacks no_new_privs")
    if uid == 0:
        doubts.append("the user is root")
    if len({thread.uids for thread in threads}) > 1:
        # Nothing is tried then: glibc ends a process whose threads answer setuid(2) differently.
        _refuse(uid, gid, doubts)
    attempts: dict[str, Callable[[], None]] = {
        "setuid(0)": lambda: os.setuid(0),
        "seteuid(0)": lambda: os.seteuid(0),
        "setresuid(0, 0, 0)": lambda: os.setresuid(0, 0, 0),
        "setgroups([0])": lambda: os.setgroups([0]),
    }
    if gid != 0:
        attempts["setgid(0)"] = lambda: os.setgid(0)
        attempts["setresgid(0, 0, 0)"] = lambda: os.setresgid(0, 0, 0)
    for name, attempt in attempts.items():
        try:
            attempt()
        except PermissionError:
            continue
        except OSError as error:
            doubts.append(f"{name} failed with {error.strerror} instead of EPERM")
        else:
            doubts.append(f"{name} succeeded")
    if doubts:
        _refuse(uid, gid, doubts)


def _refuse(uid: int, gid: int, doubts: list[str]) -> NoReturn:
    msg = f"drop to uid {uid}, gid {gid} is not proven: {'; '.join(doubts)}"
    raise NotPermittedError(msg)
