"""Who waits for the end of a reload, a restart, a stop or a dump, and what is said to them meanwhile.

Runs in the supervisor as the service user. A request is answered when it has happened; until then packets without "ok"
say that it was begun, and every few seconds what is waited for.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from jvmbind.supervisor.control import Control

_SILENCE = 2.0  # seconds after which it is said what is waited for, and between two such words


class _Waiter(NamedTuple):
    client: int
    asked_by: socket.socket
    what: str


class Requests:
    """Those that are not answered yet."""

    def __init__(self, control: Control) -> None:
        """Nobody waits."""
        self._control = control
        self._waiters: list[_Waiter] = []
        self._speak_at = 0.0

    def add(self, client: int, what: str, *, begun: bool = False) -> None:
        """Let a client wait for `what`."""
        if not self._waiters:
            self._speak_at = time.monotonic() + _SILENCE
        waiter = _Waiter(client, self._control.client(client), what)
        self._waiters.append(waiter)
        if begun:
            self._tell(waiter, {"begun": True})

    def begun(self, what: str) -> None:
        """Say that what was asked for can be done and has begun."""
        for waiter in self._of(what):
            self._tell(waiter, {"begun": True})

    def done(self, what: str, answer: dict[str, Any]) -> None:
        """Answer everybody who waits for `what`."""
        for waiter in self._of(what):
            self._tell(waiter, answer)
            self._waiters.remove(waiter)

    def _of(self, what: str) -> list[_Waiter]:
        return [waiter for waiter in self._waiters if waiter.what == what]

    def _tell(self, waiter: _Waiter, answer: dict[str, Any]) -> None:
        self._control.answer(waiter.client, answer, asked_by=waiter.asked_by)

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
                self._tell(waiter, {"waits_for": text})
