"""What is known of a worker's death, kept as a record.

Runs in the supervisor. Sources: the JDK's troubleshooting guide on -XX:ErrorFile (%p is the process id; the default is
the working directory, then /tmp); proc(5) and the kernel's cgroup documents on memory.events and memory.oom_control.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, NamedTuple

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

    @property
    def text(self) -> str:
        """Return the death in words, to stand behind "died"."""
        how = f"killed by {self.signal}" if self.signal else f"exit status {self.status}"
        text = f"{' during its start' if self.during_start else ''} after {self.uptime:.1f} s: {how}"
        if self.core:
            text += ", core dumped"
        return f"{text}; the JVM's report is {self.hs_err}" if self.hs_err else text


def describe(generation: Generation, ended: Ended, now: float) -> Death:
    """Return the record of a generation that ended at `now` (monotonic)."""
    name = ""
    if ended.signal:
        try:
            name = signal.Signals(ended.signal).name
        except ValueError:
            name = f"signal {ended.signal}"
    return Death(
        time=time.time(),
        generation=generation.number,
        pid=generation.process.pid,
        status=ended.status,
        signal=name,
        core=ended.core,
        uptime=round(now - generation.started, 3),
        during_start=not generation.main_runs,
        hs_err=error_report(generation.process.pid, generation.spec.java_arguments),
    )


def error_report(pid: int, java_arguments: Sequence[str]) -> str:
    """Return the path of HotSpot's report on the crash of process `pid`, or ""."""
    given = [a[len(_ERROR_FILE) :] for a in java_arguments if a.startswith(_ERROR_FILE)][-1:]
    names = [name.replace("%%", "%").replace("%p", str(pid)) for name in given]
    names += [f"hs_err_pid{pid}.log", f"/tmp/hs_err_pid{pid}.log"]  # noqa: S108 - HotSpot's own default, only looked at
    for name in names:
        if os.path.isfile(name):
            return os.path.abspath(name)
    return ""
