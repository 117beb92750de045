"""The caller's terminal, which knows the supervisor alone: each worker is in a session of its own.

Runs in the supervisor as the service user. What the terminal does to its foreground process group under `java` is passed
on: keys that send a signal, stopping and continuing (job control), and its end.
Sources: credentials(7), setsid(2), tty_ioctl(4), signal(7); POSIX on orphaned process groups, which SIGTSTP does not stop.
"""

from __future__ import annotations

import os
import time

from jvmbind.bare import signal
from jvmbind.posix.signals import ORDINARY, Disposition, disposition, is_blocked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from jvmbind.posix.process import Process
    from jvmbind.posix.signals import Received

SUSPENDS = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
_STOPPED = ("T", "t", "Z", "X")  # proc(5)
_STOP_SECONDS = 2.0
STOPS = (signal.SIGTERM, signal.SIGINT)
# The JVM leaves these alone where they were ignored at its start, as nohup(1) and a shell's `&` do it: so does the supervisor.
_STOPS_UNLESS_IGNORED = tuple(number for number in (*STOPS, signal.SIGHUP) if signal.getsignal(number) is not signal.SIG_IGN)
FORWARDED = (*_STOPS_UNLESS_IGNORED, *ORDINARY, *SUSPENDS, signal.SIGCONT, signal.SIGCHLD)
KEYS = (signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH)  # a key or a new size: to all of the foreground process group


class Terminal:
    """Whether there is one, and whether it has gone."""

    def __init__(self) -> None:
        """Look for it."""
        self._shells = {os.getsid(0), os.getppid()} - {os.getpid()}
        self._was_there = _is_there()

    def is_hang_up(self, received: Received) -> bool:
        """Whether a SIGHUP says that the terminal has gone.

        The kernel tells the leader of the session and the foreground process group. A shell tells its other jobs, by
        kill(2), and by then none of its session has that terminal any more.
        """
        return received.from_kernel or (self._was_there and received.sender in self._shells and not _is_there())


def _is_there() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def suspend(number: int, workers: Mapping[Process, bool]) -> float:
    """Stop the workers and this process as the signal `number` does by default, until SIGCONT; return the seconds.

    `workers` says of each whether it runs a wrapper script. As under `java`, all of its process group get the signal: who
    catches it goes on. In a session of its own SIGTSTP would stop nobody, so the others are stopped by SIGSTOP.
    """
    begun = time.monotonic()
    groups = set()
    for worker, runs_script in workers.items():
        stopped = [_suspend(pid, worker.pid, number) for pid in _members({worker.pid}) if not (runs_script and pid == worker.pid)]
        if any(stopped):
            groups.add(worker.pid)
            if runs_script:
                worker.kill(signal.SIGSTOP)
    if groups:
        _wait_until_stopped(groups, begun + _STOP_SECONDS)
        os.kill(os.getpid(), number)  # blocked, and so taken in the next line
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        signal.pthread_sigmask(signal.SIG_BLOCK, {number})
        if signal.SIGCONT not in signal.sigpending():  # nothing stops an orphaned process group
            resume(workers)
    return time.monotonic() - begun


def _suspend(pid: int, group: int, number: int) -> bool:
    """Send one process the signal or, where it does what is the default, SIGSTOP; return whether that is so.

    One that blocks it (a responder blocks all) keeps it for later, as it would under `java`.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if os.getpgid(pid) != group:
            return False
        what = disposition(pid, number)
        stops = what == Disposition.DEFAULT and not is_blocked(pid, number)
        if what != Disposition.IGNORED:
            signal.pidfd_send_signal(pidfd, signal.SIGSTOP if stops else number)
    except OSError:
        return False
    finally:
        os.close(pidfd)
    return stops


def _members(groups: set[int]) -> Iterator[int]:
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.getpgid(int(name)) in groups:
                yield int(name)
        except OSError:
            continue  # it has ended meanwhile


def _wait_until_stopped(groups: set[int], deadline: float) -> None:
    """Wait for the last thread: one that is not there yet may still take a line that is meant for the shell."""
    while _runs(groups) and time.monotonic() < deadline:
        time.sleep(0.01)


def _runs(groups: set[int]) -> bool:
    """Whether a thread of a process that is being stopped still runs."""
    for pid in _members(groups):
        try:
            threads = [f"/proc/{pid}/task/{thread}/stat" for thread in os.listdir(f"/proc/{pid}/task")]
            by_default = disposition(pid, signal.SIGTSTP) == Disposition.DEFAULT and not is_blocked(pid, signal.SIGTSTP)
            if by_default and not all(map(_has_stopped, threads)):
                return True
        except OSError:
            continue  # it has ended meanwhile
    return False


def _has_stopped(path: str) -> bool:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()[0] in _STOPPED


def resume(workers: Iterable[Process]) -> None:
    """Pass SIGCONT on."""
    for worker in workers:
        worker.kill_group(signal.SIGCONT)
