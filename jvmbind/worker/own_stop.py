"""Sees that a script's own stop command was run: `activemq stop` beside `activemq console`, or a `stop.sh` next to the script.

Runs in the worker that runs the script, as the service user. Such commands may end the JVM by SIGKILL, which says nothing
of who sent it. So the files of the commands are watched for being opened (a shell opens what it runs), and then the
processes of this user and of root are looked at. Must not import jpype. Sources: inotify(7), proc(5).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import re
import select
import time

from jvmbind.errors import printable
from jvmbind.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_IN_OPEN = 0x20  # sys/inotify.h
_STILL = 10.0  # seconds after the end of a stop command in which an end of the JVM is its doing
_WATCHED = 32  # files
_TRIES = 3  # for a line of parents that changes while it is read
_LINE = 4096  # bytes of a command line
_STOP = re.compile(
    r"-{0,2}((force|fast|immediate)-?)?(stop|shutdown|kill|halt|quit|terminate)([-_]?(force|now|all|server))?", re.IGNORECASE
)
_INTERPRETER = re.compile(r"-?(|ba|da|k|mk|z|a|ya)sh[0-9.]*|busybox|(python|perl|ruby)[0-9.]*")
_STOP_FILE = re.compile(r"stop|shutdown|kill", re.IGNORECASE)
_SHARED = ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/etc/init.d")


class Command(NamedTuple):
    """A stop command that was seen."""

    pid: int
    pidfd: int
    text: str


_NONE = Command(0, -1, "")


class OwnStop:
    """Watches for stop commands of one script, from its start on."""

    def __init__(self, script: Sequence[str], path: str) -> None:
        """Begin to watch those of `script`, whose file is `path`; where the kernel has no inotify, only `asked` looks."""
        self._arguments = set(script[1:])
        self._files = dict.fromkeys(_stop_files(os.path.realpath(path)), True)  # whether it stops whatever its arguments are
        self._files[os.path.realpath(path)] = False
        self._names = {os.path.basename(file) for file in self._files} | {os.path.basename(path)}
        self._living: dict[int, Command] = {}
        self._last = _NONE  # the one that ended last
        self._ended = 0.0  # when that was (monotonic)
        libc = ctypes.CDLL(None, use_errno=True)
        self._inotify = int(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        for file in self._files if self._inotify >= 0 else ():
            libc.inotify_add_watch(self._inotify, os.fsencode(file), _IN_OPEN)

    def fds(self) -> list[int]:
        """Return the descriptors that become readable when there is something to `look` at."""
        return [fd for fd in (self._inotify, *(command.pidfd for command in self._living.values())) if fd >= 0]

    def look(self) -> None:
        """Note the stop commands that have begun, and those that have ended; raises OSError for a shortage."""
        with contextlib.suppress(OSError):  # BlockingIOError, or there is no inotify here
            while os.read(self._inotify, 65536):
                pass
        try:
            for pid in _newest_first():
                text = self._text(pid) if pid not in self._living and pid != os.getpid() else ""
                if text:
                    with contextlib.suppress(OSError):  # it has ended meanwhile
                        self._living[pid] = Command(pid, os.pidfd_open(pid), text)
        finally:
            self._note_ended()  # their descriptors would stay readable

    def _note_ended(self) -> None:
        poll = select.poll()
        for command in self._living.values():
            poll.register(command.pidfd, select.POLLIN)
        ended = {pidfd for pidfd, _ in poll.poll(0)}
        for command in [one for one in self._living.values() if one.pidfd in ended]:
            self._last, self._ended = self._living.pop(command.pid), time.monotonic()
            os.close(command.pidfd)

    def forget(self) -> None:
        """Forget the commands that have ended: what starts now is not what they have stopped."""
        with contextlib.suppress(OSError):
            self.look()  # one may have ended without having been noted
        self._last = _NONE

    def asked(self) -> str:
        """Return the stop command that has asked for the end of the JVM that has come just now, "" without one."""
        with contextlib.suppress(OSError):  # what was seen before still counts
            self.look()
        if self._living:
            return next(iter(self._living.values())).text
        return self._last.text if time.monotonic() - self._ended < _STILL else ""

    def _text(self, pid: int) -> str:
        """Return who runs what, where a process is a stop command of this user or of root, else ""."""
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = [os.fsdecode(word) for word in file.read(_LINE).split(b"\0") if word]
            at = _script_word(words)
            if at < 0 or os.path.basename(words[at]) not in self._names:
                return ""
            uid = _number(pid, "Uid:", 2)  # the effective one
        except (OSError, ValueError, StopIteration):
            return ""
        if uid not in {0, os.getuid()} or _is_below_this(pid):
            return ""  # it cannot have ended a JVM of this user, or is a part of the service, whose end nobody asked for
        stops = self._files.get(_file(pid, words[at], root=uid == 0, known=self._files))
        rest = words[at + 1 :]
        if stops is None or not (stops or any(_STOP.fullmatch(one) and one not in self._arguments for one in rest)):
            return ""
        try:
            name = pwd.getpwuid(uid).pw_name
        except KeyError:
            name = str(uid)
        return f"{printable(' '.join([words[at], *rest]))} (process {pid} of user {name})"


def _number(pid: int, field: str, column: int = 1) -> int:
    """Return a number of /proc/PID/status; raises OSError, ValueError or StopIteration."""
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        return next(int(line.split()[column]) for line in file if line.startswith(field))


def _is_below_this(pid: int) -> bool:
    """Whether this process started it, itself or by others: an orphan of those is its child (PR_SET_CHILD_SUBREAPER)."""
    for _ in range(_TRIES):
        above = pid
        try:
            while above > 1:  # 0: the parent is outside this PID namespace
                above = _number(above, "PPid:")
                if above == os.getpid():
                    return True
        except (OSError, ValueError, StopIteration):
            continue  # one of them has ended meanwhile, and what it left has another parent now
        return False
    return False


def _script_word(words: Sequence[str]) -> int:
    """Return which word of a command line is the script that runs, -1 where it is none: an editor has its name too."""
    if words and _INTERPRETER.fullmatch(os.path.basename(words[0])):
        return next((at for at, word in enumerate(words[1:], 1) if not word.startswith(("-", "+"))), -1)
    return 0 if words else -1


def _file(pid: int, word: str, *, root: bool, known: Iterable[str]) -> str:
    """Return the file that a word of a process's command line names."""
    if word.startswith("/"):
        return os.path.realpath(word)
    try:
        return os.path.realpath(os.path.join(os.readlink(f"/proc/{pid}/cwd"), word))
    except OSError:
        # The directory of a process of root's cannot be seen. It is taken at its word: it may end whatever it wants.
        same = [file for file in known if root and os.path.basename(file) == os.path.basename(word)]
        return same[0] if same else word


def _stop_files(path: str) -> list[str]:
    """Return the files beside a script by whose names they stop something; of a directory of many programs none."""
    folder = os.path.dirname(path)
    if folder in _SHARED:
        return []
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    found = [name for name in names if _STOP_FILE.search(name) and not name.lower().endswith((".bat", ".cmd", ".exe", ".ps1"))]
    files = [os.path.realpath(f"{folder}/{name}") for name in found[:_WATCHED]]
    return [file for file in files if file != path and os.path.isfile(file) and os.access(file, os.X_OK)]


def _newest_first() -> Iterator[int]:
    """Return the processes, from the one that was started last downwards: what is looked for has just begun."""
    last = 1 << 22  # PID_MAX_LIMIT
    with contextlib.suppress(OSError), open("/proc/loadavg", encoding="ascii") as file:  # not there with ProcSubset=pid
        last = int(file.read().split()[-1])
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return iter(sorted(pids, key=lambda pid: (pid > last, -pid)))
