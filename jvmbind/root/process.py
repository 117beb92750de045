"""This process before anything is bound: its standard descriptors, /proc, and that nobody can reach into it.

Runs with whatever privilege the caller has. Sources: open(2), proc(5), ptrace(2) on access mode checking,
PR_SET_DUMPABLE(2const), waitpid(2).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys

import prctl

from jvmbind.errors import NotPermittedError, SystemFailureError


def fill_standard_fds() -> None:
    """Open /dev/null on each of 0, 1 and 2 that is closed, so that no socket ever gets one of these numbers.

    What is written to a stream that the caller has closed goes nowhere, as under `java`. Raises SystemFailureError.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            try:
                null = os.open("/dev/null", os.O_RDWR)  # open(2) gives the lowest free number, which is `fd`
            except OSError as error:
                msg = f"descriptor {fd} is closed and /dev/null cannot be opened ({error.strerror}); expected one of the two"
                raise SystemFailureError(msg) from error
            os.set_inheritable(null, True)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - for the process's life
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def check_proc() -> None:
    """Check that /proc shows at least this process: the drop is proven by it, and a worker sees its JVM there.

    Raises SystemFailureError. systemd's ProcSubset=pid and ProtectProc= (hidepid) leave that.
    """
    try:
        os.listdir("/proc/self/fd")
        os.stat(f"/proc/{os.getpid()}/task/{os.getpid()}/status")
    except OSError as error:
        msg = f"/proc: {error.strerror}; expected a proc file system that shows each process itself (mount -t proc proc /proc)"
        raise SystemFailureError(msg) from error


def is_privileged() -> bool:
    """Whether this process is root or has any capability in effect."""
    if os.geteuid() == 0:
        return True
    with open("/proc/self/status", encoding="utf-8", errors="replace") as lines:
        return any(int(line.split()[1], 16) != 0 for line in lines if line.startswith("CapEff:"))


def wait_for_children() -> None:
    """Take back an ignored SIGCHLD: inherited, it would make the kernel collect every child of every role (waitpid(2))."""
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def end_of(child: int, patience: int) -> int:
    """Return the exit status of a child, or minus the signal that ended it; killed if it does not end in `patience` milliseconds.

    Whoever has its user may have stopped it. A root without CAP_KILL may not kill it, and leaves it.
    """
    watched, poll = os.pidfd_open(child), select.poll()
    poll.register(watched, select.POLLIN)
    if not poll.poll(patience):
        with contextlib.suppress(PermissionError):
            os.kill(child, signal.SIGKILL)
            poll.poll(1000)
    os.close(watched)
    gone, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if gone else -signal.SIGKILL


def close_to_others() -> None:
    """Let no process of this user trace this one, read its memory or take its descriptors; raises NotPermittedError.

    Who traces it already stays, and could do all of that; then nothing may be bound.
    """
    prctl.set_dumpable(0)
    with open("/proc/self/status", encoding="utf-8", errors="replace") as status:
        tracer = next((line.split()[1] for line in status if line.startswith("TracerPid:")), "0")
    if tracer != "0":
        msg = f"this process is traced by process {tracer}, which could take the listeners; expected a start without a tracer"
        raise NotPermittedError(msg)


def set_limits(limits: tuple[tuple[str, int, int], ...]) -> None:
    """Set the resource limits, which every process of the service inherits; raises NotPermittedError. Source: getrlimit(2)."""
    import resource  # noqa: PLC0415 - seldom needed

    for name, soft, hard in limits:
        try:
            resource.setrlimit(getattr(resource, f"RLIMIT_{name.upper()}"), (soft, hard))
        except (AttributeError, OSError, ValueError) as error:
            # ValueError is what the module makes of EPERM: "not allowed to raise maximum limit".
            msg = f"limit {name}: cannot be set to {soft}:{hard}: {error}; a hard limit is raised as root only"
            raise NotPermittedError(msg) from error
