"""A script with a pid file refuses to run twice; the answer to a reload says so, and what to do.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.clients import http_get
from support.jdks import Jdk
from support.network import Network
from support.service import Service
from support.users import User

pytestmark = [pytest.mark.jdks(at_most=21)]

Wrap = Callable[..., Service]
Script = Callable[[str], list[str]]

PID_FILE = """
cd {folder}
if [ -e pid ] && kill -0 $(cat pid) 2>/dev/null; then
    {refuse}
fi
{start}
"""


@pytest.mark.parametrize(
    ("refuse", "start", "status", "last"),
    [
        (
            "echo Already running, process $(cat pid); exit 1",
            "echo $$ > pid; exec java {server}",
            1,
            "Already running",
        ),
        ("echo Up since a while >&2; exit 0", "java {server} & echo $! > pid", 0, "Up since a while"),
    ],
)
def test_reload(
    wrap: Wrap,
    script: Script,
    server: str,
    network: Network,
    jvmbind: list[str],
    workspace: Path,
    service_user: User,
    jdk: Jdk,
    refuse: str,
    start: str,
    status: int,
    last: str,
) -> None:
    """A reload that the script refuses names its status, its last line and `reload = 'restart'`, which then works."""
    folder = workspace / "state"
    folder.mkdir()
    os.chown(folder, service_user.uid, service_user.gid)
    text = PID_FILE.format(folder=folder, refuse=refuse, start=start.format(server=server))
    control = str(folder / "socket")
    service = wrap(jdk, script(text), ("-l", "80", "--control-socket", control))
    service.expect("generation 1 is ready", stream="stderr")
    os.chmod(service.stdout_path, 0o666)
    os.chmod(service.stderr_path, 0o666)

    done = subprocess.run([*jvmbind, "reload", control], capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 75, done
    assert f"the script ended before it started a JVM, with exit status {status}" in done.stderr
    assert last in done.stderr
    assert "a pid file) needs reload = 'restart'" in done.stderr
    assert "the old generation keeps serving" in done.stderr
    assert http_get(network, 80).status == 200

    done = subprocess.run([*jvmbind, "restart", control], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done
    assert http_get(network, 80).status == 200
    assert service.stop() == 143, service.report()
