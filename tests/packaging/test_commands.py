"""The two commands of the README, as far as they refuse: what they do when all is well is run by .ci/run.

Run by pytest, partly as root, in network namespaces made for each test.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETUP = str(ROOT / "setup.sh")
DEMO = str(ROOT / "examples" / "demo.sh")

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
    # The environment is taken as made: this is about the step after it.
    done = run(
        *("unshare", "--net", sys.executable, "-I", "-c", HOLD_PORT_80, DEMO, "--once"),
        JVMBIND_DEMO_VENV=str(Path(sys.executable).parents[1]),
    )

    holder = done.stdout.split()[0]
    assert done.returncode == 1
    assert "port 80 is taken on this machine" in done.stderr
    assert f"pid={holder}," in done.stderr
