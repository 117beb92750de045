"""How a service is started: its streams, its directory, its environment, and that it ends with its program where it should.

Run by pytest, as anybody. The services are scripts: no JVM is needed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import jvmbind
from support import jdks
from support.waiting import wait_until

PROLOGUE = """
import os, signal, subprocess, sys
import jvmbind
user = "www-data" if os.geteuid() == 0 else None
def script(text):
    java = {"script": ["/bin/sh", "-c", text], "home": sys.argv[1]}
    env = ["SECRET"] if "SECRET" in text else []
    return jvmbind.Service(user=user, java=java, quiet=True, env=env, supervise={"restart": "never"})
"""


def command(code: str) -> list[str]:
    """Return the command of a program that uses the API."""
    home = str(jdks.tested_jdks()[0].home)
    return [sys.executable, "-I", "-W", "error", "-c", PROLOGUE + textwrap.dedent(code), home]


def run(code: str) -> str:
    """Run it; return what it printed."""
    done = subprocess.run(command(code), text=True, capture_output=True, timeout=100, check=False, cwd="/", input="the program's")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_streams() -> None:
    """Pipes are text in both directions, errors go where they are sent, and the program's own input is not the service's."""
    out = run("""
    with script("cat; echo oops >&2").start(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as running:
        print("eins\\nzwei \u00e4", file=running.stdin)
        running.stdin.close()
        print([line.rstrip() for line in running.stdout], running.wait(60))
    with script("cat").start(stdout=subprocess.PIPE) as running:
        print(repr(running.stdout.read()), running.wait(60))
    with open(os.devnull, "w") as file, script("echo unseen").start(stdout=file, stderr=subprocess.DEVNULL) as running:
        print(running.wait(60), running.stdout)
    """)
    assert out == "['eins', 'zwei \u00e4', 'oops'] 0\n'' 0\n0 None\n"


def test_directory_and_environment(tmp_path: Path) -> None:
    """The working directory is what was asked for, a missing one is said by its name, and a secret is in no command line."""
    tmp_path.chmod(0o755)
    os.chmod(tmp_path.parent, 0o755)
    out = run(f"""
    place = {"/usr/lib"!r}
    environ = {{**os.environ, "SECRET": "s3cret"}}
    text = "pwd; echo $SECRET; tr '\\\\0' ' ' < /proc/$PPID/cmdline"
    with script(text).start(cwd=place, environ=environ, stdout=subprocess.PIPE) as running:
        lines = running.stdout.read().splitlines()
        print(lines[:2], "s3cret" in lines[2])
    for wrong in ("/nonexistent", "/etc/passwd"):
        try:
            script("true").start(cwd=wrong)
        except OSError as error:
            print(error)
    """)
    assert out.splitlines()[0] == "['/usr/lib', 's3cret'] False"
    assert [line.partition("]")[2].partition(":")[0] for line in out.splitlines()[1:]] == [
        " No such file or directory",
        " Not a directory",
    ]


@pytest.mark.root
def test_variables_of_the_loader() -> None:
    """What a program of root's passes on for a service does not decide what the launcher, which begins as root, loads."""
    out = run("""
    environ = {**os.environ, "LD_PRELOAD": "/nowhere/one.so", "LD_DEBUG": "files", "GLIBC_TUNABLES": "nonsense"}
    with script("echo it runs").start(environ=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as running:
        print(running.stdout.read())
    """)
    assert out.strip() == "it runs"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_its_program(how: signal.Signals) -> None:
    """With die_with_parent a service stops when its program was killed, a forked child of which lives on."""
    code = """
    running = script("exec sleep 1000").start(die_with_parent=True)
    while not running.status().generations:
        pass
    child = os.fork() or signal.pause()
    print(running.pid, child, flush=True)
    signal.pause()
    """
    with subprocess.Popen(command(code), text=True, stdout=subprocess.PIPE, cwd="/") as program:
        assert program.stdout is not None
        supervisor, child = map(int, program.stdout.readline().split())
        pidfd = os.pidfd_open(supervisor)
        try:
            program.send_signal(how)
            wait_until(
                lambda: not Path(f"/proc/{supervisor}/fd/0").exists() or _is_zombie(supervisor), 40, "the end of the service"
            )
            assert not _is_zombie(child)
        finally:
            os.close(pidfd)
            os.kill(child, signal.SIGKILL)


def _is_zombie(pid: int) -> bool:
    try:
        return re.search(r"^State:\s+[ZX]", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE) is not None
    except OSError:
        return True


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"stdout": "x"}, TypeError, "stdout: expected PIPE, DEVNULL, a file or a descriptor, got 'x' (str)"),
        ({"stdin": -7}, ValueError, "stdin: expected PIPE, DEVNULL, a file or a descriptor, got -7"),
        ({"stdout": subprocess.STDOUT}, ValueError, "stdout: expected PIPE"),
        ({"cwd": 5}, TypeError, "cwd: expected a path, got 5 (int)"),
        ({"stdin": 9999}, ValueError, "stdin: expected PIPE, DEVNULL, a file or an open descriptor, got 9999"),
        ({"stdout": 10**30}, ValueError, "stdout: expected PIPE, DEVNULL, a file or an open descriptor"),
        ({"environ": ["X=1"]}, TypeError, "environ: expected a mapping"),
        ({"environ": {"X": 1}}, TypeError, "environ['X']: expected a str, got a int"),
        ({"environ": {"X=Y": "1"}}, ValueError, "environ['X=Y']: expected a name without '='"),
        ({"die_with_parent": 1}, TypeError, "die_with_parent: expected True or False, got 1 (int)"),
        ({"die_with_parent": True}, ValueError, "die_with_parent: with direct there is no supervisor"),
    ],
    ids=str,
)
def test_wrong_arguments(arguments: dict[str, Any], kind: type[Exception], message: str) -> None:
    """A wrong argument of start is a TypeError or ValueError that begins with its name, and nothing is opened for it."""
    before = os.listdir("/proc/self/fd")
    service = jvmbind.Service(java={"jar": "/x.jar"}, direct=True)
    with pytest.raises(kind, match=re.escape(message)):
        service.start(**{"stdin": subprocess.PIPE, **arguments})

    assert os.listdir("/proc/self/fd") == before


def test_connect() -> None:
    """A restarted program finds its service by its name or its path: status, waiting, a refused reload, a stop, its end."""
    out = run("""
    java = {"script": ["/bin/sh", "-c", "exec sleep 1000"], "home": sys.argv[1]}
    running = jvmbind.Service(name=f"found-{os.getpid()}", user=user, java=java, quiet=True).start()
    running.wait_for("starting")
    while not running.status().generations:
        pass
    with jvmbind.connect(f"found-{os.getpid()}") as found:
        print(found.pid == running.pid, found.state, found.status().ready)
        try:
            found.wait_ready(0.2)
        except jvmbind.ServiceTimeoutError as error:
            print(type(error).__name__, error.state)
        try:
            found.reload()
        except jvmbind.ReloadFailedError as error:
            print("refused", "needs a service that is up" in str(error))
        print(found.stop() == running.wait(60) == 143, found.state, found.stop())
        try:
            found.wait_ready()
        except jvmbind.ServiceEndedError as error:
            print("ended", error.status)
    running.close()
    for wrong in ("no-such-service", 5):
        try:
            jvmbind.connect(wrong)
        except (jvmbind.PortUnavailableError, TypeError) as error:
            print(type(error).__name__)
    """)
    assert out.splitlines() == [
        "True starting False",
        "ServiceTimeoutError starting",
        "refused True",
        "True ended 143",
        "ended -1",
        "PortUnavailableError",
        "ArgumentTypeError",
    ]
