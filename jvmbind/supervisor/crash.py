"""What is known of a worker's death: the signal by name, and HotSpot's report where there is one.

Runs in the supervisor. Source: the JDK's troubleshooting guide on -XX:ErrorFile (%p is the process id; the default is the
working directory, then /tmp).
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jvmbind.posix.process import Ended

_ERROR_FILE = "-XX:ErrorFile="


def describe_death(pid: int, ended: Ended, java_arguments: Sequence[str]) -> str:
    """Return one line: how the process ended, whether a core was written, and the path of hs_err_pidN.log."""
    try:
        name = signal.Signals(ended.signal).name
    except ValueError:
        name = f"signal {ended.signal}"
    text = f"killed by {name}" if ended.signal else f"exit status {ended.status}"
    if ended.core:
        text += ", core dumped"
    report = error_report(pid, java_arguments)
    return f"{text}; the JVM's report is {report}" if report else text


def error_report(pid: int, java_arguments: Sequence[str]) -> str:
    """Return the path of HotSpot's report on the crash of process `pid`, or ""."""
    given = [a[len(_ERROR_FILE) :] for a in java_arguments if a.startswith(_ERROR_FILE)][-1:]
    names = [name.replace("%%", "%").replace("%p", str(pid)) for name in given]
    names += [f"hs_err_pid{pid}.log", f"/tmp/hs_err_pid{pid}.log"]  # noqa: S108 - HotSpot's own default, only looked at
    for name in names:
        if os.path.isfile(name):
            return os.path.abspath(name)
    return ""
