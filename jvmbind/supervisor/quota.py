"""How often somebody may do something: a bucket that is filled at a fixed rate.

Runs in the supervisor. Pure but for the clock.
"""

from __future__ import annotations

import time


class Quota:
    """`burst` at once, and `rate` a second from then on."""

    def __init__(self, burst: float, rate: float) -> None:
        """Begin with a full bucket."""
        self._burst, self._rate = burst, rate
        self._left, self._seen = burst, time.monotonic()

    def take(self) -> bool:
        """Take one; False where there is none."""
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._seen) * self._rate)
        self._seen = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
