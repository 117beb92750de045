"""Puts the version of jvmbind that is on disk in the place of the one that runs, in this very process.

Runs in the supervisor as the service user. No exec: execve(2) would open this process to the others of its user, and one of
them could take a listener, or write into its memory so that it looks untouched later (PR_SET_DUMPABLE(2const), ptrace(2)). So
the modules are loaded anew, in this interpreter; process, children, descriptors, blocked signals and what a worker is bound
to (PR_SET_PDEATHSIG) do not change. A child tries first whether the new version can read the state and load all that it has;
whatever fails here after that, the modules that ran before are put back.

This is loaded when the supervisor starts: later the files belong to another version.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
from operator import attrgetter

import prctl

import jvmbind
from jvmbind.bare import signal
from jvmbind.errors import in_words, printable
from jvmbind.posix.process import Process
from jvmbind.supervisor import orphans
from jvmbind.supervisor.carried import write
from jvmbind.supervisor.fields import GENERATION, take, take_parts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from jvmbind.supervisor.generation import Generation
    from jvmbind.supervisor.succession import Succession

    Work = Callable[[], "int | Work"]

PATIENCE = 20.0  # seconds in which a new version must say that it can go on
_ANSWER_MAX = 65536
_FOLDER = os.path.dirname(os.path.abspath(jvmbind.__file__))
_FILE = os.path.join(_FOLDER, "__init__.py")


def _identity() -> tuple[int, ...]:
    try:
        found = os.stat(_FILE)
    except OSError:
        return ()  # it was removed, or is being replaced
    return found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns


_loaded_from = _identity()


def differs() -> bool:
    """Whether another version than the running one has been installed."""
    return _identity() not in {_loaded_from, ()}


def version_on_disk() -> str:
    """Return the version that is installed, "" where it cannot be read."""
    try:
        with open(_FILE, encoding="utf-8") as file:
            found = next((line for line in file if line.startswith("__version__ = ")), "")
    except (OSError, ValueError):
        return ""
    return printable(found.partition("=")[2].strip().strip("\"'"))[:40]


def files() -> int:
    """Return a number that tells the installed files from any others that were or will be there."""
    found = set()
    for folder, folders, names in os.walk(_FOLDER):
        folders[:] = [name for name in folders if name != "__pycache__"]  # which loading a module writes
        for name in names:
            path = os.path.join(folder, name)
            try:
                info = os.lstat(path)
            except OSError:
                continue
            found.add((path, info.st_ino, info.st_ctime_ns))
    return hash(frozenset(found))


class Trial:
    """A child that tries whether the version on disk can go on with a state."""

    def __init__(self, state: bytes) -> None:
        """Begin; raises OSError."""
        self.deadline = time.monotonic() + PATIENCE
        self.files = files()
        self.version = version_on_disk()
        self._data = b""
        self.fd, writer = os.pipe()
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            os.close(self.fd)
            os.close(writer)
            raise
        if pid == 0:
            _try(state, writer, parent)
        os.close(writer)
        try:
            self._process: Process | None = Process.adopted(pid, os.pidfd_open(pid))
        except OSError:
            os.close(self.fd)
            os.kill(pid, signal.SIGKILL)  # not yet waited for, so the number is still its own
            os.waitpid(pid, 0)
            raise
        self.pid = pid

    def is_done(self, *, readable: bool) -> bool:
        """Read what has come; return whether that is all, or the time is over."""
        chunk = os.read(self.fd, _ANSWER_MAX) if readable else b""
        self._data += chunk
        return (readable and not chunk) or time.monotonic() >= self.deadline

    def close(self) -> None:
        """End the child."""
        if self._process is not None:
            self._process.end()
            os.close(self.fd)
            self._process = None

    def result(self) -> str:
        """Return why the version cannot go on, or "", and close."""
        late = time.monotonic() >= self.deadline
        self.close()
        try:
            answer = json.loads(self._data)
            failure = printable(str(answer["error"]))
        except (ValueError, KeyError, TypeError):
            return f"it did not say within {PATIENCE:g} s that it can" if late else "it ended without a word when it was tried"
        if not failure and files() != self.files:
            return "its files were changed while it was tried; ask again when the installation has ended"
        return failure


def versions() -> dict[str, str]:
    """Return the version that runs, and the one on disk: the same one, as far as nothing has been installed since."""
    return {"version": jvmbind.__version__, "installed_version": version_on_disk() if differs() else jvmbind.__version__}


def _try(state: bytes, writer: int, parent: int) -> None:
    """Be the child: load the version on disk and say whether it can go on. Does not return."""
    try:
        prctl.set_pdeathsig(signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        null = os.open("/dev/null", os.O_RDWR)
        for standard in range(3):
            os.dup2(null, standard)
        _forget()
        try:
            from jvmbind.supervisor.resume import check  # noqa: PLC0415 - of the version on disk

            check(state)
            error = ""
        except BaseException as failure:  # noqa: BLE001 - whatever another version does
            error = _words(failure)
        os.write(writer, json.dumps({"error": error}).encode()[:_ANSWER_MAX])
    finally:
        os._exit(0)


def _words(failure: BaseException) -> str:
    if isinstance(failure, OSError):
        return in_words(failure)
    text = " ".join(str(failure).split())
    if type(failure).__module__.startswith("jvmbind."):
        return text  # a JvmbindError of that version: its text is meant for people
    return f"{type(failure).__name__}: {text}".rstrip(": ")


def _forget() -> dict[str, ModuleType]:
    """Let the next import load every module of this package from its file; return those that were loaded."""
    found = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "jvmbind"}
    for name in found:
        del sys.modules[name]
    importlib.invalidate_caches()
    return found


def load(loop: Succession) -> tuple[Work | None, str]:
    """Load the version on disk, which takes the state over; return what it goes on with, or why it does not.

    Where it fails, all is as it was, whatever it has made of the descriptors. Where not, this version has to `let_go`, and must
    not import anything any more. Raises OSError where there are not descriptors enough for that.
    """
    state = state_of(loop)
    copies: dict[int, int] = {}
    try:
        for fd in _sockets(loop):
            copies[fd] = os.dup(fd)
        before = _forget()
        try:
            from jvmbind.supervisor.resume import resume  # noqa: PLC0415 - of the version on disk

            work: Work | None = resume(state)
            failure = ""
        except (Exception, SystemExit) as error:  # noqa: BLE001 - as in _try
            work, failure = None, _words(error)
        if work is None:
            _forget()
            sys.modules.update(before)
            gc.collect()  # a socket object that is left over closes a descriptor of this version's
            for fd, copy in copies.items():
                os.dup2(copy, fd, inheritable=False)
    finally:
        for copy in copies.values():
            os.close(copy)
    return work, failure or ("" if work is not None else "it has not said what goes on")


def _sockets(loop: Succession) -> list[int]:
    """Return the descriptors that objects of two versions have for a moment, each of which would close them with itself."""
    world, control = attrgetter("_world", "_control")(loop)
    found = [one.socket.fileno() for one in world.generations.values()]
    found += control.sockets() if control is not None else []
    found += [world.notifier.program.fileno()] if world.notifier.program is not None else []
    return [fd for fd in found if fd >= 0]


def state_of(loop: Succession) -> bytes:
    """Return the state of a supervisor in which no reload, restart or stop is on its way."""
    world, control, waiters, death, change = attrgetter(
        "_world", "_control", "_requests.waiters", "_program._death", "_program._change"
    )(loop)
    died, deaths = world.last_death, world.deaths
    return write(
        {
            **take_parts(loop),
            "generations": [_generation(one) for one in world.generations.values()],
            "died": None if died is None else (_generation(died[0]), died[1], world.silent_end is not None),
            "probes": world.probe is not None,
            "waiters": waiters(),
            "told": (next((i for i, one in enumerate(deaths) if one is death), -1), change is world.changes.last),
            "control": None if control is None else control.carried(),
            "strangers": orphans.before(),
        }
    )


def _generation(generation: Generation) -> dict[str, Any]:
    process = generation.process
    return {
        **take(generation, GENERATION),
        "process": (process.pid, process.pidfd),
        "socket": generation.socket.fileno(),
        "output": attrgetter("output._begun")(generation),
    }


def let_go(loop: Succession) -> None:
    """Forget every descriptor that another loop of this process has now, and close what it has not."""
    world, control, refusal = attrgetter("_world", "_control", "_world.unserved._refusal")(loop)
    if control is not None:
        control.let_go()
    world.end_probe()
    for generation in world.generations.values():
        generation.socket.detach()
    world.notifier.let_go()
    world.outlet.let_go()
    refusal.close()
