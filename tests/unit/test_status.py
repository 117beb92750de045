"""What `status` counts below a wrapper script, whatever tree of processes a service makes."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from jvmbind.supervisor.status import descendants

NUMBER = 90
TREE = """
import ctypes, os, signal, sys
libc, deep = ctypes.CDLL(None), sys.argv[2] == "deep"
for _ in range(int(sys.argv[1])):
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: all of them end with the first
        if os.getppid() != parent:
            os._exit(1)  # which has ended before
    if (child == 0) is not deep:
        signal.pause()
print("made", flush=True)
signal.pause()
"""


@pytest.mark.parametrize("shape", ["deep", "wide"])
def test_no_tree_is_too_deep_or_too_wide(monkeypatch: pytest.MonkeyPatch, shape: str) -> None:
    """10.6: a tree deeper than the interpreter's stack is counted, and of any tree no more than a fixed number."""
    with subprocess.Popen([sys.executable, "-I", "-c", TREE, str(NUMBER), shape], stdout=subprocess.PIPE) as tree:
        try:
            assert tree.stdout is not None
            assert tree.stdout.readline() == b"made\n"
            before = sys.getrecursionlimit()
            sys.setrecursionlimit(len(inspect.stack()) + 50)
            try:
                found = descendants(tree.pid)
            finally:
                sys.setrecursionlimit(before)
            assert len(found) == len(set(found)) == NUMBER
            monkeypatch.setattr("jvmbind.supervisor.status._LOOKED_AT", 10)
            assert descendants(tree.pid) == found[:10]
        finally:
            tree.kill()
