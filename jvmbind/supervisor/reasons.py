"""Why a generation is not ready, or did not become it, and what can be done: for answers, the log and `status`.

Runs in the supervisor as the service user.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jvmbind.supervisor.crash import Death
    from jvmbind.supervisor.generation import Generation

# What servers print when they find the data or the port of another instance: H2, HSQLDB, Derby, Lucene, Kafka, Artemis,
# scripts with a pid file.
_LOCKED = re.compile(
    r"\block(ed)?\b|lockfile|already (in use|running|started|been booted|booted)|in use by another|another instance"
    r"|OverlappingFileLock|pid ?file",
    re.IGNORECASE,
)


def lacks(generation: Generation, *, probed: bool) -> str:
    """Return what a generation lacks to be ready, in words; `probed`: a question is on its way to it."""
    spec = generation.spec
    if not generation.main_runs:
        return "the JVM has not begun to run the application" if not spec.script else "no JVM of the script runs the application"
    if spec.ready == "notify" and not generation.notified:
        return "the application has not said that it is ready (ServiceLifecycle.ready())"
    required = [(i, one) for i, one in enumerate(spec.listeners) if one.required]
    unclaimed = [f"{one.name!r} ({one.address}/{one.protocol})" for i, one in required if i not in generation.claimed]
    if unclaimed:
        return f"the application has not bound listener {', '.join(unclaimed)}{_instead(generation.tried)}"
    silent = [f"{one.name!r}" for i, one in required if one.listens and i not in generation.listening]
    if silent:
        return f"the application does not listen on {', '.join(silent)} yet"
    only_datagrams = all(one.protocol == "udp" for _, one in required)
    if not generation.would_accept:
        return f"no thread of the application waits for {'datagrams' if only_datagrams else 'connections'}"
    if "://" in spec.ready:
        return f"{spec.ready} has not answered with status {spec.ready_status or '200 to 399'}"
    if probed and only_datagrams and required:
        return "nothing is receiving datagrams yet"
    return "the probe connection has not been taken" if probed else "the rehearsal has not ended"


def _instead(tried: Sequence[str]) -> str:
    """Return what the application bound and was not given a listener for, with the hints that came with it."""
    refused = [with_hint(text) for text in tried if "refused" in text]
    bound = [with_hint(text) for text in tried if "refused" not in text]
    return "".join(f"; {what} {', '.join(found)}" for what, found in (("it bound", bound), ("it asked for", refused)) if found)


def with_hint(tried: str) -> str:
    """Return an address that the application asked for with what was said of it behind it, as a part of a sentence."""
    address, _, hint = tried.partition(": ")
    return f"{address} ({hint})" if hint else address


def explain(generation: Generation, death: Death | None, *, probed: bool, held: str, restarts: bool) -> str:
    """Return what is known of a generation that failed, as the rest of a sentence.

    `death` is None where it lives and was not ready in time; `held` is what the serving generation holds, "" where
    nothing is seen; `restarts`: nobody served beside it.
    """
    parts: list[str] = []
    refused = generation.spec.script and not generation.main_runs and death is not None and not death.signal
    if death is not None:
        how = "the script ended before it started a JVM, with " if refused else ""
        parts.append(f"killed by {death.signal}" if death.signal else f"{how}exit status {death.status}")
        if death.hs_err:
            parts.append(f"the JVM's report is {death.hs_err}")
        if death.oom:
            parts.append("the kernel was out of memory")
    if not refused:
        parts.append(lacks(generation, probed=probed))
    lines = generation.output.last_lines()
    if lines:
        parts.append(f"the last lines of the output: {' | '.join(lines)}")
    elif not generation.output.is_known:
        parts.append("what it printed is where the service's output goes, which is not a file that can be read here")
    parts += _advice(generation, lines, death=death, held=held, restarts=restarts)
    return "; ".join(parts)


def _advice(generation: Generation, lines: Sequence[str], *, death: Death | None, held: str, restarts: bool) -> list[str]:
    found: list[str] = []
    if generation.spec.script and not generation.main_runs and death is not None and not restarts:
        return ["a script that does not start beside one that runs (a pid file) needs reload = 'restart'; at once: jvmbind restart"]
    told = any(_LOCKED.search(line) for line in lines)
    if not restarts and (told or (held and generation.main_runs)):
        why = held or "its last lines speak of a lock"
        likely = "are likely to be" if told else "may be"
        found.append(f"two instances at once {likely} what fails ({why}): jvmbind restart, or reload = 'restart'")
    if death is None:
        found.append(f"if it only needs more time, a longer start_timeout (it is {generation.spec.start_timeout:g} s)")
    return found
