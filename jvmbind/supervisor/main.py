"""Takes the listeners that LISTEN_FDS announces and supervises one service with them.

Run by exec from the launcher, as the service user with no privilege. Must not import jpype.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

import prctl

from jvmbind.errors import JvmbindError, SystemFailureError
from jvmbind.posix.fds import LISTEN_FDS_START
from jvmbind.posix.role import take_role
from jvmbind.posix.signals import block_and_open
from jvmbind.supervisor.loop import FORWARDED, Loop


def main() -> NoReturn:
    """Run the supervisor; ends the process with the service's status."""
    try:
        signals = block_and_open(FORWARDED)
        role = take_role()
        # The worker shares the uid: it must not trace the supervisor or read its memory (ptrace(2), PTRACE_MODE).
        # No worker lives yet. After this /proc/self/environ is closed to this process too.
        prctl.set_dumpable(0)
        prctl.set_name("jvmbind")
        fds = _take_listeners(len(role.spec.listeners))
        # Python ignores SIGPIPE; the worker gets its default back when it is started.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        status = Loop(role.spec, fds, signals).run()
    except JvmbindError as error:
        _fail(error)
    except OSError as error:
        _fail(SystemFailureError(f"supervisor: {error}"))
    os._exit(status)


def _fail(error: JvmbindError) -> NoReturn:
    sys.stderr.write(f"jvmbind: {error}\n")
    sys.stderr.flush()
    os._exit(error.status)


def _take_listeners(expected: int) -> list[int]:
    """Return the descriptors that LISTEN_FDS announces to this process, made close-on-exec."""
    announced = os.environ.pop("LISTEN_FDS", "")
    names = os.environ.pop("LISTEN_FDNAMES", "")
    if os.environ.pop("LISTEN_PID", "") != str(os.getpid()) or announced != str(expected):
        msg = f"supervisor: LISTEN_FDS={announced!r} ({names}) where {expected} listeners are declared"
        raise SystemFailureError(msg)
    fds = list(range(LISTEN_FDS_START, LISTEN_FDS_START + expected))
    for fd in fds:
        os.set_inheritable(fd, False)
    return fds
