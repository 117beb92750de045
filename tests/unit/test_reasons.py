"""Why a generation is not ready or did not become it: each kind of reason in words, and the last lines that it printed."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from jvmbind.spec import ServiceSpec, parse_listen
from jvmbind.supervisor.crash import Death
from jvmbind.supervisor.reasons import explain, lacks

if TYPE_CHECKING:
    from pathlib import Path

WEB, DNS = parse_listen("80")._replace(name="web"), parse_listen("53/udp")._replace(name="dns")
SPEC = ServiceSpec("x", "/java", (), (WEB, DNS, parse_listen("443,optional")._replace(name="tls")), start_timeout=7.5)
DEATH = Death(0.0, 2, 1, 3, "", core=False, uptime=1.0, during_start=True, hs_err="", oom=False)
UNBOUND = "the application has not bound listener 'web' (80/tcp), 'dns' (53/udp)"
LONGER = "if it only needs more time, a longer start_timeout (it is 7.5 s)"


def generation(lines: list[str] | None = None, **more: Any) -> Any:
    """Return a generation whose main runs and has bound nothing; `lines` is what it printed, None where that is unknown."""
    output = SimpleNamespace(last_lines=lambda: lines or [], is_known=lines is not None)
    known = {"main_runs": True, "notified": False, "claimed": set(), "listening": set(), "would_accept": False, "tried": []}
    return SimpleNamespace(**{"spec": SPEC, "output": output, **known, **more})


LACKS = [
    (generation(main_runs=False), "the JVM has not begun to run the application"),
    (generation(main_runs=False, spec=SPEC._replace(script=("x.sh",))), "no JVM of the script runs the application"),
    (generation(spec=SPEC._replace(ready="notify")), "the application has not said that it is ready (ServiceLifecycle.ready())"),
    (generation(), UNBOUND),
    (generation(claimed={0}), "the application has not bound listener 'dns' (53/udp)"),
    (generation(tried=["[::]:81/tcp", "[::]:82/tcp"]), f"{UNBOUND}; it bound [::]:81/tcp, [::]:82/tcp"),
    (generation(tried=["[::]:81/tcp: not declared; do it"]), f"{UNBOUND}; it bound [::]:81/tcp (not declared; do it)"),
    (
        generation(tried=["1.2.3.4:80/tcp: refused, too wide", "[::]:81/tcp"]),
        f"{UNBOUND}; it bound [::]:81/tcp; it asked for 1.2.3.4:80/tcp (refused, too wide)",
    ),
    (generation(claimed={0, 1}), "the application does not listen on 'web' yet"),
    (generation(claimed={0, 1}, listening={0}), "no thread of the application waits for connections"),
    (generation(claimed={0, 1}, listening={0}, would_accept=True), "the rehearsal has not ended"),
    (
        generation(claimed={0, 1}, listening={0}, would_accept=True, spec=SPEC._replace(ready="http://[::1]/", ready_status=204)),
        "http://[::1]/ has not answered with status 204",
    ),
    (
        generation(claimed={0, 1}, listening={0}, would_accept=True, spec=SPEC._replace(ready="http://[::1]/")),
        "http://[::1]/ has not answered with status 200 to 399",
    ),
]


@pytest.mark.parametrize(("one", "text"), LACKS)
def test_what_it_lacks(one: Any, text: str) -> None:
    """What a generation lacks to be ready is told by the first step that it has not taken."""
    assert lacks(one, probed=False) == text


def test_what_a_probed_one_lacks() -> None:
    """One that was asked a question lacks the answer to it."""
    ready = generation(claimed={0, 1}, listening={0}, would_accept=True)

    assert lacks(ready, probed=True) == "the probe connection has not been taken"
    ready.spec = SPEC._replace(listeners=(DNS,))
    assert lacks(ready, probed=True) == "nothing is receiving datagrams yet"


HELD = "generation 1 has /srv/db.lck locked (POSIX)"
ALONE = "two instances at once {} what fails ({}): jvmbind restart, or reload = 'restart'"
EXPLAINED: list[tuple[Any, Death | None, str, str]] = [
    (generation([]), DEATH, "", f"exit status 3; {UNBOUND}"),
    (generation([]), DEATH._replace(signal="SIGKILL", oom=True), "", f"killed by SIGKILL; the kernel was out of memory; {UNBOUND}"),
    (
        generation([]),
        DEATH._replace(signal="SIGSEGV", hs_err="/x/hs_err.log"),
        "",
        f"killed by SIGSEGV; the JVM's report is /x/hs_err.log; {UNBOUND}",
    ),
    (generation(["a", "b"]), DEATH, "", f"exit status 3; {UNBOUND}; the last lines of the output: a | b"),
    (
        generation(),
        DEATH,
        "",
        f"exit status 3; {UNBOUND}; what it printed is where the service's output goes, which is not a file that can be read here",
    ),
    (generation([]), None, "", f"{UNBOUND}; {LONGER}"),
    (generation([]), None, HELD, f"{UNBOUND}; {ALONE.format('may be', HELD)}; {LONGER}"),
    (generation([], main_runs=False), DEATH, HELD, "exit status 3; the JVM has not begun to run the application"),
]
# What H2, HSQLDB, Derby, Lucene, Kafka, Artemis, Jetty and scripts print of another instance.
LOCKED = [
    "Database may be already in use: /srv/test.mv.db. Possible solutions: close all other connections",
    "Database lock acquisition failure: lockFile: org.hsqldb.persist.LockFile",
    "ERROR XSDB6: Another instance of Derby may have already booted the database /srv/db.",
    "org.apache.lucene.store.LockObtainFailedException: Lock held by another program: /srv/write.lock",
    "Failed to acquire lock on file .lock in /srv/kafka. A Kafka instance in another process or thread is using this directory.",
    "java.nio.channels.OverlappingFileLockException",
    "Already Running!!",
    "Existing PID file found during start.",
]


@pytest.mark.parametrize(("one", "death", "held", "text"), EXPLAINED)
def test_why_it_failed(one: Any, death: Death | None, held: str, text: str) -> None:
    """A failure is told by how it ended, what it lacked, what it printed, and what to do."""
    assert explain(one, death, probed=False, held=held, restarts=False) == text


@pytest.mark.parametrize("line", LOCKED)
@pytest.mark.parametrize("held", ["", HELD])
def test_a_lock_is_likely(line: str, held: str) -> None:
    """Where the last lines speak of another instance, that is what is likely, and nobody is told so where there was none."""
    one = generation(["begins", line])
    why = ALONE.format("are likely to be", held or "its last lines speak of a lock")

    assert explain(one, DEATH, probed=False, held=held, restarts=False).endswith(why)
    assert "two instances" not in explain(one, DEATH, probed=False, held="", restarts=True)


@pytest.mark.parametrize(
    "line", ["Clock is off by 3 s", "blocked", "java.lang.IllegalStateException: not unlocking", "Out of memory"]
)
def test_no_lock_where_none_is_spoken_of(line: str) -> None:
    """Words that only look like it are no lock."""
    assert "two instances" not in explain(generation([line]), DEATH, probed=False, held="", restarts=False)


PRINTS = """
import json, os, sys
from jvmbind.supervisor.output import Output
print("of the generation before", flush=True)
output = Output()
exec(sys.argv[1])
sys.stdout.flush()
sys.stderr.flush()
with open(sys.argv[2], "w") as result:
    json.dump([output.is_known, output.last_lines()], result)
"""
TRACE = "print('Exception: x', file=sys.stderr); print('\\tat a.B.c(B.java:1)\\n\\t... 3 more', file=sys.stderr)"


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("pass", []),
        ("print('one'); print(); print('  two  ')", ["one", "two"]),
        ("[print(i) for i in range(9)]", ["5", "6", "7", "8"]),
        ("print('jvmbind: generation 2 is ready', file=sys.stderr); print('x')", ["x"]),
        ("print('2026-11-27T11:41:05.123+00:00 jvmbind: generation 2 is ready', file=sys.stderr); print('x')", ["x"]),
        ('print(\'{"time": "2026", "message": "generation 2 is ready"}\', file=sys.stderr); print(\'x\')', ["x"]),
        (TRACE, ["Exception: x"]),
        ("print('a\\x1b[31mb\\x07c' + 'd' * 200)", ["a [31mb c" + "d" * 148 + "..."]),
        ("print('x' * 100_000); print('end')", ["x" * 157 + "...", "end"]),
        ("os.ftruncate(1, 0); print('anew')", ["anew"]),
        ("print('out'); print('err', file=sys.stderr)", ["err", "out"]),
    ],
)
def test_last_lines(tmp_path: Path, code: str, lines: list[str]) -> None:
    """The last lines are those that were printed since, printable, short, and without the supervisor's own or a stack's frames."""
    result = tmp_path / "result"
    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
        subprocess.run([sys.executable, "-c", PRINTS, code, str(result)], stdout=out, stderr=err, check=True)

    assert json.loads(result.read_text()) == [True, lines]


def test_lines_that_cannot_be_read(tmp_path: Path) -> None:
    """What goes into a pipe is not known, and nothing is read from it."""
    result = tmp_path / "result"

    subprocess.run([sys.executable, "-c", PRINTS, "print('x')", str(result)], capture_output=True, check=True)

    assert json.loads(result.read_text()) == [False, []]
