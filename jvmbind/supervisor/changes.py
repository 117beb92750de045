"""A reload or a restart: what it is to run, who waits for it, and how the last one ended.

Runs in the supervisor as the service user. Decides nothing.
"""

from __future__ import annotations

import os
import time

from jvmbind import lifecycle
from jvmbind.lifecycle import Change
from jvmbind.supervisor.log import fields_of
from jvmbind.supervisor.reasons import explain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jvmbind.spec import ListenSpec, ServiceSpec
    from jvmbind.supervisor.actions import Actions
    from jvmbind.supervisor.replan import Listeners, Plan


class Changes:
    """At most one is on its way."""

    def __init__(self, world: Actions) -> None:
        """Nothing has been asked for yet."""
        self._world = world
        self.asked = Change.NONE  # what was asked for
        self.alone = ""  # why a reload is done by a restart
        self.notes: list[str] = []  # what else is to be said of it
        self.next_spec: ServiceSpec | None = None
        self.next_listeners: Listeners = {}
        self._next_environ: dict[str, str] | None = None  # of a version that the program has sent
        self.tell: Callable[[str, dict[str, Any]], None] | None = None  # what answers those who wait for "reload" or "restart"
        self.last: dict[str, Any] | None = None

    def plan(self, world_spec: ServiceSpec, listeners: Listeners) -> tuple[ServiceSpec, Listeners]:
        """Return what the next generation runs, and on which listeners."""
        return (self.next_spec, self.next_listeners) if self.next_spec else (world_spec, listeners)

    def environ(self, now: dict[str, str]) -> dict[str, str]:
        """Return the environment of the next generation, where `now` is that of the one before."""
        return now if self._next_environ is None else self._next_environ

    def take(self, asked: Change, plan: Plan, environ: dict[str, str] | None = None) -> str:
        """Take what the next generation is to run; return why it cannot be used, or ""."""
        failure, spec, chosen = plan
        if failure:
            return failure
        self.asked, self.alone = asked, ""
        world = self._world
        self.notes = _later(world.spec, spec)
        for note in self.notes:
            world.log.warning("%s: %s", asked.value, note, extra=fields_of("not-in-effect"))
        if spec.at_start != world.spec.at_start:
            spec = spec._replace(at_start=world.spec.at_start)
        for listener, fd in chosen.values():
            if all(fd != known for _, known in world.listeners.values()):
                world.notifier.store_listeners([(listener, fd)])
        self.next_listeners, self.next_spec, self._next_environ = chosen, spec, environ
        if asked is Change.RELOAD:
            world.notifier.reloading()
        return ""

    def refuse(self, asked: Change, failure: str, *, busy: bool = False) -> str:
        """Say why nothing was begun, and return it; what is on its way is not touched, and its result is the one to be kept.

        `busy`: it is not what was asked for that is wrong, but the moment.
        """
        world = self._world
        world.counts.changed(asked, "refused")
        if asked is Change.RESTART and not busy:
            failure += "; nothing was stopped"
        world.log.error("%s refused: %s", asked.value, failure, extra=fields_of(f"{asked.value}-refused"))
        if self.next_spec is None:
            self.alone, self.notes = "", []
            self._keep(asked, failure, 0)
        return failure

    def _keep(self, asked: Change, failure: str, number: int) -> None:
        self.last = {
            "kind": asked.value,
            "ok": not failure,
            "error": failure,
            "generation": number,
            "time": time.time(),
            "alone": self.alone,
            "notes": self.notes,
        }

    def report(self, number: int, failure: str, why: str = "") -> None:
        """Tell whoever asked how it ended, and keep the result for `status`."""
        world, asked = self._world, self.asked
        spec, listeners, environ = self.next_spec, self.next_listeners, self.environ(world.environ)
        self.asked, self.next_spec, self.next_listeners, self._next_environ = Change.NONE, None, {}, None
        world.counts.changed(asked, "failed" if failure else "done")
        try:
            if failure:
                self._close_unused(listeners, world.listeners)
                # Without a number nothing has been started for it, or the service ends.
                why = f": {why}" if why else self._why(number)
                failure = f"{failure}{why}{self._what_now()}" if number else failure
                world.log.error("%s failed: %s", asked.value, failure, extra=fields_of(f"{asked.value}-failed", number))
            else:
                how = f", by a restart: {self.alone}" if self.alone else ""
                text = "%s done: generation %d serves%s"
                world.log.info(text, asked.value, number, how, extra=fields_of(f"{asked.value}-done", number))
                if spec is not None:
                    before, world.listeners, world.spec, world.environ = world.listeners, listeners, spec, environ
                    self._keep_to(before, listeners)
        finally:  # whatever the kernel has refused on the way: it has ended, and who waits must not wait for ever
            self._keep(asked, failure, number)
            answer = {"ok": not failure, "error": failure, "generation": number, "alone": self.alone, "notes": self.notes}
            self.answer_waiting(asked, answer)
            if world.phase is lifecycle.Phase.UP:
                world.notifier.ready(world.status_line())

    def _why(self, number: int) -> str:
        world = self._world
        died = world.last_death if world.last_death is not None and world.last_death[0].number == number else None
        generation = died[0] if died is not None else world.generations.get(number)
        if generation is None:
            return ""
        restarts = world.phase is not lifecycle.Phase.UP
        held = "" if restarts else world.alone()
        probed = world.probed == number
        return f": {explain(generation, died[1] if died else None, probed=probed, held=held, restarts=restarts)}"

    def _what_now(self) -> str:
        phase = self._world.phase
        if phase is lifecycle.Phase.UP:
            return "; the old generation keeps serving"
        if phase in {lifecycle.Phase.STARTING, lifecycle.Phase.BACKING_OFF}:
            return "; the previous version is started again, and clients wait meanwhile"
        return ""

    def answer_waiting(self, asked: Change, answer: dict[str, Any]) -> None:
        """Tell everybody who has asked for it how it ended."""
        if self.tell is not None:
            self.tell(asked.value, answer)

    def _keep_to(self, before: Listeners, chosen: Listeners) -> None:
        """Set on the listeners what is now said of them, and give up those that are declared no more."""
        from jvmbind.supervisor.replan import adjust  # noqa: PLC0415 - a reload alone needs it

        world = self._world
        for problem in adjust(before, chosen):
            world.log.warning("%s", problem, extra=fields_of("listener-options"))
        known = {fd for _, fd in before.values()}
        self._close_unused(before, chosen)
        world.notifier.store_listeners([one for one in chosen.values() if one[1] not in known], again=True)

    def _close_unused(self, before: dict[str, tuple[ListenSpec, int]], after: dict[str, tuple[ListenSpec, int]]) -> None:
        kept = {fd for _, fd in after.values()}
        for _, fd in before.values():
            if fd not in kept:
                self._world.notifier.forget_listener(fd)
                os.close(fd)


def _later(now: ServiceSpec, wanted: ServiceSpec) -> list[str]:
    """Say of each key that counts at the start alone, and says something else since, that it has no effect yet."""
    before = dict(now.at_start)
    changed = [key for key, said in wanted.at_start if before.get(key, said) != said]
    return [f"{key}: changed in the file; takes effect when the service is stopped and started" for key in changed]
