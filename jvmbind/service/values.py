"""What is known of a service: frozen dataclasses, read from what its supervisor says.

Runs in the program. Pure. Each `from_json` takes what this version's supervisor writes, and what a newer one adds is left
out; it raises LookupError, TypeError or ValueError on anything else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping  # noqa: TC003 - typing.get_type_hints finds it
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

State = Literal["starting", "ready", "not ready", "reloading", "restarting", "backing off", "stopping", "running", "ended"]
"""How a service is. `running` is all that can be said with `direct`, where there is no supervisor."""
EventKind = Literal["state", "death", "change", "ended"]
ChangeKind = Literal["reload", "restart", "dump"]
Protocol = Literal["tcp", "udp", "unix"]
Role = Literal["serving", "incoming", "draining", "standby"]

STATES: frozenset[str] = frozenset(get_args(State))


def state_of(phase: str, *, ready: bool) -> State:
    """Return the word for a supervisor's phase; raises ValueError."""
    if phase == "up":
        return "ready" if ready else "not ready"
    for state in get_args(State):
        if state == phase:
            found: State = state
            return found
    msg = f"{phase!r} is no phase of this version"
    raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class _Value:
    """Read from a JSON object by the names of the fields; arrays become tuples."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the value that `values` says; keys that this version does not know are left out."""
        found = {}
        for field in dataclasses.fields(cls):
            if field.name in values:
                value = values[field.name]
                found[field.name] = tuple(value) if isinstance(value, list) else value
        return cls(**found)


@dataclass(frozen=True, slots=True)
class Death(_Value):
    """How one generation ended."""

    time: float
    """Seconds since the epoch."""
    generation: int
    pid: int
    status: int
    """The exit status; 0 after a signal."""
    signal: str
    """Such as `SIGKILL`; "" after an exit."""
    core: bool = False
    """Whether a core file was written."""
    uptime: float = 0.0
    """Seconds."""
    during_start: bool = False
    """Whether the application's own code had not begun yet."""
    hs_err: str = ""
    """The path of the JVM's own report; "" where there is none."""
    oom: bool = False
    """Whether the kernel ended it for want of memory."""
    asked: bool = False
    """Whether it was told to end: by a stop, a restart, or as the old one of a reload."""
    last_lines: tuple[str, ...] = ()
    """What it printed last, where the service's output goes to a file that its user can read; known of events alone."""

    def __str__(self) -> str:
        """Return it in words."""
        how = f"killed by {self.signal}" if self.signal else f"exit status {self.status}"
        text = f"generation {self.generation} {'ended' if self.asked else 'died'} after {self.uptime:.1f} s: {how}"
        text += ", out of memory" if self.oom else ""
        text += f", report {self.hs_err}" if self.hs_err else ""
        return text + (f"; the last lines of the output: {' | '.join(self.last_lines)}" if self.last_lines else "")


@dataclass(frozen=True, slots=True)
class ChangeResult(_Value):
    """How a reload or a restart ended."""

    kind: ChangeKind
    ok: bool
    error: str = ""
    """Why it failed; "" where it did not."""
    generation: int = 0
    """The generation that was started for it; 0 where none was."""
    time: float = 0.0
    """When it ended, in seconds since the epoch."""
    alone: str = ""
    """Why a reload was done by a restart with the listeners kept; "" where two generations lived side by side."""
    notes: tuple[str, ...] = ()
    """What else is to be said, such as a key of the file that counts at the next start only."""
    seconds: float | None = None
    """From the request to its end; None where another asked for it."""
    changed: tuple[str, ...] = ()
    """Of a reload to another version: what it says otherwise, by the names of the arguments (`java['jar']`, `listen['http']`)."""

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.kind} done: generation {self.generation} serves" if self.ok else f"{self.kind} failed: {self.error}"


@dataclass(frozen=True, slots=True)
class Generation(_Value):
    """One life of the JVM, as it is now."""

    number: int
    role: Role
    stage: str
    pid: int
    age: float = 0.0
    """Seconds."""
    status: str = ""
    """What the application says of itself (`ServiceLifecycle.status`)."""
    waits_for: str = ""
    not_ready: str = ""
    hints: tuple[str, ...] = ()
    memory: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """`rss` and `pss` in KiB; empty where that cannot be read."""
    privileges: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """`threads`, `uids`, `capabilities`, `no_new_privs` as the kernel shows them; empty where that cannot be read."""


@dataclass(frozen=True, slots=True)
class ListenerStatus(_Value):
    """One listener, as it is now."""

    name: str
    address: str
    """As it was declared, or as it was inherited."""
    protocol: Protocol
    port: int | None = None
    """The port that clients reach; None of a Unix socket."""
    queue: int | None = None
    """Connections that wait to be accepted; None where there is no queue."""
    queue_limit: int | None = None
    overflows: int | None = None
    """Connections that were lost because the queue was full."""
    not_served: str = ""
    """Why clients are refused; "" where they are not."""
    claimed_by: tuple[int, ...] = ()
    """The generations that have it."""


@dataclass(frozen=True, slots=True)
class Status:
    """All that is known of a service at one moment."""

    name: str
    """"" before its supervisor has said anything."""
    pid: int
    """The supervisor's process; with `direct` the JVM's."""
    state: State
    ready: bool = False
    """Whether clients are served, during a reload too."""
    not_ready: str = ""
    """Why not."""
    waits_for: str = ""
    """What it waits for on its way to another state."""
    back_off: float | None = None
    """Seconds until the next start, in the state "backing off"."""
    generations: tuple[Generation, ...] = ()
    listeners: tuple[ListenerStatus, ...] = ()
    deaths: tuple[Death, ...] = ()
    """The oldest first, 100 at most."""
    last_change: ChangeResult | None = None
    exit_status: int | None = None
    """None until it has ended, or where that cannot be known any more."""
    text: str = ""
    """The service's last words for its manager."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any], *, text: str = "") -> Self:
        """Return what the answer of a supervisor to `status` says."""
        change = values["reload"]
        ready = bool(values["ready"])
        return cls(
            name=values["name"],
            pid=values["pid"],
            state=state_of(values["phase"], ready=ready),
            ready=ready,
            not_ready=values["not_ready"],
            waits_for=values["waits_for"],
            back_off=values.get("back_off"),
            generations=tuple(Generation.from_json(one) for one in values["generations"]),
            listeners=tuple(ListenerStatus.from_json(one) for one in values["listeners"]),
            deaths=tuple(Death.from_json(one) for one in values["deaths"]),
            last_change=None if change is None else ChangeResult.from_json(change),
            text=text,
        )


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has happened to a service, and how it was then."""

    kind: EventKind
    time: float
    """Seconds since the epoch."""
    state: State
    generation: int = 0
    """The one that serves; 0 without."""
    text: str = ""
    """In words: what is lacking, how a generation died, how a change ended."""
    death: Death | None = None
    change: ChangeResult | None = None
    exit_status: int | None = None

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.kind}: {self.state}" + (f" ({self.text})" if self.text else "")
