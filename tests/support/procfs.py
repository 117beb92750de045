"""Readers of /proc: credentials of every thread, open descriptors. Run by pytest as root; must not import jvmbind."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from .waiting import wait_until

CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


@dataclass(frozen=True, slots=True)
class ThreadCredentials:
    """What /proc/PID/task/TID/status says of one thread's rights."""

    tid: int
    name: str
    uids: tuple[int, ...]
    gids: tuple[int, ...]
    groups: tuple[int, ...]
    capabilities: tuple[int, ...]
    no_new_privs: int
    seccomp: int


def status_fields(path: Path) -> dict[str, str]:
    """Return the fields of a /proc status file; OSError when the thread is gone."""
    fields = {}
    for line in path.read_text(errors="replace").splitlines():
        key, _, value = line.partition(":")
        fields[key] = value.strip()
    return fields


def thread_credentials(pid: int) -> list[ThreadCredentials]:
    """Return the credentials of each thread that `pid` has now; a thread that ends meanwhile is left out."""
    found = []
    for task in sorted(Path(f"/proc/{pid}/task").iterdir(), key=lambda path: int(path.name)):
        try:
            fields = status_fields(task / "status")
        except (FileNotFoundError, ProcessLookupError):
            continue
        found.append(
            ThreadCredentials(
                tid=int(task.name),
                name=fields["Name"],
                uids=tuple(map(int, fields["Uid"].split())),
                gids=tuple(map(int, fields["Gid"].split())),
                groups=tuple(map(int, fields["Groups"].split())),
                capabilities=tuple(int(fields[name], 16) for name in CAPABILITY_SETS),
                no_new_privs=int(fields["NoNewPrivs"]),
                seccomp=int(fields["Seccomp"]),
            )
        )
    return found


def assert_dropped(pid: int, *, uid: int, gid: int, groups: tuple[int, ...] | None = None) -> int:
    """Assert that every thread of `pid` is the given user without any right; return how many threads there were.

    All four uids and gids are compared (real, effective, saved, file system), all five capability sets must be
    empty and no_new_privs set. `groups` compares the supplementary groups where given.
    """
    threads = thread_credentials(pid)
    assert threads, f"process {pid} has no thread to look at"
    for thread in threads:
        assert thread.uids == (uid,) * 4, thread
        assert thread.gids == (gid,) * 4, thread
        assert thread.capabilities == (0,) * 5, thread
        assert thread.no_new_privs == 1, thread
        if groups is not None:
            assert thread.groups == groups, thread
    return len(threads)


def parent(pid: int) -> int:
    """Return the parent's pid; OSError when `pid` is gone."""
    return int(status_fields(Path(f"/proc/{pid}/status"))["PPid"])


def is_jvm(pid: int) -> bool:
    """Tell whether `pid` has a JVM in its address space."""
    try:
        return "libjvm.so" in Path(f"/proc/{pid}/maps").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False


def command_line(pid: int) -> list[str]:
    """Return the arguments of `pid`, empty for a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def descriptors(pid: int) -> dict[int, str]:
    """Return fd -> link target of `pid` ("socket:[123]", "pipe:[4]", a path, ...)."""
    found = {}
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):
        try:
            found[int(name)] = os.readlink(f"{folder}/{name}")
        except FileNotFoundError:
            continue
    return found


def socket_inode(target: str) -> int | None:
    """Return the inode of a descriptor's link target that is a socket."""
    if target.startswith("socket:["):
        return int(target[8:-1])
    return None


def environment(pid: int) -> dict[str, str]:
    """Return the environment that `pid` was started with by its last exec."""
    entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    pairs = (entry.decode(errors="surrogateescape").partition("=") for entry in entries if entry)
    return {key: value for key, _, value in pairs}


def stop_process(pid: int) -> None:
    """Stop every thread of `pid` with SIGSTOP and wait until each has stopped."""
    os.kill(pid, signal.SIGSTOP)

    def stopped() -> bool:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return all(status_fields(thread / "status")["State"].startswith("T") for thread in threads)

    wait_until(stopped, 10, f"the stop of process {pid}")
