"""The last lines that a generation printed, where the caller's stdout and stderr are files.

Runs in the supervisor. The streams stay the caller's: nothing stands between the application and them, so a pipe, a
terminal or the journal cannot be read. Source: proc(5) on /proc/PID/fd (opening a link opens the file anew).
"""

from __future__ import annotations

import os
import re
import stat

_MOST_BYTES = 16384
_NOT_SAID = re.compile(
    r"(\d{4}-\d\d-\d\dT\S+ )?jvmbind: |\{\"time\": |at [\w.$/<>@]+\(|\.\.\. \d+ (more|common frames)"
)  # our own lines, and frames of a stack trace
_MOST_LINES = 4
_MOST_CHARACTERS = 160  # of one line


class Output:
    """Where the files stood when a generation was started."""

    def __init__(self) -> None:
        """Remember their ends."""
        self._begun: dict[int, tuple[int, int, int]] = {}  # descriptor -> device, inode, size
        for fd in (1, 2):
            try:
                found = os.fstat(fd)
            except OSError:
                continue
            key = (found.st_dev, found.st_ino)
            if stat.S_ISREG(found.st_mode) and key not in {known[:2] for known in self._begun.values()}:
                self._begun[fd] = (*key, found.st_size)

    @property
    def is_known(self) -> bool:
        """Whether there is anything that could be read."""
        return bool(self._begun)

    def last_lines(self) -> list[str]:
        """Return the last lines that were added since, without those of the supervisor itself."""
        found: list[str] = []
        for fd, (device, inode, begun) in sorted(self._begun.items(), reverse=True):
            try:
                copy = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue  # written by whoever started the service, and not to be read by its user
            try:
                now = os.fstat(copy)
                if (now.st_dev, now.st_ino) != (device, inode):
                    continue
                start = max(begun if now.st_size >= begun else 0, now.st_size - _MOST_BYTES)
                text = os.pread(copy, _MOST_BYTES, start).decode("utf-8", "replace")
            finally:
                os.close(copy)
            lines = [line.strip() for line in text.splitlines()]
            found += [line for line in lines if line and not _NOT_SAID.match(line)][-_MOST_LINES:]
        return [_short(line) for line in found[:_MOST_LINES]]


def _short(line: str) -> str:
    line = "".join(char if char.isprintable() else " " for char in line)
    return line if len(line) <= _MOST_CHARACTERS else line[: _MOST_CHARACTERS - 3] + "..."
