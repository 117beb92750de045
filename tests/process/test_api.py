"""The Python API: a service started from a program, its handle, and the building blocks with Java in the program itself.

Run by pytest as root. Programs that use the API run in child processes, in a network namespace of their own.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support import procfs
from support.jdks import Jdk
from support.network import Network
from support.runner import QUICK_JVM, Runner
from support.service import Service
from support.users import SERVICE_USER, user
from support.waiting import wait_until

pytestmark = [pytest.mark.root, pytest.mark.jvm]

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "embedded-python" / "serve.py"
SERVICE = user(SERVICE_USER)

PROGRAM = """
import os, signal, sys, threading
import jvmbind
threading.Thread(target=threading.Event().wait, daemon=True).start()  # any number of threads is fine
service = jvmbind.Service(
    name="api-test",
    user={user!r},
    listen={{"http": "80"}},
    java={{"main": "probe.ChannelServer", "classpath": {classes!r}, "args": ["*", "80"], "home": {home!r}, "options": {options!r}}},
    supervise={{"stop_timeout": 5}},
    quiet=True,
)
"""

HANDLE = """
with service.start() as running:
    running.wait_ready(60)
    print("ready", running.pid, running.status().state, os.getuid(), flush=True)
    sys.stdin.readline()
    result = running.reload(timeout=60)
    print("reloaded", result.ok, result.generation, running.state, flush=True)
    sys.stdin.readline()
print("ended", running.status().state, running.status().exit_status, running.stop(), flush=True)
try:
    running.wait_ready(1)
except jvmbind.ServiceEndedError as error:
    print("error", error.status, flush=True)
"""

FAILED_RELOAD = """
import pathlib
config = pathlib.Path(sys.argv[1])
good = config.read_text()
with jvmbind.Service.from_file(config).start() as running:
    running.wait_ready(60)
    for text in (good + "nonsense", good.replace("probe.ChannelServer", "probe.NoSuchServer")):
        config.write_text(text)
        try:
            running.reload(timeout=60)
        except jvmbind.ReloadFailedError as error:
            print("kept", running.status().state, error, flush=True)
    config.write_text(good)
    print("reloaded", running.reload(timeout=60).ok, flush=True)
"""

OTHERS = """
with service.start() as running:
    running.wait_ready(60)
    print("ready", running.pid, flush=True)
    sys.stdin.readline()
    first = running.begin_reload()
    try:
        first.result(0.01)
    except jvmbind.ServiceTimeoutError as error:
        print("timeout", error.operation is first, error.state, flush=True)
    sys.stdin.readline()
    try:
        running.reload(timeout=60)
    except jvmbind.BusyError as error:
        print("busy", error, flush=True)
    print("waiting", first.done, flush=True)
    sys.stdin.readline()
    print("first", first.result(60).generation, first.result().seconds > 0, flush=True)
    print("again", running.reload(timeout=60).generation, flush=True)
    print("restarted", running.restart(60).generation, flush=True)
    running.dump(60)
    print("dumped", flush=True)
    os.kill(max(running.status().generations, key=lambda one: one.number).pid, signal.SIGKILL)
    death = next(event.death for event in running.events() if event.death and not event.death.asked)
    print("death", death.generation, death.signal, flush=True)
    running.wait_ready(60)
    status = running.status()
    print("status", status.name, status.state, status.ready, status.last_change.kind, len(status.generations), flush=True)
    print("listener", status.listeners[0].port, status.listeners[0].protocol, flush=True)
"""

REFUSED = """
import socket
blocker = socket.create_server(("", 80))
running = service.start()
try:
    running.wait_ready(60)
except jvmbind.PortUnavailableError as error:
    print("status", error.status, running.wait(), error.listener, str(os.getpid()) in error.holder, running.state)
"""


def start(runner: Runner, text: str, *arguments: str) -> Service:
    """Start a Python program in the test's namespace, with its standard input open."""
    path = runner.workspace / "program.py"
    path.write_text(text)
    return runner.start([sys.executable, "-I", str(path), *arguments], stdin=subprocess.PIPE)


def program(jdk: Jdk, probes: Path, rest: str) -> str:
    """Return a program that makes a Service of a probe."""
    options = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx64m"]
    return PROGRAM.format(user=SERVICE_USER, classes=str(probes), home=str(jdk.home), options=options) + rest


def test_handle(runner: Runner, jdk: Jdk, probes: Path) -> None:
    """A service started from a program with threads is ready, reloads, stops with Java's status; the program stays root."""
    service = start(runner, program(jdk, probes, HANDLE))
    found = service.expect(r"^ready (\d+) ready 0$")
    supervisor = int(found.group(1))
    with runner.network.connect("127.0.0.1", 80):
        pass

    procfs.assert_dropped(supervisor, uid=SERVICE.uid, gid=SERVICE.gid)
    service.send_line("")
    service.expect(r"^reloaded True 2 ready$")
    with runner.network.connect("127.0.0.1", 80):
        pass
    service.send_line("")
    service.expect(r"^ended ended 143 143$")
    service.expect(r"^error 143$")
    assert service.wait() == 0
    service.assert_nothing_left()


@pytest.mark.jdks(at_least=18)
def test_operations_have_an_identity(runner: Runner, jdk: Jdk, probes: Path) -> None:
    """A reload outlives a time-out and a second one, which is busy; then a restart, a dump, and a crash that is an event."""
    service = start(runner, program(jdk, probes, OTHERS))
    supervisor = int(service.expect(r"^ready (\d+)$").group(1))

    def jvms() -> set[int]:
        found = set()
        for pid in runner.network.processes():
            with contextlib.suppress(OSError):  # it has ended
                found |= {pid} if procfs.parent(pid) == supervisor and procfs.is_jvm(pid) else set()
        return found

    (first,) = jvms()
    service.send_line("")
    (worker,) = wait_until(lambda: jvms() - {first}, 30, "the second generation")
    os.kill(worker, signal.SIGSTOP)
    service.expect(r"^timeout True (ready|reloading)$")
    service.send_line("")
    service.expect(r"^busy reload: the service is reloading; one at a time$")
    service.expect(r"^waiting False$")
    os.kill(worker, signal.SIGCONT)
    service.send_line("")
    service.expect(r"^first 2 True$")
    service.expect(r"^again 3$")
    service.expect(r"^restarted 4$")
    service.expect(r"^dumped$")
    service.expect(r"^death 4 SIGKILL$")
    service.expect(r"^status api-test ready True restart 1$")
    service.expect(r"^listener 80 tcp$")
    assert "Full thread dump" in service.stdout
    assert service.wait() == 0
    service.assert_nothing_left()


def test_reload_that_fails(runner: Runner, jdk: Jdk, probes: Path) -> None:
    """A reload that cannot begin, or whose generation ends, is an exception with the reason, and the next one works."""
    config = runner.workspace / "service.toml"
    config.write_text(
        f"user = {SERVICE_USER!r}\nlisten = ['80']\n[java]\nmain = 'probe.ChannelServer'\nclasspath = '{probes}'\n"
        f"home = '{jdk.home}'\nargs = ['*', '80']\noptions = {list(QUICK_JVM)!r}\n"
    )
    service = start(runner, "import sys\nimport jvmbind\n" + FAILED_RELOAD, str(config))

    service.expect(r"^reloaded True$")
    assert service.wait() == 0, service.report()
    kept = [line for line in service.stdout.splitlines() if line.startswith("kept")]
    assert len(kept) == 2, kept
    assert all(line.startswith("kept ready ") for line in kept)


def test_start_that_is_refused(runner: Runner, jdk: Jdk, probes: Path) -> None:
    """A port that is in use is PortUnavailableError with the listener and who holds it; the launcher's line is on stderr."""
    service = start(runner, program(jdk, probes, REFUSED))

    assert service.wait() == 0, service.report()
    assert service.stdout == "status 69 69 http True ended\n"
    assert re.search(r"^jvmbind: listener 'http'.*address already in use", service.stderr)


def test_nobody_else_can_speak(runner: Runner, jdk: Jdk, probes: Path) -> None:
    """10.5: where a program learns of its service there is no name to which others could send, and no room to fill."""
    code = """
before = {line.split()[-1] for line in open("/proc/net/unix") if len(line.split()) > 7}
running = service.start()
running.wait_ready(60)
names = {line.split()[-1] for line in open("/proc/net/unix") if len(line.split()) > 7} - before
print(sorted(name for name in names if not name.endswith("/control") and "/root-" not in name))
print("NOTIFY_SOCKET" in os.environ)
os.kill(running.pid, signal.SIGKILL)
print(running.wait(10))
"""
    service = start(runner, program(jdk, probes, code))

    assert service.wait() == 0, service.report()
    assert service.stdout.endswith("[]\nFalse\n137\n")


def test_embedded_example(network: Network, runner: Runner, jdk: Jdk) -> None:
    """The example binds 443 as root, drops, and answers in Python from the Java server's threads in the same process."""
    service = runner.start(
        [sys.executable, "-I", str(EXAMPLE), "--listen", "443", "--user", SERVICE_USER, "--java-home", str(jdk.home)]
    )
    service.expect(rf"^serving on port 443 as uid {SERVICE.uid}$")

    for number in range(20):
        with network.connect("127.0.0.1", 443) as client:
            client.sendall(f"GET /{number} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda c=client: c.recv(4096), b""))  # type: ignore[misc]
        assert f"/{number} answered by Python".encode() in answer, service.report()
    procfs.assert_dropped(service.pid, uid=SERVICE.uid, gid=SERVICE.gid)
    assert service.stop() == 0
    assert service.stdout.endswith("stopped\n")
    wait_until(lambda: not network.processes(), 10, "the end of the process that answers")
    assert service.stderr == ""


BLOCKS = """
import os, socket, subprocess, sys
import jvmbind
listeners = jvmbind.bind_listeners({"http": "80", "udp": "53/udp"})
jvmbind.drop_permanently("www-data")
print([listener.spec.name for listener in listeners], os.environ["USER"])
jvmbind.start_jvm(listeners, options=["-cp", sys.argv[2], "-Xmx64m"], java_home=sys.argv[1], strict_binds=True)
import jpype
print(jpype.isJVMStarted(), str(jpype.java.lang.System.getProperty("java.version"))[:2])
channel = jpype.java.nio.channels.ServerSocketChannel.open().bind(jpype.java.net.InetSocketAddress(80))
print(channel.getLocalAddress().getPort())
# The child's dup2 onto 1 passes the filter while this interpreter's lock is held.
for _ in range(20):
    assert subprocess.run(["echo", "x"], stdout=subprocess.PIPE, timeout=20).stdout == b"x\\n"
pid = os.posix_spawn("/bin/true", ["true"], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
print(os.waitpid(pid, 0)[1])
try:
    jpype.java.net.ServerSocket(8080)
except jpype.java.net.BindException as error:
    print("refused")
try:
    socket.create_server(("127.0.0.1", 8081))
except PermissionError:
    print("refused in Python")
sys.stdout.flush()
"""


def test_building_blocks(runner: Runner, jdk: Jdk, probes: Path) -> None:
    """A program binds, drops and starts Java itself: JPype is complete, children start, strict_binds holds for both languages."""
    service = start(runner, BLOCKS, str(jdk.home), str(probes))

    assert service.wait(60) == 0, service.report()
    assert service.stdout.splitlines() == [
        "['http', 'udp'] www-data",
        f"True {jdk.feature}",
        "80",
        "0",
        "refused",
        "refused in Python",
    ]
    wait_until(lambda: not service.processes(), 10, "the end of the process that answers")


A_THREAD = "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"
DROP = "jvmbind.drop_permanently('www-data')"
ALONE = "import os, sys; sys.stdout.flush(); os._exit(0)"


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        (["jvmbind.start_jvm()"], "NotPermittedError: start_jvm: this is root"),
        ([DROP, "jvmbind.start_jvm(inherit='x')"], "ArgumentValueError: inherit: no listener 'x'"),
        ([DROP, "jvmbind.start_jvm(options=['Main'])"], "ArgumentValueError: options: 'Main' is none"),
        ([DROP, A_THREAD, "jvmbind.start_jvm()"], "SystemFailureError: start_jvm: expected a call on the main thread"),
        ([A_THREAD, DROP], "NotPermittedError: drop: 2 threads"),
        (["jvmbind.bind_listeners(['x'])"], "ArgumentValueError: listen[0]: listener 'x', character 1: expected a port"),
        (
            ["jvmbind.bind_listeners({'a': 80, 'b': 'x'})"],
            "ArgumentValueError: listen['b']: listener 'b=x', character 3: expected a port",
        ),
        (["jvmbind.bind_listeners(['a=80', 'a=81'])"], "ArgumentValueError: listen: "),
        (["jvmbind.nosuch"], "AttributeError"),
    ],
)
def test_wrong_order_is_refused(runner: Runner, steps: list[str], error: str) -> None:
    """Java is not started with a privilege left, nor where a thread would escape the filter."""
    tried = "".join(f"    {step}\n" for step in steps)
    text = f"import jvmbind\ntry:\n{tried}except Exception as e:\n    print(type(e).__name__ + ': ' + str(e))\n{ALONE}\n"
    service = start(runner, text)

    assert service.wait() == 0, service.report()
    assert service.stdout.startswith(error)


def test_public_names() -> None:
    """Every public name can be had, and importing the package alone loads none of them."""
    code = (
        "import sys, jvmbind; before = [m for m in sys.modules if m.startswith('jvmbind.')];"
        "names = [getattr(jvmbind, name) for name in jvmbind.__all__]; sys.exit(bool(before) or not all(names))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], check=False, env=dict(os.environ), timeout=60)

    assert done.returncode == 0


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_service_outlives_the_program(runner: Runner, jdk: Jdk, probes: Path, how: signal.Signals) -> None:
    """The end of the program that started a service is not the end of the service, which can still say what it has to."""
    code = "running = service.start()\nrunning.wait_ready(60)\nprint(running.pid, flush=True)\nsignal.pause()\n"
    service = start(runner, program(jdk, probes, code))
    supervisor = int(service.expect(r"^(\d+)$").group(1))
    service.stop(how)

    with runner.network.connect("127.0.0.1", 80):
        pass
    os.kill(supervisor, signal.SIGTERM)
    wait_until(lambda: not runner.network.processes(), 20, "the end of the service")
