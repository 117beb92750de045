"""The commands and their options, as `jvmbind COMMAND --help` has them.

Run by whoever builds a package or runs the tests. Each command is asked for its help, and its parser is caught before it
answers: whatever commands are registered are found, and no list of options is kept here.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn
from unittest import mock

from jvmbind.cli import COMMANDS
from jvmbind.plan.options import read_request

if TYPE_CHECKING:
    from collections.abc import Sequence

# What stands after these is another program's: they have no options of their own.
PASSES_ON = ("java",)
# A child that has dropped reads the words of these.
STARTS = ("run", "wrap")
# Of the manual; all others are in section 1.
SECTIONS = {"broker": 8}
# What a shell offers for a value that is called so; nothing for others.
KINDS = {
    "FILE": "file",
    "PATH": "file",
    "DIR": "directory",
    "USER": "user",
    "USER[:GROUP]": "user",
    "GROUP": "group",
}


class Argument(NamedTuple):
    """One option, or without `words` a positional argument."""

    words: tuple[str, ...]
    value: str  # how the help calls the value; "" for a flag
    help: str
    choices: tuple[str, ...]
    repeats: bool

    @property
    def kind(self) -> str:
        """What a shell can offer for the value: file, directory, user, group, service, or nothing."""
        if not self.words:
            return "service" if self.value.strip("[]") in {"NAME", "SERVICE"} else KINDS.get(self.value.strip("[]"), "service")
        return KINDS.get(self.value, "")


class Command(NamedTuple):
    """One command; `usage` and `arguments` are empty for one that passes everything on."""

    name: str
    summary: str
    usage: str
    description: str
    arguments: tuple[Argument, ...]

    @property
    def section(self) -> int:
        """The section of the manual."""
        return SECTIONS.get(self.name, 1)

    @property
    def options(self) -> tuple[Argument, ...]:
        """The options, in the order of the help."""
        return tuple(one for one in self.arguments if one.words)

    @property
    def positionals(self) -> tuple[Argument, ...]:
        """What is given without a word in front."""
        return tuple(one for one in self.arguments if not one.words)


class _Caught(BaseException):
    """Ends a command at the moment at which it reads its arguments; no `except Exception` is in its way."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__()
        self.parser = parser


def _catch(parser: argparse.ArgumentParser, *_: object, **__: object) -> NoReturn:
    raise _Caught(parser)


def find() -> list[Command]:
    """Return all registered commands, in the order of `jvmbind --help`; raises LookupError for one without a parser."""
    return [
        Command(name, summary, f"jvmbind {name} JAVA-ARGUMENTS", "", ()) if name in PASSES_ON else _ask(name, summary)
        for name, summary in COMMANDS.items()
    ]


def _ask(name: str, summary: str) -> Command:
    with mock.patch.object(argparse.ArgumentParser, "parse_known_args", _catch):
        try:
            if name in STARTS:
                read_request(["--help"], name)
            else:
                import_module(f"jvmbind.cli.{name}").main(["--help"])
        except _Caught as caught:
            parser = caught.parser
        else:
            msg = f"jvmbind {name} --help reads its arguments without argparse; expected a parser, or its name in PASSES_ON"
            raise LookupError(msg)
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    lines = usage.replace(" jvmbind ", "\njvmbind ")
    actions = [action for action in parser._actions if action.help != argparse.SUPPRESS]  # noqa: SLF001 - not public otherwise
    arguments = tuple(_argument(parser, action) for action in actions)
    return Command(name, summary, lines, parser.description or "", arguments)


def _argument(parser: argparse.ArgumentParser, action: argparse.Action) -> Argument:
    values: dict[str, Any] = {**vars(action), "prog": parser.prog}
    value = ""
    if action.nargs != 0:
        metavar = action.metavar[0] if isinstance(action.metavar, tuple) else action.metavar
        value = metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    if not action.option_strings and action.nargs in {"?", "*"}:
        value = f"[{value}]"
    repeats = isinstance(action, argparse._AppendAction) or action.nargs in {"*", "+"}  # noqa: SLF001
    choices: Sequence[object] = tuple(action.choices or ())
    words = tuple(sorted(action.option_strings, key=lambda word: word.startswith("--")))
    return Argument(words, value, (action.help or "") % values, tuple(map(str, choices)), repeats)
