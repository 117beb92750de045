"""What has happened to a service since its supervisor began, in numbers, for `jvmbind metrics`.

Runs in the supervisor as the service user. Decides nothing; remembers no more than a number for each kind.
"""

from __future__ import annotations

import time
from collections import Counter

from jvmbind.lifecycle import Change

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jvmbind.supervisor.crash import Death


class Counts:
    """Counters, which only grow."""

    def __init__(self) -> None:
        """Nothing has happened."""
        self._since = time.time()
        self._restarts: Counter[str] = Counter()
        self._changes: Counter[tuple[str, str]] = Counter()
        self._deaths: Counter[tuple[str, bool]] = Counter()
        self._times: dict[int, tuple[float, bool]] = {}  # generation -> when it began (monotonic), and whether as a standby
        self._ready, self._seconds, self._last = 0, 0.0, 0.0
        self._cause = "exit"  # of the last death that nobody had asked for

    def started(self, number: int, change: Change, *, parked: bool) -> None:
        """Count a generation that follows another, by the reason for which it was started."""
        standby = parked and change is Change.NONE
        if number > 1 and not standby:
            self._restarts[change.value or self._cause] += 1
        self._times[number] = time.monotonic(), standby

    def released(self, number: int) -> None:
        """Count a standby that takes the place of another generation; the time for which it was kept is none of its start."""
        if self._times.get(number, (0.0, False))[1]:
            self._restarts[self._cause] += 1
            self._times[number] = time.monotonic(), False

    def ready(self, number: int) -> None:
        """Count the time that a generation took until clients were served; a second call for it is none."""
        if number in self._times:
            self._last = time.monotonic() - self._times.pop(number)[0]
            self._ready += 1
            self._seconds += self._last

    def changed(self, change: Change, result: str) -> None:
        """Count a reload or restart: it is done, failed, or was refused."""
        self._changes[change.value, result] += 1

    def died(self, death: Death) -> None:
        """Count a death by its signal, or as an exit."""
        self._times.pop(death.generation, None)
        self._deaths[death.signal or "exit", death.asked] += 1
        if not death.asked:
            self._cause = "crash" if death.signal else "exit"

    def as_json(self) -> dict[str, Any]:
        """Return all of them as JSON values."""
        return {
            "since": self._since,
            "restarts": dict(self._restarts),
            "changes": [{"kind": kind, "result": result, "number": n} for (kind, result), n in sorted(self._changes.items())],
            "deaths": [{"cause": cause, "asked": asked, "number": n} for (cause, asked), n in sorted(self._deaths.items())],
            "ready": {"number": self._ready, "seconds": round(self._seconds, 3), "last": round(self._last, 3)},
        }
