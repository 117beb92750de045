"""Says which tests a parallel run waits for, where nothing else was said for some seconds.

Loaded by tests/conftest.py into the process that hands tests out, which runs none itself.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

_SILENCE = 4.0  # seconds, as progress.sh


class Running:
    """A plugin of pytest: a line with the oldest running test after each four seconds without a result."""

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter
        self._running: dict[str, float] = {}
        self._said = time.monotonic()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def pytest_runtestloop(self) -> None:
        """Begin with the tests."""
        self._thread.start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test began in one of the processes."""
        self._running[nodeid] = time.monotonic()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """And ended: its result was printed."""
        self._running.pop(nodeid, None)
        self._said = time.monotonic()

    def pytest_sessionfinish(self) -> None:
        """Nothing is printed into the summary."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(0.5):
            now = time.monotonic()
            running = list(self._running.items())
            if running and now - self._said >= _SILENCE:
                self._said = now
                nodeid, since = min(running, key=lambda each: each[1])
                self._reporter.write_line(f"\n{len(running)} running, the oldest for {now - since:.0f} s: {nodeid}")
