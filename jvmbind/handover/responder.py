"""The responder: the process that answers the application's system calls and obeys the supervisor, as long as it lives.

Started by the worker, and by a Python program that embeds a JVM, before any Java code is there. It shares the descriptors
(CLONE_FILES), so its dup2 is the application's, and nothing else. What it needs for its work it imports itself, while the
worker creates the JVM; a bind that comes earlier waits. A thread could not do it: JPype holds the interpreter's
lock while it creates the JVM, where agents bind already, and so does subprocess.Popen until its child has called exec.
And what Java writes into its own memory (/proc/self/mem) changes no answer: nobody but root can trace or read this process.

It is no child by which wait(2) without __WCLONE is woken, since its end is told by another signal than SIGCHLD. That
signal ends the worker while the JVM is being created, when nothing else there can run; afterwards a thread waits for it.
Sources: clone(2), prctl(2), seccomp_unotify(2), wait(2), pthread_sigmask(3).
"""

from __future__ import annotations

import ctypes
import gc
import os

import prctl

from jvmbind.bare import signal
from jvmbind.errors import SystemFailureError
from jvmbind.posix import seccomp
from jvmbind.wire import Message, Note

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from jvmbind.handover.attendant import Attendant

_CLONE_FILES = 0x400
_WALL = 0x40000000  # linux/wait.h: children whose end is told by another signal than SIGCHLD as well
_ENDED = signal.SIGSTKFLT  # which nothing else on Linux sends or uses; its default action ends the process


class Responder:
    """The worker's view of its responder."""

    def __init__(
        self, attendant: Callable[[], Attendant], libc: ctypes.CDLL, report: Callable[[Message], None], *, obeys: bool
    ) -> None:
        """Prepare; nothing runs yet. `attendant` is called in the new process; `obeys`: there is a supervisor."""
        self._attendant = attendant
        self._report = report
        self._obeys = obeys
        self._libc = libc
        self._number = -1  # tells it the descriptor of the notifications
        self._told = -1  # tells it that the JVM is up: of its own, as it may read the number later than that
        self._pidfd = -1
        self.pid = 0
        self.notify = -1

    def start(self, program: bytes | None) -> None:
        """Start the process, then install the filter `program` on the calling thread, which must be the only one.

        Raises SystemFailureError. Where there is no user notification the process runs nevertheless if it has a
        supervisor to obey.
        """
        self._number, self._told = os.eventfd(0, os.EFD_CLOEXEC), os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        parent, dumpable = os.getpid(), prctl.get_dumpable()
        gc.freeze()  # the collector writes into each object that it looks at: what both processes have stays shared
        prctl.set_dumpable(0)  # inherited, so that there is no moment at which another process could trace the responder
        try:
            child = int(self._libc.syscall(seccomp.this_machine().clone, _CLONE_FILES | _ENDED, 0, 0, 0, 0))
            if child == 0:
                self._be_the_responder(parent)
        finally:
            prctl.set_dumpable(dumpable)
        if child < 0:
            msg = f"cannot start the process that answers binds: {os.strerror(ctypes.get_errno())}"
            raise SystemFailureError(msg)
        self.pid, self._pidfd = child, os.pidfd_open(child)
        _be_traced_by(child)
        try:
            if program is not None:
                self.notify = seccomp.install(program, self._libc)
        except SystemFailureError:
            if not self._obeys:
                self._outlive_it()
            raise
        finally:
            os.eventfd_write(self._number, self.notify + 2)

    def jvm_is_up(self) -> None:
        """Tell the responder, and stay alive if that ends: `wait_for_its_end` tells."""
        self._outlive_it()
        try:
            os.eventfd_write(self._told, 1)
        except OSError:
            return  # closed by the responder, which has nothing to answer or to obey

    def _outlive_it(self) -> None:
        self._libc.signal(_ENDED, ctypes.cast(self._libc.abs, ctypes.c_void_p))  # does nothing, and exec(2) resets it

    def wait_for_its_end(self) -> str:
        """Return how it ended, once it has: it does not do so by itself. Empty where there was nothing for it to do."""
        result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | _WALL)
        if result is None or result.si_code == os.CLD_EXITED:
            return "" if result is not None and result.si_status == 0 else "has ended"
        return f"was killed by signal {result.si_status}"

    def _be_the_responder(self, parent: int) -> NoReturn:
        """Attend until the worker ends. Descriptors are shared with it: close none but our own."""
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            prctl.set_pdeathsig(signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)
            from jvmbind.posix.shortage import raise_own_limit  # noqa: PLC0415

            raise_own_limit()
            _show_as(f"jvmbind: responder of {parent}")
            prctl.set_name("jvmbind-respond")
            attendant = self._attendant()
            notify = os.eventfd_read(self._number) - 2
            os.close(self._number)
            if notify < 0 and not self._obeys:
                os._exit(0)
            attendant.run(notify, self._told)
        except BaseException as error:  # noqa: BLE001 - the worker says that this process has ended, and this is why
            self._report(Note(f"the process that answers binds: {type(error).__name__}: {error}"))
        finally:
            os._exit(1)


def _be_traced_by(child: int) -> None:
    """Let the responder see on which call a thread of this process waits, where Yama's ptrace_scope is 1."""
    try:
        prctl.set_ptracer(child)
    except OSError:
        return  # EINVAL without Yama


def _show_as(title: str) -> None:
    """Change the command line that `ps` shows: `pgrep -f` for what the worker runs is to find the worker alone.

    It is in this process's own memory, from arg_start to arg_end of proc(5) on /proc/PID/stat. python-prctl's set_proctitle
    looks for it in the environment, which Python has moved by then, and crashes.
    """
    try:
        with open("/proc/self/stat", "rb") as file:
            words = file.read().rpartition(b")")[2].split()  # from the third field on
        start, end = int(words[45]), int(words[46])
        if 0 < start < end:
            ctypes.memmove(start, title.encode()[: end - start - 1].ljust(end - start, b"\0"), end - start)
    except OSError:
        return  # its command line stays that of the worker
