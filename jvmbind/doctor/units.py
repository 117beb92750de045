"""The systemd unit of a service: directives that end a JVM, take what jvmbind needs, or cut its times short.

Pure: the text is given. Used by `jvmbind doctor`, as any user. Sources: systemd.service(5), systemd.exec(5).
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from jvmbind.doctor.finding import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jvmbind.spec import ServiceSpec

OLDEST = 250  # the first systemd with `systemd-analyze security --offline=`
_YES = frozenset({"1", "yes", "true", "on", "y", "t"})
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|sec|seconds?|m|min|minutes?|h|hr|hours?|d|days?|w|weeks?)?")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_NEEDED = ("seccomp", "mincore")
_DEFAULT_STOP = 90.0  # DefaultTimeoutStopSec=, where nobody has changed it


def directives(text: str) -> dict[str, list[str]]:
    """Return the directives of a unit and its drop-ins with their values; an empty value takes back those before it."""
    found: dict[str, list[str]] = {}
    for line in text.replace("\\\n", " ").splitlines():
        key, equals, value = line.strip().partition("=")
        if not equals or key.startswith(("#", ";")):
            continue
        values = found.setdefault(key.strip(), [])
        if value.strip():
            values.append(value.strip())
        else:
            values.clear()
    return found


def seconds(text: str) -> float:
    """Return a time span of systemd.time(7) in seconds; infinity for that word, and for what is not understood."""
    if text in {"infinity", "0"}:
        return float("inf")
    parts = _SPAN.findall(text)
    if not parts:
        return float("inf")
    return sum(float(number) * _SECONDS[unit if unit in {"us", "ms"} else (unit or "s")[0]] for number, unit in parts)


def _drop_in(unit: str, name: str, *lines: str) -> tuple[str, ...]:
    folder = f"/etc/systemd/system/{unit}.d"
    text = " ".join(shlex.quote(line) for line in ("[Service]", *lines))
    file = shlex.quote(f"{folder}/jvmbind-{name}.conf")
    return (f"mkdir -p {shlex.quote(folder)}", f"printf '%s\\n' {text} > {file}", "systemctl daemon-reload")


def traps(unit: str, text: str, spec: ServiceSpec) -> Iterator[Finding]:
    """Yield what is wrong with the unit `unit`, whose text with its drop-ins is given, for a service of this specification."""
    found = directives(text)

    def last(key: str, default: str = "") -> str:
        return (found.get(key) or [default])[-1]

    if last("MemoryDenyWriteExecute").lower() in _YES:
        why = "a JVM writes machine code and runs it; with this line it does not start"
        yield Finding(
            "unit-jit",
            Level.ERROR,
            f"{unit}: MemoryDenyWriteExecute=yes",
            why,
            _drop_in(unit, "jit", "MemoryDenyWriteExecute=no"),
        )
    lacking = _lacking_calls(found.get("SystemCallFilter", []))
    if lacking:
        yield Finding(
            "unit-calls",
            Level.ERROR,
            f"{unit}: SystemCallFilter= leaves out {', '.join(lacking)}",
            "seccomp hands listeners over at bind, mincore is a call of the JVM; neither is in @system-service of systemd 252",
            _drop_in(unit, "calls", f"SystemCallFilter={' '.join(lacking)}"),
        )
    ours = spec.stop_timeout if spec.direct else spec.stop_drain_timeout + spec.stop_timeout
    given = last("TimeoutStopSec", last("TimeoutSec", str(_DEFAULT_STOP)))
    if seconds(given) < ours:
        yield Finding(
            "unit-stop",
            Level.WARNING,
            f"{unit}: TimeoutStopSec={given}; the configuration gives {ours:g} s (stop_drain_timeout and stop_timeout)",
            "systemd kills the JVM before its time is over",
            _drop_in(unit, "stop", f"TimeoutStopSec={int(ours) + 15}"),
        )
    if not spec.direct:
        yield from _supervised(unit, found)


def _lacking_calls(filters: list[str]) -> list[str]:
    """Return which calls a list of allowed ones leaves out; one that begins with ~ only takes calls away."""
    if not filters or filters[0].startswith("~"):
        return []
    allowed = {word.split(":")[0] for line in filters if not line.startswith("~") for word in line.split()}
    return [name for name in _NEEDED if name not in allowed and "@known" not in allowed]


def _supervised(unit: str, found: dict[str, list[str]]) -> Iterator[Finding]:
    kind = (found.get("Type") or ["simple"])[-1]
    if kind not in {"notify", "notify-reload"}:
        why = "systemd takes the service for started at once, and neither the fd store nor the watchdog works"
        yield Finding("unit-type", Level.WARNING, f"{unit}: Type={kind}", why, _drop_in(unit, "type", "Type=notify"))
    if not found.get("FileDescriptorStoreMax") or found["FileDescriptorStoreMax"][-1] == "0":
        why = "where the supervisor is killed, its ports are free until the next start"
        lines = _drop_in(unit, "store", "FileDescriptorStoreMax=16")
        yield Finding("unit-store", Level.WARNING, f"{unit}: no FileDescriptorStoreMax=", why, lines)
    if (found.get("ProtectSystem") or [""])[-1] == "strict" and not (found.get("ReadWritePaths") or found.get("StateDirectory")):
        why = "the file system is read-only: logs, heap dumps and data of the application cannot be written"
        yield Finding(
            "unit-files",
            Level.NOTE,
            f"{unit}: ProtectSystem=strict without ReadWritePaths= or StateDirectory=",
            why,
            advice="ReadWritePaths= with what the application writes; jvmbind unit --write PATH",
        )


def version(text: str) -> Finding | None:
    """Judge what `systemctl --version` says."""
    match = re.match(r"systemd (\d+)", text)
    if match is None or int(match[1]) >= OLDEST:
        return None
    return Finding(
        "systemd",
        Level.NOTE,
        f"systemd {match[1]}",
        f"jvmbind is tested with 252 and later; before {OLDEST} the exposure of a unit cannot be shown",
        advice="a later release of the distribution",
    )
