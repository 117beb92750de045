"""What is known of a worker's death, kept as a record.

Runs in the supervisor. Sources: the JDK's troubleshooting guide on -XX:ErrorFile (%p is the process id; the default is
the working directory, then /tmp); proc(5) and the kernel's cgroup documents on memory.events and memory.oom_control.
"""

from __future__ import annotations

import os
import re
import signal
import time

from jvmbind.lifecycle.death import ENDED_WELL
from jvmbind.posix.cgroup import groups
from jvmbind.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jvmbind.posix.process import Ended
    from jvmbind.supervisor.generation import Generation

_ERROR_FILE = "-XX:ErrorFile="


class Death(NamedTuple):
    """One death record. `time` is wall clock, `uptime` seconds; `signal` is "" after an exit."""

    time: float
    generation: int
    pid: int
    status: int
    signal: str
    core: bool
    uptime: float
    during_start: bool
    hs_err: str
    oom: bool
    asked: bool = False  # the supervisor had it end in order: a restart, the old one of a reload, a stop

    @property
    def text(self) -> str:
        """Return the death in words, to stand behind "died"."""
        how = f"killed by {self.signal}" if self.signal else f"exit status {self.status}"
        text = f"{' during its start' if self.during_start else ''} after {self.uptime:.1f} s: {how}"
        if self.core:
            text += ", core dumped"
        return f"{text}; the JVM's report is {self.hs_err}" if self.hs_err else text


def describe(generation: Generation, ended: Ended, now: float, *, told: bool = False) -> Death:
    """Return the record of a generation that ended at `now` (monotonic); `told`: it had been told to."""
    name = ""
    if ended.signal:
        try:
            name = signal.Signals(ended.signal).name
        except ValueError:
            name = f"signal {ended.signal}"
    oom = ended.signal == signal.SIGKILL and _counter.has_grown()
    in_order = ended.signal in {signal.SIGTERM, signal.SIGKILL} if ended.signal else ended.status in ENDED_WELL
    return Death(
        time=time.time(),
        generation=generation.number,
        pid=generation.process.pid,
        status=ended.status,
        signal=name,
        core=ended.core,
        uptime=round(now - generation.started, 3),
        during_start=not generation.main_runs,
        oom=oom,
        asked=told and in_order and not oom,
        hs_err=error_report(generation.process.pid, generation.spec.java_arguments, now - generation.started),
    )


def _oom_kills() -> int:
    """Return how many processes the kernel has killed in our cgroup: memory.events (v2), memory.oom_control (v1)."""
    for group in groups("self"):
        folder = group.folder("memory")
        for name in ("memory.events", "memory.oom_control") if folder else ():
            try:
                with open(f"{folder}{group.path}/{name}", encoding="ascii") as file:
                    counts = dict(line.split() for line in file)
                    return int(counts.get("oom_kill", 0))
            except (OSError, ValueError):
                continue
    return 0


class _Counter:
    """The number of kills for lack of memory, as last seen."""

    def __init__(self) -> None:
        self._last = _oom_kills()

    def has_grown(self) -> bool:
        before, self._last = self._last, _oom_kills()
        return self._last > before


_counter = _Counter()


def error_report(pid: int, java_arguments: Sequence[str], age: float) -> str:
    """Return the path of HotSpot's report on the crash of process `pid`, which began `age` seconds ago, or ""."""
    given = [a[len(_ERROR_FILE) :] for a in java_arguments if a.startswith(_ERROR_FILE)][-1:]
    names = [re.sub("%([%p])", lambda found: "%" if found[1] == "%" else str(pid), name) for name in given]
    names += [f"hs_err_pid{pid}.log", f"/tmp/hs_err_pid{pid}.log"]  # noqa: S108 - HotSpot's own default, only looked at
    for name in names:
        # An older one is that of another process which had the number.
        if os.path.isfile(name) and os.path.getmtime(name) >= time.time() - age - 1:
            return os.path.abspath(name)
    return ""
