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


HARM = """
import ctypes, errno, os, resource, socket, subprocess
libc = ctypes.CDLL(None, use_errno=True)
victim = subprocess.Popen(["sleep", "60"])
for name, pid in (("child", victim.pid), ("parent", os.getppid())):
    try:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, 3))
        print("limited", name)
    except PermissionError:
        print("refused", name)
    resource.prlimit(victim.pid, resource.RLIMIT_NOFILE)
here, there = socket.socketpair()
for command in (0x5412, 0xC0502100, 0xC0182101, 0x40182103):
    libc.ioctl(here.fileno(), ctypes.c_ulong(command), ctypes.create_string_buffer(96))
    print(hex(command), errno.errorcode[ctypes.get_errno()])
priorities = {
    "nice": lambda pid: os.setpriority(os.PRIO_PROCESS, pid, 19),
    "policy": lambda pid: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0)),
    "affinity": lambda pid: os.sched_setaffinity(pid, {0}),
    "disk": lambda pid: libc.syscall(251 if os.uname().machine == "x86_64" else 30, 1, pid, 3 << 13) and os.kill(0, -1),
}
supervisor = int(open(f"/proc/{os.getppid()}/status").read().split("PPid:")[1].split()[0])
for who, pid in (("own", 0), ("number", os.getpid()), ("child", victim.pid), ("supervisor", supervisor)):
    for name, change in priorities.items():
        try:
            change(pid)
            print("changed", who, name)
        except OSError:
            print("kept", who, name)
for which in (os.PRIO_USER, os.PRIO_PGRP):
    try:
        os.setpriority(which, 0 if which == os.PRIO_USER else os.getpgid(supervisor) or supervisor, 19)
        print("changed others")
    except (PermissionError, ProcessLookupError):  # ESRCH: in a PID namespace the leader of the group may be outside
        print("kept others")
print("parent's death", libc.prctl(1, 15, 0, 0, 0))  # a child may, about its own
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
print("own limit set")
victim.kill()
"""


@pytest.mark.parametrize(
    "options",
    [["-l", "80"], ["-l", "80", "--direct"], ["-l", "80", "--strict-binds"], [], ["--direct"]],
    ids=["run", "direct", "strict", "no-listener", "direct-no-listener"],
)
@pytest.mark.skipif(PLAIN, reason="plain java has no filter")
def test_harm_to_other_processes_is_refused(runner: Runner, jdk: Jdk, options: list[str]) -> None:
    """10.6: below a JVM nobody sets another process's limits, types into a terminal or touches bind notifications."""
    service = runner.probe(
        [*options, "-u", SERVICE_USER], jdk, "Children", sys.executable, "-I", "-c", HARM, stdin=subprocess.PIPE
    )  # fmt: skip

    service.expect(r"^STATUS 0$")
    said = [line.removeprefix("CHILD ") for line in service.stdout.splitlines() if line.startswith("CHILD ")]
    assert [line for line in said if line.startswith(("limited", "refused"))] == ["refused child", "refused parent"]
    assert [line.split()[1] for line in said if line.startswith("0x")] == ["EPERM"] * 4, said
    assert "own limit set" in said
    assert "parent's death 0" in said
    if "-l" in options:  # without a listener nobody answers, and there is nothing to keep
        kinds = ("nice", "policy", "affinity", "disk")
        assert [line for line in said if line.startswith(("changed", "kept"))] == [
            *(f"changed {who} {kind}" for who in ("own", "number", "child") for kind in kinds),
            *(f"kept supervisor {kind}" for kind in kinds), "kept others", "kept others",
        ], said  # fmt: skip
    service.process.stdin.close()  # type: ignore[union-attr]
    assert service.wait() == 0, service.report()
