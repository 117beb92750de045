"""What the state table has to say, for the log and the service manager.

Runs in the supervisor as the service user.
"""

from __future__ import annotations

import signal

from jvmbind.lifecycle import Notice, Phase
from jvmbind.lifecycle.death import ENDED_WELL
from jvmbind.record import assert_never
from jvmbind.supervisor.log import fields_of
from jvmbind.supervisor.reasons import lacks, with_hint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvmbind.lifecycle import Report
    from jvmbind.posix.process import Ended
    from jvmbind.supervisor.actions import Actions
    from jvmbind.supervisor.generation import Generation


def report(world: Actions, said: Report) -> None:
    """Write one report."""
    number = said.generation
    fields = fields_of(said.what, number)
    generation = world.generations.get(number)
    match said.what:
        case Notice.READY:
            _report_ready(world, generation, number)
        case Notice.SLOW:
            if generation is not None:
                why = lacks(generation, probed=world.probed == number)
                world.log.info("generation %d is not ready after %g s: %s", number, said.seconds, why, extra=fields)
        case Notice.PARTLY:
            _report_partly(world, generation, number)
        case Notice.BACK_OFF:
            world.log.info("the next generation starts in %.1f s; the listeners stay bound", said.seconds, extra=fields)
        case Notice.UNCLAIMED:
            report_unclaimed(world, generation)
        case Notice.HANGS:
            text = "generation %d has not stopped after %g s; thread dump, then SIGKILL"
            world.log.warning(text, number, said.seconds, extra=fields)
        case Notice.DUMP:
            world.log.warning("thread dump of generation %d, then SIGKILL", number, extra=fields)
        case Notice.ALONE:
            text = "no standby is started: %s; set reload = 'overlap' if two instances may run at once"
            world.log.warning(text, world.alone(), extra=fields)
        case Notice.STANDBY_LATE:
            text = "standby generation %d has not reached its first bind of a listener within %.0f s"
            world.log.warning(text, number, said.seconds, extra=fields)
        case Notice.START_LIMIT:
            world.log.error("%d starts in a row failed; giving up", world.spec.start_limit, extra=fields)
        case unknown:
            assert_never(unknown)


def _report_ready(world: Actions, generation: Generation | None, number: int) -> None:
    missing = unclaimed_names(generation) if generation is not None else []
    world.never_claimed = set(missing)
    world.counts.ready(number)
    fields = fields_of("ready", number)
    if missing:
        names = ", ".join(map(repr, missing))
        world.log.warning("generation %d serves as the one before did, without listener %s", number, names, extra=fields)
        world.notifier.status(world.status_line())
        return
    world.log.info("generation %d is ready", number, extra=fields)
    world.notifier.ready(world.status_line())


def _report_partly(world: Actions, generation: Generation | None, number: int) -> None:
    missing = unclaimed_names(generation) if generation is not None else []
    world.never_claimed = set(missing)
    text = (
        "generation %d serves, but is not ready without listener %s; where the application need not bind it, declare it ',optional'"
    )
    fields = fields_of("partly", number)
    if missing or generation is None:
        world.log.warning(text, number, ", ".join(map(repr, missing)), extra=fields)
    else:  # it has all listeners, and lacks the right answer to a probe
        why = lacks(generation, probed=world.probed == number)
        world.log.warning("generation %d serves, but is not ready: %s", number, why, extra=fields)
    world.notifier.status(world.status_line())


def report_callbacks(world: Actions, generation: Generation, number: int) -> None:
    """Say of a generation that is asked to end by the signal `number` that its application has more to do."""
    if generation.callbacks and number not in {signal.SIGKILL, signal.SIGQUIT}:
        text = "generation %d is ended before its onDrain callbacks have returned"
        world.log.warning(text, generation.number, extra=fields_of("callbacks", generation.number))


def was_told(world: Actions, number: int) -> bool:
    """Whether a generation is one that a stop, a restart or a reload ends."""
    if world.phase is Phase.RESTARTING:
        return number <= world.last_serving
    return world.phase is Phase.STOPPING or number < world.last_serving


def is_news(world: Actions, generation: Generation, ended: Ended) -> bool:
    """Whether an end is one that nobody has asked for, and that Java may have said nothing of."""
    serving = world.serving == generation.number
    if world.phase is Phase.STOPPING or (world.phase is Phase.RESTARTING and serving):
        return False
    if not generation.spec.listeners and not ended.signal:
        return False  # the program's own result, which is that of the service
    failed = serving or (world.phase is Phase.STARTING and generation.number > 1)
    return bool(ended.signal or (failed and ended.status not in ENDED_WELL))


def report_end(world: Actions) -> None:
    """Say of a first start that has failed that it was the only one, and what is likely to be missing."""
    generation, death = world.silent_end or (None, None)
    if generation is None or death is None or generation.number > 1 or death.signal or death.status in ENDED_WELL:
        return
    spec, fields = generation.spec, fields_of("first-start", generation.number)
    early = death.uptime <= spec.start_timeout
    when = " before it served" if spec.listeners else ""
    port = "; no listener is declared: a port below 1024 needs one, as -l 80" if early and not spec.listeners else ""
    text = "generation %d ended with status %d%s; not started again%s"
    world.log.info(text, generation.number, death.status, when, port, extra=fields)
    if early and spec.not_passed:
        names = ", ".join(spec.not_passed)
        world.log.info("environment variables that the service does not get: %s; --env NAME passes one", names, extra=fields)


def unclaimed_names(generation: Generation) -> list[str]:
    """Return the names of the listeners that a generation must bind and has not bound."""
    declared = enumerate(generation.spec.listeners)
    return [one.name for i, one in declared if i not in generation.claimed and (one.required or one.name in generation.excused)]


def unclaimed(world: Actions) -> str:
    """Say which listeners the newest generation has not claimed; "" without any."""
    generation = max(world.generations.values(), key=lambda one: one.number, default=None)
    names = unclaimed_names(generation) if generation is not None else []
    return f" (not claimed by the application: {', '.join(map(repr, names))})" if names else ""


def report_unclaimed(world: Actions, generation: Generation | None) -> None:
    """Name each listener that a generation has not claimed in time, and what it bound instead."""
    if generation is None:
        return
    tried = ", ".join(map(with_hint, generation.tried)) or "none"
    for index, listener in enumerate(generation.spec.listeners):
        if index in generation.claimed or not listener.required:
            continue
        address = listener.address
        if listener.app_port != listener.port:
            address += f":{listener.app_port}"
        world.log.warning(
            "listener %r (%s/%s) was not claimed within %g s; other addresses that the application asked for: %s",
            listener.name,
            address,
            listener.protocol,
            generation.spec.start_timeout,
            tried,
            extra=fields_of("unclaimed", generation.number, listener.name),
        )
