"""What `jvmbind status` shows.

Runs in the supervisor as the service user; reads /proc of its own workers.
"""

from __future__ import annotations

import os
import time

from jvmbind.lifecycle import Timer
from jvmbind.posix.listening import accept_queue, dropped, is_listening
from jvmbind.posix.process import children
from jvmbind.supervisor.waiting import member_lacks, member_waits_for, not_ready, waits_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from jvmbind.lifecycle import State
    from jvmbind.supervisor.actions import Actions
    from jvmbind.supervisor.looking import Looks

_LOOKED_AT = 100  # processes of one generation: each costs the supervisor a few reads of /proc


def status_of(world: Actions, state: State, looks: dict[int, Looks]) -> dict[str, Any]:
    """Return the service's state as JSON values, with what was seen of its processes."""
    now = time.monotonic()
    generations = []
    for member in state.members:
        generation = world.generations.get(member.number)
        if generation is None:
            continue
        seen = looks.get(member.number)  # None of one that was started since
        generations.append(
            {
                "number": member.number,
                "role": member.role.name.lower(),
                "stage": member.stage.name.lower(),
                "pid": generation.process.pid,
                "age": round(now - generation.started, 1),
                "memory": seen.memory if seen else {},
                "connections": generation.connections,
                "status": generation.status_text,
                "waits_for": member_waits_for(world, member, state.phase),
                "not_ready": member_lacks(world, member),
                "hints": [text for text in generation.tried if ": " in text],
                "privileges": seen.privileges if seen else {},
            }
        )
    why = not_ready(world, state)
    return {
        "name": world.spec.name,
        "ready": not why,
        "not_ready": why,
        "phase": state.phase.value,
        "pid": os.getpid(),
        "uptime": round(now - world.began, 1),
        "supervisor": looks[0]._asdict(),
        "generations": generations,
        "listeners": [_listener(world, name) for name, (spec, _) in world.listeners.items() if not spec.of],
        "deaths": [death._asdict() for death in world.deaths],
        "reload": world.changes.last,
        "counts": world.counts.as_json(),
        "waits_for": waits_for(world, state),
        "back_off": world.left(Timer.BACK_OFF, 0),
    }


def _listener(world: Actions, name: str) -> dict[str, Any]:
    spec, fd = world.listeners[name]
    further = [fd for further, fd in world.listeners.values() if further.of == name and further.listens]
    fd = next((one for one in further if is_listening(one)), fd)
    queue = accept_queue(fd) if spec.protocol == "tcp" and spec.listens else None
    return {
        "name": name,
        "address": spec.address,
        "protocol": spec.protocol,
        "port": None if spec.protocol == "unix" else spec.port,
        "queue": queue.length if queue else None,
        "queue_limit": queue.limit if queue else None,
        "overflows": dropped(fd) if queue else None,
        "not_served": world.unserved.reasons.get(name, ""),
        "claimed_by": [n for n, g in world.generations.items() if _index(g.spec.listeners, name) in g.claimed],
    }


def _index(listeners: Any, name: str) -> int:  # noqa: ANN401 - a tuple of ListenSpec
    return next((i for i, listener in enumerate(listeners) if listener.name == name), -1)


def descendants(pid: int) -> list[int]:
    """Return living descendants of a process, the near ones first; at most _LOOKED_AT.

    A service may have as many as its user is allowed to, one below the other or side by side.
    """
    found = [pid]
    for parent in found:  # which grows meanwhile
        found += [child for child in children(parent) if child not in found]
        del found[_LOOKED_AT + 1 :]
    return found[1:]


def memory_of(pids: Sequence[int]) -> dict[str, int]:
    """Return RSS and PSS of processes in KiB, from /proc/PID/smaps_rollup; empty where none is readable."""
    sums: dict[str, int] = {}
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                lines = file.read().splitlines()
        except OSError:
            continue
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        for name in ("Rss", "Pss"):
            if name in fields:
                sums[name.lower()] = sums.get(name.lower(), 0) + int(fields[name].split()[0])
    return sums
