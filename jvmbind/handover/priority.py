"""Whose priority the application may change: that of its own threads, and of the processes below the worker.

Runs in the responder as the service user. The kernel would let it change that of the supervisor too, which has the same
user, and which could not undo it. Nor may it, beside its children, outlive a killed supervisor.
Sources: sched_setscheduler(2), setpriority(2), ioprio_set(2), prctl(2) on PR_SET_PDEATHSIG, proc(5).
"""

from __future__ import annotations

from jvmbind.posix.seccomp import IOPRIO_WHO_PGRP, IOPRIO_WHO_PROCESS, PRIO_PGRP, PRIO_PROCESS, Machine, Notification

_DEPTH = 100  # of a tree of processes


def may_change(call: Notification, machine: Machine, worker: int) -> bool:
    """Whether one of the calls of `machine.scheduling` is about the worker or a process below it; or prctl about a child.

    The arguments are in registers: nobody changes them between this look and the call.
    """
    if call.number == machine.prctl:
        return _field(call.tid, "Tgid") != worker
    which, who = call.args[0] & 0xFFFFFFFF, call.args[1] & 0xFFFFFFFF
    if call.number in machine.scheduling.by_pid:
        return _is_below(which, worker)
    process, group = PRIO_PROCESS, PRIO_PGRP
    if call.number == machine.scheduling.ioprio_set:
        process, group = IOPRIO_WHO_PROCESS, IOPRIO_WHO_PGRP
    # A group by the number of its leader; the supervisor is in none that begins below a worker, which has its own session.
    return which in {process, group} and (who == 0 or _is_below(who, worker))


def _is_below(tid: int, worker: int) -> bool:
    pid = _field(tid, "Tgid")
    for _ in range(_DEPTH):
        if pid in {0, worker}:
            break
        pid = _field(pid, "PPid")
    return pid == worker


def _field(pid: int, name: str) -> int:
    """Return a number of /proc/PID/status, 0 where the process has gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            return next((int(line.split()[1]) for line in file if line.startswith(f"{name}:")), 0)
    except (OSError, ValueError):
        return 0
