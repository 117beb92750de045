"""Processes that Java starts: they inherit the filter but bind and talk as ever.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from support import procfs
from support.jdks import Jdk
from support.runner import PLAIN, Runner
from support.users import SERVICE_USER, User

pytestmark = [pytest.mark.root, pytest.mark.jvm]

BINDING_CHILD = """
import socket
with socket.socket() as server:
    server.bind(("127.0.0.1", 8081))
    server.listen()
    with socket.create_connection(("127.0.0.1", 8081)):
        print("bound and connected")
"""


def test_child_binds_a_port_itself(runner: Runner, jdk: Jdk) -> None:
    """A child of the JVM binds, listens and connects on a port of its own as without jvmbind."""
    service = runner.probe(
        ["-l", "80", "-u", SERVICE_USER], jdk, "Children", sys.executable, "-I", "-c", BINDING_CHILD,
        stdin=subprocess.PIPE,
    )  # fmt: skip

    service.expect(r"^STATUS 0$")
    assert "CHILD bound and connected" in service.stdout
    service.process.stdin.close()  # type: ignore[union-attr]
    assert service.wait() == 0, service.report()


def test_child_talks_over_its_streams(runner: Runner, jdk: Jdk) -> None:
    """A child's stdin, stdout and exit status reach Java."""
    service = runner.probe(
        ["-l", "80", "-u", SERVICE_USER], jdk, "Children", "sh", "-c", "cat; echo err >&2; exit 5", stdin=subprocess.PIPE
    )

    service.expect(r"^STATUS 5$")
    assert "CHILD from java" in service.stdout
    assert "CHILD err" in service.stdout
    service.process.stdin.close()  # type: ignore[union-attr]
    assert service.wait() == 0, service.report()


def test_child_has_no_listener_and_no_right(runner: Runner, jdk: Jdk, service_user: User) -> None:
    """A child of the JVM holds no descriptor of the service but its three streams, and no privilege."""
    service = runner.probe(
        ["-l", "80", "-u", SERVICE_USER], jdk, "Children", "sh", "-c", "echo pid $$; exec sleep 60",
        stdin=subprocess.PIPE,
    )  # fmt: skip

    pid = int(service.expect(r"^CHILD pid (\d+)$").group(1))
    assert set(procfs.descriptors(pid)) == {0, 1, 2}
    if not PLAIN:
        procfs.assert_dropped(pid, uid=service_user.uid, gid=service_user.gid)
