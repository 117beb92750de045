"""Multicast servers: a group joined before or after bind, through reload, restart and a crash of the JVM.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from support.jdks import Jdk
from support.network import Network
from support.runner import PLAIN, Runner
from support.users import SERVICE_USER

pytestmark = [pytest.mark.root, pytest.mark.jvm]

OWN = {"239.1.2.3": "10.9.0.1", "ff05::1:77": "fd09::1"}


@pytest.fixture
def device(network: Network) -> str:
    """A network device that can do multicast, with an address of each version."""
    with network.entered():
        for line in (
            "link add v0 type veth peer name v1",
            "addr add 10.9.0.1/24 dev v0",
            "addr add fd09::1/64 dev v0 nodad",
            "link set v0 up",
            "link set v1 up",
        ):
            subprocess.run(["ip", *line.split()], check=True)
    return "v0"


def answered(network: Network, address: str, port: int) -> int:
    """Return how many answers come to one datagram."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with network.open_socket(family, socket.SOCK_DGRAM) as client, network.entered():
        if family == socket.AF_INET:
            client.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("10.9.0.1"))
        else:
            client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex("v0"))
        client.sendto(b"?", (address, port))
        count = 0
        for patience in (5.0, 0.3):
            client.settimeout(patience)
            try:
                client.recv(100)
            except TimeoutError:
                break
            count += 1
        return count


@pytest.mark.parametrize("group", OWN)
@pytest.mark.parametrize("how", ["channel", "socket"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_group_and_unicast(runner: Runner, network: Network, device: str, jdk: Jdk, group: str, how: str, when: str) -> None:
    """A member of a group gets the group's datagrams and its own, whether it joins before it binds or after."""
    service = runner.probe(["-l", "535/udp", "-u", SERVICE_USER], jdk, "Member", "535", group, device, how, when)

    service.expect("^READY$")
    assert answered(network, group, 535) == 1
    assert answered(network, OWN[group], 535) == 1
    assert service.stop() == 143


@pytest.mark.skipif(PLAIN, reason="java has no supervisor")
@pytest.mark.parametrize("group", OWN)
@pytest.mark.parametrize("when", ["before", "after"])
def test_reload_restart_and_crash(runner: Runner, network: Network, device: str, jdk: Jdk, group: str, when: str) -> None:
    """Each next generation joins the group again, and one answers."""
    control = runner.workspace / "control"
    runner.workspace.chmod(0o777)
    service = runner.probe(
        ["-l", "535/udp", "-u", SERVICE_USER, "--control-socket", str(control), "--backoff-first", "0.01"],
        jdk, "Member", "535", group, device, "socket", when,
    )  # fmt: skip
    for number, act in enumerate(("", "reload", "reload", "restart", "kill", "kill"), 1):
        if act == "kill":
            os.kill(service.worker(), signal.SIGKILL)
        elif act:
            command = [sys.executable, "-I", "-m", "jvmbind", act, str(control)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
            assert done.returncode == 0, done.stderr + service.report()
        service.expect(rf"generation {number} is ready", stream="stderr")
        # It says so when it has joined; bound it has been before.
        service.expect(rf"(?s)(READY.*){{{number}}}")
        assert answered(network, group, 535) == 1, (number, act)
        assert answered(network, OWN[group], 535) == 1, (number, act)
    assert not re.search("Address already in use", service.stderr + service.stdout)
    assert service.stop() == 143
