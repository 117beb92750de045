"""How long a look at the processes of a service keeps the supervisor from everything else."""

from __future__ import annotations

import subprocess
import sys
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


def test_soon_after_a_long_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """10.6: who asks again soon gets at once what the last look has seen, so that looks without end cost a bounded share."""
    now = 0.0
    monkeypatch.setattr("jvmbind.supervisor.looking.time.monotonic", lambda: now)
    looks: list[int] = []

    def look(generations: list[Any]) -> Any:
        nonlocal now
        looks.append(len(generations))
        now += 1.0
        yield
        return {number: number for number in range(len(generations) + 1)}

    monkeypatch.setattr(looking, "_look", look)
    work, lives = Looking(), [SimpleNamespace(number=1)]

    def ask() -> None:
        work.want()
        while work.turn(lives) is None:  # type: ignore[arg-type]
            pass

    for _ in range(3):
        ask()
    assert looks == [1]
    lives.append(SimpleNamespace(number=2))  # which the last look has not seen
    ask()
    assert looks == [1, 2]
    now += 4.1
    ask()
    assert looks == [1, 2, 2]


def turn_until_seen(work: Looking, life: Any) -> None:
    """Look until the look has ended, or has failed."""
    while work.turn([life]) is None:
        pass


def test_a_look_that_fails() -> None:
    """A look that fails fails once: it begins anew when somebody asks again, not in each turn of the loop."""
    work = Looking()
    broken: Any = SimpleNamespace(number=1)  # of a process that nothing is known of
    for _ in range(2):
        work.want()
        with pytest.raises(AttributeError):
            turn_until_seen(work, broken)
        assert work.deadline() is None
        assert work.turn([broken]) is None
