"""Looks at the processes of a service in /proc, a little in each turn of the supervisor's loop.

Runs in the supervisor as the service user. A JVM may have thousands of threads, each of which costs a few reads: signals,
deaths and other requests do not wait for that. All who ask meanwhile get the same answer, and who asks soon after a long
look gets what that has seen. Source: proc(5).
"""

from __future__ import annotations

import os
import time

from jvmbind.record import NamedTuple
from jvmbind.supervisor.status import descendants, memory_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from typing import Any

    from jvmbind.supervisor.generation import Generation as Life

_TURN = 0.005  # seconds of one turn
_FRESH = 4.0  # times as long as the last look took, before the next one begins
_CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


class Looks(NamedTuple):
    """What was seen of the processes of one generation, or of the supervisor."""

    memory: dict[str, int]
    privileges: dict[str, Any]


class Looking:
    """One look at all generations after the other, as long as somebody asks for it."""

    def __init__(self) -> None:
        """Nobody asks."""
        self._wanted = False
        self._work: Generator[None, None, dict[int, Looks]] | None = None
        self._seen: dict[int, Looks] = {}
        self._spent = 0.0
        self._fresh_until = 0.0

    def want(self) -> None:
        """Note that somebody asks."""
        self._wanted = True

    def turn(self, generations: Iterable[Life]) -> dict[int, Looks] | None:
        """Look for a moment; return what was seen once all was, by the number of the generation, 0 for the supervisor."""
        if not self._wanted:
            return None
        begun = time.monotonic()
        if self._work is None:
            generations = list(generations)
            if begun < self._fresh_until and {one.number for one in generations} <= self._seen.keys():
                self._wanted = False
                return self._seen
            self._work, self._spent = _look(generations), 0.0
        try:
            while True:
                next(self._work)
                if time.monotonic() - begun >= _TURN:
                    return None
        except StopIteration as done:
            self._work, self._wanted, self._seen = None, False, done.value
            return self._seen
        except BaseException:
            self._work, self._wanted = None, False
            raise
        finally:
            now = time.monotonic()
            self._spent += now - begun
            self._fresh_until = now + _FRESH * self._spent

    def deadline(self) -> float | None:
        """Return when `turn` is to be called again (monotonic)."""
        return time.monotonic() if self._wanted else None


def _look(generations: Sequence[Life]) -> Generator[None, None, dict[int, Looks]]:
    own = os.getpid()
    found = {0: Looks(memory_of([own]), (yield from privileges_of([own])))}
    for generation in generations:
        pid = generation.process.pid
        pids = [pid]
        if generation.spec.script:  # below a wrapper script the JVM is another process
            for one in descendants(pid):
                pids.append(one)
                yield
        memory = memory_of(pids)
        yield
        found[generation.number] = Looks(memory, (yield from privileges_of(pids)))
    return found


def privileges_of(pids: Iterable[int]) -> Generator[None, None, dict[str, Any]]:
    """Return what /proc says of every thread of processes: ids, capability sets that are not empty, no_new_privs."""
    threads = 0
    uids: set[int] = set()
    sets: dict[str, str] = {}
    no_new_privs = True
    for path in (path for pid in pids for path in _threads(pid)):
        yield
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
            fields = dict(line.split(":", 1) for line in lines if ":" in line)
            threads += 1
            uids |= {int(uid) for uid in fields["Uid"].split()}
            sets |= {name: fields[name].strip() for name in _CAPABILITY_SETS if int(fields[name], 16)}
            no_new_privs = no_new_privs and fields["NoNewPrivs"].strip() == "1"
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread has ended meanwhile
        except (OSError, KeyError, ValueError):
            return {}
    return {"threads": threads, "uids": sorted(uids), "capabilities": sets, "no_new_privs": no_new_privs} if threads else {}


def _threads(pid: int) -> list[str]:
    try:
        return [f"/proc/{pid}/task/{task}/status" for task in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []
