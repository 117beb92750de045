"""Who waits for the end of a reload, a restart, a stop or a dump, and what is said to them meanwhile.

Runs in the supervisor as the service user. A request is answered when it has happened; until then packets without "ok"
say that it was begun, and every few seconds what is waited for.
"""

from __future__ import annotations

import time

from jvmbind.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any, Protocol

    from jvmbind.supervisor.control import Control

    class Answer(Protocol):
        """What answers one request."""

        @property
        def who(self) -> str:
            """Who asks, in words."""

        @property
        def key(self) -> tuple[str, int]:
            """Tells it from all others."""

        def __call__(self, values: dict[str, Any], /) -> None:
            """Answer it."""


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

    def waiters(self) -> list[tuple[tuple[str, int], str]]:
        """Return who waits, as `Control.reply` and `Program.reply` know them, and for what."""
        return [(waiter.answer.key, waiter.what) for waiter in self._waiters]

    def resume(self, answer: Answer, what: str) -> None:
        """Let somebody go on waiting, without a word of a beginning."""
        self._waiters.append(_Waiter(answer, what))

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


class ClientReply:
    """Answers one client of the control socket."""

    def __init__(self, control: Control, fd: int, asked_by: socket.socket, uid: int) -> None:
        """Remember whom."""
        self._control, self._fd, self._asked_by = control, fd, asked_by
        self.who = f"uid {uid}"

    @property
    def key(self) -> tuple[str, int]:
        """What tells this request from others: the client, -1 where it waits no more."""
        return "client", self._fd if self._asked_by.fileno() >= 0 else -1

    def __call__(self, values: dict[str, Any]) -> None:
        """Answer, if it still waits."""
        self._control.answer(self._fd, values, self._asked_by)
