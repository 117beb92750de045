"""The first command of the README, and how it and setup.sh refuse.

Run by pytest, partly as root, in network namespaces made for each test. The environment that the tests run in
stands for the one that setup.sh would make.
"""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
SETUP = str(ROOT / "setup.sh")
DEMO = str(ROOT / "examples" / "demo.sh")

VENV = str(Path(sys.executable).parents[1])

HOLD_PORT_80 = """
import os, socket, subprocess, sys
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
listener = socket.create_server(("127.0.0.1", 80))
print(os.getpid())
sys.stdout.flush()
sys.exit(subprocess.run(["bash", *sys.argv[1:]]).returncode)
"""


def run(*command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command with additions to the environment."""
    env = {**os.environ, **environ}
    return subprocess.run(command, env=env, cwd="/", text=True, capture_output=True, timeout=60, check=False)


@pytest.mark.parametrize("script", [SETUP, DEMO])
def test_unknown_option(script: str) -> None:
    """An option that does not exist ends with the usage line and status 64 before anything is done."""
    done = run("bash", script, "--no-such-option")

    assert done.returncode == 64
    assert done.stderr.startswith("usage: ")
    assert done.stdout == ""


@pytest.mark.root
def test_setup_wants_root() -> None:
    """An ordinary user is told that root is needed, in one line."""
    # By standard input: the checkout may be where only root can read.
    as_nobody = "exec setpriv --reuid nobody --regid nogroup --clear-groups bash -s < " + SETUP
    done = run("bash", "-c", as_nobody)

    assert done.returncode == 1
    assert done.stderr == "setup: this installs Debian packages and must be run as root\n"


@pytest.mark.root
def test_setup_wants_a_place_that_others_can_enter(tmp_path: Path) -> None:
    """A prefix below a folder that service users cannot enter is refused by the folder's name."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    done = run("bash", SETUP, JVMBIND_PREFIX=str(closed / "jvmbind"))

    assert done.returncode == 1
    assert f"other users cannot enter {closed}" in done.stderr
    assert not (closed / "jvmbind" / "venv").exists()


@pytest.mark.root
def test_demo_says_who_has_the_port() -> None:
    """The demo names the process that holds port 80 and starts nothing."""
    command = ("unshare", "--net", sys.executable, "-I", "-c", HOLD_PORT_80, DEMO, "--once")
    done = run(*command, JVMBIND_DEMO_VENV=VENV)

    holder = done.stdout.split()[0]
    assert done.returncode == 1
    assert "port 80 is taken on this machine" in done.stderr
    assert f"pid={holder}," in done.stderr


def descendants(pid: int) -> list[int]:
    """Return all living processes below one."""
    children = [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text("ascii").split()
    ]
    return children + [below for child in children for below in descendants(child)]


@pytest.mark.root
@pytest.mark.jvm
def test_demo_until_ctrl_c() -> None:
    """The demo proves what it says, stays up until Ctrl-C on its terminal, then ends both servers, and with 0."""
    # A terminal of its own, as Ctrl-C reaches the whole foreground group: the script and what it started.
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["JVMBIND_DEMO_VENV"] = VENV
        up = 'ip link set lo up && exec bash "$@"'
        os.execvp("unshare", ["unshare", "--net", "sh", "-c", up, "sh", DEMO])
    shown = b""
    servers: list[int] = []
    with contextlib.suppress(OSError):  # EIO: the other end of the terminal is closed
        while chunk := os.read(terminal, 65536):
            shown += chunk
            if not servers and b"Ctrl-C stops both" in shown:
                servers = descendants(pid)
                os.write(terminal, b"\x03")
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(terminal)
    text = shown.decode(errors="replace")

    assert status == 0, text
    assert "FAILED" not in text
    assert text.count(" ended with status 143") == 2
    assert len(servers) >= 4
    wait_until(lambda: not any(os.path.exists(f"/proc/{server}") for server in servers), 20, "the end of all processes")
