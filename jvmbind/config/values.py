"""How one value of the configuration is read: each reader takes what TOML (or Python) gave and returns what is kept.

Pure. A reader raises ExpectedError with the words for what it wanted; who calls it knows the file and the key path.
"""

from __future__ import annotations

import resource
import string
from typing import TYPE_CHECKING

from jvmbind.config.request import CONTROL_REQUESTS, UNLIMITED, Limit
from jvmbind.errors import UsageError
from jvmbind.listen import number_names
from jvmbind.spec import BROKER_SOCKET, NAME_MAX, READY_MODES, UNIX_PATH_MAX, WATCHDOG_ACTIONS, ListenSpec, parse_listen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DAY = 86400
_RLIM_MAX = 2**63 - 1
_SHOWN = 60  # characters of a wrong value that an error message repeats
LIMITS = {name.removeprefix("RLIMIT_").lower(): getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")}
_NAME = frozenset(string.ascii_letters + string.digits + "._-")


class ExpectedError(Exception):
    """A value is not what it should be; the message says what that is. `near` is a word that may have been meant."""

    def __init__(self, expected: str, got: object = None, *, detail: str = "", key: str = "") -> None:
        super().__init__(expected)
        self.expected = expected
        self.got = got
        self.detail = detail  # a whole sentence instead, from a parser of its own
        self.key = key  # behind the key path of the field


def show(value: object) -> str:
    """Return a wrong value as the message shows it, short whatever it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"an array of {len(value)}"
    if isinstance(value, dict):
        return f"a table of {len(value)}"
    try:
        text = ascii(value) if not isinstance(value, str) or not value.isprintable() else repr(value)
    except ValueError:  # an integer of more digits than Python writes out (sys.int_info)
        return "a very large number"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def text(expected: str) -> Callable[[object], str]:
    """Read a string that is not empty and holds no NUL, which no system call takes."""

    def read(value: object) -> str:
        if not isinstance(value, str) or not value or "\0" in value:
            raise ExpectedError(expected, value)
        return value

    return read


def flag(value: object) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise ExpectedError("true or false", value)
    return value


def number(low: int, high: int, what: str) -> Callable[[object], int]:
    """Read an integer in a range."""

    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ExpectedError(f"{what} from {low} to {high}", value)
        return value

    return read


def seconds(*, off: bool) -> Callable[[object], float]:
    """Read seconds: more than 0 and at most a day; with `off` 0 is allowed, and means that the thing is off."""
    expected = f"seconds, 0 (off) to {DAY}" if off else f"seconds, more than 0 and at most {DAY}"

    def read(value: object) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not (0 < value <= DAY or (off and value == 0)):
            raise ExpectedError(expected, value)
        return float(value)

    return read


def choice(words: tuple[str, ...]) -> Callable[[object], str]:
    """Read one of a few words."""

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise ExpectedError(f"one of {', '.join(words)}", value)
        return value

    return read


def texts(
    each: Callable[[object], str], what: str, *, empty: bool = True, once: bool = False
) -> Callable[[object], tuple[str, ...]]:
    """Read an array of strings; with `once` none may come twice."""

    def read(value: object) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or not (value or empty):
            raise ExpectedError(f"an array of {what}" if empty else f"an array of at least one of {what}", value)
        found: list[str] = []
        for position, item in enumerate(value):
            try:
                found.append(each(item))
            except ExpectedError as error:
                raise ExpectedError(error.expected, error.got, detail=error.detail, key=f"[{position}]") from error
            if once and found.count(found[-1]) > 1:
                raise ExpectedError(f"each of {what} only once", item, key=f"[{position}]")
        return tuple(found)

    return read


def argument(value: object) -> str:
    """Read one argument of a program, which may be empty."""
    if not isinstance(value, str) or "\0" in value:
        raise ExpectedError("a string", value)
    return value


def path_list(value: object) -> str:
    """Read a class path or module path: a string as `java` takes it, or an array of its entries."""
    if isinstance(value, list | tuple):
        return ":".join(texts(text("a path"), "paths", empty=False)(value))
    return text("a path, or an array of paths")(value)


def service_name(value: object) -> str:
    """Read the name of a service."""
    expected = f"a name of at most {NAME_MAX} letters, digits, '.', '_' and '-', beginning with a letter or a digit"
    if value == BROKER_SOCKET:
        raise ExpectedError("another name than that of the broker's socket in /run/jvmbind", value)
    # A leading dot would hide the socket of that name, or be the directory itself.
    if not isinstance(value, str) or not 0 < len(value) <= NAME_MAX or not set(value) <= _NAME or value[0] in "._-":
        raise ExpectedError(expected, value)
    return value


def user(value: object) -> str:
    """Read USER, USER:GROUP or :GROUP; whether they exist is another question."""
    if (
        not isinstance(value, str)
        or value.strip(":") == ""
        or value.endswith(":")
        or value.count(":") > 1
        or not value.isprintable()
    ):
        raise ExpectedError("USER, USER:GROUP or :GROUP", value)
    return value


def variable(value: object) -> str:
    """Read NAME or NAME=VALUE."""
    if not isinstance(value, str) or not value.partition("=")[0] or "\0" in value:
        raise ExpectedError("NAME or NAME=VALUE", value)
    return value


def listeners(value: object) -> tuple[ListenSpec, ...]:
    """Read the listeners: a table of name -> listener, or an array of listeners; each in the grammar of --listen."""
    if isinstance(value, dict):
        specs = [_named_listener(str(key), item) for key, item in value.items()]
    elif isinstance(value, list | tuple):
        specs = [
            item if isinstance(item, ListenSpec) else _listener(_listener_text(item, f"[{i}]"), None, f"[{i}]")
            for i, item in enumerate(value)
        ]
    else:
        raise ExpectedError('a table of NAME = "LISTENER", or an array of listeners', value)
    try:
        number_names(specs)
    except UsageError as error:
        raise ExpectedError("listeners that do not conflict", value, detail=str(error)) from error
    return tuple(specs)


def _named_listener(name: str, item: object) -> ListenSpec:
    key = f".{name}"
    if isinstance(item, ListenSpec):  # of a Python call
        return item._replace(name=_listener(f"{name}=1", name, key).name)
    return _listener(f"{name}={_listener_text(item, key)}", name, key)


def _listener_text(value: object, key: str) -> str:
    if not isinstance(value, str):
        raise ExpectedError('a listener in quotes, such as "80" or "127.0.0.1:53/udp"', value, key=key)
    return value


def _listener(line: str, name: str | None, key: str) -> ListenSpec:
    try:
        spec = parse_listen(line)
    except UsageError as error:
        raise ExpectedError("a listener", line, detail=str(error), key=key) from error
    if name is not None and spec.name != name:
        raise ExpectedError("a name that begins with a letter and holds letters, digits, '.', '_' and '-'", name, key=key)
    return spec


def ready(value: object) -> str:
    """Read a readiness mode or the address of a probe."""
    expected = f"one of {', '.join(READY_MODES)}, or http://HOST[:PORT]/PATH or https://..."
    if not isinstance(value, str):
        raise ExpectedError(expected, value)
    scheme, separator, rest = value.partition("://")
    probe = separator and scheme in {"http", "https"} and rest.partition("/")[0] and value.isascii() and value.isprintable()
    if value in READY_MODES or (probe and " " not in value):
        return value
    raise ExpectedError(expected, value)


def status(value: object) -> int:
    """Read an HTTP status, 0 for any that means success."""
    if isinstance(value, int) and not isinstance(value, bool) and (value == 0 or 100 <= value <= 599):
        return value
    raise ExpectedError("an HTTP status from 100 to 599, or 0 for any from 200 to 399", value)


def absolute_path(value: object) -> str:
    """Read the path of a Unix socket."""
    # sun_path holds 108 bytes with the final NUL: unix(7)
    fits = isinstance(value, str) and value.startswith("/") and not value.endswith("/") and "\0" not in value
    if not isinstance(value, str) or not fits or len(value.encode("utf-8", "surrogateescape")) > UNIX_PATH_MAX:
        raise ExpectedError(f"an absolute path of at most {UNIX_PATH_MAX} bytes", value)
    return value


def umask(value: object) -> int:
    """Read a file creation mask in octal digits, as a string: TOML would take 0027 for an error and 27 for decimal."""
    if not isinstance(value, str) or not 1 <= len(value) <= 4 or not set(value) <= set(string.octdigits) or int(value, 8) > 0o777:
        raise ExpectedError('an octal mask in quotes, such as "0027"', value)
    return int(value, 8)


def must_be_true(value: object) -> bool:
    """Read no_new_privs, which cannot be had otherwise: the filter of the hand-over needs it (seccomp(2))."""
    if value is not True:
        raise ExpectedError("true; a service without no_new_privs cannot be run (the hand-over at bind needs it)", value)
    return True


def tcp_ports(value: object) -> tuple[int, ...]:
    """Read the ports that the JVM may connect to; an empty array is none."""
    if not isinstance(value, list | tuple):
        raise ExpectedError("an array of TCP ports, such as [443, 5432]", value)
    for place, item in enumerate(value):
        if not isinstance(item, int) or isinstance(item, bool) or not 1 <= item <= 65535:
            raise ExpectedError("a TCP port from 1 to 65535", item, key=f"[{place}]")
    return tuple(sorted(set(value)))


def limits(value: object) -> tuple[Limit, ...]:
    """Read the resource limits: NAME = value for both, or NAME = [soft, hard]."""
    if not isinstance(value, dict):
        raise ExpectedError("a table of resource limits, such as { nofile = 65536 }", value)
    found = []
    for key, item in value.items():
        if key not in LIMITS:
            raise ExpectedError(f"a resource limit, one of {', '.join(sorted(LIMITS))}", key, key=f".{key}")
        found.append(_limit(key, item))
    return tuple(found)


def _limit(name: str, value: object) -> Limit:
    pair = list(value) if isinstance(value, list | tuple) else [value, value]
    expected = '[soft, hard], or one value for both; each a number of at least 0 or "unlimited", soft not above hard'
    numbers = []
    for item in pair:
        if item == "unlimited":
            numbers.append(UNLIMITED)
        elif isinstance(item, int) and not isinstance(item, bool) and 0 <= item <= _RLIM_MAX:
            numbers.append(item)
    if len(pair) != 2 or len(numbers) != 2:
        raise ExpectedError(expected, value, key=f".{name}")
    soft, hard = numbers
    if hard != UNLIMITED and (soft == UNLIMITED or soft > hard):
        raise ExpectedError(expected, value, key=f".{name}")
    return Limit(name, soft, hard)


CONTROL_WORDS: tuple[str, ...] = CONTROL_REQUESTS
WATCHDOG_WORDS: tuple[str, ...] = WATCHDOG_ACTIONS


def suggestion(word: str, words: Mapping[str, object] | tuple[str, ...]) -> str:
    """Return `; did you mean 'x'?` where a known word is near, else nothing."""
    import difflib  # noqa: PLC0415 - for a message that is seldom written

    near = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
