"""How a service is started: its streams, its environment, its working directory, and whether it outlives the program.

Runs in the program. The streams are what `subprocess.Popen` takes, with two differences: standard input is not the program's
unless that is asked for, and pipes are text.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any, TextIO, TypedDict

from jvmbind.errors import ArgumentTypeError, ArgumentValueError

if TYPE_CHECKING:
    import logging

    from jvmbind.service.lines import Lines, Logger

PIPE, STDOUT, DEVNULL = -1, -2, -3  # those of subprocess, which takes 15 ms to load
Stream = int | IO[Any] | None
"""What subprocess.Popen takes."""


# ld.so(8), and what the C library reads of a program that is not setuid.
_OF_THE_LOADER = ("LD_", "GLIBC_TUNABLES", "GCONV_PATH", "LOCPATH", "NLSPATH", "MALLOC_TRACE", "PYTHON")


class StartArguments(TypedDict, total=False):
    """How a service is started: the keyword arguments of `Service.start` and `AsyncService.start`."""

    environ: Mapping[str, str] | None
    """What the service's environment is made of; default: that of this process. `env` of the service says what of it another
    user gets."""
    stdin: Stream
    """What `subprocess.Popen` takes: PIPE, DEVNULL, a file, a descriptor. Default: DEVNULL, no input."""
    stdout: Stream | logging.Logger | logging.LoggerAdapter[Any]
    """As `stdin`, and a logging.Logger or LoggerAdapter, which gets a record of INFO for each line. Default: this process's."""
    stderr: Stream | logging.Logger | logging.LoggerAdapter[Any]
    """As `stdout`, and STDOUT."""
    cwd: str | os.PathLike[str] | None
    """The service's working directory; default: that of this process."""
    die_with_parent: bool
    """Whether the service stops when this process has ended, however it did; default: False."""


class Start:
    """The descriptors that the service gets as 0, 1 and 2, and the ends of pipes that the program keeps."""

    def __init__(
        self,
        *,
        direct: bool,
        environ: object = None,
        stdin: object = DEVNULL,
        stdout: object = None,
        stderr: object = None,
        cwd: object = None,
        die_with_parent: object = False,
    ) -> None:
        """Open what has to be opened, and check the rest; raises OSError, ArgumentTypeError, ArgumentValueError."""
        self.environ = self.of_launcher = environment(environ)
        if environ is not None and os.geteuid() == 0:  # the launcher begins as root, and would load what these name
            self.of_launcher = {name: value for name, value in self.environ.items() if not name.startswith(_OF_THE_LOADER)}
        if cwd is not None and not isinstance(cwd, str | os.PathLike):
            raise ArgumentTypeError(f"cwd: expected a path, got {cwd!r} ({type(cwd).__name__})", "cwd")
        self.cwd = "" if cwd is None else os.path.abspath(os.fsdecode(cwd))
        if self.cwd:
            os.stat(os.path.join(self.cwd, "."))  # raises what chdir(2) would
        if not isinstance(die_with_parent, bool):
            msg = f"die_with_parent: expected True or False, got {die_with_parent!r} ({type(die_with_parent).__name__})"
            raise ArgumentTypeError(msg, "die_with_parent")
        if die_with_parent and direct:
            msg = "die_with_parent: with direct there is no supervisor that could see to it; expected False"
            raise ArgumentValueError(msg, "die_with_parent")
        self.die_with_parent = die_with_parent
        self.fds: dict[int, int] = {}
        self._opened: list[int] = []
        self._ends: dict[int, int] = {}
        self._loggers: dict[int, Logger] = {}
        try:
            for number, (name, stream) in enumerate({"stdin": stdin, "stdout": stdout, "stderr": stderr}.items()):
                self._open(number, name, stream)
        except BaseException:
            self.close()
            raise

    def _open(self, number: int, name: str, stream: Any) -> None:  # noqa: ANN401 - it is checked here
        if stream is None:
            return
        if number and callable(getattr(stream, "log", None)):
            self._loggers[number], stream = stream, PIPE
        if isinstance(stream, bool) or not (isinstance(stream, int) or callable(getattr(stream, "fileno", None))):
            msg = f"{name}: expected PIPE, DEVNULL, a file or a descriptor, got {stream!r} ({type(stream).__name__})"
            raise ArgumentTypeError(msg, name)
        if isinstance(stream, int) and stream == STDOUT and number == 2:
            self.fds[2] = self.fds.get(1, 1)
        elif stream == DEVNULL:
            self.fds[number] = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            self._opened.append(self.fds[number])
        elif stream == PIPE:
            reader, writer = os.pipe()
            theirs, ours = (reader, writer) if number == 0 else (writer, reader)
            self.fds[number], self._ends[number] = theirs, ours
            self._opened.append(theirs)
        elif isinstance(stream, int):
            if stream < 0:
                msg = f"{name}: expected PIPE, DEVNULL, a file or a descriptor, got {stream}"
                raise ArgumentValueError(msg, name)
            try:
                os.fstat(stream)
            except (OSError, OverflowError):
                msg = f"{name}: expected PIPE, DEVNULL, a file or an open descriptor, got {stream}"
                raise ArgumentValueError(msg, name) from None
            self.fds[number] = stream
        else:
            self.fds[number] = stream.fileno()

    def take_lines(self) -> list[Lines]:
        """Return the ends of pipes whose lines are for a logger."""
        from jvmbind.service.lines import Lines  # noqa: PLC0415 - few programs need it

        return [Lines(self._ends.pop(number), logger) for number, logger in self._loggers.items()]

    def take_ends(self) -> tuple[TextIO | None, TextIO | None, TextIO | None]:
        """Return the program's ends of pipes as files of text; what is no UTF-8 is shown as a replacement character."""
        found: list[TextIO | None] = [None, None, None]
        for number in list(self._ends):
            fd = self._ends.pop(number)
            file = io.BufferedWriter(io.FileIO(fd, "w")) if number == 0 else io.BufferedReader(io.FileIO(fd, "r"))
            found[number] = io.TextIOWrapper(file, encoding="utf-8", errors="replace", line_buffering=True)
        return found[0], found[1], found[2]

    def close(self, *, ends: bool = True) -> None:
        """Close what was opened for the service, and where it did not start the program's ends too."""
        opened, self._opened = self._opened, []
        for fd in [*opened, *(self._ends.values() if ends else ())]:
            os.close(fd)
        if ends:
            self._ends.clear()


def environment(environ: object) -> dict[str, str]:
    """Return what the environment of a service is made of; raises ArgumentTypeError, ArgumentValueError."""
    if environ is None:
        return dict(os.environ)
    if not isinstance(environ, Mapping):
        raise ArgumentTypeError(f"environ: expected a mapping, got {environ!r} ({type(environ).__name__})", "environ")
    found: dict[str, str] = {}
    for name, value in environ.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ArgumentTypeError(f"environ[{name!r}]: expected a str, got a {type(value).__name__}", "environ")
        if not name or "=" in name or "\0" in name + value:
            raise ArgumentValueError(f"environ[{name!r}]: expected a name without '=' and no NUL in either", "environ")
        found[name] = value
    return found
