"""The options of `run` and `wrap`, and how they and a configuration file make one request.

Runs in a child that has dropped. An option fills the same key as the file does and is read by the same table
(`jvmbind.config.schema`); what is given on the command line replaces what the file says under that key.
"""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from jvmbind.config import named
from jvmbind.config.schema import JAVA_WORDS, Values, build, read_value
from jvmbind.errors import ConfigurationError, UsageError
from jvmbind.spec import LOG_FORMATS, RELOAD_MODES, RESTART_POLICIES, ServiceSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from jvmbind.config.request import Request

# Words with which options of `java` begin, and none of ours.
_JAVA_OPTION = re.compile(r"unrecognized arguments:.* (-X|-D|-jar\b|-server\b|-verbose|-agent|-javaagent:|--add-|--enable-)")
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_MAY_NAME = ("-h", "--help", "-c", "--config")  # options with which nothing need stand behind --
_DEFAULTS = ServiceSpec("", "", (), ())


def _number(text: str) -> object:
    """Return the number that a text is, else the text, for the table to refuse it."""
    if not _NUMBER.fullmatch(text):
        return text
    return float(text) if "." in text else int(text)


def _words(text: str) -> object:
    return text.split(",") if text else []


def _numbers(text: str) -> object:
    return [_number(word) for word in text.split(",")] if text else []


def _limits(texts: list[str]) -> object:
    """Turn NAME=SOFT[:HARD] into what the table [security.limits] holds; a last one of the same name counts."""
    found: dict[str, object] = {}
    for text in texts:
        name, _, value = text.partition("=")
        pair = [_number(item) for item in value.split(":")]
        found[name.lower()] = pair[0] if len(pair) == 1 else pair
    return found


def _same(value: Any) -> object:  # noqa: ANN401 - whatever argparse made
    return value


class Option(NamedTuple):
    """One option: its words, the key that it fills, its help, and how its text becomes what TOML would have given."""

    words: tuple[str, ...]
    key: str
    help: str
    metavar: str = ""  # "" = a flag with a --no- form
    convert: Callable[[Any], object] = _same
    repeat: bool = False


OPTIONS = (
    Option(
        ("-l", "--listen"),
        "listen",
        "a listener: [NAME=][ADDR:]PORT[:APP_PORT][/tcp|/udp][,option...] or [NAME=]unix:/path; repeatable",
        "SPEC",
        repeat=True,
    ),
    Option(("-u", "--user"), "user", "who the service runs as; needed when started as root", "USER[:GROUP]"),
    Option(("-n", "--name"), "name", "names the service; default from the jar or main class", "NAME"),
    Option(("--direct",), "direct", "no supervisor: this very process becomes the worker"),
    Option(("--inherit",), "inherit", "the listener that System.inheritedChannel() gives; default the first", "NAME"),
    Option(("--java-home",), "java.home", "the Java runtime; default JAVA_HOME, then java on PATH, then the system's", "DIR"),
    Option(("--daemon",), "java.daemon", "run this commons-daemon class (init, start, stop, destroy)", "CLASS"),
    Option(
        ("--ready",),
        "supervise.ready",
        f"when a generation is ready: accept, listen, connect, notify, or an http(s) address to ask; default {_DEFAULTS.ready}",
        "MODE",
    ),
    Option(
        ("--ready-status",),
        "supervise.ready_status",
        "the HTTP status that the probe expects; default any of 200-399",
        "N",
        _number,
    ),
    Option(
        ("--start-timeout",),
        "supervise.start_timeout",
        f"seconds until a generation must be ready; default {_DEFAULTS.start_timeout:g}",
        "S",
        _number,
    ),
    Option(
        ("--stop-timeout",),
        "supervise.stop_timeout",
        f"seconds from the stop signal to a thread dump and SIGKILL; default {_DEFAULTS.stop_timeout:g}",
        "S",
        _number,
    ),
    Option(
        ("--drain-timeout",),
        "supervise.drain_timeout",
        f"seconds that a generation replaced by a reload may finish its connections, 0 = none; default {_DEFAULTS.drain_timeout:g}",
        "S",
        _number,
    ),
    Option(
        ("--stop-drain-timeout",),
        "supervise.stop_drain_timeout",
        f"seconds that a stop waits for answers in the making, 0 = none; default {_DEFAULTS.stop_drain_timeout:g}",
        "S",
        _number,
    ),
    Option(
        ("--reload",),
        "supervise.reload",
        f"how a reload is done: {', '.join(RELOAD_MODES)}; default {_DEFAULTS.reload}: both instances at once where the serving "
        "one holds no lock and no file open for writing, else a restart with the port held",
        "MODE",
    ),
    Option(
        ("--restart",),
        "supervise.restart",
        f"when a worker is started again: {', '.join(RESTART_POLICIES)}; default {_DEFAULTS.restart}",
        "POLICY",
    ),
    Option(
        ("--backoff-first",),
        "supervise.backoff.first",
        f"seconds before the second restart in a row, doubled for each further one; default {_DEFAULTS.backoff_first:g}",
        "S",
        _number,
    ),
    Option(
        ("--backoff-max",),
        "supervise.backoff.max",
        f"the longest back-off, in seconds; default {_DEFAULTS.backoff_max:g}",
        "S",
        _number,
    ),
    Option(
        ("--backoff-waiting",),
        "supervise.backoff.waiting",
        f"the longest back-off while a client waits for the service, in seconds; default {_DEFAULTS.backoff_waiting:g}",
        "S",
        _number,
    ),
    Option(
        ("--backoff-reset",),
        "supervise.backoff.reset",
        f"seconds of life after which a crash counts as the first again; default {_DEFAULTS.backoff_reset:g}",
        "S",
        _number,
    ),
    Option(
        ("--start-limit",),
        "supervise.start_limit",
        "failed starts in a row after which the service ends; default 0, never",
        "N",
        _number,
    ),
    Option(
        ("--standby",),
        "supervise.standby",
        f"generations kept parked before their first bind; default {_DEFAULTS.standby}",
        "N",
        _number,
    ),
    Option(
        ("--queue-timeout",),
        "supervise.watchdog.queue",
        "seconds that an accept queue may stand still, 0 = not watched; default 0",
        "S",
        _number,
    ),
    Option(
        ("--heartbeat-timeout",),
        "supervise.watchdog.heartbeat",
        "seconds that the JVM may stay silent, 0 = not watched; default 0",
        "S",
        _number,
    ),
    Option(
        ("--watchdog",),
        "supervise.watchdog.actions",
        f"what is done then, one after the other; default {','.join(_DEFAULTS.watchdog)}",
        "ACTION,...",
        _words,
    ),
    Option(("--control-socket",), "control.socket", "path of the control socket", "PATH"),
    Option(("--control-group",), "control.group", "the group that may use the control socket", "GROUP"),
    Option(("--control-allow",), "control.allow", "what that group may: status, reload, restart, stop, dump", "WORD,...", _words),
    Option(("--strict-binds",), "security.strict_binds", "refuse every bind and listen on an address that is not declared"),
    Option(
        ("--connect-ports",),
        "security.connect_ports",
        "the TCP ports that the JVM may connect to, on any address; Linux 6.7 or later; default all",
        "PORT,...",
        _numbers,
    ),
    Option(("--isolate-network",), "security.isolate_network", "the JVM lives in an empty network and connects nowhere"),
    Option(
        ("--limit",),
        "security.limits",
        "a resource limit, as nofile=65536; a number or unlimited; repeatable",
        "NAME=SOFT[:HARD]",
        _limits,
        repeat=True,
    ),
    Option(("--umask",), "security.umask", "the file creation mask, in octal", "OCTAL"),
    Option(("-e", "--env"), "env", "pass this variable to a service of another user; repeatable", "NAME[=VALUE]", repeat=True),
    Option(("--preserve-env",), "preserve_env", "pass the whole environment, but for LD_*, PYTHON* and the like"),
    Option(
        ("--log-format",),
        "log_format",
        f"how lines of the log begin where it is not the journal: {', '.join(LOG_FORMATS)}; default {_DEFAULTS.log_format}",
        "FORMAT",
    ),
    Option(("-q", "--quiet"), "quiet", "log warnings and errors only"),
    Option(("-v", "--verbose"), "verbose", "name the environment variables that the service does not get"),
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Report wrong usage as every other failure is reported: one line, status 64."""
        if _JAVA_OPTION.match(message):
            message += "; options of the JVM stand behind --, or in java.options of the file"
        msg = f"{self.prog.removeprefix('jvmbind ')}: {message} ({self.prog} --help)"
        raise UsageError(msg)


def _parser(command: str, words: str, description: str) -> argparse.ArgumentParser:
    usage = f"jvmbind {command} [OPTIONS] -- {words}"
    if command == "run":
        usage += f"\n       jvmbind {command} NAME|FILE [OPTIONS] [-- {words}]"
    parser = _Parser(prog=f"jvmbind {command}", usage=usage, description=description, allow_abbrev=False)
    if command == "run":
        parser.add_argument("service", metavar="NAME", nargs="?", help="the service /etc/jvmbind/NAME.toml, or the path of a file")
    parser.add_argument("-c", "--config", metavar="FILE", help="read the service from this file; options replace what it says")
    for option in OPTIONS:
        text = option.help.replace("%", "%%")
        if option.metavar:
            action = "append" if option.repeat else "store"
            parser.add_argument(*option.words, dest=option.key, metavar=option.metavar, action=action, help=text)
        else:
            parser.add_argument(*option.words, dest=option.key, action=argparse.BooleanOptionalAction, help=text)
    return parser


_COMMANDS = {
    "run": ("JAVA-ARGUMENTS", "Bind the listeners, drop to the service user for good, and run `java JAVA-ARGUMENTS`, supervised."),
    "wrap": (
        "SCRIPT ARGS...",
        "Bind the listeners, drop to the service user for good, and run SCRIPT, supervised: each java below it gets them.",
    ),
}


def read_request(argv: list[str], command: str = "run", give: Callable[[str], int] | None = None) -> Request:
    """Return what the command line asks for, with the file that it names.

    `command` is "run" or "wrap": what stands behind `--` is for `java`, or a script with its arguments. `give` opens the
    file, default with the rights of this process. Raises UsageError, and for the file ConfigurationError and NotPermittedError.
    """
    words, description = _COMMANDS[command]
    split = argv.index("--") if "--" in argv else len(argv)
    behind = argv[split + 1 :]
    without = UsageError(f"{command}: no {words}; expected jvmbind {command} [OPTIONS] -- {words}")
    may_name = (word.startswith(_MAY_NAME) or (command == "run" and not word.startswith("-")) for word in argv)
    if split == len(argv) and not any(may_name):
        raise without
    options = vars(_parser(command, words, description).parse_args(argv[:split]))
    path = named.chosen(options.get("service"), options["config"], command)
    if split == len(argv) and path is None:
        raise without
    if not behind and split < len(argv):
        what = "a script and its arguments" if command == "wrap" else "what comes after java"
        msg = f"{command}: nothing after '--'; expected {what}: {words}"
        raise UsageError(msg)
    given = _given(options, command)
    if behind:
        key = "java.script" if command == "wrap" else "java.arguments"
        given[key] = _checked(key, behind, command, words)
    if path is None:
        try:
            return build(given, command)
        except ConfigurationError as error:
            raise UsageError(str(error)) from error
    from jvmbind.config import load  # noqa: PLC0415 - tomllib takes 14 ms to load

    found = load.read_text(path, load.read_data((give or load.open_file)(path), path))
    if behind:
        for word in JAVA_WORDS:
            found.pop(f"java.{word}", None)
    return build(found | given, path, load.absolute(path))


def _given(options: dict[str, Any], command: str) -> Values:
    given: Values = {}
    for option in OPTIONS:
        value = options[option.key]
        if value is not None:
            given[option.key] = _checked(option.key, option.convert(value), command, option.words[-1])
    return given


def _checked(key: str, value: object, command: str, shown: str) -> object:
    try:
        return read_value(key, value, command, shown)
    except ConfigurationError as error:
        msg = f"{error} (jvmbind {command} --help)"
        raise UsageError(msg) from error
