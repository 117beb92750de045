"""Expansion of @argfiles and JDK_JAVA_OPTIONS, as the `java` command does before it looks at any option.

Runs in the worker and in the command line's checks, as any user; reads the named argument files and nothing else.
Must not import jpype or anything of the supervisor. Rules and odd cases follow libjli's args.c of JDK 17 to 25, and
tests compare them with the real one.
"""

from __future__ import annotations

import os

from jvmbind.errors import JavaLaunchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

JDK_JAVA_OPTIONS = "JDK_JAVA_OPTIONS"

CLASS_PATH_OPTIONS = frozenset({"-classpath", "-cp", "--class-path"})
MAIN_MODULE_OPTIONS = frozenset({"--module", "-m"})
LAUNCHER_OPTIONS = CLASS_PATH_OPTIONS | MAIN_MODULE_OPTIONS | {"--describe-module", "-d", "--source"}
MODULE_OPTIONS = frozenset(
    {
        "--module-path",
        "-p",
        "--upgrade-module-path",
        "--add-modules",
        "--enable-native-access",
        "--limit-modules",
        "--add-exports",
        "--add-opens",
        "--add-reads",
        "--patch-module",
    }
)
WHITE_SPACE_OPTIONS = LAUNCHER_OPTIONS | MODULE_OPTIONS
"""Options whose value is the next argument."""

# What JDK_JAVA_OPTIONS (and the text of a --source argument with blanks) must not hold.
_TERMINAL_OPTIONS = frozenset(
    {
        "-jar",
        "-m",
        "--module",
        "--dry-run",
        "-h",
        "-?",
        "-help",
        "--help",
        "-X",
        "--help-extra",
        "-version",
        "--version",
        "-fullversion",
        "--full-version",
    }
)

_MAX_ARGFILE_SIZE = 0x7FFFFFFF
_C_SPACE = " \t\n\v\f\r"


class Expander:
    """Replaces @argfiles by what is in them, up to the main class; after it nothing is expanded.

    `java_home` decides the wording of one message; None means the newest.
    """

    def __init__(self, java_home: str | Path | None = None) -> None:
        self._java_home = java_home
        self._expecting_value = False
        self._stopped = False
        self._main_seen = False

    def from_variable(self, environ: Mapping[str, str]) -> tuple[list[str], list[str]]:
        """Return the arguments of JDK_JAVA_OPTIONS and what `java` prints about them.

        Raises JavaLaunchError for an open quote, a main class or an option that may not be there.
        """
        value = environ.get(JDK_JAVA_OPTIONS)
        if value is None:
            return [], []
        return self._split(value, JDK_JAVA_OPTIONS), [note_of(value)]

    def argument(self, argument: str) -> list[str]:
        """Return what one argument of the command line stands for.

        Raises JavaLaunchError when an argument file cannot be read.
        """
        if not self._main_seen and not self._stopped and argument.startswith("--source") and " " in argument:
            # The rest of a `#!` line arrives as one argument.
            return self._split(argument, None)
        expanded = self._preprocess(argument)
        return [argument] if expanded is None else expanded

    def _preprocess(self, argument: str) -> list[str] | None:
        if self._main_seen:
            return None
        if self._stopped or not argument.startswith("@") or argument == "@":
            self._check(argument)
            return None
        argument = argument[1:]
        if argument.startswith("@"):
            self._check(argument)
            return [argument]
        return self._read(argument)

    def _read(self, path: str) -> list[str]:
        words: list[str] = []
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            raise JavaLaunchError(f"Error: could not open `{path}'") from error
        try:
            if os.fstat(fd).st_size > _MAX_ARGFILE_SIZE:
                raise JavaLaunchError(f"Error: Argument file size should not be larger than {_MAX_ARGFILE_SIZE}.")
            from jvmbind.worker.argfile_words import pieces_of, split_argfile  # noqa: PLC0415 - few services have one

            for word in split_argfile(pieces_of(fd, _MAX_ARGFILE_SIZE)):
                words.append(os.fsdecode(word))
                self._check(words[-1])
        except OSError as error:  # a directory, for example
            raise JavaLaunchError(self._unreadable(path)) from error
        finally:
            os.close(fd)
        return words

    def _unreadable(self, path: str) -> str:
        # The words are those of JDK 24, and of updates of earlier versions: libjli itself tells.
        words = b"Failed to read %s"
        try:
            if self._java_home is not None:
                with open(f"{self._java_home}/lib/libjli.so", "rb") as library:
                    if words not in library.read():
                        return f"Error: loading: {path}"
        except OSError:
            pass  # there is none: the newest words
        return f"Error: Failed to read {path}"

    def _check(self, argument: str) -> None:
        """Follow one launcher argument: does it name the main class, or does the next one?"""
        if not argument.startswith("-"):
            self._main_seen = self._main_seen or not self._expecting_value
            self._expecting_value = False
            return
        self._expecting_value = False
        if argument in WHITE_SPACE_OPTIONS:
            # What follows -m is the main class, what follows -jar too (it is not a white-space option).
            self._expecting_value = argument not in MAIN_MODULE_OPTIONS
        elif argument == "--disable-@files":
            self._stopped = True
        elif argument.startswith("--module="):
            self._main_seen = True

    def _split(self, text: str, variable: str | None) -> list[str]:
        words: list[str] = []
        for word in _split_blanks(text, variable):
            expanded = self._preprocess(word)
            for argument in [word] if expanded is None else expanded:
                if argument in _TERMINAL_OPTIONS or argument.startswith("--module="):
                    within = "" if expanded is None else f" in {word}"
                    where = f"environment variable {variable}" if variable else "this context"
                    raise JavaLaunchError(f"Error: Option {argument}{within} is not allowed in {where}")
                words.append(argument)
            if self._main_seen:
                where = f"environment variable {variable}" if variable else "this context"
                raise JavaLaunchError(f"Error: Cannot specify main class in {where}")
        return words


def note_of(value: str) -> str:
    """Return the line that `java` writes to stderr when JDK_JAVA_OPTIONS is set, even to nothing."""
    return f"NOTE: Picked up {JDK_JAVA_OPTIONS}: {value}"


def _split_blanks(text: str, variable: str | None) -> Iterator[str]:
    """Yield the words of `text`; quotes, without escapes, count only in a variable."""
    here = 0
    while True:
        while here < len(text) and text[here] in _C_SPACE:
            here += 1
        if here >= len(text):
            return
        word: list[str] = []
        while here < len(text) and text[here] not in _C_SPACE:
            if variable and text[here] in "\"'":
                closing = text.find(text[here], here + 1)
                if closing < 0:
                    raise JavaLaunchError(f"Error: Unmatched quote in environment variable {variable}")
                word.append(text[here + 1 : closing])
                here = closing + 1
            else:
                word.append(text[here])
                here += 1
        yield "".join(word)


def expand(argv: Sequence[str], environ: Mapping[str, str], java_home: str | Path | None = None) -> tuple[list[str], list[str]]:
    """Return all arguments with argument files and JDK_JAVA_OPTIONS expanded, and what `java` prints meanwhile.

    Raises JavaLaunchError for what `java` refuses with status 1; the printed lines so far are its notes (PEP 678).
    """
    value = environ.get(JDK_JAVA_OPTIONS)
    try:
        expander = Expander(java_home)
        arguments, notes = expander.from_variable(environ)
        for argument in argv:
            arguments.extend(expander.argument(argument))
    except JavaLaunchError as error:
        if value is not None:
            error.add_note(note_of(value))
        raise
    return arguments, notes
