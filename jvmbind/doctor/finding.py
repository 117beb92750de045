"""One finding, and what could not be seen. Pure but for `Sight`, which reads files. Used by `jvmbind doctor`, as any user."""

from __future__ import annotations

import enum
import os
from typing import NamedTuple


class Level(enum.IntEnum):
    """How bad a finding is: also the exit status of `jvmbind doctor` where nothing is worse."""

    NOTE = 0  # to know; nothing has to be done
    WARNING = 1  # a start works, and something is unsafe or in the way
    ERROR = 2  # a start fails, or does not do what it says


class Finding(NamedTuple):
    """One thing that is wrong: what was found, why it matters, and how it is mended."""

    key: str
    level: Level
    found: str
    why: str
    commands: tuple[str, ...] = ()  # shell commands that mend it, for root where nothing else is said
    advice: str = ""  # what to do where no command can
    config: str = ""  # of a migration: lines of the configuration file that replace what was found


class Sight:
    """Reads files, and remembers what it was not allowed to read."""

    def __init__(self) -> None:
        """Nothing was looked at yet."""
        self.unseen: list[str] = []

    def read(self, path: str) -> str | None:
        """Return a file as text, at most 1 MiB; None where there is none or it cannot be read."""
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read(1 << 20)
        except PermissionError:
            self.cannot(path)
        except OSError:
            pass
        return None

    def names(self, path: str) -> list[str]:
        """Return the names in a directory; [] where there is none or it cannot be read."""
        try:
            return sorted(os.listdir(path))
        except PermissionError:
            self.cannot(path)
        except OSError:
            pass
        return []

    def cannot(self, what: str) -> None:
        """Remember something that this user may not see."""
        self.unseen.append(what)
