"""Processes that a hijacked JVM leaves behind: none keeps a listener, and none fills the table of processes.

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
from support.clients import http_get, http_get_when_served
from support.jdks import Jdk
from support.network import Network
from support.runner import PLAIN, Runner, as_user
from support.service import Service
from support.users import SERVICE_USER
from support.waiting import wait_until

pytestmark = [
    pytest.mark.never, pytest.mark.root, pytest.mark.jvm, pytest.mark.jdks(at_most=21),
    pytest.mark.skipif(PLAIN, reason="java has no listener that outlives it"),
]  # fmt: skip

# Started in the JVM as an agent: WAYS is a word of letters, each a process that is left.
SOURCE = r"""
#define _GNU_SOURCE
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static void serve(const char *name) {
    prctl(PR_SET_NAME, name);
    prctl(PR_SET_PDEATHSIG, 0);
    for (int i = 1; i < 64; i++)
        signal(i, SIG_IGN);
    const char *answer = "HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\norphan";
    for (;;) {
        struct pollfd listener = {3, POLLIN, 0};
        poll(&listener, 1, -1);
        int client = accept(3, 0, 0);
        if (client >= 0) {
            write(client, answer, strlen(answer));
            close(client);
        }
    }
}

static int clone_parent(void) {
    return syscall(SYS_clone, CLONE_PARENT, 0, 0, 0, 0);
}

int Agent_OnLoad(void *vm, char *ways, void *reserved) {
    for (; *ways; ways++) {
        if (*ways == 'o' && fork() == 0) { /* an orphan in a session of its own */
            setsid();
            if (fork() == 0)
                serve("orphan");
            _exit(0);
        }
        if (*ways == 'c' && clone_parent() == 0) { /* a child of the supervisor */
            setsid();
            serve("stepchild");
        }
        if (*ways == 'd' && fork() == 0) { /* an orphan that nobody can look at, below one that holds nothing */
            setsid();
            if (fork() == 0) {
                if (fork() == 0) {
                    prctl(PR_SET_DUMPABLE, 0);
                    serve("hidden");
                }
                for (int fd = 0; fd < 1000; fd++)
                    close(fd);
                prctl(PR_SET_NAME, "harmless");
                for (;;)
                    pause();
            }
            _exit(0);
        }
        if (*ways == 'p') { /* would outlive the supervisor */
            printf("PDEATHSIG %ld\n", syscall(SYS_prctl, PR_SET_PDEATHSIG, 0, 0, 0, 0));
            fflush(stdout);
        }
        if (*ways == 'z')
            for (int i = 0; i < 100; i++)
                if (clone_parent() == 0)
                    _exit(0);
    }
    return 0;
}
"""


@pytest.fixture(scope="session")
def agent(shared_directory: Path) -> Path:
    """The agent as a shared library."""
    source, library = shared_directory / "left.c", shared_directory / "libleft.so"
    source.write_text(SOURCE)
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], check=True)
    return library


def names(network: Network) -> dict[str, int]:
    """Return the name of each process in the namespace that is not a zombie, and its pid."""
    found = {}
    for pid in network.processes():
        fields = procfs.status_fields(Path(f"/proc/{pid}/status"))
        if not fields["State"].startswith("Z"):
            found[fields["Name"]] = pid
    return found


def worker(service: Service) -> int:
    """Return the pid of the worker: of what the supervisor is the parent, the one that has started last."""
    children = Path(f"/proc/{service.pid}/task/{service.pid}/children")
    return wait_until(lambda: [int(pid) for pid in children.read_text().split() if procfs.is_jvm(int(pid))], 20, "the worker")[0]


def start(runner: Runner, jdk: Jdk, agent: Path, ways: str) -> Service:
    """Start a service whose first generation leaves processes behind: later ones find that the agent is gone."""
    once = runner.workspace / "libonce.so"
    once.symlink_to(agent)
    options = ["-l", "80", "-u", SERVICE_USER, "--backoff-first", "0.01"]
    service = runner.probe(options, jdk, "ChannelServer", "*", "80", jvm=[f"-agentpath:{once}={ways}"])
    service.expect("generation 1 is ready", stream="stderr")
    once.unlink()
    empty = runner.workspace / "empty.c"
    empty.write_text("int Agent_OnLoad(void *vm, char *ways, void *reserved) { return 0; }\n")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(once), str(empty)], check=True)
    return service


@pytest.mark.parametrize(("ways", "left"), [("o", "orphan"), ("c", "stepchild"), ("d", "hidden")])
def test_holder_ends_with_its_generation(runner: Runner, network: Network, jdk: Jdk, agent: Path, ways: str, left: str) -> None:
    """A process that a dead JVM left with the listener is ended and named; the next generation answers every client."""
    service = start(runner, jdk, agent, ways)
    wait_until(lambda: left in names(network), 20, left)

    os.kill(worker(service), signal.SIGKILL)
    service.expect("generation 2 is ready", stream="stderr")

    assert left not in names(network)
    assert ("harmless" in names(network)) == (ways == "d")  # what holds nothing lives on, as under java
    service.expect(
        rf"generation 1: it left process \d+ \({left}\), which (holds a listener|cannot be looked at): ended", stream="stderr"
    )
    assert {http_get(network, 80).body.partition(" ")[0] for _ in range(20)} == {"channel"}
    assert service.stop() == 143


# A container's first process: it starts a helper that nobody may look at, and becomes jvmbind.
ENTRYPOINT = """
import ctypes, os, sys, time
if os.fork() == 0:
    os.closerange(0, 3)
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE
    ctypes.CDLL(None).prctl(15, b"helper", 0, 0, 0)  # PR_SET_NAME
    time.sleep(300)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_what_was_there_before_lives_on(runner: Runner, network: Network, jdk: Jdk) -> None:
    """A child that the process had before it became jvmbind, such as an ssh-agent, is nobody's orphan."""
    prefix = [sys.executable, "-I", "-c", ENTRYPOINT]
    options = ["-l", "80", "-u", SERVICE_USER, "--backoff-first", "0.01"]
    service = runner.probe(options, jdk, "ChannelServer", "*", "80", prefix=prefix)
    service.expect("generation 1 is ready", stream="stderr")

    os.kill(worker(service), signal.SIGKILL)
    service.expect("generation 2 is ready", stream="stderr")
    assert "helper" in names(network)
    assert service.stop() == 143


def test_nobody_has_the_port_after_a_stop(runner: Runner, network: Network, jdk: Jdk, agent: Path) -> None:
    """Once the service has ended its port is free, whatever the JVM has left."""
    service = start(runner, jdk, agent, "oc")
    wait_until(lambda: {"orphan", "stepchild"} <= names(network).keys(), 20, "both")

    assert service.stop() == 143
    service.assert_nothing_left()


def test_dead_children_are_collected(runner: Runner, network: Network, jdk: Jdk, agent: Path) -> None:
    """Children that a JVM gave to the supervisor (CLONE_PARENT) and that have ended are gone when the JVM is."""
    service = start(runner, jdk, agent, "z")

    os.kill(worker(service), signal.SIGKILL)
    service.expect("generation 2 is ready", stream="stderr")

    assert http_get_when_served(network, 80).status == 200
    children = [pid for pid in network.processes() if procfs.parent(pid) == service.pid]
    assert children == [worker(service)]
    assert service.stop() == 143


def test_no_worker_outlives_its_supervisor(runner: Runner, network: Network, jdk: Jdk, agent: Path) -> None:
    """A JVM cannot take back that it is killed when its supervisor is, so the port is free then."""
    service = start(runner, jdk, agent, "p")
    assert "PDEATHSIG -1" in service.stdout

    os.kill(service.pid, signal.SIGKILL)
    service.wait()
    wait_until(lambda: not network.bound(), 20, "the release of the port")


# Takes the end of a worker for itself, and never collects it.
TRACER = """
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
worker = int(sys.argv[1])
if libc.ptrace(0x4206, worker, None, None):  # PTRACE_SEIZE
    print(os.strerror(ctypes.get_errno()), flush=True)
else:
    print("killed", flush=True)  # before: the supervisor ends who stands between it and the end of its worker
    os.kill(worker, signal.SIGKILL)
signal.pause()
"""


def test_a_tracer_hides_no_death(runner: Runner, network: Network, jdk: Jdk, agent: Path) -> None:
    """The death of a worker that another process of its user traces is noticed; where Yama is, there is no such tracer."""
    service = start(runner, jdk, agent, "")
    with network.entered():
        command = [*as_user(SERVICE_USER), sys.executable, "-I", "-c", TRACER, str(worker(service))]
        tracer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert tracer.stdout is not None
        said = tracer.stdout.readline().strip()
        assert said in {"killed", "Operation not permitted"}
        if said == "killed":
            service.expect("generation 2 is ready", stream="stderr")
    finally:
        tracer.kill()
        tracer.communicate()
    assert http_get_when_served(network, 80).body.startswith("channel")
    assert service.stop() == 143


# Puts a socket of its own in the place of the supervisor's, and answers as one.
IMPOSTOR = """
import os, socket, sys
path = sys.argv[1]
for name in (path, path + ".root"):
    os.unlink(name)
server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
server.bind(path)
server.listen()
os.symlink(f"/proc/{os.getpid()}/fd/{server.fileno()}", path + ".root")
print("listens", flush=True)
while True:
    client, _ = server.accept()
    try:
        client.recv(100)
        client.send(b'{"ok": true}')
    except OSError:
        pass
    client.close()
"""


def test_an_impostor_below_the_jvm_is_not_believed(runner: Runner, jdk: Jdk) -> None:
    """Who asks is told that a process of the service answers in its supervisor's place, and no `done` of its is passed on."""
    runner.workspace.chmod(0o777)
    control = str(runner.workspace / "control")
    options = ["-l", "80", "-u", SERVICE_USER, "--control-socket", control]
    service = runner.probe(options, jdk, "Children", sys.executable, "-I", "-c", IMPOSTOR, control, stdin=subprocess.PIPE)
    service.expect("CHILD listens")

    for command in ("status", "stop", "reload"):
        asked = [sys.executable, "-I", "-m", "jvmbind", command, control]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout) == (77, ""), done
        assert re.search(r"below its supervisor \(process \d+\); nothing was asked", done.stderr), done.stderr
    assert service.running()
