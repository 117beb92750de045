"""Where the supervisor's lines go: stderr; where that is the journal, to the journal with fields.

Runs in the supervisor.
A caller adds fields with `extra`: EVENT (one word), GENERATION (its number), LISTENER (its name); on stderr they do not
appear. Sources: systemd.exec(5) on JOURNAL_STREAM, systemd.journal-fields(7), sd-daemon(3) on the prefixes.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from jvmbind.errors import printable

_FIELDS = ("EVENT", "GENERATION", "LISTENER")


class _Formatter(logging.Formatter):
    """One line for each record, whatever a worker has put into it."""

    def __init__(self) -> None:
        super().__init__("jvmbind: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class _Journal(logging.Handler):
    """Sends records with their fields by systemd-python's handler, and as lines with a priority where that fails.

    Its handler is not used as it is: it stores the arguments of every call in a field of their own, CODE_ARGS.
    """

    def __init__(self) -> None:
        from systemd.journal import JournalHandler, send  # noqa: PLC0415 - loaded only where there is a journal

        super().__init__()
        self._send = send
        self._handler = JournalHandler(sender_function=self._send_or_print, SYSLOG_IDENTIFIER="jvmbind")

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on the finished text and the known fields, nothing else that the record holds."""
        fields = {name: getattr(record, name) for name in _FIELDS if hasattr(record, name)}
        known = {
            name: getattr(record, name)
            for name in ("name", "levelno", "levelname", "pathname", "lineno", "funcName", "threadName", "processName")
        }
        self._handler.emit(logging.makeLogRecord({**known, **fields, "msg": printable(record.getMessage())}))

    def _send_or_print(self, text: str, /, **fields: Any) -> None:  # noqa: ANN401 - whatever the handler makes of a record
        try:
            self._send(text, **fields)
        except OSError:
            # No socket of the journal here, but stderr leads there: a sandbox without /run/systemd/journal.
            sys.stderr.write(f"<{fields['PRIORITY']}>jvmbind: {text}\n")


def _stderr_is_journal() -> bool:
    try:
        info = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{info.st_dev}:{info.st_ino}"


def format_first_lines() -> None:
    """Give what is said before the log is opened the form of all other lines."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_Formatter())


def open_log(*, quiet: bool) -> logging.Logger:
    """Return the logger of the supervisor; with `quiet` only warnings and errors are written."""
    logger = logging.getLogger("jvmbind")
    handler: logging.Handler
    if _stderr_is_journal():
        handler = _Journal()
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(_Formatter())
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    logger.propagate = False
    logging.raiseExceptions = False  # a closed stderr must not end the service
    return logger


def fields_of(event: str, generation: int = 0, listener: str = "") -> dict[str, str | int]:
    """Return the fields of a line, for `extra`."""
    fields: dict[str, str | int] = {"EVENT": event}
    if generation:
        fields["GENERATION"] = generation
    return {**fields, "LISTENER": listener} if listener else fields
