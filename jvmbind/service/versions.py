"""Another version of a service: what it changes, and what cannot change while the service runs.

Runs in the program. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jvmbind.config.arguments import in_python
from jvmbind.config.schema import FIELDS
from jvmbind.errors import ArgumentValueError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jvmbind.config.request import Request
    from jvmbind.config.schema import Values

# What the process that has bound and dropped was started with, for good.
_AT_START = (
    "name",
    "user",
    "direct",
    "quiet",
    "log_format",
    "control.socket",
    "control.group",
    "control.allow",
    "security.limits",
    "security.umask",
)


def check_change(now: Request, wanted: Request) -> None:
    """Raise ArgumentValueError for what cannot change at a reload, naming it; a name that is left out stays."""
    for path in _AT_START:
        before, after = _value(path, now, {}), _value(path, wanted, {})
        if before != after and not (path == "name" and after is None):
            name = in_python(path)
            msg = f"{name}: cannot change at a reload: it is {before!r}, got {after!r}; stop the service and start it"
            raise ArgumentValueError(msg, name)


def changes(now: tuple[Request, Values], wanted: tuple[Request, Values]) -> tuple[str, ...]:
    """Return what another version says otherwise, by the names of the arguments of `Service`."""
    found = []
    for path in FIELDS:
        before, after = _value(path, *now), _value(path, *wanted)
        if path == "listen":
            found += _listeners(now[0], wanted[0])
        elif before != after and not (path == "name" and after is None):
            found.append(in_python(path))
    return tuple(found)


def variables(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Return the variables of the environment that are others."""
    return tuple(f"environ[{name!r}]" for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name))


def _listeners(now: Request, wanted: Request) -> list[str]:
    before, after = ({spec.name: spec for spec in one.listeners} for one in (now, wanted))
    return [f"listen[{name!r}]" for name in [*before, *(after.keys() - before.keys())] if before.get(name) != after.get(name)]


def _value(path: str, request: Request, values: Values) -> object:
    target = FIELDS[path].target
    if target:
        return getattr(request.template if target.startswith(".") else request, target.removeprefix("."))
    return values.get(path)
