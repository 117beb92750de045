"""What the state table's actions do to the world: processes, listeners, timers, log and manager.

Runs in the supervisor as the service user. Decides nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time

from jvmbind import lifecycle, wire
from jvmbind.errors import EX_OSERR, in_words
from jvmbind.posix import role
from jvmbind.posix.notify import Notifier
from jvmbind.posix.writing import Outlet
from jvmbind.record import assert_never
from jvmbind.supervisor.changes import Changes
from jvmbind.supervisor.counts import Counts
from jvmbind.supervisor.crash import Death, describe
from jvmbind.supervisor.generation import Generation, excusing
from jvmbind.supervisor.held import Holders
from jvmbind.supervisor.listeners import end_connections, set_back
from jvmbind.supervisor.liveness import INTERVAL, Liveness
from jvmbind.supervisor.log import fields_of, format_first_lines, open_log
from jvmbind.supervisor.orphans import end_holders
from jvmbind.supervisor.probe import AcceptProbe, HttpProbe, begin_probe
from jvmbind.supervisor.reports import is_news, report, report_callbacks, report_end, was_told
from jvmbind.supervisor.unserved import Unserved
from jvmbind.supervisor.waiting import client_waits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jvmbind.posix.process import Ended
    from jvmbind.spec import ListenSpec, ServiceSpec
    from jvmbind.supervisor.starting import Starter

_DEATHS_KEPT = 100
_NOT_YET = {lifecycle.Timer.START, lifecycle.Timer.BACK_OFF}  # it is right that nobody serves
_FLUSH_INTERVAL = 0.2  # seconds between two tries to write what the log's reader has had no room for
_QUEUE_INTERVAL = 0.5  # seconds between two looks whether a client waits while nobody serves


class Actions:
    """The living generations and everything else that the supervisor touches."""

    def __init__(self, spec: ServiceSpec, listeners: Sequence[int], starter: Starter) -> None:
        """Take over the listeners of `spec`; `starter` starts its workers."""
        self.spec = spec
        self.began = time.monotonic()
        self.listeners: dict[str, tuple[ListenSpec, int]] = {
            listener.name: (listener, fd) for listener, fd in zip(spec.listeners, listeners, strict=True)
        }
        self.generations: dict[int, Generation] = {}
        self.events: list[lifecycle.Event] = []
        self.keys: set[int] = set()  # signals that came from a key of the terminal
        self.dump_waits = False  # SIGQUIT came before there was a JVM that could answer it
        self._starter = starter
        self.phase = lifecycle.Phase.STARTING
        self.serving = 0  # the number of the generation that serves
        self.last_serving = 0  # of the one that serves, or was the last to do so
        self.status: int | None = None
        self.deaths: list[Death] = []
        self.last_death: tuple[Generation, Death] | None = None
        self.silent_end: tuple[Generation, Death] | None = None  # that one, where the log has nothing of it
        self.never_claimed: set[str] = set()  # listeners without which the serving generation serves, though they are declared
        self.probe: AcceptProbe | HttpProbe | None = None
        self.probed = 0  # the generation that `probe` is about
        self.planning_pid = 0  # the process that reads the configuration again
        self.changes = Changes(self)
        self.counts = Counts()
        self.unserved = Unserved(self)
        self._next_liveness = self._next_queue = time.monotonic()
        self._timers: dict[tuple[lifecycle.Timer, int], float] = {}
        self.notifier = Notifier(os.environ)
        self.stopping = self.notifier.stopping  # tell the manager that the service ends
        self.environ = role.worker_environ(os.environ)
        self.outlet = Outlet(2)
        self._next_flush = 0.0
        self._holders = Holders()
        self.log = logging.getLogger("jvmbind")
        format_first_lines()
        self._liveness = Liveness(self.log)

    @property
    def planned_spec(self) -> ServiceSpec:
        """The specification that decisions go by: that of a reload or restart while one is on its way."""
        return self.changes.next_spec or self.spec

    def open_log(self) -> None:
        """Open the log."""
        self.log = open_log(self.outlet, self.spec.name, form=self.spec.log_format, quiet=self.spec.quiet)
        # What came from the manager it has already: from a socket unit, which would then pass it twice, or from its store.
        self.notifier.forget_others(fd for _, fd in self.listeners.values())
        self.notifier.store_listeners((spec, fd) for spec, fd in self.listeners.values() if not spec.inherited)

    def do(self, action: lifecycle.Action) -> None:
        """Carry one action out."""
        match action:
            case lifecycle.Spawn():
                self._spawn(action.generation, parked=action.parked)
            case lifecycle.SetTimer():
                self._timers[action.name, action.generation] = time.monotonic() + action.seconds
            case lifecycle.ClearTimer():
                self._timers.pop((action.name, action.generation), None)
            case lifecycle.Report():
                report(self, action)
            case lifecycle.ReportChange():
                self.changes.report(action.generation, action.failure, action.why)
            case lifecycle.Exit():
                self.status = action.status
                report_end(self)
            case _:
                generation = self.generations.get(action.generation)
                if generation is not None:
                    self._do_to(generation, action)

    def _do_to(self, generation: Generation, action: lifecycle.ToGeneration) -> None:
        match action:
            case lifecycle.Kill():
                self._kill(generation, action.signal)
            case lifecycle.Release():
                self.counts.released(generation.number)
                if generation.would_accept:  # as a standby it may have said so, by the Java API, before it was wanted
                    self.events.append(lifecycle.Accepting(time.monotonic(), generation.number))
                generation.say(wire.Release(int(action.rehearse)))
            case lifecycle.TellReload():
                generation.say(wire.Reloading())
            case lifecycle.Undrain():
                generation.say(wire.Undrain())
            case lifecycle.HalfClose():
                generation.say(wire.HalfClose(int(action.idle_only)))
            case lifecycle.Drain():
                generation.say(wire.Drain(int(action.datagrams_only), int(action.last), int(action.ends)))
                if generation.cannot_say_drained and not action.datagrams_only:
                    self.events.append(lifecycle.LetGo(time.monotonic(), generation.number))
                    self.events.append(lifecycle.Drained(time.monotonic(), generation.number))
            case lifecycle.Probe():
                self.start_probe(generation, rehearsal=action.rehearsal)
            case unknown:
                assert_never(unknown)

    def _kill(self, generation: Generation, number: int) -> None:
        if number == signal.SIGTERM and self.phase is not lifecycle.Phase.STOPPING and self.spec.reload == "auto":
            self.alone()  # for the next reload: it may hold by now what it did not hold at the last look
        report_callbacks(self, generation, number)
        if number == signal.SIGQUIT:
            self._ask_for_dump(generation)
        else:
            generation.kill(number, by_key=number in self.keys)

    def _ask_for_dump(self, generation: Generation) -> None:
        why = generation.ask_for_dump()
        if why:
            self.log.warning("%s", why, extra=fields_of("no-dump", generation.number))

    def _spawn(self, number: int, *, parked: bool) -> None:
        spec, listeners = self.changes.plan(self.spec, self.listeners)
        self.counts.started(number, self.changes.asked, parked=parked)
        fds = [listeners[listener.name][1] for listener in spec.listeners]
        try:
            excused = self.never_claimed if self.serving or self.changes.asked is not lifecycle.Change.NONE else set()
            set_back(listeners.values() if number > 1 and not self.generations else ())
            started = self._starter.start(excusing(spec, excused), fds, self.changes.environ(self.environ), parked=parked)
            self.generations[number] = Generation(number, spec, started, excused)
        except OSError as error:
            self.log.error("cannot start generation %d: %s", number, in_words(error), extra=fields_of("spawn-failed", number))
            self.events.append(lifecycle.SpawnFailed(time.monotonic(), number, EX_OSERR))

    def start_probe(self, generation: Generation, *, rehearsal: bool) -> None:
        """Ask a generation whether it serves, in the place of an earlier question."""
        self.end_probe()
        self.probed, known = generation.number, self.changes.plan(self.spec, self.listeners)[1]
        fds = [known[listener.name][1] for listener in generation.spec.listeners]
        try:
            environ = self.changes.environ(self.environ)
            self.probe = begin_probe(generation.spec, fds, environ, hidden=generation.hidden if rehearsal else None)
            if self.probe is None:
                self.events.append(lifecycle.Ready(time.monotonic(), generation.number))
        except OSError as error:
            self.log.error(
                "cannot probe generation %d: %s", generation.number, error, extra=fields_of("probe-failed", generation.number)
            )

    def end_probe(self) -> None:
        """Give up a question that is on its way."""
        if self.probe is not None:
            self.probe.close()
            self.probe = None

    def look(self) -> None:
        """Say that this process lives, and turn what is due into events: timers, and a probe that was served."""
        now = time.monotonic()
        if self.outlet.waits() and now >= self._next_flush:
            self._next_flush = now + _FLUSH_INTERVAL
            self.outlet.flush()
        serving = self._serving()
        self.notifier.healthy = serving is None or not self._liveness.is_given_up(serving.number)
        # Once the start time-out has passed it is the manager's turn to give up.
        self.notifier.keep_alive(starting=any(name in _NOT_YET for name, _ in self._timers))
        if self.probe is not None and self.probe.is_done():
            self.probe = None
            self.events.append(lifecycle.Ready(now, self.probed))
        for key, deadline in list(self._timers.items()):
            if now >= deadline:
                del self._timers[key]
                if key[0] == lifecycle.Timer.STANDBY:
                    self.events.append(lifecycle.StandbyDue(now, self.alone() if self.planned_spec.reload == "auto" else ""))
                else:
                    self.events.append(lifecycle.Timeout(now, *key))
        if self.phase is lifecycle.Phase.BACKING_OFF and now >= self._next_queue:
            self._next_queue = now + _QUEUE_INTERVAL
            if client_waits(self.listeners.values()):
                self.events.append(lifecycle.Wanted(now))
        if serving is not None and now >= self._next_liveness:
            self._next_liveness = now + INTERVAL
            # Clients of a listener that it does not have say nothing of it.
            claimed = [spec.name for i, spec in enumerate(serving.spec.listeners) if i in serving.claimed]
            its_own = [(spec, fd) for spec, fd in self.listeners.values() if (spec.of or spec.name) in claimed]
            self._liveness.look(self.spec, serving, its_own, now)

    def next_deadline(self) -> float | None:
        """Return the moment (monotonic) of the next timer or message to the manager, None without any."""
        watched = [self._next_liveness] if self._serving() is not None else []
        watched += [self._next_flush] if self.outlet.waits() else []
        watched += [self._next_queue] if self.phase is lifecycle.Phase.BACKING_OFF else []
        return min((*self._timers.values(), *self.notifier.deadlines(), *watched), default=None)

    def _serving(self) -> Generation | None:
        """Return the generation whose signs of life are watched."""
        if not (self.spec.queue_timeout or self.spec.heartbeat_timeout) or self.phase is not lifecycle.Phase.UP:
            return None
        return self.generations.get(self.serving)

    def take_messages(self, generation: Generation) -> None:
        """Read what a worker says."""
        would_accept, serves = generation.would_accept, generation.serves
        try:
            messages = generation.messages()
        except ValueError as error:
            text = "generation %d sent %s; its messages are no longer read"
            self.log.error(text, generation.number, error, extra=fields_of("bad-message", generation.number))
            generation.close()
            return
        finally:
            self.unserved.note(generation)
        for message in messages:
            self._take_message(generation, message)
        if generation.serves and not serves:
            self.events.append(lifecycle.Serves(time.monotonic(), generation.number))
        if generation.would_accept and not would_accept:
            self.events.append(lifecycle.Accepting(time.monotonic(), generation.number))

    def _take_message(self, generation: Generation, message: wire.Message) -> None:
        now = time.monotonic()
        if isinstance(message, wire.Main) and self.dump_waits and generation.number in self.generations:
            self.dump_waits = False
            self._ask_for_dump(generation)
        elif isinstance(message, wire.Moved):
            self.events.append(lifecycle.Moved(now, generation.number))
        elif isinstance(message, wire.LetGo):
            self.events.append(lifecycle.LetGo(now, generation.number))
        elif isinstance(message, wire.DrainFailed | wire.UndrainFailed):
            drains = isinstance(message, wire.DrainFailed)
            text = "could not give up every listener" if drains else "could not be given every listener"
            fields = fields_of("hand-over-failed", generation.number)
            self.log.error("generation %d %s: %s", generation.number, text, message.text, extra=fields)
            kind = lifecycle.DrainFailed if drains else lifecycle.UndrainFailed
            self.events.append(kind(now, generation.number, message.text))
        elif isinstance(message, wire.Parked):
            self.events.append(lifecycle.Parked(now, generation.number))
        elif isinstance(message, wire.Connections):
            busy = message.busy + message.callbacks
            left = lifecycle.Left(now, generation.number, busy, message.asking)
            self.events.append(left if message.total + message.callbacks else lifecycle.Drained(now, generation.number))
        elif isinstance(message, wire.Claimed):
            listener = generation.spec.listeners[message.listener]
            where = f"listener {listener.name!r} ({listener.address}/{listener.protocol})"
            fields = fields_of("claimed", generation.number, listener.name)
            self.log.info("%s handed over to generation %d, fd %d", where, generation.number, message.fd, extra=fields)
        elif isinstance(message, wire.Tried) and ": " in message.text:
            refused = "refused" in message.text
            fields = fields_of("bind-refused" if refused else "bind-undeclared", generation.number)
            level = logging.WARNING if refused else logging.INFO
            self.log.log(level, "generation %d: bind of %s", generation.number, message.text, extra=fields)
        elif isinstance(message, wire.Note):
            self.log.warning("generation %d: %s", generation.number, message.text, extra=fields_of("note", generation.number))
        elif isinstance(message, wire.Status) and self.serving in {0, generation.number}:
            self.notifier.status(message.text)

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
            for line in end_holders(self.own_pids(), (fd for _, fd in self.listeners.values())):
                self.log.error("generation %d: %s", generation.number, line, extra=fields_of("left-behind", generation.number))
            end_connections(self.listeners.values())
        if self.probed == generation.number:
            self.end_probe()
        death = describe(generation, ended, time.monotonic(), told=was_told(self, generation.number))
        self.deaths = [*self.deaths, death][-_DEATHS_KEPT:]
        self.counts.died(death)
        self.last_death = generation, death
        news = is_news(self, generation, ended)
        self.silent_end = None if news or self.phase is lifecycle.Phase.STOPPING else (generation, death)
        if news:
            fields = fields_of("died", generation.number)
            # Scripts stop their JVM in this way too, which cannot always be seen.
            meant = death.signal == "SIGKILL" and not death.oom and generation.spec.script
            hint = f"; where it was meant to end the service: jvmbind stop {self.spec.name}" if meant else ""
            text = f"{death.text}{hint}"
            self.log.error("generation %d (pid %d) died%s", generation.number, generation.process.pid, text, extra=fields)

    def own_pids(self) -> set[int]:
        """Return the processes whose end is waited for by name."""
        probe = {self.probe.pid} if isinstance(self.probe, HttpProbe) else set()
        return probe | {self.planning_pid} | {one.process.pid for one in self.generations.values()}

    def skip(self, seconds: float) -> None:
        """Do not count a time for which this process and the workers were stopped."""
        self._timers = {key: deadline + seconds for key, deadline in self._timers.items()}
        self._next_liveness += seconds
        self._liveness.skip(seconds)
        for generation in self.generations.values():
            generation.last_heartbeat += seconds

    def pass_on(self, number: int, *, by_key: bool = False) -> bool:
        """Send a signal that is the application's business to each generation with a listener, or else to each.

        Where none runs its main yet, those on their way get it as under `java`: they end by it, unless an agent has a handler.
        The exception is SIGQUIT, which every JVM answers once it is up. Returns whether somebody got it.
        """
        chosen = self.addressed()
        if not chosen and number != signal.SIGQUIT:
            chosen = list(self.generations.values())
        for generation in chosen:
            generation.kill(number, by_key=by_key)
        return bool(chosen)

    def addressed(self) -> list[Generation]:
        """Return the generations that get a signal which is the application's business."""
        running = [one for one in self.generations.values() if one.main_runs]
        return [one for one in running if one.claimed] or running

    def left(self, timer: lifecycle.Timer, number: int) -> float | None:
        """Return the seconds until a timer, None where it is not set."""
        deadline = self._timers.get((timer, number))
        return None if deadline is None else max(0.0, deadline - time.monotonic())

    def alone(self) -> str:
        """Say why there may not be a second instance beside those that there are, "" where nothing is seen."""
        return self._holders.look(self.generations.values())

    def status_line(self) -> str:
        """Return the state in words, for the manager: what the application says of itself, where it does."""
        numbers = ", ".join(str(number) for number in sorted(self.generations)) or "none"
        own = self.generations[self.serving].status_text if self.serving in self.generations else ""
        return own or f"{self.spec.name}: {self.phase.value}, generation {numbers}"

    def close(self) -> None:
        """End what is left, once the service has its status."""
        self.end_probe()
        for generation in self.generations.values():
            with contextlib.suppress(ChildProcessError):
                generation.process.end()
        with contextlib.suppress(OSError):
            for line in end_holders((), (fd for _, fd in self.listeners.values())):
                self.log.error("%s", line, extra=fields_of("left-behind"))
