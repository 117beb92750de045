"""What is said of a dead worker: the signal by name, and HotSpot's report where there is one."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jvmbind.posix.process import Ended
from jvmbind.spec import ServiceSpec
from jvmbind.supervisor.crash import Death, describe, error_report

PID = 2**22 + 7  # above pid_max: nobody's report


@pytest.fixture(autouse=True)
def in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, as the default place of a report is the working directory."""
    monkeypatch.chdir(tmp_path)


RECORD = Death(0.0, 3, PID, 0, "", core=False, uptime=1.26, during_start=False, hs_err="", oom=False)


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (RECORD, " after 1.3 s: exit status 0"),
        (RECORD._replace(status=7), " after 1.3 s: exit status 7"),
        (RECORD._replace(signal="SIGKILL"), " after 1.3 s: killed by SIGKILL"),
        (RECORD._replace(signal="signal 63", during_start=True), " during its start after 1.3 s: killed by signal 63"),
        (RECORD._replace(signal="SIGSEGV", core=True), " after 1.3 s: killed by SIGSEGV, core dumped"),
        (
            RECORD._replace(signal="SIGABRT", hs_err="/x/hs_err.log"),
            " after 1.3 s: killed by SIGABRT; the JVM's report is /x/hs_err.log",
        ),
    ],
)
def test_death_in_words(record: Death, text: str) -> None:
    """A death is told with its time, its status or signal, the core and HotSpot's report."""
    assert record.text == text


@pytest.mark.parametrize(
    ("status", "number", "told", "asked"),
    [(143, 0, True, True), (143, 0, False, False), (1, 0, True, False), (0, 9, True, True), (0, 11, True, False)],
)
def test_an_end_in_order(status: int, number: int, told: bool, asked: bool) -> None:
    """What a restart or a stop ends is no death that asks for a reason, unless it ended in another way than that."""
    generation: Any = SimpleNamespace(
        number=1, started=0.0, main_runs=True, process=SimpleNamespace(pid=PID), spec=ServiceSpec("x", "/java", (), ())
    )

    assert describe(generation, Ended(status, number, core=False), 5.0, told=told).asked is asked


def test_report_in_the_working_directory(tmp_path: Path) -> None:
    """Without an option the report is hs_err_pidN.log in the working directory."""
    (tmp_path / f"hs_err_pid{PID}.log").touch()

    assert error_report(PID, (), 5.0) == f"{tmp_path}/hs_err_pid{PID}.log"


def test_report_in_tmp(monkeypatch: pytest.MonkeyPatch) -> None:
    """HotSpot's second choice is /tmp."""
    monkeypatch.setattr("os.path.isfile", lambda path: path == f"/tmp/hs_err_pid{PID}.log")
    monkeypatch.setattr("os.path.getmtime", lambda _: time.time())

    assert error_report(PID, (), 5.0) == f"/tmp/hs_err_pid{PID}.log"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (["-XX:ErrorFile={}/a.log"], "a.log"),
        (["-XX:ErrorFile={}/e%p.log"], f"e{PID}.log"),
        (["-XX:ErrorFile={}/100%%.log"], "100%.log"),
        (["-XX:ErrorFile={}/first.log", "-Xmx1m", "-XX:ErrorFile={}/last.log"], "last.log"),
    ],
)
def test_report_where_the_option_says(tmp_path: Path, given: list[str], name: str) -> None:
    """-XX:ErrorFile names the report, %p is the process id, %% a percent sign, and the last one counts."""
    (tmp_path / name).touch()

    assert error_report(PID, [option.format(tmp_path) for option in given], 5.0) == str(tmp_path / name)


def test_percent_before_p(tmp_path: Path) -> None:
    """`%%p` is a percent sign and a p, as HotSpot reads from left to right."""
    (tmp_path / "a%p.log").touch()

    assert error_report(PID, [f"-XX:ErrorFile={tmp_path}/a%%p.log"], 5.0) == str(tmp_path / "a%p.log")


def test_no_report() -> None:
    """Where there is no report none is named."""
    assert error_report(PID, ["-XX:ErrorFile=/no/such/file"], 5.0) == ""


def test_report_of_another_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A report that is older than the process is that of another one with its number."""
    monkeypatch.chdir(tmp_path)
    report = tmp_path / f"hs_err_pid{PID}.log"
    report.touch()
    os.utime(report, (0, 0))
    assert error_report(PID, (), 5.0) == ""
