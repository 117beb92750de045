"""Where the supervisor's lines go: stderr, with a priority in front where that is the journal.

Runs in the supervisor. Imported after the first worker was started: `logging` takes as long to load as all the rest.
Source: sd-daemon(3) on the prefixes, systemd.exec(5) on JOURNAL_STREAM.
"""

from __future__ import annotations

import logging
import os

_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.NOTSET, 7))


class _Formatter(logging.Formatter):
    """One line for each record, whatever a worker has put into it."""

    def __init__(self, *, priorities: bool) -> None:
        super().__init__("jvmbind: %(message)s")
        self._priorities = priorities

    def format(self, record: logging.LogRecord) -> str:
        text = "".join(char if char.isprintable() else "?" for char in super().format(record))
        if not self._priorities:
            return text
        return f"<{next(number for level, number in _PRIORITIES if record.levelno >= level)}>{text}"


def _stderr_is_journal() -> bool:
    try:
        info = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{info.st_dev}:{info.st_ino}"


def open_log(*, quiet: bool) -> logging.Logger:
    """Return the logger of the supervisor; with `quiet` only warnings and errors are written."""
    logger = logging.getLogger("jvmbind")
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter(priorities=_stderr_is_journal()))
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    logger.propagate = False
    logging.raiseExceptions = False  # a closed stderr must not end the service
    return logger
