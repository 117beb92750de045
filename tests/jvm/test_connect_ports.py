"""connect_ports: what a Java program and its children reach, and what not, over the lives of a service.

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
from typing import TYPE_CHECKING

import pytest

from support.clients import http_get_when_served
from support.runner import PLAIN, as_user
from support.users import SERVICE_USER
from support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from support.jdks import Jdk
    from support.network import Network
    from support.runner import Runner

pytestmark = [pytest.mark.root, pytest.mark.jvm, pytest.mark.skipif(PLAIN, reason="jvmbind's own option")]

DENIED = r"java\.net\.(?:Bind|Connect|Socket)Exception: Permission denied"


def _listen(network: Network, port: int) -> socket.socket:
    server = network.open_socket(socket.AF_INET, socket.SOCK_STREAM)
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 5)
    server.bind(("127.0.0.1", port))
    server.listen(64)
    return server


def _tries(text: str) -> list[str]:
    """Return what each try came to, in words that are the same for both JDKs."""
    return [re.sub(DENIED, "denied", line) for line in re.findall(r"^TRY (.*)$", text, re.MULTILINE)]


WANTED = [
    "socket allowed ok",
    "channel allowed ok",
    "socket denied denied",
    "channel denied denied",
    "child allowed ok",
    "fastopen allowed errno 95",
    "sendmsg allowed errno 95",
    "mptcp allowed errno 93",
    "udp allowed ok",
    "child denied errno 13",
    "fastopen denied errno 95",
    "sendmsg denied errno 95",
    "mptcp denied errno 93",
    "udp denied ok",
]


def _denied_is_allowed(lines: list[str]) -> list[str]:
    """Return what is wanted where the list names the other port."""
    swapped = {"allowed": "denied", "denied": "allowed"}
    return sorted(re.sub(r" (allowed|denied) ", lambda found: f" {swapped[found[1]]} ", line, count=1) for line in lines)


def test_a_jvm_connects_to_these_ports_alone(runner: Runner, network: Network, jdk: Jdk, workspace: Path) -> None:
    """The JVM and its children reach the port that is named and no other, and serve; so after kill -9, and anew after a reload."""
    config, control = workspace / "service.toml", workspace / "run" / "control"
    control.parent.mkdir()
    control.parent.chmod(0o777)
    words = runner.java_arguments("Connects", "8080", "5432", "9999", "/usr/bin/python3")
    text = (
        f"listen = ['8080']\n[java]\nhome = '{jdk.home}'\narguments = {json.dumps(words)}\n[control]\nsocket = '{control}'\n"
        "[security]\nconnect_ports = "
    )
    config.write_text(f"{text}[443, 5432]\n")
    with _listen(network, 5432), _listen(network, 9999):
        service = runner.start([*as_user(SERVICE_USER), *runner.jvmbind, "run", "-n", "app", "-c", str(config)])
        service.expect(r"^TRIED$")
        assert http_get_when_served(network, 8080).body == "hi"
        os.kill(service.worker(), signal.SIGKILL)
        wait_until(lambda: len(re.findall(r"^TRIED$", service.stdout, re.MULTILINE)) == 2, 40)
        assert http_get_when_served(network, 8080).body == "hi"
        assert _tries(service.stdout) == WANTED * 2, service.stdout

        config.write_text(f"{text}[9999]\n")
        reload = [*as_user(SERVICE_USER), *runner.jvmbind, "reload", str(control)]
        done = subprocess.run(reload, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr + service.report()
        assert http_get_when_served(network, 8080).body == "hi"

    assert sorted(_tries(service.stdout)[2 * len(WANTED) :]) == _denied_is_allowed(WANTED), service.stdout
    assert service.stop() == 143


def test_the_jvm_of_a_script(runner: Runner, network: Network, jdk: Jdk, workspace: Path) -> None:
    """Under wrap the JVM that a script starts, and its children, reach the port that is named and no other."""
    script = workspace / "start.sh"
    words = runner.java_arguments("Connects", "8080", "5432", "9999", "/usr/bin/python3")
    script.write_text(f"#!/bin/sh\nexec java {shlex.join(words)}\n")
    script.chmod(0o755)
    options = ["-u", SERVICE_USER, "-l", "8080", "--java-home", str(jdk.home), "--connect-ports", "5432"]
    with _listen(network, 5432), _listen(network, 9999):
        service = runner.start([*runner.jvmbind, "wrap", *options, "--", str(script)])
        service.expect(r"^TRIED$")
        assert http_get_when_served(network, 8080).body == "hi"

    assert _tries(service.stdout) == WANTED, service.stdout
    assert service.stop() == 143


# Refuses landlock_create_ruleset with ENOSYS, as a kernel without Landlock or an older container does, and runs its arguments.
WITHOUT_LANDLOCK = """
import ctypes, os, struct, sys
ERRNO, ALLOW = (6, 0, 0, 0x50026), (6, 0, 0, 0x7FFF0000)
libc = ctypes.CDLL(None, use_errno=True)
code = b"".join(struct.pack("=HBBI", *one) for one in ((0x20, 0, 0, 0), (0x15, 0, 1, 444), ERRNO, ALLOW))
buffer = ctypes.create_string_buffer(code)
program = struct.pack("@HP", 4, ctypes.addressof(buffer))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0, ctypes.get_errno()
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("way", [["-u", SERVICE_USER], ["-u", SERVICE_USER, "--direct"]], ids=["supervised", "direct"])
def test_a_kernel_without_landlock(runner: Runner, network: Network, jdk: Jdk, way: list[str]) -> None:
    """Where Landlock is not there the service is refused in one line, with status 71, before anything is bound."""
    prefix = ["/usr/bin/python3", "-I", "-c", WITHOUT_LANDLOCK]
    service = runner.probe(["-l", "80", "--connect-ports", "5432", *way], jdk, "SocketServer", "*", "80", prefix=prefix)

    assert service.wait() == 71
    words = (
        "connect_ports cannot be kept to on this machine: Landlock is not there, or a sandbox refuses its calls; expected Linux 6.7"
    )
    assert service.stderr.startswith(f"jvmbind: {words}"), service.stderr
    assert service.stderr.count("\n") == 1
    assert (network.bound_ports(), service.stdout) == ([], "")
