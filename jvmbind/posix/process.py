"""Starting a process by exec, and learning of its end from the kernel.

Runs in the supervisor. Sources: posix_spawn(3), pidfd_open(2), waitid(2).
"""

from __future__ import annotations

import contextlib
import os
import select
import time

from jvmbind.bare import signal
from jvmbind.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


_WALL = 0x40000000  # linux/wait.h: also children whose end is told by another signal than SIGCHLD, or by none


def reap_strangers(own: Iterable[int]) -> None:
    """Collect every child that has ended and is none of `own`: orphans, and what a worker made a child of this process."""
    known = set(own)
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        children = [int(pid) for pid in file.read().split()]
    for pid in children:
        if pid not in known:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG | _WALL)


def find_program(name: str, path: str) -> str:
    """Return the file that execvp(3) runs for `name` with the PATH `path`, "" where there is none."""
    if "/" in name:
        return name
    files = (os.path.join(folder or ".", name) for folder in path.split(os.pathsep))
    return next((file for file in files if os.path.isfile(file) and os.access(file, os.X_OK)), "")


_PAUSE = 0.02  # seconds
_PATIENCE = 1.0


def children(pid: int | str) -> list[int]:
    """Return the living children of a process, of all its threads; none where it has ended: proc(5)."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                found += map(int, file.read().split())
    return found


class Ended(NamedTuple):
    """How a process ended: `signal` is 0 after an exit with `status`."""

    status: int
    signal: int
    core: bool


class Process:
    """One started process, held by a pidfd: its number can never be that of another."""

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        fds: Mapping[int, int],
        *,
        mask: Iterable[int] = (),
        session: bool = False,
    ) -> None:
        """Start `command` with exactly the descriptors 0, 1, 2 and `fds` (number there -> descriptor here).

        The signals in `mask` are blocked in it; SIGPIPE and SIGXFSZ, which Python ignores, have their default.
        `session`: it leads a session of its own, without a controlling terminal (setsid(2)). Raises OSError.
        """
        actions = [(os.POSIX_SPAWN_DUP2, here, there) for there, here in fds.items()]
        self.pid = os.posix_spawn(
            command[0],
            list(command),
            environ,
            file_actions=actions,  # dup2 onto itself clears close-on-exec (POSIX.1-2024, glibc 2.29)
            setsigmask=mask,
            setsid=session,
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
        )
        try:
            self.pidfd = os.pidfd_open(self.pid)
        except OSError:
            os.kill(self.pid, signal.SIGKILL)  # not yet waited for, so the number is still its own
            os.waitpid(self.pid, 0)
            raise

    @classmethod
    def adopted(cls, pid: int, pidfd: int) -> Process:
        """Return a child that was started otherwise, by a pidfd that is its own from now on (-1: it was reaped)."""
        self = cls.__new__(cls)
        self.pid, self.pidfd = pid, pidfd
        return self

    def kill(self, number: int) -> None:
        """Send a signal; nothing happens where the process has ended."""
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            return

    def kill_group(self, number: int) -> None:
        """Send a signal to the process group that this process leads, as a terminal does to the one in the foreground.

        Its number is not given to another group as long as this process has not been reaped.
        """
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return

    def reap(self) -> Ended | None:
        """Collect the end of the process once it has come, and close the pidfd; None while it runs.

        Where another process traces it, its end belongs to that one first (ptrace(2)): a tracer of this user is ended, as
        it could keep the death from this process for ever.
        """
        result = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG)
        if result is None:
            self._end_tracer()
            return None
        with contextlib.suppress(OSError):  # the end is known now, and must not be lost
            os.close(self.pidfd)
        if result.si_code == os.CLD_EXITED:
            return Ended(result.si_status, 0, core=False)
        return Ended(0, result.si_status, core=result.si_code == os.CLD_DUMPED)

    def end(self) -> None:
        """Kill the process and collect its end; what cannot be killed yet, or is kept by a tracer, is left to `reap_strangers`."""
        self.kill(signal.SIGKILL)
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        deadline = time.monotonic() + _PATIENCE
        while self.reap() is None:
            if time.monotonic() >= deadline:
                os.close(self.pidfd)
                return
            poll.poll(_PAUSE * 1000)

    def _end_tracer(self) -> None:
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        if not poll.poll(0):
            return  # it runs
        time.sleep(_PAUSE)  # a debugger of root's takes the end and goes on; the pidfd stays readable meanwhile
        with contextlib.suppress(OSError, ValueError), open(f"/proc/{self.pid}/status", encoding="utf-8", errors="replace") as file:
            tracer = next((int(line.split()[1]) for line in file if line.startswith("TracerPid:")), 0)
            if tracer > 1:
                os.kill(tracer, signal.SIGKILL)  # refused where it is of another user
