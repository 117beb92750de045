"""What a generation leaves behind: a process that still holds a listener ends with it, and every dead child is collected.

Runs in the supervisor as the service user. Under `java` a program that the application has started in the background
lives on, and so it does here. But what was forked without an exec has the listeners too, and would go on taking clients
from the next generation, and keep the port when the service has been stopped.
Sources: prctl(2) on PR_SET_CHILD_SUBREAPER, clone(2) on CLONE_PARENT, proc(5).
"""

from __future__ import annotations

import contextlib
import os
import time

import prctl

from jvmbind.bare import signal
from jvmbind.errors import printable
from jvmbind.posix.process import children, reap_strangers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_PATIENCE = 1.0  # seconds; one that starts others all the time is not chased for ever


_before: set[int] = set()  # children that this process had before the first worker, as a container's first process may have


def adopt_orphans() -> None:
    """Become the parent of every process below the workers whose own parent ends; raises OSError."""
    prctl.set_child_subreaper(1)
    _before.update(children("self"))


def before() -> set[int]:
    """Return the children that this process had before the first worker."""
    return _before


def remember(pids: Iterable[int]) -> None:
    """Take for those children what a version before this one has known as such."""
    _before.update(pids)


def end_holders(own: Collection[int], listeners: Iterable[int]) -> list[str]:
    """End each process that was left to this one and holds one of `listeners`; return what is to be said of each.

    `own` are the children that are waited for by name: neither they nor what is below them is looked at, nor what was there
    before the first worker. A process with a worker's filter that does not let itself be looked at (it is not dumpable) is
    taken for one that holds a listener.
    """
    own = {*own, *_before}
    links = {f"socket:[{os.fstat(fd).st_ino}]" for fd in listeners}
    said: dict[int, str] = {}
    deadline = time.monotonic() + _PATIENCE
    while True:
        late = time.monotonic() >= deadline
        left = [pid for pid in _left_to_us(own) if _end(pid, links, said)]
        reap_strangers(own)
        if not left:
            return list(said.values())
        if late:
            return [*said.values(), f"{len(left)} processes that it left behind cannot be killed: {left[:5]}"]
        time.sleep(0.002)


def _left_to_us(own: Collection[int]) -> list[int]:
    """Return every process below this one that is not below one of `own`."""
    found = [pid for pid in children("self") if pid not in own]
    seen = set(found)
    for pid in found:  # which grows meanwhile
        new = [child for child in children(pid) if child not in seen]
        seen.update(new)
        found += new
    return found


def _end(pid: int, links: Collection[str], said: dict[int, str]) -> bool:
    """Kill a process that holds one of `links`, and say so in `said`; return whether it was one."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return False  # it has ended
    try:
        why = _why(pid, links)
        if why:
            name = printable(_read(f"/proc/{pid}/comm").strip())
            said.setdefault(pid, f"it left process {pid} ({name}), which {why}: ended")
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        return bool(why)
    finally:
        os.close(pidfd)


def _why(pid: int, links: Collection[str]) -> str:
    """Return why a process may not live on, "" where it may. Its threads may have descriptors of their own."""
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
        fields = dict(line.split(":\t", 1) for line in _read(f"/proc/{pid}/status").splitlines() if ":\t" in line)
        ended = fields["State"].startswith("Z") and len(tasks) == 1
        if ended or fields["Uid"].split()[0] != str(os.getuid()):
            return ""  # nothing below a worker has another user; below PID 1 of a container there are strangers
    except (OSError, KeyError):
        return ""  # it has ended meanwhile
    for task in tasks:
        folder = f"/proc/{pid}/task/{task}/fd"
        # A thread may end, and a descriptor be closed, at any moment.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            try:
                numbers = os.listdir(folder)
            except PermissionError:
                return "cannot be looked at" if fields.get("Seccomp") == "2" else ""
            for fd in numbers:
                with contextlib.suppress(FileNotFoundError):
                    if os.readlink(f"{folder}/{fd}") in links:
                        return "holds a listener"
    return ""


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
