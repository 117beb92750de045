"""The caller's terminal, which knows the supervisor alone: each worker is in a session of its own.

Runs in the supervisor as the service user. What the terminal does to its foreground process group under `java` is passed
on: keys that send a signal, stopping and continuing (job control), and its end.
Sources: credentials(7), setsid(2), tty_ioctl(4), signal(7); POSIX on orphaned process groups, which SIGTSTP does not stop.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from jvmbind.posix.signals import Disposition, disposition

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jvmbind.posix.process import Process
    from jvmbind.posix.signals import Received

SUSPENDS = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
_STOPPED = ("T", "t", "Z", "X")  # proc(5)
_STOP_SECONDS = 2.0
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


def suspend(number: int, workers: Iterable[Process]) -> float:
    """Stop the workers and this process as the signal `number` does by default, until SIGCONT; return the seconds.

    A worker that catches the signal gets it; one that ignores it goes on. In their own sessions SIGTSTP would not stop them.
    """
    stopped: set[int] = set()
    for worker in workers:
        what = disposition(worker.pid, number)
        if what is Disposition.CAUGHT:
            worker.kill(number)
        elif what is Disposition.DEFAULT:
            worker.kill_group(signal.SIGSTOP)
            stopped.add(worker.pid)
    begun = time.monotonic()
    if stopped:
        _wait_until_stopped(stopped, begun + _STOP_SECONDS)
        os.kill(os.getpid(), number)  # blocked, and so taken in the next line
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        signal.pthread_sigmask(signal.SIG_BLOCK, {number})
        if signal.SIGCONT not in signal.sigpending():  # nothing stops an orphaned process group
            resume(workers)
    return time.monotonic() - begun


def _wait_until_stopped(groups: set[int], deadline: float) -> None:
    """Wait for the last thread: one that is not there yet may still take a line that is meant for the shell."""
    while _runs(groups) and time.monotonic() < deadline:
        time.sleep(0.01)


def _runs(groups: set[int]) -> bool:
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.getpgid(int(name)) in groups:
                for thread in os.listdir(f"/proc/{name}/task"):
                    with open(f"/proc/{name}/task/{thread}/stat", encoding="utf-8", errors="replace") as file:
                        if file.read().rpartition(")")[2].split()[0] not in _STOPPED:
                            return True
        except OSError:
            continue  # it has ended meanwhile
    return False


def resume(workers: Iterable[Process]) -> None:
    """Pass SIGCONT on."""
    for worker in workers:
        worker.kill_group(signal.SIGCONT)
