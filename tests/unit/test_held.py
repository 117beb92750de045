"""What a generation holds, as the supervisor sees it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jvmbind.supervisor.held import Holders, look

_NOBODY = 65534


def test_a_process_that_ends_holds_nothing() -> None:
    """One that has ended and was not waited for belongs to root in /proc, and is not taken for one that hides its files."""
    watcher = os.fork()
    if watcher == 0:
        status = 1
        try:
            if os.geteuid() == 0:
                os.setgid(_NOBODY)
                os.setuid(_NOBODY)
            ended = os.fork()
            if ended == 0:
                os._exit(0)
            os.waitid(os.P_PID, ended, os.WEXITED | os.WNOWAIT)
            status = 0 if look([ended], (), ()) == [] else 2
        except BaseException:  # noqa: BLE001 - the status says it
            traceback.print_exc()
        finally:
            os._exit(status)

    assert os.waitstatus_to_exitcode(os.waitpid(watcher, 0)[1]) == 0


def test_only_what_was_seen_is_remembered(tmp_path: Path) -> None:
    """A process that could not be looked at holds nothing afterwards; a file that was open counts when it is closed too."""
    command = [sys.executable, "-I", "-c", "input(); file = open('store', 'w'); print(); input(); file.close(); print(); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        spec = SimpleNamespace(script=(), java_arguments=("x",))
        life: Any = SimpleNamespace(number=1, process=SimpleNamespace(pid=process.pid), spec=spec, responders=())
        holders = Holders()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
        try:
            shortage = holders.look([life])
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        said = [holders.look([life])]
        for _ in range(2):
            process.stdin.write("\n")
            process.stdin.flush()
            process.stdout.readline()
            said.append(holders.look([life]))
        process.communicate("\n")

    assert "closed to its supervisor (Too many open files)" in shortage
    store = tmp_path / "store"
    assert said == ["", f"generation 1 has {store} open for writing", f"generation 1 had {store} open for writing"]


_WRITER = """
import fcntl, os, sys
def write(name):
    global file
    file = open(name + ".new", "w") if sys.argv[1] == "renamed" else open(name, "w")
    if sys.argv[1] == "locked": fcntl.lockf(file, fcntl.LOCK_EX)
def end(name):
    file.close()
    if sys.argv[1] == "renamed": os.rename(name + ".new", name)
for line in sys.stdin:
    word, name = line.split()
    (write if word == "write" else end)(name)
    print(flush=True)
"""


@pytest.mark.parametrize(
    ("how", "meanwhile", "seen"),
    [
        ("once", ["end a"], ""),
        ("once", ["end a", "write b"], ""),
        ("locked", ["end a"], "generation 1 has {}/a locked"),
        ("again", ["end a", "write a"], "generation 1 has {}/a open for writing"),
        ("renamed", ["end a", "write a"], "generation 1 has {}/a.new open for writing"),
    ],
)
def test_a_file_that_is_open_for_a_moment_is_not_held(tmp_path: Path, how: str, meanwhile: list[str], seen: str) -> None:
    """A page that is just compiled does not count, now or later; a lock counts at once, and a file at two looks counts."""
    command = [sys.executable, "-I", "-c", _WRITER, how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def tell(words: list[str]) -> None:
            for word in words:
                process.stdin.write(f"{word}\n")  # type: ignore[union-attr]
                process.stdin.flush()  # type: ignore[union-attr]
                process.stdout.readline()  # type: ignore[union-attr]

        spec = SimpleNamespace(script=(), java_arguments=("x",))
        life: Any = SimpleNamespace(number=1, process=SimpleNamespace(pid=process.pid), spec=spec, responders=())
        holders = Holders(pause=lambda _: tell(meanwhile))
        tell(["write a"])
        said = holders.look([life])
        process.communicate()
        later = holders.look([life])

    assert said == seen.format(tmp_path)
    assert bool(later) is bool(said)
