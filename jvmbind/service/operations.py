"""A reload, a restart or a dump that was asked for: its number, and how it ended.

Runs in the program. Pure.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Literal

from jvmbind import errors
from jvmbind.config.arguments import in_python
from jvmbind.errors import JavaLaunchError, JvmbindError, SystemFailureError
from jvmbind.service.failures import BusyError, OperationFailedError, ReloadFailedError, RestartFailedError
from jvmbind.service.values import ChangeResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# What the launcher calls by the name of its option, and what a program calls it.
_ARGUMENTS = {
    "--user": "user",
    "--env": "env",
    "--inherit": "inherit",
    "--listen": "listen",
    "--name": "name",
    "--java-home": "java['home']",
    "--control-socket": "control['socket']",
}
_OPTION = re.compile(r"--[a-z-]+(?![\w=])")
_KEY = re.compile(r"\[(java|supervise|control|security)\] (\w+)")

OperationKind = Literal["reload", "restart", "dump", "status"]


class Outcome:
    """One request to the supervisor, and what is known of it."""

    def __init__(self, number: int, kind: OperationKind) -> None:
        self.number = number
        self.kind: OperationKind = kind
        self.begun = self.last_word = time.monotonic()
        self.waits_for = ""
        self.answer: dict[str, Any] | None = None
        self.lost: Callable[[], JvmbindError] | None = None  # the service has ended before it answered
        self.seconds = 0.0
        self.version: Version | None = None  # that was sent with it

    @property
    def done(self) -> bool:
        """Whether there is an answer, or none will come."""
        return self.answer is not None or self.lost is not None

    def silent_for(self) -> float:
        """Return the seconds since the supervisor last said a word about it."""
        return time.monotonic() - self.last_word

    def take(self, values: dict[str, Any]) -> None:
        """Take a word of the supervisor about it."""
        self.last_word = time.monotonic()
        self.waits_for = str(values.get("waits_for") or self.waits_for)
        if "ok" in values:
            self.answer, self.seconds = values, time.monotonic() - self.begun
            if self.version is not None and values["ok"]:
                self.version.taken()

    def values(self) -> dict[str, Any]:
        """Return the answer; raises what it means where it is a refusal, and ServiceEndedError."""
        if self.answer is None:
            if self.lost is not None:
                raise self.lost()
            msg = f"{self.kind}: there is no answer yet"
            raise OperationFailedError(msg)
        if self.answer["ok"]:
            return self.answer
        raise self._failure(self.answer)

    def change(self) -> ChangeResult:
        """Return how a reload or a restart ended; raises BusyError, ReloadFailedError, RestartFailedError, ServiceEndedError."""
        return self._result(self.values())

    def _result(self, answer: dict[str, Any]) -> ChangeResult:
        changed = self.version.changed if self.version is not None else ()
        return ChangeResult.from_json(
            {"time": time.time(), **answer, "kind": self.kind, "seconds": self.seconds, "changed": changed}
        )

    def _failure(self, answer: dict[str, Any]) -> OperationFailedError:
        text = f"{self.kind}: {answer['error']}"
        if answer.get("busy"):
            return BusyError(text)
        if self.kind not in {"reload", "restart"}:
            return OperationFailedError(text)
        failure: ReloadFailedError | RestartFailedError
        failure = ReloadFailedError(text) if self.kind == "reload" else RestartFailedError(text)
        failure.result = self._result(answer) if "generation" in answer else None
        if answer.get("kind"):
            cause = refusal_of({**answer, "message": answer["error"]})
            failure.__cause__ = cause
            failure.about(cause.listener, cause.holder, key=cause.key)
        return failure


def refusal_of(values: Mapping[str, Any]) -> JvmbindError:
    """Return an error of the launcher or the supervisor as the class that it was there, in the words of a Python call."""
    kind = getattr(errors, str(values.get("kind")), None)
    if not (isinstance(kind, type) and issubclass(kind, JvmbindError)):
        kind = SystemFailureError
    if issubclass(kind, JavaLaunchError):
        kind = JavaLaunchError  # the one that programs know
    message = _OPTION.sub(lambda found: _ARGUMENTS.get(found[0], found[0]), str(values.get("message")))
    message = _KEY.sub(lambda found: in_python(f"{found[1]}.{found[2]}"), message)
    key, listener = str(values.get("key", "")), str(values.get("listener", ""))
    if not key:
        key = f"listen.{listener}" if listener else "java" if issubclass(kind, JavaLaunchError) else ""
    return kind(message).about(listener, str(values.get("holder", "")), key=in_python(key) if key else "")


class Version:
    """Another version of a service, on its way to the supervisor: its memory file, then the sockets of its listeners."""

    def __init__(self, fds: Sequence[int], changed: tuple[str, ...], taken: Callable[[], None]) -> None:
        """`taken` is called once it is what the service runs."""
        self.fds, self.changed, self.taken = fds, changed, taken
