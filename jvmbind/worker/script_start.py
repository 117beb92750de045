"""Starts a wrapper script, and ends as one has ended.

Runs in the worker that runs it, as the service user. Must not import jpype. Source: prctl(2) on PR_SET_PDEATHSIG.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

import prctl

from jvmbind.errors import ConfigurationError
from jvmbind.posix import seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import NoReturn

FATAL = (signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGKILL, signal.SIGSEGV, signal.SIGSYS)


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


def end_as(status: int) -> NoReturn:
    """End this process as a script has ended, whose `status` is that of waitpid(2)."""
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0
    if not number and code - 128 in FATAL:
        number = code - 128  # a shell's way to say that the JVM which it waited for was killed by that signal
    if number:
        prctl.set_dumpable(0)  # the JVM has left its core, this process needs none
        if number not in {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.kill(os.getpid(), number)
    os._exit(128 + number if number else code)
