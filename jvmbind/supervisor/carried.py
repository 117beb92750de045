"""What a supervisor hands on to the version that takes its place: its state as plain values, with the number of their form.

Runs in the supervisor as the service user; pure. The writer and the reader are two versions of this module in one process.
A field or a kind that the reader does not know is refused, since it may matter; one that the writer did not know has its
default. `jvmbind.supervisor.fields` says which fields those are.
"""

from __future__ import annotations

import enum
import marshal
from collections import Counter

import jvmbind
from jvmbind import lifecycle
from jvmbind.errors import EX_TEMPFAIL, JvmbindError
from jvmbind.posix.notify_socket import Message
from jvmbind.spec import ListenSpec, ServiceSpec
from jvmbind.supervisor.control import Peer
from jvmbind.supervisor.crash import Death
from jvmbind.supervisor.liveness import Queue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FORM = 1  # raised whenever a value changes its meaning, or is needed and has no default
_READS = {1}

_KINDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        *(Counter, bytearray, ServiceSpec, ListenSpec, Death, Peer, Queue, Message, lifecycle.State, lifecycle.Member),
        *(lifecycle.Phase, lifecycle.Role, lifecycle.Stage, lifecycle.Change, lifecycle.Timer),
        *(value for value in vars(lifecycle).values() if isinstance(value, type) and issubclass(value, tuple)),
    )
}


class UnknownStateError(JvmbindError):
    """What the running version hands on cannot be used by this one."""

    status = EX_TEMPFAIL


def plain(value: Any) -> Any:  # noqa: ANN401 - any value of the state
    """Return a value as marshal writes it: each tuple behind False, and (True, KIND, PARTS) for what has a kind of its own."""
    if isinstance(value, enum.Enum) and type(value).__name__ in _KINDS:
        return True, type(value).__name__, value.value
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, Counter):
        return True, "Counter", plain(dict(value))
    if isinstance(value, bytearray):
        return True, "bytearray", bytes(value)
    if isinstance(value, tuple):
        fields = getattr(value, "_asdict", None)
        return (True, type(value).__name__, plain(fields())) if fields else (False, tuple(map(plain, value)))
    if isinstance(value, dict):
        return {plain(key): plain(one) for key, one in value.items()}
    if isinstance(value, set | frozenset):
        return type(value)(map(plain, value))
    return list(map(plain, value)) if isinstance(value, list) else value


def living(value: Any) -> Any:  # noqa: ANN401 - as above
    """Return what `plain` was given; raises KeyError, TypeError or ValueError on what this version does not know."""
    if isinstance(value, tuple):
        if not value[0]:
            return tuple(map(living, value[1]))
        kind, parts = _KINDS[value[1]], living(value[2])
        names = getattr(kind, "_fields", None)
        if names is None:
            return kind(parts)
        for name in parts:
            if name not in names:
                msg = f"{value[1]}.{name}"
                raise ValueError(msg)  # not the values: there may be secrets among them
        return kind(**parts)
    if isinstance(value, dict):
        return {living(key): living(one) for key, one in value.items()}
    if isinstance(value, set | frozenset):
        return type(value)(map(living, value))
    return list(map(living, value)) if isinstance(value, list) else value


def write(parts: dict[str, Any]) -> bytes:
    """Return the state as bytes."""
    return marshal.dumps({"form": FORM, "version": jvmbind.__version__, "parts": plain(parts)})


def read(data: bytes) -> tuple[str, dict[str, Any]]:
    """Return the version that wrote the state, and its parts; raises UnknownStateError."""
    # The same interpreter has written it, a moment ago and in this process.
    found = marshal.loads(data)  # noqa: S302
    version, form = found["version"], found["form"]
    if form not in _READS:
        known = ", ".join(map(str, sorted(_READS)))
        msg = f"version {version} hands its state on in form {form}; version {jvmbind.__version__} reads {known}"
        raise UnknownStateError(msg)
    try:
        return version, living(found["parts"])
    except (KeyError, ValueError) as error:
        msg = f"the state of version {version} holds what version {jvmbind.__version__} does not know: {error}"
        raise UnknownStateError(msg) from error
