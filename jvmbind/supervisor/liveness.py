"""Tells a hung JVM from a busy one, and what is done about it, in stages.

Runs in the supervisor as the service user. Two signs, each optional: connections wait in an accept queue and none is
taken, and the JVM has not answered its heartbeat. A JVM that uses the processor gets more time: it may be collecting
garbage. Sources: tcp(7), proc(5) on /proc/PID/stat.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from jvmbind.posix.listening import TCP_LISTEN, accept_queue, held, tcp_rows

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable

    from jvmbind.spec import ListenSpec, ServiceSpec
    from jvmbind.supervisor.generation import Generation

INTERVAL = 1.0  # seconds between two looks
_BUSY = 0.5  # of one processor
_BUSY_FACTOR = 3.0  # so much longer may a busy JVM be silent
_STAGE = 0.5  # each further action comes after so much more of the time-out


class Liveness:
    """Watches the serving generation."""

    def __init__(self, log: logging.Logger) -> None:
        """Watch nobody yet."""
        self._log = log
        self._number = 0
        self._since: dict[str, float] = {}  # sign -> when it was last well
        self._clients: dict[str, set[str]] = {}
        self._taken: dict[str, int] = {}
        self._given_up: set[str] = set()  # signs for which no action is left
        self._cpu = 0.0
        self._looked = 0.0

    def is_given_up(self, number: int) -> bool:
        """Whether all was done about this generation that is to be done here, and it lives and is silent still."""
        return number == self._number and bool(self._given_up)

    def skip(self, seconds: float) -> None:
        """Do not count a time for which everybody was stopped."""
        self._since = {sign: moment + seconds for sign, moment in self._since.items()}
        self._looked += seconds

    def look(self, spec: ServiceSpec, generation: Generation, listeners: Iterable[tuple[ListenSpec, int]], now: float) -> None:
        """Look at the generation, and act where a sign of life has been missing for too long."""
        pid = generation.process.pid
        cpu = cpu_seconds(pid)
        if generation.number != self._number:
            self._number = generation.number
            self._since, self._clients, self._taken, self._given_up = {}, {}, {}, set()
            self._looked, self._cpu = now, cpu
            return
        usage = (cpu - self._cpu) / max(now - self._looked, 0.001)
        self._looked, self._cpu = now, cpu
        if spec.queue_timeout:
            for listener, fd in listeners:
                if listener.protocol == "tcp" and listener.listens:
                    self._look_at_queue(listener.name, fd, now)
                    self._judge(f"the accept queue of listener {listener.name!r}", spec.queue_timeout, spec, generation, now, usage)
        if spec.heartbeat_timeout:
            sign = "the heartbeat of the JVM"
            self._since[sign] = max(self._since.get(sign, now), generation.last_heartbeat)
            self._judge(sign, spec.heartbeat_timeout, spec, generation, now, usage)

    def _look_at_queue(self, name: str, fd: int, now: float) -> None:
        """A queue has moved when one of the connections that waited in it has been taken: its length says little under load."""
        sign = f"the accept queue of listener {name!r}"
        queue = accept_queue(fd)
        waiting = waiting_clients(fd) if queue and queue.length else set()
        if not waiting or self._clients.get(name, set()) - waiting or sign not in self._since:
            self._since[sign] = now
        self._clients[name] = waiting

    def _judge(self, sign: str, timeout: float, spec: ServiceSpec, generation: Generation, now: float, usage: float) -> None:
        silent = now - self._since.get(sign, now)
        if silent < timeout:
            self._taken[sign] = 0
            self._given_up.discard(sign)
            return
        stage = self._taken.get(sign, 0)
        if stage >= len(spec.watchdog):
            if silent >= timeout * (1 + stage * _STAGE):
                self._given_up.add(sign)  # it is the manager's turn
            return
        action = spec.watchdog[stage]
        factor = _BUSY_FACTOR if usage >= _BUSY and action == "restart" else 1.0
        if silent < timeout * factor * (1 + stage * _STAGE):
            return
        self._taken[sign] = stage + 1
        self._log.warning(
            "generation %d: %s has not moved for %.0f s (%.0f %% of a processor in use): %s",
            generation.number,
            sign,
            silent,
            usage * 100,
            action,
            extra={"EVENT": f"liveness-{action}", "GENERATION": generation.number},
        )
        if action == "dump":
            why = generation.ask_for_dump()
            if why:
                self._log.warning("%s", why, extra={"EVENT": "no-dump", "GENERATION": generation.number})
        elif action == "restart":
            generation.process.kill(signal.SIGKILL)


def waiting_clients(fd: int) -> set[str]:
    """Return the remote ends of the connections that nobody has accepted yet: rows without an inode in /proc/net/tcp."""
    with held(fd) as listener:
        port = f":{listener.getsockname()[1]:04X}"
    return {fields[2] for fields in tcp_rows() if fields[1].endswith(port) and fields[3] != TCP_LISTEN and fields[9] == "0"}


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used, 0 where it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0.0
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
