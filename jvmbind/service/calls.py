"""What the calls of a handle do, written once for threads and for asyncio.

Runs in the program. A call that waits is a generator: it yields what it waits for and until when, and is sent whether that
has come about. `RunningService` waits for it in poll(2), `AsyncRunningService` in the event loop.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from jvmbind.config.arguments import check_type
from jvmbind.errors import ArgumentTypeError, ArgumentValueError
from jvmbind.posix.fds import sealed_memory
from jvmbind.service.description import Description
from jvmbind.service.failures import ServiceTimeoutError
from jvmbind.service.handle import SILENCE, Deadline, Handle
from jvmbind.service.operations import Version
from jvmbind.service.start import environment
from jvmbind.service.values import STATES, State
from jvmbind.service.versions import changes, check_change, variables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jvmbind.config.tables import Seconds
    from jvmbind.service.operations import OperationKind, Outcome
    from jvmbind.service.values import ChangeResult, Event, Status

OperationT = TypeVar("OperationT", bound="AnyOperation")
T = TypeVar("T")
Steps = Generator[tuple[Callable[[], bool], Deadline], bool, T]


class AnyOperation:
    """A reload, a restart or a dump that was asked for."""

    def __init__(self, service: Calls[Any], outcome: Outcome) -> None:
        """`begin_reload` and its kin make it."""
        self._service, self._outcome = service, outcome

    @property
    def number(self) -> int:
        """What tells it from the others of the same handle."""
        return self._outcome.number

    @property
    def kind(self) -> OperationKind:
        """What was asked for."""
        return self._outcome.kind

    @property
    def done(self) -> bool:
        """Whether the outcome is known; never waits."""
        self._service._read()  # noqa: SLF001 - one design in two classes
        return self._outcome.done

    @property
    def waits_for(self) -> str:
        """What the service last said that it waits for."""
        return self._outcome.waits_for

    def _steps(self, timeout: Seconds | None) -> Steps[ChangeResult]:
        yield from self._service._finish(self._outcome, seconds("timeout", timeout), self)  # noqa: SLF001 - as above
        return self._outcome.change()

    def __repr__(self) -> str:
        """Return what it is."""
        return f"<{type(self).__name__} {self.kind} {self.number}, {'done' if self._outcome.done else 'on its way'}>"


class Calls(Handle, Generic[OperationT]):
    """The calls; `_operation` is the class of what `begin_reload` and its kin return."""

    _operation: type[OperationT]

    @property
    def state(self) -> State:
        """How it is, by its last word; never waits."""
        self._check()
        self._read()
        return self._ledger.state

    def begin_reload(self, service: Description | None = None, *, environ: Mapping[str, str] | None = None) -> OperationT:
        """Ask for a new generation beside the old one, and return at once.

        With `service` it runs that version, and so does each generation after it once it serves; the name, the user, the
        control socket, the limits and the form of the log cannot change. `environ` is what the environment of that version is
        made of, default what it was before. The sockets that it holds are passed; any other new listener is opened
        without privilege.

        Raises ArgumentValueError for what cannot change, ArgumentTypeError, OSError where a descriptor cannot be had,
        ServiceEndedError, OperationFailedError with `direct`, ServiceTimeoutError where the supervisor takes no more
        requests, and what the launcher refused.
        """
        if service is None:
            if environ is not None:
                msg = "environ: expected None without another version of the service"
                raise ArgumentValueError(msg, "environ")
            return self._operation(self, self._begin("reload"))
        self._check()
        return self._operation(self, self._begin_version(service, environ))

    def begin_restart(self) -> OperationT:
        """Ask for a new generation in the place of the old one, and return at once.

        Raises ServiceEndedError, OperationFailedError with `direct`, ServiceTimeoutError where the supervisor takes no more
        requests, and what the launcher refused.
        """
        return self._operation(self, self._begin("restart"))

    def begin_dump(self) -> OperationT:
        """Ask for a thread dump in the service's output, and return at once.

        Raises ServiceEndedError, OperationFailedError with `direct`, ServiceTimeoutError where the supervisor takes no more
        requests, and what the launcher refused.
        """
        return self._operation(self, self._begin("dump"))

    def _begin(self, kind: OperationKind, version: Version | None = None) -> Outcome:
        self._check()
        with self._lock:
            self._read()
            return self._send(kind, version)

    def _begin_version(self, service: Description, environ: Mapping[str, str] | None) -> Outcome:
        check_type("service", service, Description, "a Service")
        now, own = self._service, self._environ if environ is None else environment(environ)
        check_change(now.request, service.request)
        sockets = service.sockets(self.ports)
        try:
            if len(sockets.passed) > SOCKETS_MAX:
                msg = f"service: {len(sockets.passed)} sockets; expected at most {SOCKETS_MAX} at a reload"
                raise ArgumentValueError(msg, "service")
            changed = changes((self._request, now.values), (sockets.request, service.values)) + variables(self._environ, own)
            text = {
                "request": sockets.request.to_json().decode(),
                "environ": own,
                "changes_user": self._changed_user,
                "names": [name for name, _ in sockets.passed],
            }
            memory = sealed_memory("jvmbind-version", json.dumps(text).encode())
            try:

                def taken() -> None:
                    self._service, self._request, self._environ = service, sockets.request, own

                return self._begin("reload", Version([memory, *(fd for _, fd in sockets.passed)], changed, taken))
            finally:
                os.close(memory)
        finally:
            sockets.close()

    def _status_steps(self, timeout: Seconds) -> Steps[Status]:
        deadline = Deadline(seconds("timeout", timeout))
        self._check()
        self._read()
        ledger = self._ledger
        if ledger.ended or ledger.direct or not ledger.has_spoken:
            return ledger.status(None)
        outcome = self._begin("status")
        if not (yield lambda: outcome.done, deadline):
            self._check()
            raise self._timeout("has not answered", deadline)
        return ledger.status(None if outcome.answer is None or not outcome.answer["ok"] else outcome.answer)

    def _wait_ready_steps(self, timeout: Seconds | None) -> Steps[None]:
        patience = Deadline(seconds("timeout", timeout, self._start_timeout))
        try:
            yield from self._wait_for_steps(("ready", "reloading"), patience)
        except ServiceTimeoutError as error:
            raise self._timeout("is not ready", patience) from error

    def _wait_for_steps(self, states: Sequence[State], deadline: Deadline) -> Steps[State]:
        check_states(states)
        self._check()
        self._read()
        ledger = self._ledger
        reached = self._reached(tuple(states), ledger.dropped + len(ledger.events))
        if not (yield lambda: reached() is not None or ledger.ended, deadline):
            self._check()
            raise self._timeout(f"is not {' or '.join(states)}", deadline)
        found = reached()
        if found is None:
            raise ledger.ended_error()
        return found

    def _next_steps(self, place: int, timeout: Seconds | None) -> Steps[tuple[int, list[Event]]]:
        """Return the events from `place` on, and the place behind them, once there are any."""
        deadline, ledger = Deadline(seconds("timeout", timeout)), self._ledger
        if not (yield lambda: ledger.dropped + len(ledger.events) > place, deadline):
            self._check()
            raise self._timeout("has not changed", deadline)
        with self._lock:
            return ledger.since(place)

    def _wait_steps(self, deadline: Deadline) -> Steps[int]:
        self._check()
        if not (yield lambda: self._ledger.ended, deadline):
            self._check()
            raise self._timeout("has not ended", deadline)
        return self._status()

    def _stop_steps(self, timeout: Seconds | None) -> Steps[int]:
        deadline = Deadline(seconds("timeout", timeout, self._patience))
        self._check()
        self._stop_signal()
        return (yield from self._wait_steps(deadline))

    def _finish(self, outcome: Outcome, timeout: float | None, operation: AnyOperation) -> Steps[None]:
        self._check()
        deadline = Deadline(timeout)
        while not (yield lambda: outcome.done, Deadline(SILENCE) if timeout is None else deadline):
            self._check()
            if timeout is None and outcome.silent_for() < SILENCE:
                continue
            error = self._timeout(f"has not finished the {outcome.kind}", Deadline(SILENCE) if timeout is None else deadline)
            error.reason = outcome.waits_for or error.reason
            error.operation = cast("Any", operation)
            raise error


def check_callback(function: object) -> None:
    """Raise ArgumentTypeError for what cannot be called, or would have to be awaited."""
    import inspect  # noqa: PLC0415 - takes 10 ms to load

    if not callable(function) or inspect.iscoroutinefunction(function):
        msg = f"function: expected a function of one event, which is not awaited, got {function!r} ({type(function).__name__})"
        raise ArgumentTypeError(msg, "function")


def deliver(function: Callable[[Event], object], event: Event) -> None:
    """Call back; what the callback raises is logged."""
    try:
        function(event)
    except Exception:
        import logging  # noqa: PLC0415 - takes 17 ms to load

        logging.getLogger("jvmbind").exception("a callback has failed at %s", event)


def seconds(name: str, value: Seconds | None, default: float | None = None) -> float | None:
    """Return a time in seconds, `default` for None; raises ArgumentTypeError, ArgumentValueError."""
    import datetime as dt  # noqa: PLC0415 - loaded where somebody has made one

    if value is None:
        return default
    if isinstance(value, dt.timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"{name}: expected seconds, a timedelta or None, got {value!r} ({type(value).__name__})"
        raise ArgumentTypeError(msg, name)
    if not 0 <= value <= LONGEST:
        msg = f"{name}: expected seconds from 0 to {LONGEST:g}, got {value!r}"
        raise ArgumentValueError(msg, name)
    return float(value)


SOCKETS_MAX = 250  # that come with a request: SCM_MAX_FD is 253, unix(7)
LONGEST = 1e6  # seconds; poll(2) takes no more than 2,147,483 of them


def check_states(states: Sequence[object]) -> None:
    """Raise ArgumentTypeError or ArgumentValueError for what is no state, and for none at all."""
    if not states:
        msg = f"states: expected at least one of {', '.join(sorted(STATES))}"
        raise ArgumentValueError(msg, "states")
    for state in states:
        if not isinstance(state, str):
            msg = f"states: expected a state, got {state!r} ({type(state).__name__})"
            raise ArgumentTypeError(msg, "states")
        if state not in STATES:
            msg = f"states: expected one of {', '.join(sorted(STATES))}, got {state!r}"
            raise ArgumentValueError(msg, "states")
