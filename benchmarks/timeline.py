"""What happens from the start of a command to its first answer, as the kernel and the JVM saw it: time and processor time by phase.

Used by speed.py, as root. An instance of its own in tracefs follows one tree of processes (Documentation/trace/ftrace.rst on
instances, set_event_pid and event-fork), and touches no other trace: nothing is slowed by a tracer that stops it, and
jvmbind, which refuses to be traced by a process, can be looked at. The JVM says on stdout which class it loads (-verbose:class,
an option that is known and so is not asked about): one write(2) a line, whose time is in the trace. The clock that is set
here is CLOCK_MONOTONIC, and so is Python's time.monotonic().
"""

# ruff: noqa: INP001 - programs of their own, no package
from __future__ import annotations

import contextlib
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_TRACEFS = Path("/sys/kernel/tracing")
_EVENTS = ("sched/sched_process_exec", "sched/sched_process_fork", "sched/sched_process_exit", "sched/sched_stat_runtime")
_CALLS = ("bind", "seccomp", "accept", "accept4", "write")
_LINE = re.compile(r"^\s*.*-(\d+)\s+\[\d+\]\s+\S+\s+([\d.]+): (\w+)(?:: |\()(.*)$")
WORKER = "worker: interpreter, imports, responder"  # the phase that begins with its exec
VERBOSE = "-verbose:class"
_CLASS = re.compile(r"^\[([\d.]+)s\].*\] (\S+) source:")
_BUFFER_KIB = 4096


class Event(NamedTuple):
    """One event: who was running, when (seconds of the monotonic clock), what."""

    pid: int
    at: float
    name: str
    text: str


class Trace:
    """An instance in tracefs, removed at the end of the block."""

    def __init__(self) -> None:
        """Make it; ends the program where there is no tracefs."""
        self._folder = _TRACEFS / "instances" / f"jvmbind-{os.getpid()}"
        try:
            self._folder.mkdir()
        except OSError as error:
            sys.exit(f"--breakdown: {self._folder}: {error.strerror}; expected a tracefs there, and to be root")

    def __enter__(self) -> Self:
        try:
            self._write("tracing_on", "0")
            self._write("trace_clock", "mono")
            self._write("buffer_size_kb", str(_BUFFER_KIB))
            self._write("options/event-fork", "1")
            for event in (*_EVENTS, *(f"syscalls/sys_enter_{call}" for call in _CALLS)):
                self._write(f"events/{event}/enable", "1")
            self._write("events/syscalls/sys_enter_write/filter", "fd == 1")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._write("tracing_on", "0")
        self._folder.rmdir()

    def _write(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text)

    def following(self, command: Sequence[str]) -> list[str]:
        """Forget what has come so far; return the command that runs `command` with itself and what it starts followed."""
        self._write("tracing_on", "0")  # without a process in set_event_pid every process is followed
        self._write("set_event_pid", "")
        self._write("trace", "")
        script = 'echo $$ > "$0/set_event_pid" && echo 1 > "$0/tracing_on" && exec "$@"'
        return ["/bin/sh", "-c", script, str(self._folder), *command]

    def events(self) -> list[Event]:
        """Return what has come so far, in the order of time."""
        found = []
        for line in (self._folder / "trace").read_text(errors="replace").splitlines():
            match = _LINE.match(line)
            if match:
                found.append(Event(int(match[1]), float(match[2]), match[3], match[4]))
        return sorted(found, key=lambda event: event.at)


def classes(events: Iterable[Event], output: str) -> tuple[float, dict[str, float]]:
    """Return when the JVM began, and when it loaded each class: the lines of `output` beside the writes to descriptor 1."""
    began, loaded = 0.0, dict[str, float]()
    lines = filter(None, map(_CLASS.match, output.splitlines()))
    for line, event in zip(lines, (event for event in events if event.name == "sys_write"), strict=False):
        began = began or event.at - float(line[1])
        loaded.setdefault(line[2], event.at)
    return began, loaded


class Phase(NamedTuple):
    """One phase: its name, milliseconds, and the milliseconds of processor time that each role had in it."""

    name: str
    wall: float
    processor: dict[str, float]


def phases(events: Sequence[Event], answered: float, output: str, main_class: str) -> list[Phase]:
    """Return the phases of one start, from the exec of the command to its first answer at `answered`; `output` is what it wrote."""
    began, loaded = classes(events, output)
    execs = [event for event in events if event.name == "sched_process_exec"]
    first = execs[0].pid
    worker = next((event for event in reversed(execs) if "python" in event.text), execs[-1])
    responder = next((e.text for e in events if e.name == "sched_process_fork" and e.pid == worker.pid and e.at > worker.at), "")
    answering = int(responder.rpartition("child_pid=")[2] or 0) if len(execs) > 1 else 0

    def role(event: Event) -> str:
        if event.pid == answering:
            return "responder"
        if len(execs) > 1 and event.pid == first and (worker.pid != first or event.at < worker.at):
            return "launcher, supervisor"
        return "checks" if event.at < worker.at else "worker, JVM"

    def mark(wanted: Callable[[Event], bool]) -> float:
        return next((event.at for event in events if wanted(event)), 0.0)

    def before_worker(name: str, *, first_itself: bool = True) -> float:
        return mark(lambda e: e.name == name and (e.pid == first) is first_itself and e.at < worker.at)

    marks = [
        ("interpreter, imports, command line", before_worker("sched_process_fork")),
        ("checks", before_worker("sched_process_exit", first_itself=False)),
        ("bind", before_worker("sys_bind")),
        ("drop, start of the worker", worker.at),
        (WORKER, mark(lambda e: e.name == "sys_seccomp" and e.at > worker.at)),
        ("until the JVM begins", began),
        ("JVM creation", loaded.get("sun.launcher.LauncherHelper", 0.0)),
        ("main class", loaded.get(main_class, 0.0)),
        ("application, until its bind", mark(lambda e: e.name == "sys_bind" and e.at > began and e.pid != first)),
        ("until the first accept", mark(lambda e: e.name.startswith("sys_accept") and e.at > began and e.pid != first)),
        ("first answer", answered),
    ]
    runtimes = [(e, int(e.text.partition("runtime=")[2].split()[0]) / 1e6) for e in events if e.name == "sched_stat_runtime"]
    found, before = [], execs[0].at
    for name, at in marks:
        if at <= before:
            continue  # that does not happen in this way of starting
        spent: dict[str, float] = {}
        for event, milliseconds in runtimes:
            if before < event.at <= at:
                spent[role(event)] = spent.get(role(event), 0.0) + milliseconds
        found.append(Phase(name, (at - before) * 1000, spent))
        before = at
    return found


class Imports(NamedTuple):
    """What a role's imports cost, in milliseconds of processor time: in all, the bare interpreter, and each module for itself."""

    total: float
    interpreter: float
    modules: list[tuple[str, float]]


def imports(entries: Sequence[str], count: int) -> Imports:
    """Import the modules `entries` of a role in fresh isolated interpreters; the medians of `count`, dearest module first."""
    code = "\n".join(f"import {name}" for name in entries)
    bare = statistics.median(_cost("") for _ in range(count))
    whole = statistics.median(_cost(code) for _ in range(count))
    modules: dict[str, list[float]] = {}
    for _ in range(count):
        words = [sys.executable, "-I", "-X", "importtime", "-c", code]
        told = subprocess.run(words, cwd="/", capture_output=True, text=True, check=True).stderr
        for line in told.splitlines():
            own, _, name = line.removeprefix("import time:").split("|")
            if own.strip().isdigit():
                modules.setdefault(name.strip(), []).append(int(own) / 1000)
    medians = {name: statistics.median(values) for name, values in modules.items()}
    return Imports(whole - bare, bare, sorted(medians.items(), key=lambda item: -item[1]))


def _cost(code: str) -> float:
    """Return the milliseconds of processor time of an isolated interpreter that runs `code`."""
    process = subprocess.Popen([sys.executable, "-I", "-c", code], cwd="/")
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{code}: status {process.returncode}")
    return (usage.ru_utime + usage.ru_stime) * 1000
