"""Whether a JVM has written the thread dump that it was asked for, as far as the kernel shows.

Runs in the supervisor as the service user. The output is the caller's, and nothing stands in between: what is looked at is
how much the two threads have written that the dump is written by. HotSpot's VM thread writes the stacks, and the thread
that has taken the signal the heap, last of all (os.cpp, signal_thread_entry). Sources: proc_pid_io(5), proc_pid_stat(5),
proc_pid_status(5), the flag PrintHeapAtSIGBREAK.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from jvmbind.posix.signals import Disposition, disposition
from jvmbind.record import NamedTuple
from jvmbind.supervisor.status import descendants

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from jvmbind.supervisor.generation import Generation

_PATIENCE = 10.0  # seconds
_SETTLED = 1.0  # seconds without a further byte, where the heap is not printed
_DISPATCHER, _VM = "Signal Dispatch", "VM Thread"  # names of threads are cut off at 15 characters


class _Seen(NamedTuple):
    dispatcher: int  # bytes written
    vm: int
    asleep: bool


class _Jvm:
    """One JVM, and what its two threads had written before it was asked."""

    def __init__(self, pid: int, threads: dict[str, str]) -> None:
        self.pid, self._threads = pid, threads
        self.before = self.last = self.look()
        self._since = time.monotonic()

    def look(self) -> _Seen:
        """Return what has been written; raises OSError where the kernel does not say, or the JVM has ended."""
        task = Path(f"/proc/{self.pid}/task")
        written, states = [], []
        for name in (_DISPATCHER, _VM):
            fields = dict(line.split(": ") for line in (task / self._threads[name] / "io").read_text("ascii").splitlines())
            written.append(int(fields["wchar"]))
            states.append((task / self._threads[name] / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0])
        return _Seen(written[0], written[1], states == ["S", "S"])

    def is_done(self) -> bool:
        """Whether the dump has been written; raises OSError."""
        seen, now = self.look(), time.monotonic()
        same, self.last = seen == self.last, seen
        if not (same and seen.asleep):
            self._since = now
            return False
        return seen.dispatcher > self.before.dispatcher or (seen.vm > self.before.vm and now - self._since >= _SETTLED)


class Dump:
    """A thread dump on its way."""

    def __init__(self, generations: Iterable[Generation]) -> None:
        """Look at the JVMs of generations that are about to get SIGQUIT."""
        self._generations = list(generations)
        self._jvms: list[list[_Jvm]] = []
        self.deadline = time.monotonic() + _PATIENCE
        self.refused = ""
        for generation in self._generations:
            pid = generation.process.pid
            jvms = [one for one in descendants(pid) if _is_jvm(one)] if generation.spec.script else [pid]
            if jvms and not any(map(_catches, jvms)):
                self.refused = (
                    f"generation {generation.number} does not handle SIGQUIT (-Xrs): the signal for a thread dump would end it"
                )
            self._jvms.append(_jvms_of(jvms))

    def result(self) -> str | None:
        """Return "" when each generation has written one, why not, or None while that is open."""
        for generation, jvms in zip(self._generations, self._jvms, strict=True):
            try:
                # Below a script there may be several JVMs, and the script decides which of them gets the signal.
                if jvms and not any(one.is_done() for one in jvms):
                    return self._late(generation.number)
            except (FileNotFoundError, ProcessLookupError):
                return f"generation {generation.number} ended before the thread dump was written"
            except OSError:
                continue  # the kernel does not let this be seen: that it was asked for has to do
        return ""

    def _late(self, number: int) -> str | None:
        if time.monotonic() < self.deadline:
            return None
        why = "the JVM has not got to it, or nobody reads its output"
        return f"generation {number} has not written the thread dump within {_PATIENCE:g} s: {why}"


def _catches(pid: int) -> bool:
    return disposition(pid, signal.SIGQUIT) == Disposition.CAUGHT


def _is_jvm(pid: int) -> bool:
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
        return any(Path(f"/proc/{pid}/task/{task}/comm").read_text("utf-8", "replace").strip() == _VM for task in tasks)
    except OSError:
        return False


def _jvms_of(pids: Iterable[int]) -> list[_Jvm]:
    """Return the processes that are JVMs; none where the kernel does not say what a thread has written."""
    found = []
    for pid in pids:
        try:
            tasks = os.listdir(f"/proc/{pid}/task")
            threads = {Path(f"/proc/{pid}/task/{task}/comm").read_text("utf-8", "replace").strip(): task for task in tasks}
            if {_DISPATCHER, _VM} <= threads.keys():
                found.append(_Jvm(pid, threads))
        except (OSError, KeyError, ValueError):
            continue
    return found
