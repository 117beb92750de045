"""Waiting for conditions, never for time. Run by pytest; must not import jvmbind."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def wait_until(condition: Callable[[], T], timeout: float = 20.0, what: str = "the condition") -> T:
    """Return the first true value of `condition`, asked every few milliseconds.

    Raises AssertionError naming `what` if none came within `timeout` seconds. An exception of the condition
    itself goes through.
    """
    deadline = time.monotonic() + timeout
    pause = 0.002
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            message = f"{what} did not come within {timeout:g} s"
            raise AssertionError(message)
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
