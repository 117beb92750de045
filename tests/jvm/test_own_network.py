"""isolate_network: what a hijacked JVM and its children reach, and that they serve nevertheless, over the lives of a service.

Run by pytest as root; services run as an ordinary user. Must not import jvmbind.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support import jdks
from support.clients import http_get_unix, http_get_when_served, udp_ask
from support.procfs import thread_credentials
from support.runner import PLAIN, as_user
from support.users import SERVICE_USER
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.jdks import Jdk
    from support.network import Network
    from support.runner import Runner
    from support.service import Service

pytestmark = [pytest.mark.root, pytest.mark.jvm, pytest.mark.skipif(PLAIN, reason="jvmbind's own option")]

ATTACK = (Path(__file__).parent.parent / "support" / "hijacked.py").read_text(encoding="utf-8")
NAME = "jvmbind-test-outside"


# As the service's user inside a JVM's namespaces: sends from the datagram socket of that JVM, as its own native code could.
SEND = """
import ctypes, os, socket, sys
libc, pid = ctypes.CDLL(None), int(sys.argv[1])
for name in os.listdir(f"/proc/{pid}/fd"):
    if os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"):
        sock = socket.socket(fileno=libc.syscall(438, os.pidfd_open(pid), int(name), 0))
        if sock.type == socket.SOCK_DGRAM and sock.family in (socket.AF_INET, socket.AF_INET6) and sock.getsockname()[1] == 53:
            host = "127.0.0.1" if sock.family == socket.AF_INET else "::ffff:127.0.0.1"
            sock.sendto(b"y", (host, int(sys.argv[2])))
            break
"""


class Outside:
    """Servers of the host that nobody inside is to reach: TCP with fast open, UDP, an abstract Unix name."""

    def __init__(self, network: Network) -> None:
        """Listen on any ports."""
        self.tcp = network.open_socket(socket.AF_INET, socket.SOCK_STREAM)
        self.tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 5)
        self.tcp.bind(("127.0.0.1", 0))
        self.tcp.listen()
        self.udp = network.open_socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.unix = network.open_socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.unix.bind(f"\0{NAME}")
        self.unix.listen()
        for sock in (self.tcp, self.udp, self.unix):
            sock.setblocking(False)

    def attack(self) -> list[str]:
        """Return the words behind the port of the probe `Hijacked`."""
        ports = [str(sock.getsockname()[1]) for sock in (self.tcp, self.udp)]
        return [*ports, "/usr/bin/python3", "-I", "-c", ATTACK, *ports, NAME]

    def assert_untouched(self) -> None:
        """Nobody has come."""
        for sock in (self.tcp, self.unix):
            with pytest.raises(BlockingIOError):
                sock.accept()
        with pytest.raises(BlockingIOError):
            self.udp.recv(1)


@pytest.fixture
def outside(network: Network) -> Iterator[Outside]:
    """Return servers that are closed at the end."""
    found = Outside(network)
    yield found
    for sock in (found.tcp, found.udp, found.unix):
        sock.close()


AGAIN = ["connect EACCES", "fastopen ENOTSUP", "sendmsg ENOTSUP", "delayed EACCES", "ulp ENOENT"]
TRIED = [
    "Socket denied",
    "SocketChannel denied",
    "DatagramSocket done",  # to its own loopback, where nobody is
    "DatagramChannel done",
    "tcp EACCES",
    "tcp fastopen ENOTSUP",
    "mptcp EPROTONOSUPPORT",
    "udp done",
    "udp far ENETUNREACH",
    "raw EPROTONOSUPPORT",
    "ping EACCES",
    "packet EAFNOSUPPORT",
    "vsock EAFNOSUPPORT",
    "other family EAFNOSUPPORT",
    "io_uring EPERM",
    "abstract stream ECONNREFUSED",
    "setns by pidfd EPERM",
    "setns by file EACCES",
    "setns of init EPERM",
    "ptrace EPERM",
    "pidfd_getfd EPERM",
    "memory EACCES",
    "device EPERM",
    "namespace ENOSPC",
    *(f"{what} {one}" for what in ("connection", "listener") for one in AGAIN),
]


def _attack(service: Service, network: Network, times: int = 1) -> list[str]:
    """Have the service attack, and return what came of each attempt, the last first of the JVM's own sockets."""
    with network.connect("127.0.0.1", 80) as client:
        client.sendall(b"ATTACK\n")
        wait_until(lambda: len(re.findall(r"^TRIED$", service.stdout, re.MULTILINE)) == times, 40)
    said = service.stdout.split("TRIED\n")[times - 1]
    assert re.findall(r"^(?:LINKS|ROWS) .*$", said, re.MULTILINE) == ["LINKS lo", "ROWS none"], said
    denied = r"java\.net\.(?:Bind|Connect|Socket)Exception: Permission denied"
    return sorted({re.sub(denied, "denied", line) for line in re.findall(r"^TRY (.*)$", said, re.MULTILINE)})


WAYS = {
    "root": ([], ["-u", SERVICE_USER]),
    "capability": (
        [*as_user(SERVICE_USER)[:-3], "--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service"],
        [],
    ),
    "direct": ([], ["-u", SERVICE_USER, "--direct"]),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_hijacked_jvm_reaches_nothing(runner: Runner, network: Network, jdk: Jdk, outside: Outside, way: str) -> None:
    """Neither the JVM nor its native child reaches a server outside, by its own sockets or by those it was given, and it serves."""
    prefix, options = WAYS[way]
    service = runner.probe(["-l", "80", "--isolate-network", *options], jdk, "Hijacked", "80", *outside.attack(), prefix=prefix)
    assert http_get_when_served(network, 80).body == "hi"

    assert _attack(service, network) == sorted(TRIED), service.report()
    outside.assert_untouched()


def _assert_inside(pid: int, supervisor: int) -> None:
    """The process is in a network of its own, with loopback alone, and has no power there."""
    assert os.readlink(f"/proc/{pid}/ns/net") != os.readlink(f"/proc/{supervisor}/ns/net")
    lines = Path(f"/proc/{pid}/net/dev").read_text(encoding="ascii").splitlines()[2:]
    assert [line.split(":")[0].strip() for line in lines] == ["lo"]
    for thread in thread_credentials(pid):
        assert (thread.capabilities, thread.no_new_privs) == ((0,) * 5, 1), thread


def test_every_life_is_inside(runner: Runner, network: Network, workspace: Path) -> None:
    """Without any privilege: each generation is inside, a standby too; a probe, a watchdog, kill -9, reload, jcmd and dump work."""
    jdk, config, control = jdks.tested_jdks()[-1], workspace / "service.toml", workspace / "run" / "control"
    control.parent.mkdir()
    control.parent.chmod(0o777)
    words = runner.java_arguments("Hijacked", "8080", "9", "9")
    config.write_text(
        f"listen = ['8080']\n[java]\nhome = '{jdk.home}'\narguments = {json.dumps(words)}\n[control]\nsocket = '{control}'\n"
        "[supervise]\nready = 'http://127.0.0.1:8080/'\nstandby = 1\n[supervise.watchdog]\nqueue = 5\nheartbeat = 5\n"
        "[security]\nisolate_network = true\n"
    )

    def ask(command: str, *more: str) -> str:
        words = [*as_user(SERVICE_USER), *runner.jvmbind, command, *more, str(control)]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr + service.report()
        return done.stdout

    def inside() -> dict[str, int]:
        found = {one["role"]: one["pid"] for one in generations()}
        for pid in found.values():
            _assert_inside(pid, service.pid)
        assert http_get_when_served(network, 8080).body == "hi"
        return found

    def roles() -> set[str]:
        return {f"standby {one['stage']}" if one["role"] == "standby" else one["role"] for one in generations()}

    def generations() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(ask("status", "--json"))["generations"]
        return found

    service = runner.start([*as_user(SERVICE_USER), *runner.jvmbind, "run", "-n", "app", "-c", str(config)])
    service.expect(r"generation 1 is ready", stream="stderr")
    wait_until(lambda: roles() == {"serving", "standby parked"}, 40, "a standby beside the first generation")
    first = inside()
    jcmd = [*as_user(SERVICE_USER), str(jdk.home / "bin/jcmd"), str(first["serving"]), "VM.version"]
    assert f" {jdk.feature}." in subprocess.run(jcmd, capture_output=True, text=True, timeout=60, check=True).stdout
    ask("dump")
    os.kill(first["serving"], signal.SIGKILL)
    service.expect(r"generation 2 is ready", stream="stderr")
    second = inside()
    assert second["serving"] == first["standby"]
    ask("reload")
    third = inside()
    assert third["serving"] not in {*first.values(), *second.values()}
    os.kill(service.pid, signal.SIGKILL)
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in third.values()), 20, "the end of the workers")


def test_each_kind_serves(runner: Runner, network: Network, jdk: Jdk, workspace: Path) -> None:
    """TCP, UDP and Unix listeners serve, and a datagram socket that was handed over sends to anybody, as the documents say."""
    path = workspace / "s"
    workspace.chmod(0o777)
    listeners = ["-l", "80", "-l", "53/udp", "-l", f"unix:{path},mode=0666"]
    service = runner.probe([*listeners, "-u", SERVICE_USER, "--isolate-network"], jdk, "AllKinds", "80", "53", str(path))
    service.expect(r"^READY$")
    assert http_get_when_served(network, 80).body == "tcp"
    assert udp_ask(network, "127.0.0.1", 53, b"x") == b"x"
    assert http_get_unix(path).body == "unix"
    _assert_inside(service.worker(), service.pid)
    with network.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as outside:
        outside.bind(("127.0.0.1", 0))
        outside.settimeout(20)
        to = outside.getsockname()[1]
        subprocess.run([*as_user(SERVICE_USER), "/usr/bin/python3", "-I", "-c", SEND, str(service.worker()), str(to)], check=True)
        assert outside.recv(1) == b"y"
    assert service.stop() == 143


def test_the_jvm_of_a_script(runner: Runner, network: Network, jdk: Jdk, workspace: Path, outside: Outside) -> None:
    """Under wrap the JVM that a script starts reaches nothing, and serves."""
    script = workspace / "start.sh"
    words = runner.java_arguments("Hijacked", "80", *outside.attack())
    script.write_text(f"#!/bin/sh\nexec java {shlex.join(words)}\n")
    script.chmod(0o755)
    options = ["-u", SERVICE_USER, "-l", "80", "--java-home", str(jdk.home), "--isolate-network"]
    service = runner.start([*runner.jvmbind, "wrap", *options, "--", str(script)])
    assert http_get_when_served(network, 80).body == "hi"
    assert _attack(service, network) == sorted(TRIED), service.report()
    outside.assert_untouched()


PROGRAM = """
import json, sys
import jvmbind
service = jvmbind.Service(
    listen={"http": 80}, user=sys.argv[1], java={"home": sys.argv[2], "arguments": json.loads(sys.argv[3])},
    security={"isolate_network": True},
)
with service.start() as running:
    running.wait()
"""


def test_a_program_of_python(runner: Runner, network: Network, jdk: Jdk, outside: Outside) -> None:
    """Service(security={"isolate_network": True}) does the same."""
    words = json.dumps(runner.java_arguments("Hijacked", "80", *outside.attack()))
    service = runner.start([runner.jvmbind[0], "-I", "-c", PROGRAM, SERVICE_USER, str(jdk.home), words])
    assert http_get_when_served(network, 80).body == "hi"
    assert _attack(service, network) == sorted(TRIED), service.report()
    outside.assert_untouched()


# Refuses unshare with EPERM, as a container's seccomp profile does, and runs its arguments.
WITHOUT_UNSHARE = """
import ctypes, os, struct, sys
ERRNO, ALLOW = (6, 0, 0, 0x50001), (6, 0, 0, 0x7FFF0000)
number = {"x86_64": 272, "aarch64": 97}[os.uname().machine]
libc = ctypes.CDLL(None, use_errno=True)
code = b"".join(struct.pack("=HBBI", *one) for one in ((0x20, 0, 0, 0), (0x15, 0, 1, number), ERRNO, ALLOW))
buffer = ctypes.create_string_buffer(code)
program = struct.pack("@HP", 4, ctypes.addressof(buffer))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0, ctypes.get_errno()
os.execv(sys.argv[1], sys.argv[1:])
"""
REFUSED = (
    "isolate_network cannot be kept to on this machine: unshare: Operation not permitted; expected user namespaces for the "
    "service's user, in a unit RestrictNamespaces=user net, or a socket unit without a network (jvmbind unit NAME --socket "
    "--isolate-network)"
)


@pytest.mark.parametrize("way", [["-u", SERVICE_USER], ["-u", SERVICE_USER, "--direct"]], ids=["supervised", "direct"])
def test_where_namespaces_are_forbidden(runner: Runner, network: Network, jdk: Jdk, workspace: Path, way: list[str]) -> None:
    """The service is refused in one line, with status 71, before anything is bound; check and doctor say the same."""
    prefix = ["/usr/bin/python3", "-I", "-c", WITHOUT_UNSHARE]
    service = runner.probe(["-l", "80", "--isolate-network", *way], jdk, "SocketServer", "*", "80", prefix=prefix)
    assert service.wait() == 71
    assert service.stderr == f"jvmbind: {REFUSED}\n"
    assert (network.bound_ports(), service.stdout) == ([], "")

    config = workspace / "service.toml"
    words = json.dumps(runner.java_arguments("SocketServer", "*", "80"))
    more = "direct = true\n" if "--direct" in way else ""
    config.write_text(
        f"user = '{SERVICE_USER}'\nlisten = ['80']\n{more}[java]\nhome = '{jdk.home}'\narguments = {words}\n"
        "[security]\nisolate_network = true\n"
    )
    for command, status in (("check", 71), ("doctor", 2)):
        told = [*prefix, *runner.jvmbind, command, str(config)]
        done = subprocess.run(told, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, REFUSED in done.stdout + done.stderr) == (status, True), done
