"""The responder: the process that answers Java's binds and shares the worker's descriptors.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support import procfs
from support.clients import http_get, http_get_when_served
from support.jdks import Jdk, write_jar
from support.network import Network
from support.runner import Runner, as_user
from support.service import Service
from support.users import SERVICE_USER
from support.waiting import wait_until

pytestmark = [pytest.mark.root, pytest.mark.jvm]

OPTIONS = ["-l", "80", "-u", SERVICE_USER]
_BIND = "49" if os.uname().machine == "x86_64" else "200"  # linux/unistd.h


def responder(worker: int) -> int:
    """Return the responder of a worker, once it is there."""

    def found() -> list[int]:
        children = Path(f"/proc/{worker}/task/{worker}/children").read_text().split()
        return [int(child) for child in children if procfs.command_line(int(child))[:1] == [f"jvmbind: responder of {worker}"]]

    return wait_until(found, 20, f"a responder of {worker}")[0]


def serving(runner: Runner, jdk: Jdk, *options: str) -> Service:
    """Start a server on port 80 and wait until it serves."""
    service = runner.probe([*options, *OPTIONS], jdk, "ChannelServer", "*", "80")
    service.expect(r"^READY$")
    return service


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended, reaped or not."""
    try:
        return procfs.status_fields(Path(f"/proc/{pid}/status"))["State"].startswith(("Z", "X"))
    except OSError:
        return True


def test_a_worker_without_responder_ends(runner: Runner, jdk: Jdk) -> None:
    """A worker whose responder is killed says so in one line and dies, so that no bind waits for ever."""
    service = serving(runner, jdk, "--direct")

    os.kill(responder(service.worker()), signal.SIGKILL)

    assert service.wait() == 128 + signal.SIGKILL, service.report()
    assert service.stderr.splitlines()[-1] == (
        "jvmbind: the process that answers binds was killed by signal 9: "
        "ending the JVM, which no listener can be handed to any more"
    )


def test_a_generation_without_responder_is_replaced(runner: Runner, network: Network, jdk: Jdk) -> None:
    """Under a supervisor the death of a responder is a crash as any other: the next generation serves."""
    service = serving(runner, jdk)
    worker = service.worker()

    os.kill(responder(worker), signal.SIGKILL)

    wait_until(lambda: is_gone(worker), 20, "the end of the worker")
    assert http_get_when_served(network, 80).status == 200
    assert "the process that answers binds was killed by signal 9" in service.stderr
    assert service.stop() == 143


def test_the_worker_ends_while_the_jvm_starts(runner: Runner, jdk: Jdk, probes: Path) -> None:
    """A responder that is killed before the JVM is up, when no other thread can run, ends the worker as well."""
    jar = write_jar(probes.parent / "late-agent.jar", probes, {"Premain-Class": "probe.LateAgent"}, only="probe/")
    go = probes.parent / f"go-{jdk}"
    service = runner.probe(["--direct", *OPTIONS], jdk, "ChannelServer", "*", "80", jvm=[f"-javaagent:{jar}=* 80 {go}"])
    service.expect(r"^PREMAIN$")
    worker = service.worker()
    its_responder = responder(worker)
    procfs.stop_process(its_responder)
    go.touch()

    def binds() -> bool:
        calls = [path.read_text().split() for path in Path(f"/proc/{worker}/task").glob("*/syscall")]
        return any(call[0] == _BIND for call in calls)

    wait_until(binds, 20, "a bind that waits for its answer")
    os.kill(its_responder, signal.SIGKILL)

    assert service.wait() == 128 + signal.SIGSTKFLT, service.report()


def test_it_ends_with_its_worker(runner: Runner, jdk: Jdk) -> None:
    """A worker that is killed, or stopped and killed, leaves no process behind."""
    service = serving(runner, jdk, "--direct")
    its_responder = responder(service.worker())

    os.kill(service.worker(), signal.SIGKILL)

    service.wait()
    wait_until(lambda: is_gone(its_responder), 10, "the end of the responder")


def test_nobody_can_reach_into_it(runner: Runner, network: Network, jdk: Jdk) -> None:
    """A process of the same user, which may trace the JVM, can neither read, trace nor signal the responder to any effect."""
    service = serving(runner, jdk, "--direct")
    its_responder = responder(service.worker())
    code = f"""
import ctypes, os, signal
libc = ctypes.CDLL(None, use_errno=True)
for pid in ({service.worker()}, {its_responder}):
    try:
        open(f"/proc/{{pid}}/mem", "rb").close()
        os.listdir(f"/proc/{{pid}}/fd")
        print("opened")
    except PermissionError:
        print("denied")
    seized = libc.ptrace(0x4206, pid, 0, 0)  # PTRACE_SEIZE
    print("traced" if seized == 0 else os.strerror(ctypes.get_errno()), flush=True)
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1):
    os.kill({its_responder}, number)
"""
    command = [*as_user(SERVICE_USER), sys.executable, "-I", "-c", code]

    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)

    assert done.stdout.splitlines() == ["opened", "traced", "denied", "Operation not permitted"]
    assert http_get(network, 80).status == 200
    assert not is_gone(its_responder)
    assert service.stop() == 143


def test_it_is_not_mistaken_for_the_server(runner: Runner, jdk: Jdk) -> None:
    """`pgrep -f` for the main class finds one process, and the responder can be told by its name and command line."""
    service = serving(runner, jdk, "--direct")
    its_responder = responder(service.worker())

    found = [pid for pid in service.processes() if "probe.ChannelServer" in " ".join(procfs.command_line(pid))]

    assert found == [service.worker()]
    assert Path(f"/proc/{its_responder}/comm").read_text() == "jvmbind-respond\n"


def test_wait_does_not_find_it(runner: Runner, jdk: Jdk) -> None:
    """waitpid(-1) in the worker's process tells of Java's own children alone, as in a program that embeds a JVM."""
    code = f"""
import os, sys
import jvmbind
listeners = jvmbind.bind_listeners({{"http": "80"}})
jvmbind.drop_permanently({SERVICE_USER!r})
jvmbind.start_jvm(listeners, java_home=sys.argv[1])
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("no child")
sys.stdout.flush()
"""
    service = runner.start([sys.executable, "-I", "-c", code, str(jdk.home)])

    assert service.wait() == 0, service.report()
    assert service.stdout.splitlines() == ["no child"]
