"""What a generation holds that a second instance of the application might spoil: locks, and files that it writes.

Runs in the supervisor as the service user; reads /proc of its own workers, and starts nothing. Under plain `java` the
port that is taken stops a second instance before it touches the data of the first; where both may have the port, this
look stands in for that. It sees what is open at this moment, and nothing of what is on another machine. A file that is
written once and closed again (Tomcat compiles a page) is no store: what nothing locks must be there at a second look too.
Sources: proc(5) on fd, fdinfo and maps; fcntl(2) and flock(2) on the kinds of locks; open(2).
"""

from __future__ import annotations

import os
import re
import stat
import time

from jvmbind.record import NamedTuple
from jvmbind.supervisor.status import descendants

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from jvmbind.supervisor.generation import Generation

_LOCKS = (b"POSIX", b"FLOCK", b"OFDLCK")  # a lease or a delegation is no lock
# What a JVM writes for itself, under a name that holds its own process id: counters, symbols for perf, crash reports,
# compiler logs, the repository of the flight recorder.
_OWN = r"/(hsperfdata_[^/]*/{pid}|perf-{pid}\.map|java_pid{pid}[^/]*|(hs_err|hotspot)_pid{pid}\.log|[0-9_]{{19}}_{pid}/[^/]*)$"
# An option of the JVM that names a file which it writes.
_LOG_OPTION = re.compile(
    r"-Xloggc:(.+)|-Xlog:.*?file=([^:]+)|-XX:(?:LogFile|ErrorFile|VMLog\w*|FlightRecorderOptions)=(?:.*repository=)?([^,]+)"
)
# File.createTempFile and Files.createTempDirectory put a random number of up to 20 digits into the name.
_TEMPORARY = re.compile(r"^(/var)?/tmp/[^/]*[0-9]{12,20}")
# A file that is only ever added to is taken for a log where it is called one, and not after what a store writes first.
_LOG = re.compile(r"/logs?/|log|\.(out|err|txt|trace)(\.[^/]*)?$", re.IGNORECASE)
_STORE = re.compile(r"journal|jnl|ledger|wal\b|redo|undo|commit|trans(action|log)|txn?[-_.]?log|binlog|raft", re.IGNORECASE)
_MAPPED = re.compile(rb"^[0-9a-f]+-[0-9a-f]+ .w.s [0-9a-f]+ \S+ [1-9][0-9]* +(/.+)$", re.MULTILINE)

# An accept that waits in one holds the open file of the listener: no dup2 over the descriptor takes it away.
_IO_URING = "anon_inode:[io_uring]"

_LOCKED = "locked"
_AGAIN = 0.05  # seconds between the two looks, for which the supervisor does nothing else

File = tuple[int, int]  # device and inode


class Held(NamedTuple):
    """One thing that is held: the file, and what is done with it, in words."""

    path: str
    how: str
    lasting: bool = False  # whether one look says enough: a lock is there for others, however short
    seen: bool = True  # False: nobody can say

    def __str__(self) -> str:
        """Return it as a part of a sentence: "has /srv/a open for writing"."""
        return f"has {self.path} {self.how}"


class Holders:
    """What the living generations hold, and what those before them held.

    A store may open its files with the first record that it is given, or write each of them once: a generation that has
    just begun holds nothing yet, and will hold what the one before did. So what was seen once counts for every
    generation of the same command line.
    """

    def __init__(self, pause: Callable[[float], None] = time.sleep) -> None:
        """Nothing was seen yet; `pause` waits for so many seconds."""
        self._former: dict[tuple[str, ...], str] = {}
        self._pause = pause

    def look(self, generations: Iterable[Generation]) -> str:
        """Say what one of them holds, as a clause; "" where nothing was seen, now or before."""
        streams, former, lives = streams_of("self"), "", list(generations)
        found = [_look_at(one, streams) for one in lives]
        if any(found) and not any(held.lasting for several in found for held in several):
            self._pause(_AGAIN)
            found = [_still(several, _look_at(one, streams)) for one, several in zip(lives, found, strict=True)]
        for generation, several in zip(lives, found, strict=True):
            command = (*generation.spec.script, *generation.spec.java_arguments)
            if several:
                held = next((one for one in several if one.lasting), several[0])
                if held.seen:  # what hides from a look may be a child that is there for a moment, or a shortage
                    self._former[command] = f"generation {generation.number} had {held.path} {held.how}"
                return f"generation {generation.number} {held}"
            former = former or self._former.get(command, "")
        return former


def _look_at(generation: Generation, streams: Collection[File]) -> list[Held]:
    pid = generation.process.pid
    # A responder is closed to everybody, and shares the descriptors of a JVM that is looked at.
    pids = [one for one in (pid, *descendants(pid)) if one not in generation.responders]
    return look(pids, generation.spec.java_arguments, streams)


def _still(before: Collection[Held], now: Iterable[Held]) -> list[Held]:
    """Return what was there before as well, by its name: a store may write a file anew and rename it, again and again."""
    known = {held.path for held in before}
    return [held for held in now if held.lasting or held.path in known]


def look(pids: Sequence[int], java_arguments: Sequence[str], streams: Collection[File]) -> list[Held]:
    """Return what processes hold at this moment: all of it, or where one look says enough the first such thing alone.

    `streams` are the files that the service was given as stdout and stderr. A process that cannot be looked at may hold
    anything. One that has ended meanwhile holds nothing.
    """
    logs, found = tuple(_logs(java_arguments)), list[Held]()
    for pid in pids:
        try:
            for held in _files(pid, {*streams, *_streams(pid)}):
                if _is_own(held.path, pid, logs):
                    continue
                if held.lasting:
                    return [held]
                found.append(held)
        except (FileNotFoundError, ProcessLookupError):
            continue
        except OSError as error:
            if _is_ending(pid):
                continue  # without its memory it belongs to root: proc(5)
            how = f"closed to its supervisor ({error.strerror}), so that nobody knows which files it holds"
            found.append(Held(f"/proc/{pid}", how, seen=False))
    return found


def _is_ending(pid: int) -> bool:
    """Whether a process has given up its memory, on its way to its end; proc_pid_stat(5), state and vsize."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return True
    except OSError:  # EMFILE, ENFILE, ENOMEM: of the supervisor, not of that process
        return False
    return fields[0] in {"Z", "X"} or fields[20] == "0"


def streams_of(pid: int | str) -> set[File]:
    """Return the regular files that are the standard streams of a process."""
    return set(_streams(pid))


def _streams(pid: int | str) -> Iterator[File]:
    for fd in (0, 1, 2):
        try:
            found = os.stat(f"/proc/{pid}/fd/{fd}")
        except OSError:
            continue
        if stat.S_ISREG(found.st_mode):
            yield found.st_dev, found.st_ino


def _logs(java_arguments: Sequence[str]) -> Iterator[str]:
    for argument in java_arguments:
        match = _LOG_OPTION.match(argument)
        if match:
            yield os.path.abspath(next(group for group in match.groups() if group).split("%")[0])


def _is_own(path: str, pid: int, logs: tuple[str, ...]) -> bool:
    """Whether another instance writes to a file of its own here, or both write lines for people."""
    return bool(re.search(_OWN.format(pid=pid), path) or _TEMPORARY.match(path) or (logs and path.startswith(logs)))


def _files(pid: int, streams: Collection[File]) -> Iterator[Held]:
    folder = f"/proc/{pid}/fd"
    for fd in os.listdir(folder):
        try:
            found = os.stat(f"{folder}/{fd}")
            if not stat.S_IFMT(found.st_mode) and os.readlink(f"{folder}/{fd}") == _IO_URING:
                yield Held("an io_uring instance", "whose accepts cannot be drained", lasting=True)
            if not stat.S_ISREG(found.st_mode) or not found.st_nlink or (found.st_dev, found.st_ino) in streams:
                continue
            path = os.readlink(f"{folder}/{fd}")
            if not path.startswith("/") or path.startswith(("/proc/", "/sys/")):
                continue
            with open(f"/proc/{pid}/fdinfo/{fd}", "rb") as file:
                how = _how(path, file.read())
        except FileNotFoundError:
            continue  # closed meanwhile
        if how:
            yield Held(path, how, lasting=how == _LOCKED)
    with open(f"/proc/{pid}/maps", "rb") as file:
        for name in _MAPPED.findall(file.read()):
            path = os.fsdecode(name)
            if not path.startswith(("/dev/zero", "/memfd:", "/SYSV", "/proc/", "/sys/", "/dev/dri/")) and not path.endswith(
                " (deleted)"
            ):
                yield Held(path, "mapped for writing")


def _how(path: str, info: bytes) -> str:
    """Return what a descriptor of a regular file stands for, "" where a second instance does not matter to it."""
    flags = 0
    for line in info.splitlines():
        words = line.split()
        if line.startswith(b"flags:"):
            flags = int(words[1], 8)
        elif line.startswith(b"lock:") and len(words) > 2 and words[2] in _LOCKS:
            return _LOCKED
    mode = flags & os.O_ACCMODE
    if mode == os.O_RDONLY or (mode == os.O_WRONLY and flags & os.O_APPEND and _is_log(path)):
        return ""
    return "open for writing"


def _is_log(path: str) -> bool:
    return bool(_LOG.search(path)) and not _STORE.search(os.path.basename(path))
