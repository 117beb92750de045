"""Tells a hung JVM from a busy one, and what is done about it, in stages.

Runs in the supervisor as the service user. Two signs, each optional: connections wait in an accept queue and none is
taken, and the JVM has not answered its heartbeat. A JVM that uses the processor gets more time: it may be collecting
garbage. Sources: tcp(7), proc(5) on /proc/PID/stat.
"""

from __future__ import annotations

import os
import signal

from jvmbind.posix.listening import TCP_CLOSE_WAIT, TCP_ESTABLISHED, accept_queue, tcp_rows
from jvmbind.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable, Sequence

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
        self._queues: dict[int, Queue] = {}  # by port
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
            self._since, self._queues, self._taken, self._given_up = {}, {}, {}, set()
            self._looked, self._cpu = now, cpu
            return
        usage = (cpu - self._cpu) / max(now - self._looked, 0.001)
        self._looked, self._cpu = now, cpu
        if spec.queue_timeout:
            watched = [(listener, fd) for listener, fd in listeners if listener.protocol == "tcp" and listener.listens]
            self._look_at_queues(watched, now)
            for listener, _ in watched:
                self._judge(_sign(listener), spec.queue_timeout, spec, generation, now, usage)
        if spec.heartbeat_timeout:
            sign = "the heartbeat of the JVM"
            self._since[sign] = max(self._since.get(sign, now), generation.last_heartbeat)
            self._judge(sign, spec.heartbeat_timeout, spec, generation, now, usage)

    def _look_at_queues(self, listeners: Iterable[tuple[ListenSpec, int]], now: float) -> None:
        """See which queues are empty, or have moved since the last look: their length says little under load."""
        by_port: dict[int, list[tuple[ListenSpec, int]]] = {}
        for listener, fd in listeners:
            by_port.setdefault(listener.port, []).append((listener, fd))
        for port, group in by_port.items():
            fds = [fd for _, fd in group]
            before, self._queues[port] = self._queues.get(port), _look_at(port, fds)
            moved = before is None or self._queues[port].has_moved_since(before)
            for listener, fd in group:
                if moved or not _length([fd]) or _sign(listener) not in self._since:
                    self._since[_sign(listener)] = now

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


def _sign(listener: ListenSpec) -> str:
    return f"the accept queue of listener {listener.name!r}"


def _length(fds: Iterable[int]) -> int:
    return sum(queue.length for fd in fds if (queue := accept_queue(fd)) is not None)


class Queue(NamedTuple):
    """What was seen of the connections that wait for accept(2) at a port.

    One whose client has reset it keeps its place until it is accepted, but has no row in /proc/net/tcp any more: places
    without a row are counted. The lengths are from before and after the rows were read.
    """

    least: int  # places
    most: int
    waiting: frozenset[str] = frozenset()  # their remote ends
    accepted: frozenset[str] = frozenset()  # those of all other connections at that port

    def has_moved_since(self, before: Queue) -> bool:
        """Whether a connection was accepted in between, for certain."""
        if self.most < before.least or before.waiting & self.accepted:
            return True
        gone = before.waiting - self.waiting
        return self.most - len(self.waiting) < before.least - len(before.waiting) + len(gone)


def _look_at(port: int, fds: Sequence[int]) -> Queue:
    least = _length(fds)
    if not least:
        return Queue(0, 0)
    waiting, accepted = set(), set()
    for fields in tcp_rows():
        if not fields[1].endswith(f":{port:04X}"):
            continue
        if fields[9] != "0":  # the inode of the socket that accept(2) has made
            accepted.add(fields[2])
        elif fields[3] in {TCP_ESTABLISHED, TCP_CLOSE_WAIT}:
            waiting.add(fields[2])
    return Queue(least, _length(fds), frozenset(waiting), frozenset(accepted))


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used, 0 where it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return 0.0
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
