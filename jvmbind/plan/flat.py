"""Writes a plan as the flat text that `jvmbind.root.plan` reads. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jvmbind.errors import UsageError
from jvmbind.spec import ListenSpec

if TYPE_CHECKING:
    from jvmbind.root.plan import Plan

_DEFAULTS = ListenSpec("", "")


def write_plan(plan: Plan) -> bytes:
    """Return the text of a plan; raises UsageError for what no system call could take."""
    items = [f"{key}={text}" for key in ("user", "group", "name", "made") if (text := getattr(plan, key))]
    items += [f"{key}=1" for key in ("chosen", "control", "direct") if getattr(plan, key)]
    items += [f"limit={name}:{soft}:{hard}" for name, soft, hard in plan.limits]
    items.append(f"rest={plan.rest.decode()}")
    for spec, fd in plan.listeners:
        items.append(f"listen={spec.name}")
        items += [f"fd={fd}"] if fd >= 0 else [f"sent={-2 - fd}"] if fd < -1 else []
        for key, value, default in zip(spec._fields, spec, _DEFAULTS, strict=True):
            if value != default and key not in {"name", "options"}:
                items.append(f"{key}={int(value) if isinstance(value, bool) else value}")
    try:
        return "".join(f"{item}\0" for item in items).encode(errors="surrogateescape")
    except UnicodeEncodeError as error:
        msg = f"{error.object[error.start : error.end]!r} in a name, a path or a listener: expected text"
        raise UsageError(msg) from error
