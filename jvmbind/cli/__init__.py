"""The command line: one file a command. Runs with whatever privilege the caller has.

The installed command (scripts/jvmbind) starts the interpreter isolated (-I): no PYTHONPATH, no user site, no current directory
decides what root runs. Started otherwise as root, by `python -m jvmbind`, it starts itself again so.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from importlib import import_module
from typing import NoReturn

import jvmbind
from jvmbind.errors import JvmbindError, SystemFailureError, UsageError, say

COMMANDS = {
    "run": "run a JVM server with listeners that are bound before privilege is dropped",
    "wrap": "run a server's own start script in the same way: every java that it starts gets the listeners",
    "java": "what java is for a script that wrap runs; elsewhere java itself",
    "list": "list the services that run, and those that are configured and do not",
    "status": "show a running service: generations, listeners, privileges, deaths",
    "reload": "start a new generation of a service beside the old one, on the same listeners",
    "restart": "stop the serving generation and start it anew",
    "stop": "drain and stop a service",
    "check": "validate a service's configuration and show what would be done",
    "doctor": "say what would make a start fail on this machine, or leaves a hole, and how it is mended",
    "unit": "make hardened systemd units for a service from its configuration",
    "metrics": "print or serve what services do, as OpenMetrics",
    "logs": "show the log of a service, or say where it is",
    "dump": "write a thread dump of a service's JVM to its log",
    "upgrade": "let the installed version of jvmbind take a running supervisor's place; its JVMs go on",
    "broker": "bind ports for users who may have them by root's policy, as a service; check and explain the policy",
}

_HELP = """usage: jvmbind COMMAND [OPTIONS]

Run any JVM server, unmodified, on low ports without root and without ever giving the port up.

commands:
{commands}

options:
  -h, --help     show this text
  -V, --version  show the version

jvmbind COMMAND --help shows the options of a command.
"""


def main() -> NoReturn:
    """Run the command line of this process; ends it with the documented status, and one line on stderr on failure."""
    argv = sys.argv[1:]
    if os.geteuid() == 0 and not sys.flags.isolated:
        package = os.path.dirname(os.path.abspath(jvmbind.__file__))
        os.execv(sys.executable, [sys.executable, "-I", os.path.join(package, "__main__.py"), *argv])
    if sys.stdout is None or sys.stderr is None:
        from jvmbind.root.process import fill_standard_fds  # noqa: PLC0415 - hardly ever needed

        fill_standard_fds()
    status: int | str | None = 0
    try:
        _dispatch(argv)
    except BrokenPipeError:
        status = 128 + signal.SIGPIPE
    except (JvmbindError, OSError, MemoryError) as error:
        status = say(error)
    except SystemExit as end:
        status = end.code
    except KeyboardInterrupt:
        os._exit(130)
    sys.exit(_flushed(status))


def _flushed(status: int | str | None) -> int | str | None:
    """Return the status with which to end once standard output is written; what reads it may be gone, or its disk full.

    The interpreter would else write a line of its own about it, and end with 120.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
        if error.errno == errno.EPIPE:
            return status or 128 + signal.SIGPIPE
        return say(SystemFailureError(f"standard output: {error.strerror}"))
    return status


def _dispatch(argv: list[str]) -> None:
    word = argv[0] if argv else ""
    if word in {"-h", "--help", "help"}:
        sys.stdout.write(_HELP.format(commands="\n".join(f"  {name:<14} {text}" for name, text in COMMANDS.items())))
    elif word in {"-V", "--version"}:
        sys.stdout.write(f"jvmbind {jvmbind.__version__}\n")
    elif word in COMMANDS:
        import_module(f"jvmbind.cli.{word}").main(argv[1:])
    else:
        what = f"{word!r} is not a command" if word else "no command given"
        msg = f"{what}; expected one of {', '.join(COMMANDS)} (jvmbind --help)"
        raise UsageError(msg)
