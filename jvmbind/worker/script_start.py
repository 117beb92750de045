"""Starts a wrapper script.

Runs in the worker that runs it, as the service user. Must not import jpype. Source: prctl(2) on PR_SET_PDEATHSIG.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import TYPE_CHECKING

import prctl

from jvmbind.errors import ConfigurationError
from jvmbind.posix import seccomp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def start(command: Sequence[str], environ: Mapping[str, str], mask: Iterable[int]) -> int:
    """Start the script with the signals of `mask` blocked; it is killed if this process dies, which posix_spawn cannot arrange.

    Returns its process.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    try:
        prctl.set_pdeathsig(signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if not seccomp.refuse(libc, above_workers=True):
            os.write(2, b"jvmbind: no seccomp filter here: this script could type into the terminal that it was started from\n")
        os.execvpe(command[0], list(command), environ)
    except OSError as error:
        os.write(2, f"jvmbind: cannot run {command[0]}: {error.strerror}\n".encode(errors="surrogateescape"))
    finally:
        os._exit(ConfigurationError.status)
