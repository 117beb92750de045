"""Every key of the configuration: where it stands, how it is read, and which field of Request or ServiceSpec it fills.

Pure. The file, the command line and the keyword arguments of `jvmbind.Service` are read by this one table, so what one of
them can say the others can say too. Values are kept by key path ("supervise.ready") until `build` makes a Request of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from jvmbind.config import values as v
from jvmbind.config.request import Request
from jvmbind.errors import ConfigurationError
from jvmbind.spec import LOG_FORMATS, RELOAD_MODES, RESTART_POLICIES, ServiceSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Values = dict[str, object]


class Field(NamedTuple):
    """One key. `target` is a field of Request, or of ServiceSpec behind a dot; "" where `build` makes something of it."""

    read: Callable[[object], object]
    target: str = ""


FIELDS: dict[str, Field] = {
    "name": Field(v.service_name, "name"),
    "user": Field(v.user, "user"),
    "listen": Field(v.listeners, "listeners"),
    "inherit": Field(v.text("the name of a listener"), ".inherit"),
    "direct": Field(v.flag, ".direct"),
    "quiet": Field(v.flag, ".quiet"),
    "log_format": Field(v.choice(LOG_FORMATS), ".log_format"),
    "verbose": Field(v.flag, "verbose"),
    "env": Field(v.texts(v.variable, "NAME or NAME=VALUE"), "environ"),
    "preserve_env": Field(v.flag, "preserve_environ"),
    "java.arguments": Field(v.texts(v.argument, "what comes after java", empty=False)),
    "java.jar": Field(v.text("the path of a jar")),
    "java.main": Field(v.text("the name of a main class")),
    "java.module": Field(v.text("MODULE or MODULE/CLASS")),
    "java.daemon": Field(v.text("the name of a commons-daemon class"), ".daemon"),
    "java.script": Field(v.texts(v.argument, "a script and its arguments", empty=False), ".script"),
    "java.classpath": Field(v.path_list),
    "java.modulepath": Field(v.path_list),
    "java.options": Field(v.texts(v.argument, "options of java")),
    "java.args": Field(v.texts(v.argument, "arguments of the application")),
    "java.home": Field(v.text("the directory of a Java runtime"), "java_home"),
    "supervise.ready": Field(v.ready, ".ready"),
    "supervise.ready_status": Field(v.status, ".ready_status"),
    "supervise.start_timeout": Field(v.seconds(off=False), ".start_timeout"),
    "supervise.stop_timeout": Field(v.seconds(off=False), ".stop_timeout"),
    "supervise.drain_timeout": Field(v.seconds(off=True), ".drain_timeout"),
    "supervise.reload": Field(v.choice(RELOAD_MODES), ".reload"),
    "supervise.stop_drain_timeout": Field(v.seconds(off=True), ".stop_drain_timeout"),
    "supervise.restart": Field(v.choice(RESTART_POLICIES), ".restart"),
    "supervise.backoff.first": Field(v.seconds(off=False), ".backoff_first"),
    "supervise.backoff.max": Field(v.seconds(off=False), ".backoff_max"),
    "supervise.backoff.waiting": Field(v.seconds(off=False), ".backoff_waiting"),
    "supervise.backoff.reset": Field(v.seconds(off=False), ".backoff_reset"),
    "supervise.start_limit": Field(v.number(0, 1000, "a number of starts"), ".start_limit"),
    "supervise.standby": Field(v.number(0, 16, "a number of generations"), ".standby"),
    "supervise.watchdog.queue": Field(v.seconds(off=True), ".queue_timeout"),
    "supervise.watchdog.heartbeat": Field(v.seconds(off=True), ".heartbeat_timeout"),
    "supervise.watchdog.actions": Field(
        v.texts(v.choice(v.WATCHDOG_WORDS), ", ".join(v.WATCHDOG_WORDS), empty=False, once=True), ".watchdog"
    ),
    "control.socket": Field(v.absolute_path, ".control"),
    "control.group": Field(v.text("the name of a group"), "control_group"),
    "control.allow": Field(v.texts(v.choice(v.CONTROL_WORDS), ", ".join(v.CONTROL_WORDS), once=True), "control_allow"),
    "security.isolate_network": Field(v.flag, ".isolate_network"),
    "security.strict_binds": Field(v.flag, ".strict_binds"),
    "security.connect_ports": Field(v.tcp_ports, ".connect_ports"),
    "security.no_new_privs": Field(v.must_be_true),
    "security.limits": Field(v.limits, "limits"),
    "security.umask": Field(v.umask, "umask"),
}

# What is run, as the table [java] says it: these keys together make the arguments that stand after `java`.
JAVA_WORDS = ("arguments", "jar", "main", "module", "script", "classpath", "modulepath", "options", "args")
_PROGRAMS = ("arguments", "jar", "main", "module", "daemon", "script")
# Keys that mean nothing beside each of these.
_ALONE = {
    "arguments": ("classpath", "modulepath", "options", "args"),
    "script": ("classpath", "modulepath", "options", "args"),
    "jar": ("classpath",),
}


def _children() -> dict[str, tuple[str, ...]]:
    """Return for each table of the schema, "" for the whole, the keys that it may have."""
    found: dict[str, list[str]] = {"": []}
    for path in FIELDS:
        above = ""
        for word in path.split("."):
            keys = found.setdefault(above, [])
            if word not in keys:
                keys.append(word)
            above = f"{above}.{word}" if above else word
    return {path: tuple(keys) for path, keys in found.items()}


TABLES = _children()


def refuse(source: str, key: str, message: str) -> ConfigurationError:
    """Return the error about one key of one source."""
    where = f"{source}: {key}" if key else source
    return ConfigurationError(f"{where}: {message}")


def read_value(key: str, value: object, source: str, shown: str = "") -> object:
    """Read the value of one key; raises ConfigurationError. `shown` is how the source calls it, else the key path."""
    try:
        return FIELDS[key].read(value)
    except v.ExpectedError as error:
        got = error.got
        words = tuple(error.expected.partition("one of ")[2].split(", "))
        near = v.suggestion(got, words) if isinstance(got, str) and "" not in words else ""
        message = error.detail or f"expected {error.expected}, got {v.show(got)}{near}"
        raise refuse(source, (shown or key) + error.key, message) from error


def read_document(document: Mapping[str, object], source: str) -> Values:
    """Read a whole configuration, nested as TOML nests it; raises ConfigurationError naming the key path."""
    found: Values = {}
    _read_table(document, "", source, found)
    return found


def _read_table(table: Mapping[str, object], path: str, source: str, found: Values) -> None:
    known = TABLES[path]
    for key, value in table.items():
        below = f"{path}.{key}" if path else str(key)
        if key not in known:
            raise refuse(source, _printable(below), f"unknown key; expected one of {', '.join(known)}{_near(str(key), known)}")
        if below in FIELDS:
            found[below] = read_value(below, value, source)
        elif isinstance(value, dict):
            _read_table(value, below, source, found)
        else:
            raise refuse(source, below, f"expected a table of {', '.join(TABLES[below])}, got {v.show(value)}")


def _printable(text: str) -> str:
    return text if text.isprintable() else ascii(text)


def _near(key: str, known: tuple[str, ...]) -> str:
    """Suggest a key of the same table, else the place of a key that stands in another one."""
    near = v.suggestion(key, known)
    if near:
        return near
    places = [path for path in FIELDS if path.rpartition(".")[2] == key]
    return f"; {places[0]!r} is a key" if places else ""


def build(found: Values, source: str, config: str = "") -> Request:
    """Make a Request of the values of one or more sources; raises ConfigurationError where they contradict each other."""
    request = Request((), template=ServiceSpec("", "", (), (), config=config))
    fields: dict[str, object] = {}
    spec: dict[str, object] = {}
    for path, value in found.items():
        target = FIELDS[path].target
        if target.startswith("."):
            spec[target[1:]] = value
        elif target:
            fields[target] = value
    fields["java_arguments"] = _java_arguments(found, source)
    request = request._replace(**cast("dict[str, Any]", fields), template=request.template._replace(**cast("dict[str, Any]", spec)))
    _check_together(request, found, source)
    return request


def _java_arguments(found: Values, source: str) -> tuple[str, ...]:
    given = [word for word in _PROGRAMS if f"java.{word}" in found]
    if given == ["arguments", "daemon"]:
        given = ["arguments"]
    if not given:
        raise refuse(source, "java", f"nothing to run; expected one of {', '.join(_PROGRAMS)}")
    if len(given) > 1:
        raise refuse(source, f"java.{given[1]}", f"java.{given[0]} already says what is run; expected only one of the two")
    program = given[0]
    for word in _ALONE.get(program, ()):
        if f"java.{word}" in found:
            raise refuse(source, f"java.{word}", f"has no meaning beside java.{program}; expected only one of the two")
    value = found[f"java.{program}"]
    if program == "arguments":
        return _strings(value)
    if program == "script":
        return ()
    words = list(_strings(found.get("java.options", ())))
    if "java.modulepath" in found:
        words += ["-p", str(found["java.modulepath"])]
    if "java.classpath" in found:
        words += ["-cp", str(found["java.classpath"])]
    flag = {"jar": ["-jar"], "module": ["-m"]}.get(program, [])
    return (*words, *flag, str(value), *_strings(found.get("java.args", ())))


def _strings(value: object) -> tuple[str, ...]:
    return cast("tuple[str, ...]", value)


def _check_together(request: Request, found: Values, source: str) -> None:
    spec = request.template
    if spec.backoff_max < spec.backoff_first:
        key = "supervise.backoff.max" if "supervise.backoff.max" in found else "supervise.backoff.first"
        raise refuse(
            source, key, f"first ({spec.backoff_first:g} s) is longer than max ({spec.backoff_max:g} s); expected at most max"
        )
    if spec.ready_status and "://" not in spec.ready:
        raise refuse(
            source, "supervise.ready_status", f"has no meaning with ready = {spec.ready!r}; expected an http(s) address there"
        )
    if spec.direct and spec.script:
        raise refuse(source, "direct", "a script needs a supervisor; expected false")
    if spec.direct and spec.standby:
        raise refuse(source, "supervise.standby", "needs a supervisor; expected 0 with direct = true")
    if spec.reload == "restart" and spec.standby:
        message = "a standby is a second instance beside the first; expected 0 with supervise.reload = 'restart'"
        raise refuse(source, "supervise.standby", message)
    if spec.isolate_network and spec.connect_ports:
        message = "an isolated service connects nowhere; expected no ports with security.isolate_network"
        raise refuse(source, "security.connect_ports", message)
    if spec.isolate_network and any(one.bind_only for one in request.listeners):
        message = "an isolated service connects nowhere; expected no bind-only listener with security.isolate_network"
        raise refuse(source, "listen", message)
    if request.control_allow and not request.control_group:
        raise refuse(source, "control.allow", "says what a group may; expected control.group as well")
