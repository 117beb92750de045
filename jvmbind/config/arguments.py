"""The arguments of a Python call, as Python means them: turned into what the table of all keys reads, or refused by name.

Runs in the program that uses the API. A number is a port, a path may be a pathlib.Path, a time a timedelta, and a single str
is no sequence of them. What is refused is a TypeError or a ValueError with the argument's name, in the words of Python.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jvmbind.config import values as v
from jvmbind.config.schema import FIELDS, TABLES, build, read_document
from jvmbind.errors import ArgumentTypeError, ArgumentValueError, ConfigurationError, UsageError
from jvmbind.listen import number_names
from jvmbind.spec import ListenSpec, parse_listen

if TYPE_CHECKING:
    from jvmbind.config.request import Request
    from jvmbind.config.schema import Values

_FLAGS = {
    "direct",
    "quiet",
    "verbose",
    "preserve_env",
    "security.strict_binds",
    "security.no_new_privs",
    "security.isolate_network",
}
_SEQUENCES = {"env", "java.arguments", "java.script", "java.options", "java.args", "control.allow", "supervise.watchdog.actions"}
_DEEPEST = 8  # parts of a key; those that there are have four at the most
_PORTS = "security.connect_ports"
_TABLES = {"java", "supervise", "control", "security"}
_NUMBERS = {"supervise.ready_status", "supervise.start_limit", "supervise.standby"}
_TEXTS = {"supervise.ready", "supervise.reload", "supervise.restart"}
# What the readers of a configuration file say, and what is said of a Python call.
_WORDS = (
    ("an array of", "a sequence of"),
    ("a table of", "a mapping of"),
    ("true or false", "True or False"),
    ("a listener in quotes", "a listener"),
    ("[soft, hard]", "(soft, hard)"),
)


def read_arguments(given: Mapping[str, object], what: str) -> tuple[Request, Values]:
    """Return the request that keyword arguments make, and the values by key path.

    Raises ArgumentTypeError, ArgumentValueError.
    """
    document = {key: _plain(key, key, value) for key, value in given.items() if value is not None}
    for table in _TABLES & document.keys():
        if not isinstance(document[table], dict):
            raise wrong_type(table, f"a mapping of {', '.join(TABLES[table])}", given[table])
    try:
        values = read_document(document, what)
        return build(values, what), values
    except ConfigurationError as error:
        raise _refusal(error, what) from None


def read_listeners(listen: object) -> tuple[ListenSpec, ...]:
    """Return listeners as `jvmbind.bind_listeners` takes them, each with a name.

    Raises ArgumentTypeError for what is no mapping or sequence of them, and ArgumentValueError for one that cannot be understood.
    """
    plain = _plain("listen", "listen", listen)
    places: list[object] = list(plain) if isinstance(plain, dict) else []
    if isinstance(plain, dict):
        plain = [f"{name}={text}" for name, text in plain.items()]
    if not isinstance(plain, list):
        raise wrong_type("listen", "a mapping of NAME to listener, or a sequence of listeners", listen)
    found: list[ListenSpec] = []
    for place, one in enumerate(plain):
        where = (places or range(len(plain)))[place]
        name = f"listen[{where!r}]"
        if not isinstance(one, str | ListenSpec):
            raise wrong_type(name, "a port, a listener such as '127.0.0.1:53/udp' or a ListenSpec", one)
        try:
            found.append(one if isinstance(one, ListenSpec) else parse_listen(one))
        except UsageError as error:
            raise ArgumentValueError(f"listen[{where!r}]: {error}", name) from None
    try:
        return number_names(found)
    except UsageError as error:
        raise ArgumentValueError(f"listen: {error}", "listen") from None


def check_texts(name: str, value: object) -> tuple[str, ...]:
    """Return a sequence of str, where a path stands for its text; raises ArgumentTypeError naming the argument."""
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise wrong_type(name, "a sequence of str", value)
    found = [os.fspath(one) if isinstance(one, os.PathLike) else one for one in value]
    for place, one in enumerate(found):
        if not isinstance(one, str):
            raise wrong_type(f"{name}[{place}]", "a str", one)
    return tuple(found)


def check_type(name: str, value: object, kind: type | tuple[type, ...], expected: str) -> None:
    """Raise ArgumentTypeError, naming the argument, for a value that is of another type; True and False are no numbers."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise wrong_type(name, expected, value)


def wrong_type(name: str, expected: str, got: object) -> ArgumentTypeError:
    """Return the refusal of an argument of another type than `expected`."""
    return ArgumentTypeError(f"{name}: expected {expected}, got {_show(got)} ({type(got).__name__})", name)


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _plain(path: str, name: str, value: object) -> Any:  # noqa: ANN401 - what TOML could have given
    """Return a value as the reader of a file would give it."""
    import datetime as dt  # noqa: PLC0415 - for the API alone

    if isinstance(value, bytes | bytearray):
        raise wrong_type(name, "str and not bytes", value)
    if path.count(".") + path.count("[]") > _DEEPEST:  # it may hold itself
        raise ArgumentValueError(f"{name}: expected nothing that is nested so deeply", name.partition("[")[0])
    if isinstance(value, os.PathLike):
        text = os.fspath(value)
        return _plain(path, name, text)
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, ListenSpec):
        return value if value.app_port or value.protocol == "unix" else value._replace(app_port=value.port)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise wrong_type(f"a key of {name}", "a str", key)
        return {key: _plain(f"{path}.{key}", f"{name}[{key!r}]", item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(f"{path}[]", f"{name}[{place}]", item) for place, item in enumerate(value)]
    if path.startswith("listen") and path != "listen" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


def _refusal(error: ConfigurationError, what: str) -> ArgumentTypeError | ArgumentValueError:
    """Return the refusal of a reader in the words of a Python call."""
    where, _, rest = str(error).removeprefix(f"{what}: ").partition(": ")
    cause = error.__cause__
    name = in_python(where)
    for toml, python in _WORDS:
        rest = rest.replace(toml, python)
    if isinstance(cause, v.ExpectedError) and not cause.detail:
        expected = cause.expected
        for toml, python in _WORDS:
            expected = expected.replace(toml, python)
        if not _has_type(where, cause.got):
            return wrong_type(name, expected, cause.got)
        near = rest[rest.index("; did you mean") :] if "; did you mean" in rest else ""
        rest = f"expected {expected}, got {_show(cause.got)}{near}"
    return ArgumentValueError(f"{name}: {rest}", name)


def in_python(where: str) -> str:
    """Return `java.options[0]` as it is written in Python: `java['options'][0]`."""
    first, *others = where.split(".")
    return first + "".join(
        f"[{word.partition('[')[0]!r}]" + (f"[{word.partition('[')[2]}" if "[" in word else "") for word in others
    )


def _has_type(where: str, value: object) -> bool:
    """Whether a value that is wrong has at least the type that is expected."""
    path = where.partition("[")[0]
    if path == _PORTS:
        return isinstance(value, int) and not isinstance(value, bool) if "[" in where else isinstance(value, list)
    if "[" in where and path in _SEQUENCES:
        return isinstance(value, str)
    if path in _FLAGS:
        return isinstance(value, bool)
    if path in _SEQUENCES:
        return isinstance(value, list)
    if path == "listen" and "[" not in where:
        return isinstance(value, dict | list)
    if path.startswith("security.limits"):
        return isinstance(value, dict | list | int | str) and not isinstance(value, bool)
    is_seconds = path in FIELDS and path.startswith("supervise.") and path not in _TEXTS
    if path in _NUMBERS or is_seconds:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str)
