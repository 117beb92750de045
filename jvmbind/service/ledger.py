"""What a service has said so far, and what follows from it: the part that waits for nothing and knows no descriptor.

Runs in the program; the handles for threads and for asyncio share it. Packets are those of sd_notify(3), with JSON in the
variables that begin with X_JVMBIND_ (see jvmbind.supervisor.program). Pure.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from typing import TYPE_CHECKING, Any

from jvmbind.errors import SystemFailureError
from jvmbind.service.failures import OperationFailedError, ServiceEndedError
from jvmbind.service.operations import Outcome, refusal_of
from jvmbind.service.values import ChangeResult, Death, Event, State, Status, state_of

if TYPE_CHECKING:
    from jvmbind.errors import JvmbindError
    from jvmbind.service.operations import OperationKind

_EVENTS_KEPT = 1000
_OUTCOMES_KEPT = 100


class Ledger:
    """One service as its handle knows it."""

    def __init__(self, pid: int, *, direct: bool) -> None:
        """Nothing has been said yet."""
        self.pid = pid
        self.direct = direct
        self.state: State = "running" if direct else "starting"
        self.text = ""
        self.ended = False
        self.exit_status: int | None = None  # its own word, until it has ended
        self.deaths: list[Death] = []
        self.events: list[Event] = []
        self.dropped = 0  # of the oldest events
        self._now: dict[str, Any] = {}  # the last event
        self._refusal: dict[str, Any] | None = None
        self._outcomes: dict[int, Outcome] = {}
        self._numbers = itertools.count(1)  # one step of the interpreter, so that no signal handler takes the same
        self._last_event = 0
        self._last_change: ChangeResult | None = None

    @property
    def has_spoken(self) -> bool:
        """Whether there is a supervisor that answers."""
        return bool(self._now)

    def take(self, packet: bytes) -> None:
        """Understand one packet; what is none of this version is left out."""
        for line in packet.decode("utf-8", "replace").splitlines():
            name, _, value = line.partition("=")
            if name == "STATUS":
                self.text = value
            elif name.startswith("X_JVMBIND_"):
                with contextlib.suppress(ValueError, LookupError, TypeError):
                    self._take_json(name, json.loads(value))

    def _take_json(self, name: str, values: dict[str, Any]) -> None:
        if name == "X_JVMBIND_EVENT":
            self._take_event(values)
        elif name == "X_JVMBIND_ANSWER":
            outcome = self._outcomes.get(values.pop("number"))
            if outcome is not None and not outcome.done:
                outcome.take(values)
        elif name == "X_JVMBIND_REFUSAL":
            self._refusal = values

    def _take_event(self, values: dict[str, Any]) -> None:
        # A signal handler that uses the handle may have read later ones while this one was on its way.
        is_newest = values["event"] > self._last_event
        if is_newest:
            self._last_event, self._now = values["event"], values
            self.state = state_of(values["phase"], ready=values["ready"])
        kind, state = values["kind"], state_of(values["phase"], ready=values["ready"])
        event = Event("state", values["time"], state, values["generation"], values["not_ready"])
        if kind == "death":
            death = Death.from_json(values["death"])
            self.deaths = [*self.deaths, death][-100:]
            self._add(Event("death", values["time"], state, values["generation"], str(death), death=death))
        elif kind == "change":
            change = self._last_change = ChangeResult.from_json(values["change"])
            self._add(Event("change", values["time"], state, values["generation"], str(change), change=change))
        elif kind == "ended":  # its process has still to end
            self.exit_status = values["exit_status"]
            self.state = "stopping"
        else:
            self._add(event)

    def _add(self, event: Event) -> None:
        self.events.append(event)
        if len(self.events) > _EVENTS_KEPT:
            self.dropped += 1
            del self.events[0]

    def since(self, place: int) -> tuple[int, list[Event]]:
        """Return the events from `place` on, counted from the first one ever, and the place behind them."""
        events = self.events[max(0, place - self.dropped) :]
        return self.dropped + len(self.events), events

    def ask(self, kind: OperationKind, *, to: bool = False) -> tuple[Outcome, bytes]:
        """Return a new request and the packet that makes it; raises ServiceEndedError, OperationFailedError.

        `to` says that another version comes with it.
        """
        if self.ended:
            raise self.ended_error()
        if self.direct:
            msg = f"{kind}: with direct there is no supervisor that could do it"
            raise OperationFailedError(msg)
        number = next(self._numbers)
        outcome = self._outcomes[number] = Outcome(number, kind)
        for number, one in list(self._outcomes.items())[:-_OUTCOMES_KEPT]:
            if one.done:
                self._outcomes.pop(number, None)
        return outcome, f"{outcome.number} {kind}{'-to' if to else ''}".encode()

    def outcome(self, number: int) -> Outcome | None:
        """Return a request by its number, None where it is not known, or was forgotten after 100 more."""
        return self._outcomes.get(number)

    def end(self, status: int | None) -> None:
        """Note that the process has ended; `status` is what the kernel says, None where it says nothing."""
        if self.ended:  # a signal handler was quicker
            self.exit_status = status if self.exit_status is None else self.exit_status
            return
        if self._refusal is not None and self.exit_status is None:
            self.exit_status = refusal_of(self._refusal).status
        self.exit_status = status if status is not None else self.exit_status
        self.ended, self.state = True, "ended"
        for outcome in self._outcomes.values():
            if not outcome.done:
                outcome.lost = self.ended_error
        self._add(Event("ended", time.time(), "ended", 0, self._how(), exit_status=self.exit_status))

    def ended_error(self) -> JvmbindError:
        """Return the error of somebody who waits for something else than the end: the launcher's own, or ServiceEndedError."""
        if self._refusal is not None:
            return refusal_of(self._refusal)
        status = -1 if self.exit_status is None else self.exit_status
        return ServiceEndedError(f"{self.who} has ended with {self._how()}", status, self.deaths[-1] if self.deaths else None)

    def _how(self) -> str:
        text = "a status that somebody else has taken" if self.exit_status is None else f"status {self.exit_status}"
        last = self.deaths[-1] if self.deaths else None
        return f"{text}: {last}" if last is not None and not last.asked else text

    @property
    def who(self) -> str:
        """The service in messages."""
        name = self._now.get("name")
        return f"service {name!r}" if name else f"service {self.pid}"

    def lacks(self) -> str:
        """Return why the service is not ready, or what it waits for; "" where nothing is known."""
        found = [self._now.get("not_ready", ""), self._now.get("waits_for", "")]
        if not self._now:
            return "" if self.direct else "the launcher has not started its supervisor yet"
        death = self.deaths[-1] if self.deaths and self.state == "backing off" else None
        return "; ".join([*dict.fromkeys(text for text in found if text), *([str(death)] if death else [])])

    def status(self, answer: dict[str, Any] | None) -> Status:
        """Return the status by an answer of the supervisor, or by what is known where there is none."""
        if answer is not None:
            try:
                return Status.from_json(answer, text=self.text)
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                msg = f"{self.who}: its status has another form than that of this version of jvmbind ({error!r})"
                raise SystemFailureError(msg) from error
        return Status(
            name=self._now.get("name", ""),
            pid=self.pid,
            state=self.state,
            not_ready="" if self.direct and not self.ended else self.lacks(),
            waits_for="" if self.ended else self._now.get("waits_for", ""),
            deaths=tuple(self.deaths),
            last_change=self._last_change,
            exit_status=self.exit_status if self.ended else None,
            text=self.text,
        )
