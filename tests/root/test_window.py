"""No instant at which another process of the service's user can take a listener out of whoever holds it for life.

Run by pytest as root. The attacker is a program of the same user without any right, which tries every process again and
again while the service is started many times. Must not import jvmbind.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support import jdks, procfs
from support.runner import PLAIN, Runner
from support.waiting import wait_until

pytestmark = [
    pytest.mark.never,
    pytest.mark.root,
    pytest.mark.jvm,
    pytest.mark.skipif(PLAIN, reason="java holds no listener for anybody"),
]

UID = 54399  # a number that nobody else on the machine uses: the attacker tries every process of it
USER = f"{UID}:{UID}"
ORDINARY = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]
ATTACKER = [*ORDINARY, "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
ONE_CAPABILITY = [
    *ORDINARY,
    "--bounding-set=-all,+net_bind_service", "--inh-caps=-all,+net_bind_service", "--ambient-caps=-all,+net_bind_service",
]  # fmt: skip
STARTS = 12

# Prints a line for each process from which it got a listener on PORT, and for each with one that it could trace.
ATTACK = """
import ctypes, os, socket, sys, time
libc = ctypes.CDLL(None, use_errno=True)
PIDFD_GETFD, SEIZE, INTERRUPT, DETACH = 438, 0x4206, 0x4207, 17
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
port, seen, tries, me = int(sys.argv[1]), set(), {}, str(os.getpid())
def listener(fd):
    try:
        with socket.socket(fileno=fd) as sock:
            return sock.family in (socket.AF_INET, socket.AF_INET6) and sock.getsockname()[1] == port
    except OSError:
        return False
def who(pid):
    status = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status").read().splitlines())
    for _ in range(100):  # empty for an instant in the middle of an exec
        command = open(f"/proc/{pid}/cmdline").read().replace(chr(0), " ").replace(chr(10), " ")
        if command:
            break
        time.sleep(0.001)
    return f"{pid} {status['PPid'].strip()} {status['Name'].strip()} | {command}"
def attack(pid):
    pidfd = os.pidfd_open(int(pid))
    def takes():
        for fd in range(3, 12):
            got = libc.syscall(PIDFD_GETFD, pidfd, fd, 0)
            if got >= 0 and listener(got):
                return True
    try:
        if takes():
            return "took"
        if libc.ptrace(SEIZE, int(pid), None, None) == 0:
            libc.ptrace(INTERRUPT, int(pid), None, None)
            os.waitpid(int(pid), 0x40000000)  # __WALL
            held = takes()
            libc.ptrace(DETACH, int(pid), None, None)
            return "traced" if held else ""
    finally:
        os.close(pidfd)
    return ""
def started_by(pid, family):
    # By its parent or its session; 1 is the parent of who has lost its own before it was seen.
    try:
        fields = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[1] in family or fields[3] in family or fields[1] == "1"
print("attacking", flush=True)
# Other tests run beside this one: only who descends from the process that has started us is worth the time.
family, strangers = {str(os.getppid())}, {me, *os.listdir("/proc")}
while True:
    time.sleep(0.0005)
    there = {name for name in os.listdir("/proc") if name.isdigit()}
    strangers &= there
    for pid in there - strangers - seen:
        if pid not in family and not started_by(pid, family):
            strangers.add(pid)
            continue
        family.add(pid)
        try:
            how = attack(pid)
            tries[pid] = tries.get(pid, 0) + 1  # each stops it for a moment, and a victim without a listener has to get on
            if how or tries[pid] >= 30:
                seen.add(pid)
            if how:
                print(how, who(pid), flush=True)
        except (OSError, ValueError):
            continue
"""


@contextmanager
def attacker(workspace: Path, port: int) -> Iterator[Path]:
    """Run the attacker as the service's user; gives the file with what it got."""
    loot = workspace / "loot"
    with loot.open("wb") as file:
        process = subprocess.Popen([*ATTACKER, sys.executable, "-I", "-c", ATTACK, str(port)], stdout=file)
    try:
        wait_until(lambda: "attacking" in loot.read_text(), 20, "the attacker")
        yield loot
        assert process.poll() is None, "the attacker has ended by itself"
    finally:
        process.kill()
        process.wait()


def taken_from(loot: Path, supervisor: int) -> list[str]:
    """Return the attacker's lines about processes that are no worker: a worker may be traced, since jcmd needs that.

    Who answers a worker's binds has its command line, but is its child and not the supervisor's.
    """
    lines = [line for line in loot.read_text().splitlines() if line.startswith(("took", "traced"))]
    return [
        line for line in lines if line.split()[2] == str(supervisor) and "/worker/__main__.py" not in line.partition("|")[2]
    ] + [line for line in lines if line.split()[1] == str(supervisor) or " jvmbind-respond" in line]


@pytest.mark.parametrize("prefix", [[], ONE_CAPABILITY], ids=["root", "one-capability"])
def test_attack_at_every_start(runner: Runner, workspace: Path, prefix: list[str]) -> None:
    """10.2: while a service is started again and again, its supervisor is never traced and gives no listener away."""
    newest = jdks.tested_jdks()[-1]
    with attacker(workspace, 80) as loot:
        workers = 0
        for _ in range(STARTS):
            service = runner.probe(["-l", "80", "-u", USER], newest, "ChannelServer", "*", "80", prefix=prefix)
            service.expect(r"^READY$")
            workers = loot.read_text().count("/worker/__main__.py")
            assert service.stop() == 143
            assert taken_from(loot, service.pid) == []
        # It can attack: a worker is open to its own user.
        assert workers > 0


def test_attack_at_every_reload(runner: Runner, workspace: Path) -> None:
    """10.2: nor does a process that plans a reload, probes, stands by, or ends, have a listener that could be taken."""
    newest = jdks.tested_jdks()[-1]
    config = workspace / "service.toml"
    arguments = runner.java_arguments("ChannelServer", "*", "80")
    config.write_text(
        f'name = "window"\nuser = "{USER}"\nlisten = ["80"]\n[java]\nhome = "{newest.home}"\narguments = {arguments!r}\n'
        '[supervise]\nready = "http://127.0.0.1/"\nstandby = 1\n'
    )
    with attacker(workspace, 80) as loot:
        service = runner.start([*runner.jvmbind, "run", "-c", str(config)])
        service.expect("generation 1 is ready", stream="stderr")
        wait_until(lambda: len([pid for pid in service.processes() if procfs.is_jvm(pid)]) == 2, 60, "the standby")
        for number in range(3):
            service.process.send_signal(1)
            wait_until(lambda count=number: service.stderr.count("reload done") > count, 60, "the reload")  # type: ignore[misc]
        assert service.stop() == 143
        assert taken_from(loot, service.pid) == []


def test_attack_at_every_upgrade(runner: Runner, workspace: Path) -> None:
    """10.2: nor does a supervisor whose place another version takes, or the process in which that is tried."""
    newest = jdks.tested_jdks()[-1]
    with attacker(workspace, 80) as loot:
        service = runner.probe(["-l", "80", "-u", USER, "-n", "upgraded"], newest, "ChannelServer", "*", "80")
        service.expect(r"^READY$")
        wait_until(lambda: "/worker/__main__.py" in loot.read_text(), 30, "the attacker's success with a worker")
        for _ in range(STARTS):
            done = subprocess.run([*runner.jvmbind, "upgrade", "upgraded"], capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stderr
        assert service.stop() == 143
        assert taken_from(loot, service.pid) == []


def test_a_traced_start_ends(runner: Runner) -> None:
    """10.2: a process that finds itself traced at the start says so in one line and ends with 77; nothing is bound."""
    newest = jdks.tested_jdks()[-1]
    tracer = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
child = os.fork()
if child == 0:
    libc.ptrace(0, 0, 0, 0)  # PTRACE_TRACEME
    os.execvp(sys.argv[1], sys.argv[1:])
while True:
    _, status = os.waitpid(child, 0)
    if not os.WIFSTOPPED(status):
        sys.exit(os.waitstatus_to_exitcode(status))
    number = os.WSTOPSIG(status)
    libc.ptrace(7, child, 0, 0 if number == 5 else number)  # PTRACE_CONT
"""
    prefix = [sys.executable, "-I", "-c", tracer]
    for user_prefix in ([], ONE_CAPABILITY):
        service = runner.probe(["-l", "80", "-u", USER], newest, "ChannelServer", "*", "80", prefix=[*user_prefix, *prefix])
        assert service.wait() == 77, service.report()
        assert len(service.stderr.splitlines()) == 1, service.report()
        assert "traced" in service.stderr
        service.assert_nothing_left()


def test_the_start_is_forgotten(runner: Runner) -> None:
    """10.2, 10.13: neither root's environment nor a secret of the command line stays in the supervisor, for anybody to see."""
    newest = jdks.tested_jdks()[-1]
    options = ["-l", "80", "-u", USER, "-n", "forgets", "--env", "TOKEN=a-secret"]
    service = runner.probe(options, newest, "ChannelServer", "*", "80", environment={**os.environ, "OF_ROOT": "another-secret"})
    service.expect(r"^READY$")

    command = Path(f"/proc/{service.pid}/cmdline").read_bytes()
    assert command.rstrip(b"\0") == b"jvmbind supervisor forgets"
    assert Path(f"/proc/{service.pid}/environ").read_bytes().strip(b"\0") == b""
    # The service itself has what it was given, and nothing of root's.
    seen = Path(f"/proc/{service.worker()}/environ").read_bytes()
    assert b"a-secret" in seen
    assert b"another-secret" not in seen
    assert service.stop() == 143
