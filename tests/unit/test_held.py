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
            status = 0 if look([ended], (), ()) is None else 2
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
