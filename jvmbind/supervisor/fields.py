"""Which fields of a supervisor's parts are its state, taken from one version and given to the next, and whose sockets are whose.

Runs in the supervisor as the service user. What a field is called is the agreement of two versions: one that is renamed, or
is missing in an older version, raises `jvmbind.supervisor.carried.FORM`. Descriptors stay where they are, and are carried as
their numbers.
"""

from __future__ import annotations

import socket
from operator import attrgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from jvmbind.supervisor.succession import Succession

# Part -> where it is, seen from the loop, and those of its fields that are carried.
_PARTS = {
    "loop": ("", ("_signals", "_next_complaint", "_state", "_deferred")),
    "terminal": ("_terminal", ("_shells", "_was_there")),
    "world": (
        "_world",
        (
            *("spec", "began", "listeners", "events", "keys", "dump_waits", "phase", "serving", "last_serving", "deaths"),
            *("never_claimed", "probed", "environ", "_next_liveness", "_next_queue", "_next_flush", "_timers"),
        ),
    ),
    "changes": ("_world.changes", ("last", "alone", "notes")),
    "counts": (
        "_world.counts",
        ("_since", "_restarts", "_changes", "_deaths", "_times", "_ready", "_seconds", "_last", "_cause"),
    ),
    "unserved": ("_world.unserved", ("_claimed", "_said", "_due", "_paused_until", "reasons")),
    "liveness": ("_world._liveness", ("_number", "_since", "_queues", "_taken", "_given_up", "_cpu", "_looked")),
    "holders": ("_world._holders", ("_former",)),
    "notifier": ("_world.notifier", ("_is_ready", "_next_extend", "healthy", "_next_watchdog", "_stored")),
    "notify_socket": ("_world.notifier._socket", ("_unsent", "_pause", "_again")),
    "outlet": ("_world.outlet", ("_waiting", "_lost")),
    "starter": ("_world._starter", ("_mask",)),
    "requests": ("_requests", ("_speak_at",)),
    "program": ("_program", ("_is_there", "_watched", "_told", "_number", "_answers")),
}
GENERATION = (
    *("number", "excused", "spec", "started", "main_runs", "notified", "waiting", "claimed", "listening", "hidden", "tried"),
    *("too_wide", "unnoted", "binds", "status_text", "connections", "callbacks", "last_heartbeat", "paused_until", "_responders"),
)
CONTROL = ("_path", "_peers", "_next_refusal", "_refusals", "_next_shortage", "paused_until", "root_paused_until")


def take(thing: object, names: Iterable[str]) -> dict[str, Any]:
    """Return fields by their names."""
    return {name: getattr(thing, name) for name in names}


def give(thing: object, names: Iterable[str], values: dict[str, Any]) -> None:
    """Set fields; raises ValueError where one is none of `names`. One that is missing stays as it is."""
    unknown = values.keys() - set(names)
    if unknown:
        msg = f"{type(thing).__name__}: {', '.join(sorted(unknown))}"
        raise ValueError(msg)
    for name, value in values.items():
        setattr(thing, name, value)


def _part(loop: Succession, place: str) -> object:
    return attrgetter(place)(loop) if place else loop


def take_parts(loop: Succession) -> dict[str, Any]:
    """Return the carried fields of every part of a supervisor."""
    return {what: take(_part(loop, place), names) for what, (place, names) in _PARTS.items()}


def give_parts(loop: Succession, parts: dict[str, Any]) -> None:
    """Set them; raises KeyError or ValueError on what is missing or unknown."""
    for what, (place, names) in _PARTS.items():
        give(_part(loop, place), names, parts[what])


def take_over(fd: int) -> socket.socket:
    """Return a socket that does not block, on a descriptor of the version before."""
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)
    return sock
