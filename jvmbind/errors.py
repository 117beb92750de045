"""Exceptions of jvmbind, each with the exit status it ends a command with.

Imported by every other module, also by what runs with privilege; imports nothing but errno and sys.
The statuses are those of sysexits.h (EX_USAGE and so on); status 1 is what the `java` launcher itself uses.
"""

from __future__ import annotations

import errno
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

EX_USAGE = 64
EX_UNAVAILABLE = 69
EX_OSERR = 71
EX_TEMPFAIL = 75
EX_NOPERM = 77
EX_CONFIG = 78


class JvmbindError(Exception):
    """A failure with a message of one line; `status` is the exit status of the command that meets it."""

    status: int = EX_OSERR
    listener: str = ""
    """The name of the listener that it is about; "" where it is about none."""
    holder: str = ""
    """Who holds the address of that listener, as `NAME (pid N)` or in other words; "" where that is not known."""
    key: str = ""
    """What it is about: a key path of the configuration file, for a program the argument of `Service`; "" where none is known."""
    last_lines: tuple[str, ...] = ()
    """What the service printed last, where its output goes to a file that its user can read."""

    def about(self, listener: str = "", holder: str = "", *, key: str = "") -> Self:
        """Name the listener, who holds its address, and the key; return the error itself."""
        self.listener, self.holder, self.key = listener or self.listener, holder or self.holder, key or self.key
        return self

    def __str__(self) -> str:
        """Return the message on one line that commands no terminal, whatever was put into it."""
        return printable(" ".join(super().__str__().split()))

    @property
    def parts(self) -> tuple[str, ...]:
        """What an equal error is made of in another process."""
        return (str(self),)


class UsageError(JvmbindError):
    """The command line cannot be understood."""

    status = EX_USAGE


class PortUnavailableError(JvmbindError):
    """A declared address cannot be had: somebody else holds it, or this machine does not have it."""

    status = EX_UNAVAILABLE


class SystemFailureError(JvmbindError):
    """A system call failed, or this kernel or sandbox lacks what is needed."""

    status = EX_OSERR


class NotPermittedError(JvmbindError):
    """A right is missing, or a privilege could not be given up for certain."""

    status = EX_NOPERM


class ConfigurationError(JvmbindError):
    """What is to be run, as whom or from where does not fit this machine."""

    status = EX_CONFIG


class ArgumentTypeError(ConfigurationError, TypeError):
    """An argument of a Python call is of another type than expected; `argument` names it."""

    def __init__(self, message: str, argument: str = "") -> None:
        super().__init__(message)
        self.argument = self.key = argument


class ArgumentValueError(ConfigurationError, ValueError):
    """An argument of a Python call has a value that cannot be; `argument` names it."""

    def __init__(self, message: str, argument: str = "") -> None:
        super().__init__(message)
        self.argument = self.key = argument


class JavaLaunchError(JvmbindError):
    """What the `java` launcher itself refuses; it ends with status 1 there, so it does here."""

    status = 1


class JavaRefusedError(JavaLaunchError):
    """What the real `java` said when it was asked: `out` and `err` are its words, the message is what matters of them."""

    def __init__(self, out: str, err: str = "") -> None:
        self.out, self.err = (_lines(text) for text in (out, err))
        told = [line.strip() for line in f"{self.err}{self.out}".splitlines()]
        text = (
            "; ".join(line for line in told if line and not line.startswith(_EVERY_TIME)) or "java does not take this command line"
        )
        super().__init__(text)

    @property
    def parts(self) -> tuple[str, ...]:
        """What `java` said on its two streams."""
        return self.out, self.err


# What `java` says of every failure, and where in its own code it met it.
_EVERY_TIME = (
    "Error: Could not create the Java Virtual Machine",
    "Error: A fatal exception has occurred",
    "Picked up ",
    "NOTE: Picked up ",
    "at java.",
    "at jdk.",
)


def _lines(text: str) -> str:
    return "".join("\t".join(map(printable, line.split("\t"))) + "\n" for line in text.splitlines())


# By errno: the resource limit that may be the reason, by its name in [security.limits].
_LIMITS = {errno.EMFILE: "nofile", errno.EAGAIN: "nproc", errno.ENOMEM: "as or data", errno.EFBIG: "fsize"}


def in_words(error: OSError) -> str:
    """Return what the kernel said, with the resource limit that may have been met: getrlimit(2)."""
    what = f"{error.filename}: " if error.filename else ""
    limit = f" (resource limit {_LIMITS[error.errno]}?)" if error.errno in _LIMITS else ""
    return f"{what}{error.strerror or error}{limit}"


def printable(text: str) -> str:
    """Return foreign text with a question mark for each character that could command a terminal, a log or a manager."""
    return "".join(char if char.isprintable() else "?" for char in text)


def say(error: BaseException) -> int:
    """Write why a command ends, in the words of `java` where those are known; return the exit status."""
    if isinstance(error, OSError):
        error = SystemFailureError(in_words(error))
    elif isinstance(error, MemoryError):
        error = SystemFailureError("no memory (resource limit as or data?)")
    if not isinstance(error, JvmbindError):
        raise error
    notes = [printable(note) for note in getattr(error, "__notes__", ())]
    # What `java` would refuse is said in its words alone, which wrapper scripts and people know.
    if isinstance(error, JavaRefusedError):
        sys.stdout.write(error.out)
        sys.stdout.flush()
        sys.stderr.write("".join(f"jvmbind: {note}\n" for note in notes) + error.err)
    else:
        text = str(error) if isinstance(error, JavaLaunchError) else f"jvmbind: {error}"
        sys.stderr.write("".join(f"{line}\n" for line in (*notes, text)))
    return error.status
