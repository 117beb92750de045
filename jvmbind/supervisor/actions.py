"""What the state table's actions do to the world: processes, listeners, timers, log and manager.

Runs in the supervisor as the service user. Decides nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from typing import TYPE_CHECKING, Any

from jvmbind import lifecycle, wire
from jvmbind.errors import EX_OSERR
from jvmbind.posix.notify import Notifier
from jvmbind.supervisor.crash import Death, describe
from jvmbind.supervisor.generation import Generation
from jvmbind.supervisor.listeners import end_connections, report_unclaimed, set_back
from jvmbind.supervisor.liveness import INTERVAL, Liveness
from jvmbind.supervisor.log import fields_of, open_log
from jvmbind.supervisor.probe import AcceptProbe, HttpProbe, begin_probe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jvmbind.posix.process import Ended
    from jvmbind.spec import ListenSpec, ServiceSpec
    from jvmbind.supervisor.replan import Plan

_DEATHS_KEPT = 100
_MOVE_PATIENCE = 1.0  # seconds


class Actions:
    """The living generations and everything else that the supervisor touches."""

    def __init__(self, spec: ServiceSpec, listeners: Sequence[int]) -> None:
        """Take over the listeners of `spec`."""
        self.spec = spec
        self.listeners: dict[str, tuple[ListenSpec, int]] = {
            listener.name: (listener, fd) for listener, fd in zip(spec.listeners, listeners, strict=True)
        }
        self.generations: dict[int, Generation] = {}
        self.events: list[lifecycle.Event] = []
        self.phase = lifecycle.Phase.STARTING
        self.serving = 0  # the number of the generation that serves
        self.status: int | None = None
        self.deaths: list[Death] = []
        self.last_reload: dict[str, Any] | None = None
        self.when_reloaded: list[Callable[[dict[str, Any]], None]] = []
        self.probe: AcceptProbe | HttpProbe | None = None
        self._probed = 0
        self._next_spec: ServiceSpec | None = None
        self._next_listeners: dict[str, tuple[ListenSpec, int]] = {}
        self._undeclared: dict[int, str] = {}
        self._moving: int | None = None  # a generation that was told to make room for the next
        self._released: tuple[Generation, wire.Release] | None = None  # the one that waits for that
        self._move_by = 0.0
        self._next_liveness = time.monotonic()
        self._timers: dict[tuple[str, int], float] = {}
        self._notifier = Notifier(os.environ)
        self.stopping = self._notifier.stopping  # tell the manager that the service ends
        self.environ = self._notifier.environ_for_worker(os.environ)
        self.log = logging.getLogger("jvmbind")
        self._liveness = Liveness(self.log)

    @property
    def planned_spec(self) -> ServiceSpec:
        """The specification that decisions go by: that of a reload while one is on its way."""
        return self._next_spec or self.spec

    def open_log(self) -> None:
        """Open the log."""
        self.log = open_log(quiet=self.spec.quiet)
        self._liveness = Liveness(self.log)
        # What came from the manager it has already: from a socket unit, which would then pass it twice, or from its store.
        self._notifier.store_listeners((spec, fd) for spec, fd in self.listeners.values() if not spec.inherited)

    def do(self, action: lifecycle.Action) -> None:
        """Carry one action out."""
        if isinstance(action, lifecycle.Spawn):
            self._spawn(action.generation, parked=action.parked)
        elif isinstance(action, lifecycle.SetTimer):
            self._timers[action.name, action.generation] = time.monotonic() + action.seconds
        elif isinstance(action, lifecycle.ClearTimer):
            self._timers.pop((action.name, action.generation), None)
        elif isinstance(action, lifecycle.Report):
            self._report(action)
        elif isinstance(action, lifecycle.ReportReload):
            self.report_reload(action.generation, action.failure)
        elif isinstance(action, lifecycle.Exit):
            self.status = action.status
        else:
            self._do_to(self.generations.get(action.generation), action)

    def _do_to(self, generation: Generation | None, action: lifecycle.Action) -> None:
        if generation is None:
            return
        if isinstance(action, lifecycle.Kill):
            # A JVM that is not up yet has no handler for a thread dump, and would end by the signal.
            if action.signal != signal.SIGQUIT or generation.main_runs:
                generation.kill(action.signal)
        elif isinstance(action, lifecycle.Release):
            release = wire.Release(int(action.rehearse))
            if generation.would_accept:  # a standby may have said that it is ready (the Java API) before it was wanted
                self.events.append(lifecycle.Accepting(time.monotonic(), generation.number))
            if self._moving is None:
                generation.say(release)
            else:  # the old generation first: datagrams must not go to both
                self._released = generation, release
                self._move_by = time.monotonic() + _MOVE_PATIENCE
        elif isinstance(action, lifecycle.Undrain):
            generation.say(wire.Undrain())
        elif isinstance(action, lifecycle.HalfClose):
            generation.say(wire.HalfClose())
        elif isinstance(action, lifecycle.Drain):
            generation.say(wire.Drain(int(action.datagrams_only)))
            if action.datagrams_only:
                self._moving = generation.number
            if not action.datagrams_only and (not generation.spec.listeners or not generation.main_runs):
                # There is nothing to drain, or nobody to say that it is.
                self.events.append(lifecycle.Quiet(time.monotonic(), generation.number))
        elif isinstance(action, lifecycle.Probe):
            self._start_probe(generation, rehearsal=action.rehearsal)

    def _moved(self, number: int) -> None:
        """Release the new generation, once the old one has made room for it (or has died)."""
        if self._moving == number:
            released, self._moving, self._released = self._released, None, None
            if released is not None:
                released[0].say(released[1])

    def _spawn(self, number: int, *, parked: bool) -> None:
        spec, listeners = (self._next_spec, self._next_listeners) if self._next_spec else (self.spec, self.listeners)
        fds = [listeners[listener.name][1] for listener in spec.listeners]
        try:
            set_back(listeners.values() if number > 1 and not self.generations else ())
            self.generations[number] = Generation(number, spec, fds, self.environ, parked=parked)
        except OSError as error:
            self.log.error("cannot start generation %d: %s", number, error, extra=fields_of("spawn-failed", number))
            self.events.append(lifecycle.SpawnFailed(time.monotonic(), number, EX_OSERR))

    def _start_probe(self, generation: Generation, *, rehearsal: bool) -> None:
        self._end_probe()
        self._probed = generation.number
        known = self._next_listeners if self._next_spec else self.listeners
        fds = [known[listener.name][1] for listener in generation.spec.listeners]
        try:
            self.probe = begin_probe(generation.spec, fds, self.environ, hidden=generation.hidden if rehearsal else None)
            if self.probe is None:
                self.events.append(lifecycle.Ready(time.monotonic(), generation.number))
        except OSError as error:
            self.log.error(
                "cannot probe generation %d: %s", generation.number, error, extra=fields_of("probe-failed", generation.number)
            )

    def _end_probe(self) -> None:
        if self.probe is not None:
            self.probe.close()
            self.probe = None

    def look(self) -> None:
        """Turn what is due into events: timers, and a probe that was served."""
        now = time.monotonic()
        if self.probe is not None and self.probe.is_done():
            self.probe = None
            self.events.append(lifecycle.Ready(now, self._probed))
        if self._moving is not None and self._released is not None and now >= self._move_by:
            self._moved(self._moving)
        for key, deadline in list(self._timers.items()):
            if now >= deadline:
                del self._timers[key]
                self.events.append(lifecycle.Timeout(now, *key))
        serving = self._serving()
        if serving is not None and now >= self._next_liveness:
            self._next_liveness = now + INTERVAL
            self._liveness.look(self.spec, serving, self.listeners.values(), now)
            self._notifier.healthy = self._liveness.healthy
        # Once the start time-out has passed it is the manager's turn to give up.
        self._notifier.keep_alive(starting=any(name in {"start", "back-off"} for name, _ in self._timers))

    def next_deadline(self) -> float | None:
        """Return the moment (monotonic) of the next timer or message to the manager, None without any."""
        watched = [self._next_liveness] if self._serving() is not None else []
        watched += [self._move_by] if self._released is not None else []
        return min((*self._timers.values(), *self._notifier.deadlines(), *watched), default=None)

    def _serving(self) -> Generation | None:
        """Return the generation whose signs of life are watched."""
        if not (self.spec.queue_timeout or self.spec.heartbeat_timeout) or self.phase is not lifecycle.Phase.UP:
            return None
        return self.generations.get(self.serving)

    def take_messages(self, generation: Generation) -> None:
        """Read what a worker says."""
        would_accept = generation.would_accept
        try:
            messages = generation.messages()
        except ValueError as error:
            text = "generation %d sent %s; its messages are no longer read"
            self.log.error(text, generation.number, error, extra=fields_of("bad-message", generation.number))
            generation.close()
            return
        for message in messages:
            self._take_message(generation, message)
        if generation.would_accept and not would_accept:
            self.events.append(lifecycle.Accepting(time.monotonic(), generation.number))

    def _take_message(self, generation: Generation, message: wire.Message) -> None:
        now = time.monotonic()
        if isinstance(message, wire.Moved):
            self._moved(generation.number)
        elif isinstance(message, wire.Parked):
            self.events.append(lifecycle.Parked(now, generation.number))
        elif isinstance(message, wire.Connections):
            if message.total == 0:
                self.events.append(lifecycle.Drained(now, generation.number))
            elif message.busy == 0:
                self.events.append(lifecycle.Quiet(now, generation.number))
        elif isinstance(message, wire.Claimed):
            listener = generation.spec.listeners[message.listener]
            where = f"listener {listener.name!r} ({listener.address}/{listener.protocol})"
            fields = fields_of("claimed", generation.number, listener.name)
            self.log.info("%s handed over to generation %d, fd %d", where, generation.number, message.fd, extra=fields)
        elif isinstance(message, wire.Tried) and "refused" in message.text:
            fields = fields_of("bind-refused", generation.number)
            self.log.warning("generation %d: bind of %s", generation.number, message.text, extra=fields)
        elif isinstance(message, wire.Note):
            self.log.warning("generation %d: %s", generation.number, message.text, extra=fields_of("note", generation.number))
        elif isinstance(message, wire.Status):
            self._notifier.status(message.text)

    def take_death(self, generation: Generation) -> None:
        """Collect the end of a worker."""
        ended = generation.process.reap()
        if ended is None:
            return
        del self.generations[generation.number]  # its pidfd is closed: whatever fails below, it is never looked at again
        try:
            self._take_leave(generation, ended)
        finally:
            self.events.append(lifecycle.Died(time.monotonic(), generation.number, ended.status, ended.signal))

    def _take_leave(self, generation: Generation, ended: Ended) -> None:
        if generation.socket.fileno() >= 0:
            with contextlib.suppress(OSError):
                self.take_messages(generation)
            generation.close()
        with contextlib.suppress(OSError):
            generation.wait_until_released()
            end_connections(self.listeners.values())
        self._moved(generation.number)
        if generation.tried:
            tried = ", ".join(generation.tried)
            self._undeclared = {generation.number: f" (addresses that are no listeners and that the old one may hold: {tried})"}
        if self._probed == generation.number:
            self._end_probe()
        death = describe(generation, ended, time.monotonic())
        self.deaths = [*self.deaths, death][-_DEATHS_KEPT:]
        if ended.signal and self.phase is not lifecycle.Phase.STOPPING:
            fields = fields_of("died", generation.number)
            self.log.error("generation %d (pid %d) died%s", generation.number, generation.process.pid, death.text, extra=fields)

    def own_pids(self) -> set[int]:
        """Return the processes whose end is waited for by name."""
        probe = {self.probe.pid} if isinstance(self.probe, HttpProbe) else set()
        return probe | {one.process.pid for one in self.generations.values()}

    def pass_on(self, number: int) -> bool:
        """Send a signal that is the application's business to each generation with a listener, or else to each.

        A JVM that is not up yet has no handler, and the signal would end it. Returns whether there was one that is.
        """
        running = [one for one in self.generations.values() if one.main_runs]
        chosen = [one for one in running if one.claimed] or running
        for generation in chosen:
            generation.process.kill(number)
        return bool(chosen)

    def take_plan(self, plan: Plan) -> str:
        """Take what the next generation is to run; return why it cannot be used, or ""."""
        failure, spec, chosen = plan
        if failure:
            return failure
        known = {fd for _, fd in self.listeners.values()}
        self._notifier.store_listeners((listener, fd) for listener, fd in chosen.values() if fd not in known)
        self._next_listeners = chosen
        self._next_spec = spec
        self._notifier.reloading()
        return ""

    def refuse_reload(self, failure: str) -> None:
        """Say why no reload was begun; one that is on its way is not touched, and its result is the one to be kept."""
        self.log.error("reload refused: %s", failure, extra=fields_of("reload-refused"))
        self._notifier.reloaded(failure)
        if self._next_spec is None:
            self.last_reload = {"ok": False, "error": failure, "generation": 0, "time": time.time()}

    def report_reload(self, number: int, failure: str) -> None:
        """Tell whoever asked how the reload ended, and keep the result for `status`."""
        if failure and not number:  # the service ends
            self.refuse_reload(failure)
            self.answer_waiting(failure)
            return
        if failure:
            failure += self._undeclared.pop(number, "")
            serves = "; the old generation serves on" if self.phase is not lifecycle.Phase.STARTING else ""
            self.log.error("reload failed: %s%s", failure, serves, extra=fields_of("reload-failed", number))
        else:
            self.log.info("reload done: generation %d serves", number, extra=fields_of("reload-done", number))
            if self._next_spec is not None:
                self._swap_listeners(self._next_listeners)
                self.spec = self._next_spec
        if failure and self._next_spec is not None:
            self._close_unused(self._next_listeners, self.listeners)
        self._next_spec = None
        self.last_reload = {"ok": not failure, "error": failure, "generation": number, "time": time.time()}
        self.answer_waiting(failure)
        self._notifier.ready(self.status_line())
        self._notifier.reloaded(failure)

    def answer_waiting(self, failure: str) -> None:
        """Tell everybody who has asked for a reload how it ended."""
        for answer in self.when_reloaded:
            answer({"ok": not failure, "error": failure})
        self.when_reloaded.clear()

    def _swap_listeners(self, chosen: dict[str, tuple[ListenSpec, int]]) -> None:
        from jvmbind.supervisor.replan import adjust  # noqa: PLC0415 - a reload alone needs it

        before, self.listeners = self.listeners, chosen
        for problem in adjust(before, chosen):
            self.log.warning("%s", problem, extra=fields_of("listener-options"))
        self._close_unused(before, chosen)

    def _close_unused(self, before: dict[str, tuple[ListenSpec, int]], after: dict[str, tuple[ListenSpec, int]]) -> None:
        kept = {fd for _, fd in after.values()}
        for name, (_, fd) in before.items():
            if fd not in kept:
                self._notifier.forget_listener(name)
                os.close(fd)

    def status_line(self) -> str:
        """Return the state in words, for the manager."""
        numbers = ", ".join(str(number) for number in sorted(self.generations)) or "none"
        return f"{self.spec.name}: {self.phase.value}, generation {numbers}"

    def _report(self, report: lifecycle.Report) -> None:
        number = report.generation
        fields = fields_of(report.what, number)
        if report.what == "ready":
            self.log.info("generation %d is ready", number, extra=fields)
            self._notifier.ready(self.status_line())
        elif report.what == "back-off":
            self.log.info("the next generation starts in %.1f s; the listeners stay bound", report.seconds, extra=fields)
        elif report.what == "unclaimed":
            report_unclaimed(self.generations.get(number), self.log)
        elif report.what == "hangs":
            text = "generation %d has not stopped after %g s; thread dump, then SIGKILL"
            self.log.warning(text, number, report.seconds, extra=fields)
        elif report.what == "dump":
            self.log.warning("thread dump of generation %d, then SIGKILL", number, extra=fields)
        elif report.what == "start-limit":
            self.log.error("%d starts in a row failed; giving up", self.spec.start_limit, extra=fields)

    def unclaimed(self) -> str:
        """Say which listeners the newest generation has not claimed; "" without any."""
        if not self.generations:
            return ""
        newest = self.generations[max(self.generations)]
        names = [
            repr(one.name) for i, one in enumerate(newest.spec.listeners) if not (i in newest.claimed or one.of or one.bind_only)
        ]
        return f" (not claimed by the application: {', '.join(names)})" if names else ""

    def close(self) -> None:
        """End what is left, once the service has its status."""
        self._end_probe()
        for generation in self.generations.values():
            generation.process.kill(signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PIDFD, generation.process.pidfd, os.WEXITED)
