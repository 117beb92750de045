"""`jvmbind run [OPTIONS] -- JAVA-ARGUMENTS`.

Runs with whatever privilege the caller has; reads the command line and hands it to the launcher.
"""

from __future__ import annotations

import argparse
import math
import os
from typing import NoReturn

from jvmbind.errors import UsageError
from jvmbind.launcher import Request, launch
from jvmbind.spec import RESTART_POLICIES, ServiceSpec, parse_listen

_DEFAULTS = ServiceSpec("", "", (), ())


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Report wrong usage as every other failure is reported: one line, status 64."""
        msg = f"run: {message} (jvmbind run --help)"
        raise UsageError(msg)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= 86400:
        msg = f"expected seconds, more than 0 and at most 86400, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return value


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="jvmbind run",
        usage="jvmbind run [OPTIONS] -- JAVA-ARGUMENTS",
        description="Bind the listeners, drop to the service user for good, and run `java JAVA-ARGUMENTS`, supervised.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "-l",
        "--listen",
        metavar="SPEC",
        action="append",
        default=[],
        help="a listener: [NAME=][ADDR:]PORT[:APP_PORT][/tcp|/udp][,option...] or [NAME=]unix:/path; repeatable",
    )
    add("-u", "--user", metavar="USER[:GROUP]", help="who the service runs as; needed when started as root")
    add("-n", "--name", metavar="NAME", help="names the service; default from the jar or main class")
    add("--direct", action="store_true", help="no supervisor: this very process becomes the worker")
    add(
        "--inherit",
        metavar="NAME",
        default="",
        help="the listener that System.inheritedChannel() gives; default the first",
    )
    add("--strict-binds", action="store_true", help="refuse every bind and listen on an address that is not declared")
    add("--java-home", metavar="DIR", help="the Java runtime; default JAVA_HOME, then java on PATH, then the system's")
    add(
        "--restart",
        choices=RESTART_POLICIES,
        default=_DEFAULTS.restart,
        help="when a worker is started again; default %(default)s",
    )
    add(
        "--start-timeout",
        metavar="S",
        type=_seconds,
        default=_DEFAULTS.start_timeout,
        help="seconds until unclaimed listeners are reported; default %(default)g",
    )
    add(
        "--stop-timeout",
        metavar="S",
        type=_seconds,
        default=_DEFAULTS.stop_timeout,
        help="seconds from the stop signal to a thread dump and SIGKILL; default %(default)g",
    )
    add(
        "-e",
        "--env",
        metavar="NAME[=VALUE]",
        action="append",
        default=[],
        help="pass this variable to a service of another user; repeatable",
    )
    add("--preserve-env", action="store_true", help="pass the whole environment, but for LD_*, PYTHON* and the like")
    add("-q", "--quiet", action="store_true", help="log warnings and errors only")
    return parser


def read_request(argv: list[str]) -> Request:
    """Return what the command line asks for; raises UsageError."""
    if "--" not in argv and not {"-h", "--help"} & set(argv):
        msg = "run: no JAVA-ARGUMENTS; expected jvmbind run [OPTIONS] -- JAVA-ARGUMENTS"
        raise UsageError(msg)
    split = argv.index("--") if "--" in argv else len(argv)
    options = _parser().parse_args(argv[:split])
    java_arguments = tuple(argv[split + 1 :])
    if not java_arguments:
        msg = "run: nothing after '--'; expected what stands after java: [options] -jar FILE | MAIN-CLASS | -m MODULE, arguments"
        raise UsageError(msg)
    if options.name is not None and not (
        options.name.replace("-", "").replace("_", "").replace(".", "").isalnum() and len(options.name) <= 64
    ):
        msg = f"--name {options.name!r}: expected at most 64 letters, digits, '.', '_' and '-'"
        raise UsageError(msg)
    template = _DEFAULTS._replace(
        inherit=options.inherit,
        strict_binds=options.strict_binds,
        direct=options.direct,
        quiet=options.quiet,
        restart=options.restart,
        start_timeout=options.start_timeout,
        stop_timeout=options.stop_timeout,
    )
    return Request(
        java_arguments=java_arguments,
        listeners=tuple(parse_listen(text) for text in options.listen),
        user=options.user,
        name=options.name,
        java_home=options.java_home,
        environ=tuple(options.env),
        preserve_environ=options.preserve_env,
        template=template,
    )


def main(argv: list[str]) -> None:
    """Run the command; does not return when the service was started."""
    launch(read_request(argv), os.environ)
