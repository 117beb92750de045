"""The pages of the manual: jvmbind(1), one a command, jvmbind.toml(5).

Run by whoever builds a package or runs the tests. What an option does is told in the words of `--help`, all else in those of
docs/reference.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import reference
import roff

from jvmbind import __version__
from jvmbind.config.schema import FIELDS

if TYPE_CHECKING:
    from commands import Command
    from reference import Block

_FILE = "Configuration file"
_STATUS = "Exit status"
# Neither is for a page of its own nor for that of all commands.
_ELSEWHERE = {"Synopsis", "Python API", _FILE}


def pages(commands: list[Command]) -> dict[str, str]:
    """Return the text of each page by the name of its file."""
    found = reference.sections(reference.PAGE.read_text("utf-8"))
    names = {command.name for command in commands}
    of_command: dict[str, list[Block]] = {}
    general: dict[str, list[Block]] = {}
    for title, blocks in found.items():
        about = reference.commands_of(title, names)
        for name in about:
            of_command.setdefault(name, []).extend(blocks)
        if not about and title not in _ELSEWHERE:
            general[title] = blocks
    made = {"jvmbind.1": _overview(commands, general), "jvmbind.toml.5": _file(found)}
    for command in commands:
        blocks = of_command.get(command.name, [])
        made[f"jvmbind-{command.name}.{command.section}"] = _command(command, blocks, found[_STATUS], commands)
    return made


def _see(name: str, section: int) -> str:
    return f"\\fB{roff.plain(name)}\\fR({section})"


def _overview(commands: list[Command], general: dict[str, list[Block]]) -> str:
    lines = [".SH NAME", "jvmbind \\- run any JVM server on low ports without root"]
    lines += [
        ".SH SYNOPSIS",
        "\\fBjvmbind\\fR \\fICOMMAND\\fR [\\fIOPTIONS\\fR]",
        ".br",
        "\\fBjvmbind \\-\\-help\\fR | \\fB\\-\\-version\\fR",
    ]
    lines += [".SH DESCRIPTION"]
    lines += [
        "jvmbind binds listeners while there is a privilege to do so, drops it for good, and starts a Java server, unmodified,"
    ]
    lines += [
        "which is given the bound sockets when it binds their addresses.",
        "The sockets stay with a supervisor while the JVM is replaced.",
    ]
    lines += [".SH COMMANDS"]
    for command in commands:
        lines += roff.tagged(_see(f"jvmbind-{command.name}", command.section), [roff.inline(command.summary)])
    for title, blocks in general.items():
        lines += [f'.SH "{title.upper()}"', *roff.blocks(blocks)]
    others = [_see(f"jvmbind-{one.name}", one.section) for one in commands]
    return roff.page("jvmbind", 1, __version__, [*lines, ".SH SEE ALSO", ",\n".join([*others, _see("jvmbind.toml", 5)])])


def _command(command: Command, blocks: list[Block], status: list[Block], commands: list[Command]) -> str:
    name = f"jvmbind-{command.name}"
    lines = [".SH NAME", f"{roff.plain(name)} \\- {roff.inline(command.summary)}", ".SH SYNOPSIS"]
    for number, line in enumerate(command.usage.splitlines()):
        lines += [*([".br"] if number else []), f"\\fB{roff.plain(line)}\\fR"]
    lines += [".SH DESCRIPTION"]
    if command.description:
        lines += [roff.inline(command.description)]
    lines += roff.blocks(block for block in blocks if not (block.kind == "table" and block.rows[0][0] == "option"))
    if command.arguments:
        lines += [".SH OPTIONS"]
    for one in (*command.positionals, *command.options):
        value = f" \\fI{roff.plain(one.value)}\\fR" if one.value else ""
        tag = ", ".join(f"\\fB{roff.plain(word)}\\fR" for word in one.words) + value
        lines += roff.tagged(tag.strip(), [roff.inline(one.help)])
    lines += [f'.SH "{_STATUS.upper()}"', *roff.blocks(status), ".SH SEE ALSO"]
    others = [_see(f"jvmbind-{one.name}", one.section) for one in commands if one.name != command.name]
    lines += [",\n".join([_see("jvmbind", 1), *others, _see("jvmbind.toml", 5)])]
    return roff.page(name, command.section, __version__, lines)


def _without_tables(blocks: list[Block]) -> list[Block]:
    """Return blocks without the tables, which are told key by key, and without what leads to one."""
    pairs = zip(blocks, [*blocks[1:], None], strict=True)
    return [one for one, after in pairs if one.kind != "table" and not (after is not None and after.kind == "table")]


def _file(found: dict[str, list[Block]]) -> str:
    lines = [".SH NAME", "jvmbind.toml \\- configuration of a service that jvmbind runs", ".SH SYNOPSIS"]
    lines += ["\\fI/etc/jvmbind/NAME.toml\\fR", ".SH DESCRIPTION"]
    lines += roff.blocks(_without_tables(found[_FILE]))
    lines += [".SH KEYS"]
    told = reference.keys(found)
    for key in FIELDS:
        default, meaning = told.get(key, ("", ""))
        more = [f"Default: {roff.inline(default)}."] if default else []
        lines += roff.tagged(f"\\fB{roff.plain(key)}\\fR", [f"{roff.inline(meaning).rstrip('.')}.", *more])
    lines += [".SH SEE ALSO", ",\n".join([_see("jvmbind", 1), _see("jvmbind-run", 1), _see("jvmbind-check", 1)])]
    return roff.page("jvmbind.toml", 5, __version__, lines)
