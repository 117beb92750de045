"""Where the supervisor's lines go: stderr; where that is the journal, to the journal with fields.

Runs in the supervisor.
A caller adds fields with `extra`: EVENT (one word), GENERATION (its number), LISTENER (its name); on stderr they appear
as JSON alone. Sources: systemd.exec(5) on JOURNAL_STREAM, systemd.journal-fields(7), sd-daemon(3) on the prefixes,
systemd.io/JOURNAL_NATIVE_PROTOCOL.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time

from jvmbind.errors import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from jvmbind.posix.writing import Outlet

_JOURNAL = "/run/systemd/journal/socket"
_FIELDS = ("EVENT", "GENERATION", "LISTENER")


class _Formatter(logging.Formatter):
    """One line for each record, whatever a worker has put into it, in one of LOG_FORMATS; `service` is its name in JSON."""

    def __init__(self, form: str = "plain", service: str = "") -> None:
        super().__init__()
        self._form, self._service = form, service

    def format(self, record: logging.LogRecord) -> str:
        text = printable(record.getMessage())
        if self._form == "plain":
            return f"jvmbind: {text}"
        local = time.localtime(record.created)
        zone = time.strftime("%z", local)
        stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{int(record.msecs):03}{zone[:3]}:{zone[3:]}"  # RFC 3339
        if self._form == "time":
            return f"{stamp} jvmbind: {text}"
        fields = {name.lower(): getattr(record, name) for name in _FIELDS if hasattr(record, name)}
        return json.dumps({"time": stamp, "level": record.levelname.lower(), "service": self._service, "message": text, **fields})


class _Stderr(logging.Handler):
    """Writes lines to stderr, and does not wait for its reader."""

    def __init__(self, outlet: Outlet, formatter: logging.Formatter) -> None:
        super().__init__()
        self._outlet = outlet
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        self._outlet.write(self.format(record))


class _Journal(logging.Handler):
    """Sends records with their fields, made by systemd-python's handler, and as lines with a priority where that fails.

    Its handler is not used as it is: it stores the arguments of every call in a field of their own, CODE_ARGS. And its
    sender waits for a journal that has stopped.
    """

    def __init__(self, outlet: Outlet, service: str) -> None:
        from systemd.journal import JournalHandler  # noqa: PLC0415 - loaded only where there is a journal

        super().__init__()
        self._outlet = outlet
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._handler = JournalHandler(sender_function=self._send_or_print, SYSLOG_IDENTIFIER="jvmbind", SERVICE=service)

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
            self._socket.sendto(journal_entry({"MESSAGE": text, **fields}), socket.MSG_DONTWAIT, _JOURNAL)
        except OSError:
            # No socket of the journal here, but stderr leads there: a sandbox without /run/systemd/journal. Or no room.
            self._outlet.write(f"<{fields['PRIORITY']}>jvmbind: {text}")


def journal_entry(fields: Mapping[str, object]) -> bytes:
    """Return an entry as the journal takes it: a value with more than one line has its length in front."""
    entry = b""
    for name, value in fields.items():
        text = str(value).encode("utf-8", "surrogateescape")
        entry += b"%s\n%s%s\n" % (name.encode(), len(text).to_bytes(8, "little"), text)
    return entry


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


def open_log(outlet: Outlet, service: str, *, form: str, quiet: bool) -> logging.Logger:
    """Return the logger of a supervisor, whose lines go to `outlet` or to the journal; with `quiet` warnings and errors only.

    `form` is one of LOG_FORMATS, and has no meaning for the journal, which has time and fields of its own.
    """
    logger = logging.getLogger("jvmbind")
    for handler in logger.handlers[:]:  # of a version before this one, in the same process
        logger.removeHandler(handler)
    logger.addHandler(_Journal(outlet, service) if _stderr_is_journal() else _Stderr(outlet, _Formatter(form, service)))
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
