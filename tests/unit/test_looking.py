"""How long a look at the processes of a service keeps the supervisor from everything else."""

from __future__ import annotations

import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from jvmbind.supervisor import looking
from jvmbind.supervisor.looking import Looking

THREADS = 200
MANY = f"""
import threading
for _ in range({THREADS}):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
print("made", flush=True)
input()
"""


def test_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """10.6: a process of many threads is looked at bit by bit, all are counted, and who asks meanwhile gets the same answer."""
    monkeypatch.setattr(looking, "_TURN", 0.0)
    command = [sys.executable, "-I", "-c", MANY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as many:
        assert many.stdout is not None
        assert many.stdout.readline() == "made\n"
        life: Any = SimpleNamespace(number=3, process=SimpleNamespace(pid=many.pid), spec=SimpleNamespace(script=()))
        work = Looking()
        assert work.turn([life]) is None
        assert work.deadline() is None
        work.want()
        turns = 1
        while (looks := work.turn([life])) is None:
            turns += 1
            work.want()
            assert work.deadline() is not None
        many.communicate("\n")

    assert turns > THREADS
    assert looks[3].privileges["threads"] == THREADS + 1
    assert looks[3].memory["rss"] > 0
    assert looks[0].privileges["threads"] >= 1
    assert work.turn([life]) is None


def test_a_pause_after_each_look() -> None:
    """10.6: looks that are asked for without end cost a bounded share of the processor: the next one waits for its time."""
    work = Looking()
    work.want()
    begun = time.monotonic()
    while work.turn([]) is None:
        pass
    spent = time.monotonic() - begun
    work.want()
    assert work.turn([]) is None
    deadline = work.deadline()
    assert deadline is not None
    assert deadline > begun + spent
