"""Signals, exit statuses and output are those of the `java` command, with and without a supervisor.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from support.jdks import Jdk
from support.runner import PLAIN, Runner, as_user
from support.users import SERVICE_USER, User

pytestmark = [pytest.mark.root, pytest.mark.jvm]

WAYS = {"direct": ["--direct"], "supervised": ["--restart", "never"]}
both_ways = pytest.mark.parametrize("way", WAYS)


def options(way: str) -> list[str]:
    """Return what comes before `--` for a service without a listener of interest."""
    return [*WAYS[way], "-l", "80", "-u", SERVICE_USER]


@both_ways
@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["exit", "0"], 0),
        (["exit", "3"], 3),
        (["exit", "255"], 255),
        (["exit", "-1"], 255),
        (["exit", "256"], 0),
        (["exit-in-thread", "42"], 42),
        (["halt", "9"], 9),
        (["return"], 0),
        (["throw-in-thread"], 0),
        (["daemon-thread"], 0),
        (["hook-exit", "200"], 7),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else str(value),
)
def test_exit_status(runner: Runner, jdk: Jdk, way: str, arguments: list[str], status: int) -> None:
    """System.exit, Runtime.halt, the return of main and an exception elsewhere give java's own status."""
    service = runner.probe(options(way), jdk, "Ending", *arguments)

    assert service.wait() == status, service.report()
    service.assert_nothing_left()


@both_ways
def test_uncaught_exception_in_main(runner: Runner, jdk: Jdk, way: str) -> None:
    """An uncaught exception gives status 1 and Java's own stack trace, whose last frame is the program's main."""
    service = runner.probe(options(way), jdk, "Ending", "throw")

    assert service.wait() == 1, service.report()
    trace = service.stderr[service.stderr.index("Exception in thread") :].splitlines()
    assert trace[0] == 'Exception in thread "main" java.lang.IllegalStateException: thrown in main'
    assert re.fullmatch(r"\tat probe\.Ending\.main\(Ending\.java:\d+\)", trace[1])
    assert trace[2] == "Caused by: java.lang.RuntimeException: its cause"
    assert trace[3] == "\t... 1 more" or trace[3].startswith("\tat probe.Ending.main("), trace


@both_ways
def test_uncaught_exception_in_another_thread(runner: Runner, jdk: Jdk, way: str) -> None:
    """An exception in another thread is printed with the thread's name and main goes on to its end."""
    service = runner.probe(options(way), jdk, "Ending", "throw-in-thread")

    assert service.wait() == 0, service.report()
    assert 'Exception in thread "other" java.lang.IllegalStateException: thrown elsewhere' in service.stderr
    assert "MAIN-ENDS" in service.stdout


@both_ways
def test_last_non_daemon_thread_keeps_the_process(runner: Runner, jdk: Jdk, way: str) -> None:
    """The process stays after main has returned until the last non-daemon thread ends; stdin is the caller's."""
    service = runner.probe(options(way), jdk, "Ending", "thread-outlives-main", stdin=subprocess.PIPE)

    service.expect(r"^OTHER-RUNS$")
    service.expect(r"^MAIN-ENDS$")
    assert service.running()
    service.send_line("go")
    assert service.wait() == 0, service.report()
    assert "OTHER-ENDS" in service.stdout


@both_ways
def test_sigterm_runs_shutdown_hooks_to_their_end(runner: Runner, jdk: Jdk, way: str) -> None:
    """After SIGTERM a hook of 3 s runs to its end, no other thread is interrupted, and the status is 143."""
    service = runner.probe(options(way), jdk, "Ending", "hook", "3000")

    service.expect(r"^READY$")
    assert service.stop() == 143, service.report()
    assert service.stdout.splitlines() == ["READY", "HOOK-BEGINS", "HOOK-ENDS true"]
    service.assert_nothing_left()


@pytest.mark.parametrize(
    ("way", "number", "status"),
    [("direct", signal.SIGINT, 130), ("supervised", signal.SIGINT, 130), ("direct", signal.SIGHUP, 129)],
)
def test_other_ending_signals(runner: Runner, jdk: Jdk, way: str, number: int, status: int) -> None:
    """SIGINT and SIGHUP end the JVM as under java, hooks included; to a supervisor SIGHUP means reload."""
    service = runner.probe(options(way), jdk, "Ending", "hook", "100")

    service.expect(r"^READY$")
    assert service.stop(number) == status, service.report()
    assert "HOOK-ENDS true" in service.stdout


@both_ways
def test_sigquit_prints_a_thread_dump(runner: Runner, jdk: Jdk, way: str) -> None:
    """SIGQUIT to the process that was started prints Java's thread dump on stdout and nothing ends."""
    service = runner.probe(options(way), jdk, "Ending", "idle")

    service.expect(r"^READY$")
    service.process.send_signal(signal.SIGQUIT)
    service.expect(r"Full thread dump OpenJDK")
    service.expect(r'^"main" #\d+')
    service.expect(r"JNI global ref")
    assert service.stop() == 143
    # Nothing of Python's or JPype's may look like a thread of the program's.
    assert "JPype" not in service.stdout


@both_ways
def test_jvm_crash_is_reported(runner: Runner, jdk: Jdk, way: str, service_user: User) -> None:
    """A crash inside the JVM gives its status 134, java's own report on stdout and a crash file."""
    folder = runner.workspace / "crash"
    folder.mkdir()
    os.chown(folder, service_user.uid, service_user.gid)
    service = runner.probe(options(way), jdk, "Ending", "crash", cwd=folder, jvm=[f"-XX:ErrorFile={folder}/hs_err.log"])
    service.quiet = False

    assert service.wait() == 134, service.report()
    assert "# A fatal error has been detected by the Java Runtime Environment:" in service.stdout
    assert "SIGSEGV" in (folder / "hs_err.log").read_text()
    if way == "supervised" and not PLAIN:
        # The supervisor's own words name the file, too.
        assert str(folder / "hs_err.log") in service.stderr
    assert "Traceback" not in service.stderr
    service.assert_nothing_left()


@both_ways
def test_exit_on_out_of_memory(runner: Runner, jdk: Jdk, way: str) -> None:
    """The JVM's own reaction to the end of its memory, status 3, comes through."""
    service = runner.probe(options(way), jdk, "Ending", "out-of-memory", jvm=["-XX:+ExitOnOutOfMemoryError"])

    assert service.wait() == 3, service.report()


@both_ways
def test_uncaught_out_of_memory(runner: Runner, jdk: Jdk, way: str) -> None:
    """An uncaught OutOfMemoryError in main ends with status 1 and Java's message."""
    service = runner.probe(options(way), jdk, "Ending", "out-of-memory")

    assert service.wait() == 1, service.report()
    assert "java.lang.OutOfMemoryError: Java heap space" in service.stderr


@both_ways
def test_output_is_unbuffered_and_the_callers_own(runner: Runner, jdk: Jdk, way: str) -> None:
    """The worker's descriptors 0, 1 and 2 are the very files that the caller gave, with no pump between."""
    service = runner.probe(options(way), jdk, "Ending", "idle")

    service.expect(r"^READY$")
    worker = service.worker()
    assert Path(f"/proc/{worker}/fd/0").readlink() == Path("/dev/null")
    assert Path(f"/proc/{worker}/fd/1").readlink() == service.stdout_path
    assert Path(f"/proc/{worker}/fd/2").readlink() == service.stderr_path
    assert service.stop() == 143


def test_closed_stdout_does_not_kill(runner: Runner, jdk: Jdk) -> None:
    """With nobody left to read stdout the program goes on, as under java, and ends with its own status."""
    reading, writing = os.pipe()
    command = runner.java_arguments("Ending", "hook-exit", "300")
    head = [*as_user(SERVICE_USER), jdk.java] if PLAIN else []
    if not PLAIN:
        probe = runner.probe(options("direct"), jdk, "Ending", "exit", "0")
        assert probe.wait() == 0, probe.report()
        head = probe.command[: probe.command.index("--") + 1]
    with runner.network.entered(), contextlib.ExitStack() as stack:
        stack.callback(os.close, writing)
        process = subprocess.Popen([*head, *command], stdin=subprocess.DEVNULL, stdout=writing, stderr=subprocess.PIPE)
    os.close(reading)
    try:
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 7, errors


@pytest.mark.jdks(tools=True)
def test_jps_and_jcmd(runner: Runner, jdk: Jdk) -> None:
    """Jps shows the program's own name, and jcmd of the same user attaches and prints threads."""
    service = runner.probe(options("supervised"), jdk, "Ending", "idle")

    service.expect(r"^READY$")
    worker = service.worker()
    tool = as_user(SERVICE_USER)
    listed = subprocess.run([*tool, str(jdk.home / "bin/jps"), "-l"], capture_output=True, text=True, check=True).stdout
    assert f"{worker} probe.Ending" in listed.splitlines()
    arguments = subprocess.run(
        [*tool, str(jdk.home / "bin/jcmd"), str(worker), "VM.command_line"], capture_output=True, text=True, check=False
    )
    assert "java_command: probe.Ending idle" in arguments.stdout, arguments
    threads = subprocess.run(
        [*tool, str(jdk.home / "bin/jcmd"), str(worker), "Thread.print"], capture_output=True, text=True, check=False
    )
    assert '"main"' in threads.stdout, threads
    assert service.stop() == 143
