"""The connections of an application that has no listeners any more: counted, and ended in order.

Runs in the responder, as the service user. Source: shutdown(2).
"""

from __future__ import annotations

import time

from jvmbind.handover.connections import half_close, traffic
from jvmbind.wire import Connections

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jvmbind.handover.traffic import Traffic
    from jvmbind.spec import ListenSpec


class Drained:
    """What is left of a drained application's connections."""

    def __init__(self, specs: Sequence[ListenSpec], memory: int, pid: int) -> None:
        """Know of none yet; `memory` reads the worker's memory, `pid` is the worker."""
        self._specs, self._memory, self._pid = specs, memory, pid
        self._first: dict[int, tuple[float, int]] = {}  # inode of a connection -> when it was first looked at, and segments_out
        self._closes_idle = self._closes_all = False
        self._said: Connections | None = None

    def begin_again(self) -> None:
        """Say once more how many there are."""
        self._said = None

    def close(self, *, idle_only: bool) -> None:
        """End the input of each connection on which nobody asks or is answered, from now on; or that of all of them."""
        self._closes_idle, self._closes_all = True, not idle_only

    def look(self, listeners: set[int], *, callbacks: bool) -> Connections | None:
        """Return how many connections there are, if that is news; `listeners` are descriptors that are none.

        `callbacks`: whether those of the application have not all returned yet.
        """
        now = time.monotonic()
        found = traffic(self._specs, listeners, self._memory, self._pid)
        self._first = {one.inode: self._first.get(one.inode, (now, facts.segments_out)) for one, facts in found.items()}
        known = {one: _with_past(facts, now, *self._first[one.inode]) for one, facts in found.items()}
        if self._closes_idle:
            half_close(one for one, facts in known.items() if self._closes_all or _may_end(facts))
        left = [facts for facts in known.values() if not facts.is_over]
        busy = [facts for facts in left if facts.in_work]
        said = Connections(len(left), len(busy), sum(facts.is_asking for facts in left if not facts.in_work), int(callbacks))
        if said == self._said:
            return None
        self._said = said
        return said


def _with_past(facts: Traffic, now: float, first: float, segments_out: int) -> Traffic:
    return facts._replace(known=int((now - first) * 1000), answers=facts.segments_out - segments_out)


def _may_end(facts: Traffic) -> bool:
    """Whether no client loses what it has asked for by the end of a connection."""
    return facts.is_between_requests or not (facts.in_work or facts.is_asking)
