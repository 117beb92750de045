"""What the `java` that is asked about its options before a port is bound could do: nothing that its user could not do.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from support.jdks import Jdk
from support.runner import Runner
from support.users import SERVICE_USER, user

pytestmark = [pytest.mark.root, pytest.mark.jvm]

CALLER = user(SERVICE_USER)
WITH_CAPABILITY = [
    "setpriv",
    f"--reuid={CALLER.uid}",
    f"--regid={CALLER.gid}",
    "--init-groups",
    "--inh-caps=+net_bind_service",
    "--ambient-caps=+net_bind_service",
]


@pytest.mark.jdks(tools=True)
@pytest.mark.parametrize("prefix", [[], WITH_CAPABILITY], ids=["root", "capability"])
def test_java_is_asked_without_privilege(runner: Runner, jdk: Jdk, workspace: Path, prefix: list[str]) -> None:
    """It runs as the service user, with no capability in any set, no new privileges, and no descriptor but its streams."""
    home, seen = workspace / "jdk", workspace / "seen"
    (home / "bin").mkdir(parents=True)
    (home / "lib").symlink_to(jdk.home / "lib")
    (home / "release").symlink_to(jdk.home / "release")
    seen.touch()
    os.chown(seen, CALLER.uid, CALLER.gid)
    java = home / "bin" / "java"
    look = "import os; print(open('/proc/self/status').read(), sorted(map(int, os.listdir('/proc/self/fd'))))"
    java.write_text(f'#!/bin/sh\n/usr/bin/python3 -I -c "{look}" > {seen}\nexec {shlex.quote(jdk.java)} "$@"\n')
    java.chmod(0o755)
    options = ["--java-home", str(home), "-l", "192.0.2.1:80", *(["-u", SERVICE_USER] if not prefix else [])]
    inherited = os.open(workspace, os.O_RDONLY)  # as a parent's sockets are
    try:
        command = [
            *prefix,
            *runner.jvmbind,
            "run",
            *options,
            "--",
            "-XX:ParallelGCThreads=1",
            "-cp",
            "/usr",
            "com.sun.tools.javac.Main",
        ]
        service = runner.start(command, pass_fds=[inherited])
        assert service.wait() == 69, service.report()
    finally:
        os.close(inherited)

    lines = seen.read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines if ":" in line)
    assert set(status["Uid"].split()) == {str(CALLER.uid)}
    assert set(status["Gid"].split()) == {str(CALLER.gid)}
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[name], 16) == 0
    assert status["NoNewPrivs"].strip() == "1"
    assert lines[-1].strip() == "[0, 1, 2, 3]"  # the last is that of the listing
