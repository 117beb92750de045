"""`jvmbind list [--json]`: every service that runs where this user may look, and every one that has a file and does not run.

Runs as any user, binds and changes nothing. A service that does not answer in a moment is listed without its state.
"""

from __future__ import annotations

import argparse
import json
import pwd
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from jvmbind.cli.control import ask, services
from jvmbind.cli.view import length
from jvmbind.config.named import config_path, configured
from jvmbind.errors import JvmbindError, NotPermittedError, PortUnavailableError, UsageError, printable

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOMENT = 3.0  # seconds without a word, after which a supervisor counts as silent
_TITLES = ("NAME", "STATE", "READY", "GENERATION", "LISTENERS", "USER", "UPTIME")


class Row(NamedTuple):
    """One service. `generation` is the serving one, 0 for none; `uptime` is in seconds, -1 where it does not run."""

    name: str
    state: str
    ready: bool
    generation: int
    listeners: tuple[str, ...]
    user: str
    uptime: float
    config: str  # its file, "" for none in /etc/jvmbind
    problem: str  # why it is not ready, could not be started, or what else is not known; "" = nothing


def _unknown(name: str, state: str, file: str, problem: str) -> Row:
    return Row(name, state, ready=False, generation=0, listeners=(), user="", uptime=-1, config=file, problem=problem)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Report wrong usage in one line, with status 64."""
        msg = f"list: {message} (jvmbind list --help)"
        raise UsageError(msg)


def main(argv: list[str]) -> None:
    """Run the command."""
    parser = _Parser(
        prog="jvmbind list", description="List services: those that run, and those that have a file and do not.", allow_abbrev=False
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(argv)
    rows = find()
    if options.json:
        sys.stdout.write(json.dumps({"ok": True, "services": [row._asdict() for row in rows]}) + "\n")
    else:
        sys.stdout.write(as_text(rows))
    sys.stdout.flush()


def find() -> list[Row]:
    """Return all services, by name."""
    files = {name: config_path(name) for name in configured()}
    rows = {name: row for name, path in services().items() if (row := _running(name, path, files.get(name, ""))) is not None}
    for name, file in files.items():
        if name not in rows:
            rows[name] = _configured(name, file)
    return [rows[name] for name in sorted(rows)]


def _running(name: str, path: str, file: str) -> Row | None:
    """Return what a service says of itself; None where only its socket is left."""
    try:
        answer = ask(path, "status", _MOMENT, found_by_name=True)
        return _of_answer(name, answer, file)
    except PortUnavailableError:
        return None
    except NotPermittedError as error:
        return _unknown(name, "running", file, str(error))
    except JvmbindError as error:
        return _unknown(name, "no answer", file, str(error))
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        problem = f"the answer has another form than that of this version of jvmbind ({type(error).__name__}: {error})"
        return _unknown(name, "running", file, problem)


def _of_answer(name: str, answer: dict[str, Any], file: str) -> Row:
    serving = [one["number"] for one in answer["generations"] if one["role"] == "serving"]
    uids = (answer["supervisor"]["privileges"] or {}).get("uids", ())
    return Row(
        name,
        str(answer["phase"]),
        bool(answer["ready"]),
        int(serving[0]) if serving else 0,
        tuple(f"{one['name']}={one['address']}/{one['protocol']}" for one in answer["listeners"]),
        ",".join(_user_name(int(uid)) for uid in uids),
        float(answer.get("uptime", -1)),
        file,
        str(answer["not_ready"]),
    )


def _configured(name: str, file: str) -> Row:
    """Return what the file of a service says that does not run."""
    from jvmbind.listen import number_names  # noqa: PLC0415 - as below
    from jvmbind.plan.reading import read_configuration  # noqa: PLC0415 - tomllib takes 14 ms to load

    try:
        request = read_configuration(file)
        listeners = tuple(f"{one.name}={one.address}/{one.protocol}" for one in number_names(list(request.listeners)))
    except JvmbindError as error:
        return _unknown(name, "not running", file, str(error))
    return _unknown(name, "not running", file, "")._replace(listeners=listeners, user=request.user or "")


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def as_text(rows: Iterable[Row]) -> str:
    """Return the list for people: columns, and a line below for each service of which something is wrong or unknown."""
    table = [_TITLES, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(_TITLES))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table]
    lines += [f"{row.name}: {row.problem}" for row in rows if row.problem]
    return "".join(f"{printable(line)}\n" for line in lines)


def _cells(row: Row) -> tuple[str, ...]:
    running = row.state != "not running"
    ready = ("yes" if row.ready else "no") if running else "-"
    uptime = length(row.uptime) if row.uptime >= 0 else "-"
    return (row.name, row.state, ready, str(row.generation or "-"), " ".join(row.listeners) or "-", row.user or "-", uptime)
