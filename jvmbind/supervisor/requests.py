"""Who waits for the end of a reload, a restart, a stop or a dump, and what is said to them meanwhile.

Runs in the supervisor as the service user. A request is answered when it has happened; until then packets without "ok"
say that it was begun, and every few seconds what is waited for.
"""

from __future__ import annotations

import time

from jvmbind.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Answer = Callable[[dict[str, Any]], None]

_SILENCE = 2.0  # seconds after which it is said what is waited for, and between two such words


class _Waiter(NamedTuple):
    answer: Answer
    what: str


class Requests:
    """Those that are not answered yet."""

    def __init__(self) -> None:
        """Nobody waits."""
        self._waiters: list[_Waiter] = []
        self._speak_at = 0.0

    def add(self, answer: Answer, what: str, *, begun: bool = False) -> None:
        """Let who is answered by `answer` wait for `what`."""
        if not self._waiters:
            self._speak_at = time.monotonic() + _SILENCE
        self._waiters.append(_Waiter(answer, what))
        if begun:
            answer({"begun": True})

    def begun(self, what: str) -> None:
        """Say that what was asked for can be done and has begun."""
        for waiter in self._of(what):
            waiter.answer({"begun": True})

    def done(self, what: str, answer: dict[str, Any]) -> None:
        """Answer everybody who waits for `what`."""
        for waiter in self._of(what):
            waiter.answer(answer)
            self._waiters.remove(waiter)

    def _of(self, what: str) -> list[_Waiter]:
        return [waiter for waiter in self._waiters if waiter.what == what]

    def deadline(self) -> float | None:
        """Return when `speak` has something to say."""
        return self._speak_at if self._waiters else None

    def speak(self, waits_for: Callable[[], str]) -> None:
        """Say what is waited for, when it is time to."""
        now = time.monotonic()
        if not self._waiters or now < self._speak_at:
            return
        self._speak_at = now + _SILENCE
        text = waits_for()  # "" says no more than that this process works
        for waiter in self._waiters:
            if waiter.what != "status":
                waiter.answer({"waits_for": text})
