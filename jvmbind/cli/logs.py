"""`jvmbind logs [NAME]`: shows the log of a service, or says where it is.

Runs as any user, and becomes journalctl where the log is in the journal: that decides what its caller may read. Sources:
proc(5) on cgroup and fd, systemd.unit(5) on names of units, journalctl(1).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from typing import NoReturn

from jvmbind.cli.control import ask, find, services
from jvmbind.config.named import configured
from jvmbind.errors import PortUnavailableError, SystemFailureError, UsageError, in_words, printable
from jvmbind.posix.cgroup import groups

_MOMENT = 3.0  # seconds without a word, after which a supervisor counts as silent
_PROGRAMS = ("/usr/bin/journalctl", "/bin/journalctl")
_MANAGER = re.compile(r"/user@\d+\.service/")  # a unit of a user's own service manager is below this one


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Report wrong usage in one line, with status 64."""
        msg = f"logs: {message} (jvmbind logs --help)"
        raise UsageError(msg)


def main(argv: list[str]) -> None:
    """Run the command; raises JvmbindError. Does not return where there is a journal."""
    parser = _Parser(prog="jvmbind logs", description="Show the log of a service, or say where it is.", allow_abbrev=False)
    parser.add_argument(
        "name", metavar="NAME", nargs="?", help="the service, by name or by the path of its control socket; default the only one"
    )
    parser.add_argument("-f", "--follow", action="store_true", help="show what is added, too, until interrupted")
    parser.add_argument("-n", "--lines", metavar="N", help="the last N lines; default all, and 10 with --follow")
    parser.add_argument("--events", action="store_true", help="the lines of jvmbind alone, not those of Java")
    options = parser.parse_args(argv)
    if options.lines is not None and not (options.lines.isascii() and options.lines.isdigit()):
        parser.error(f"--lines {options.lines}: expected a number")
    more = [*(["--follow"] if options.follow else []), *([f"--lines={options.lines}"] if options.lines else [])]
    more += ["SYSLOG_IDENTIFIER=jvmbind"] if options.events else []
    if options.name is not None and options.name in configured() and options.name not in services():
        _become_journalctl([f"--unit=jvmbind@{options.name}.service", *more])
    path = find(options.name)
    answer = ask(path, "status", _MOMENT, found_by_name=options.name is None or "/" not in options.name)
    pid = answer.get("pid")
    if not isinstance(pid, int) or isinstance(pid, bool) or pid < 1:
        msg = f"{path}: the answer names no process; expected the control socket of a service"
        raise SystemFailureError(msg)
    place, unit, by_user = _place(pid), *unit_of(_cgroup(pid))
    if unit and (not place or place.startswith("socket:")):
        _become_journalctl([f"--{'user-' if by_user else ''}unit={unit}", *more])
    where = f"{place}" if place else f"where standard error of the supervisor leads (process {pid}; root can see it)"
    sys.stdout.write(printable(f"{answer.get('name')}: not in the journal; the log goes to {where}") + "\n")
    sys.stdout.flush()


def _become_journalctl(words: list[str]) -> NoReturn:
    program = next((one for one in _PROGRAMS if os.access(one, os.X_OK)), None)
    if program is None:
        msg = f"logs: there is no journalctl here; expected systemd, or its journal elsewhere: journalctl {' '.join(words)}"
        raise PortUnavailableError(msg)
    try:
        os.execv(program, [program, *words])
    except OSError as error:
        msg = f"logs: {program}: {in_words(error)}"
        raise SystemFailureError(msg) from error


def _place(pid: int) -> str:
    """Return what standard error of a process leads to, "" where that may not be known: its files are root's to see."""
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/fd/2")
    return ""


def _cgroup(pid: int) -> str:
    """Return the place of a process among systemd's groups: of version 2, or of version 1's hierarchy of its own."""
    found = dict(groups(pid))
    return found.get("name=systemd") or found.get("") or ""


def unit_of(cgroup: str) -> tuple[str, bool]:
    """Return the service unit that a group belongs to, "" for none, and whether it is of a user's own manager."""
    below = _MANAGER.split(cgroup, maxsplit=1)
    words = [word for word in below[-1].split("/") if word.endswith(".service")]
    return (words[-1] if words else ""), len(below) > 1
