"""What `jvmbind status` makes of an answer for people. Pure."""

from __future__ import annotations

import re
from typing import Any

import pytest

from jvmbind.cli.view import View, length, to_do

NOW = 1_000_000.0
CLEAN = {"threads": 9, "uids": [33], "capabilities": {}, "no_new_privs": True}


def process(**more: Any) -> dict[str, Any]:
    """Return one process of an answer."""
    return {"memory": {"pss": 102400}, "privileges": CLEAN, **more}


def generation(number: int, role: str = "serving", stage: str = "ready") -> dict[str, Any]:
    """Return one generation of an answer."""
    return process(number=number, role=role, stage=stage, pid=100 + number, age=7300.0, status="", waits_for="")


def listener(**more: Any) -> dict[str, Any]:
    """Return one listener of an answer."""
    found = {"name": "http", "address": "80", "protocol": "tcp", "queue": 3, "queue_limit": 128, "overflows": 0, "claimed_by": [1]}
    return found | more


def death(**more: Any) -> dict[str, Any]:
    """Return one death of an answer."""
    found = {
        "time": NOW - 200,
        "generation": 1,
        "pid": 101,
        "status": 0,
        "signal": "SIGSEGV",
        "uptime": 90.0,
        "during_start": False,
    }
    return found | {"hs_err": "", "oom": False, "core": False} | more


def answer(**more: Any) -> dict[str, Any]:
    """Return the answer of a service that is well, but for what is given."""
    found: dict[str, Any] = {"name": "shop", "ready": True, "not_ready": "", "phase": "up", "pid": 99, "uptime": 125.0}
    found["supervisor"] = process()
    return found | {"generations": [generation(1)], "listeners": [listener()], "deaths": [], "reload": None, "waits_for": ""} | more


def change(**more: Any) -> dict[str, Any]:
    """Return the result of a reload."""
    return {"kind": "reload", "ok": True, "error": "", "generation": 2, "time": NOW - 5, "alone": "", **more}


def text(colour: bool = False, **more: Any) -> str:
    """Return an answer as it is shown."""
    return View(answer(**more), NOW, colour=colour).text()


def test_columns_are_aligned() -> None:
    """Whatever is in them, the columns of a table begin in the same places, with colour and without."""
    more: dict[str, Any] = {"generations": [generation(9), generation(12345, "draining", "terminating")]}
    plain, coloured = text(**more), text(colour=True, **more)
    rows = plain.splitlines()[2:5]
    assert {row.index(word) for row, word in zip(rows, ("PID", "109", "12445"), strict=True)} == {rows[0].index("PID")}
    assert re.sub(r"\033\[\d+m", "", coloured) == plain
    assert "\033[32mready" in coloured
    assert "\033" not in plain


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, r"supervisor  pid 99, up 2 min, \d"),
        ({}, "to do       nothing"),
        ({"deaths": [death()]}, r"\(3 min ago\): generation 1 died after 90 s: killed by SIGSEGV$"),
        ({"deaths": [death(), death(generation=2, signal="", status=3)]}, "exit status 3; 2 deaths are known$"),
        (
            {"deaths": [death(), death(generation=2, signal="", status=143, asked=True)]},
            (
                "generation 2 was ended as requested, after 90 s: exit status 143$"
                "(?s:.*)generation 1 died after 90 s: killed by SIGSEGV$"
            ),
        ),
        ({"deaths": [death(hs_err="/x/hs_err")]}, "to do       read the JVM's report /x/hs_err"),
        ({"deaths": [death(oom=True)]}, "to do       give the service more memory"),
        ({"deaths": [death(during_start=True)]}, "generation 1 died during its start after 90 s"),
        ({"reload": change()}, r"\(5 s ago\): reload done, generation 2 took over$"),
        ({"reload": change(alone="a lock on /x")}, r"by a restart with the listeners kept \(a lock on /x\)"),
        (
            {"reload": change(ok=False, error="no such jar")},
            r"(?s)reload failed: no such jar.*to do       reload: mend what it says",
        ),
        ({"listeners": [listener(overflows=7)]}, r"(?s)3 of 128 +7\n.*to do +listener 'http': its queue was full"),
        (
            {"listeners": [listener(claimed_by=[], not_served="declare 'http=81'")]},
            r"(?s)nobody: refused.*to do.*declare 'http=81'",
        ),
        ({"listeners": [listener(queue=None, overflows=None)]}, r"80/tcp +generation 1 +- +-$"),
        (
            {"phase": "backing off", "ready": False, "not_ready": "the service is backing off", "generations": []},
            "the next start comes",
        ),
        ({"ready": False, "not_ready": "it lacks http"}, "shop is up, but not ready\n  because it lacks http"),
        (
            {"phase": "starting", "ready": False, "not_ready": "no JVM", "waits_for": "for generation 1"},
            "  waits for generation 1$",
        ),
        (
            {
                "phase": "starting",
                "ready": False,
                "not_ready": "no JVM",
                "waits_for": "for generation 1 to get ready: no JVM, 9 s left",
            },
            "  because no JVM\n  waits for generation 1 to get ready, 9 s left$",
        ),
        (
            {"ready": False, "not_ready": "it lacks http", "generations": [generation(1) | {"hints": ["[::]:81/tcp: declare it"]}]},
            r"to do       bind of \[::\]:81/tcp: declare it$",
        ),
        (
            {"generations": [generation(1) | {"hints": ["[::]:81/tcp: not declared", "[::]:82/tcp: refused by the kernel"]}]},
            r"to do       bind of \[::\]:82/tcp: refused by the kernel$",
        ),
        ({"ready": False, "not_ready": "it lacks http"}, "to do       wait; if it does not get ready, its output may say why$"),
        ({"reload": change(notes=["user: changed"])}, "to do       user: changed$"),
        ({"supervisor": process(privileges={})}, "rights      supervisor: not readable; generation 1: uid 33"),
        (
            {"supervisor": process(privileges=CLEAN | {"capabilities": {"CapEff": "400"}})},
            "CapEff=400(?s:.)*to do +stop the service",
        ),
    ],
)
def test_what_is_shown(more: dict[str, Any], words: str) -> None:
    """What happened last, when, and what to do, for each kind of trouble."""
    assert re.search(words, text(**more), re.MULTILINE), text(**more)


def test_an_answer_of_an_older_supervisor() -> None:
    """A command that is newer than the running service shows what that one says."""
    old = answer()
    del old["not_ready"]
    del old["ready"]
    assert View(old, NOW, colour=False).text().startswith("shop is ready")
    assert to_do(old | {"reload": change(ok=False, error="x")})


@pytest.mark.parametrize(("seconds", "words"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172800, "2 d")])
def test_lengths_of_time(seconds: float, words: str) -> None:
    """A time is shown in the unit that suits it."""
    assert length(seconds) == words
