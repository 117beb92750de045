"""What is said of a dead worker: the signal by name, and HotSpot's report where there is one."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from jvmbind.posix.process import Ended
from jvmbind.supervisor.crash import describe_death, error_report

PID = 2**22 + 7  # above pid_max: nobody's report


@pytest.fixture(autouse=True)
def in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, as the default place of a report is the working directory."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("ended", "text"),
    [
        (Ended(0, signal.SIGKILL, core=False), "killed by SIGKILL"),
        (Ended(0, signal.SIGSEGV, core=True), "killed by SIGSEGV, core dumped"),
        (Ended(0, 63, core=False), "killed by signal 63"),
        (Ended(7, 0, core=False), "exit status 7"),
        (Ended(0, 0, core=False), "exit status 0"),
    ],
)
def test_how_it_ended(ended: Ended, text: str) -> None:
    """A signal is named (a real-time one by number), a core is mentioned, an exit has its status."""
    assert describe_death(PID, ended, ()) == text


def test_report_in_the_working_directory(tmp_path: Path) -> None:
    """Without an option the report is hs_err_pidN.log in the working directory, and the line names it."""
    (tmp_path / f"hs_err_pid{PID}.log").touch()

    assert error_report(PID, ()) == f"{tmp_path}/hs_err_pid{PID}.log"
    text = describe_death(PID, Ended(0, signal.SIGABRT, core=False), ())
    assert text == f"killed by SIGABRT; the JVM's report is {tmp_path}/hs_err_pid{PID}.log"


def test_report_in_tmp(monkeypatch: pytest.MonkeyPatch) -> None:
    """HotSpot's second choice is /tmp."""
    monkeypatch.setattr("os.path.isfile", lambda path: path == f"/tmp/hs_err_pid{PID}.log")

    assert error_report(PID, ()) == f"/tmp/hs_err_pid{PID}.log"


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

    assert error_report(PID, [option.format(tmp_path) for option in given]) == str(tmp_path / name)


def test_percent_before_p(tmp_path: Path) -> None:
    """`%%p` is a percent sign and a p, as HotSpot reads from left to right."""
    (tmp_path / "a%p.log").touch()

    assert error_report(PID, [f"-XX:ErrorFile={tmp_path}/a%%p.log"]) == str(tmp_path / "a%p.log")


def test_no_report() -> None:
    """Where there is no report none is named."""
    assert error_report(PID, ["-XX:ErrorFile=/no/such/file"]) == ""
