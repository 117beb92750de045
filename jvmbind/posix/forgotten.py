"""Takes the traces of its start out of a process.

Runs after the drop, as the service user. Source: proc_pid_stat(5).
"""

from __future__ import annotations

import ctypes
from pathlib import Path

_ARG_START = 47  # of /proc/PID/stat, counted from 0; then arg_end, env_start, env_end


def forget_start(title: str, *, environment: bool) -> None:
    """Show `title` in place of the command line, and with `environment` wipe that of the start out of the memory.

    Both lie where the kernel put them at the exec, for /proc/PID/cmdline and environ: an `--env SECRET=VALUE` in the first,
    which every user may read, and whatever root's shell had in the second. os.environ must have been filled anew by now.
    """
    stat = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace")
    fields = ["", "", *stat.rpartition(")")[2].split()]  # the name may hold blanks and brackets
    arguments, end_of_arguments, variables, end_of_variables = map(int, fields[_ARG_START : _ARG_START + 4])
    room = end_of_arguments - arguments
    if arguments and room > 0:
        ctypes.memset(arguments, 0, room)
        text = title.encode()[: room - 1]
        ctypes.memmove(arguments, text, len(text))
    if environment and variables and end_of_variables > variables:
        ctypes.memset(variables, 0, end_of_variables - variables)
