"""Binds that happen while the JVM starts, before main: JMX, JDWP, a -javaagent.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from support.clients import http_get, http_get_when_served
from support.jdks import Jdk
from support.network import Network
from support.runner import Runner
from support.users import SERVICE_USER
from support.waiting import wait_until

pytestmark = [pytest.mark.root, pytest.mark.jvm]


def exchange(network: Network, port: int, sent: bytes, length: int) -> bytes:
    """Send the first bytes of a protocol, once the port answers, and return the answer's first bytes."""

    def ask() -> bytes:
        try:
            with network.connect("127.0.0.1", port) as connection:
                connection.sendall(sent)
                answer: bytes = connection.recv(length)
                return answer
        except ConnectionRefusedError:
            return b""

    return wait_until(ask, 20, f"an answer on port {port}")


@pytest.mark.parametrize("port", [700, 7000], ids=["declared", "undeclared"])
def test_jmx_agent(runner: Runner, network: Network, jdk: Jdk, port: int) -> None:
    """The JMX agent's port works as ever, and as a declared listener below 1024 too."""
    options = ["-l", "80", *(["-l", f"jmx={port}"] if port < 1024 else []), "-u", SERVICE_USER]
    jvm = [
        f"-Dcom.sun.management.jmxremote.port={port}",
        f"-Dcom.sun.management.jmxremote.rmi.port={port}",
        "-Dcom.sun.management.jmxremote.authenticate=false",
        "-Dcom.sun.management.jmxremote.ssl=false",
        "-Djava.rmi.server.hostname=127.0.0.1",
    ]
    service = runner.probe(options, jdk, "ChannelServer", "*", "80", jvm=jvm)

    service.expect(r"^READY$")
    # The RMI wire protocol: "JRMI", version 2, stream protocol; the answer begins with ProtocolAck (0x4e).
    assert exchange(network, port, b"JRMI\x00\x02\x4b", 1) == b"\x4e"
    assert http_get(network, 80).status == 200
    assert service.stop() == 143


@pytest.mark.parametrize("port", [500, 5005], ids=["declared", "undeclared"])
def test_debug_agent(runner: Runner, network: Network, jdk: Jdk, port: int) -> None:
    """The debugger's native agent listens while the JVM starts, and again after each debugger, as under java."""
    options = ["-l", "80", *(["-l", f"debug={port}"] if port < 1024 else []), "-u", SERVICE_USER]
    agent = f"-agentlib:jdwp=transport=dt_socket,server=y,suspend=n,address=*:{port}"
    service = runner.probe(options, jdk, "ChannelServer", "*", "80", jvm=[agent])

    for count in (1, 2, 3):
        assert exchange(network, port, b"JDWP-Handshake", 14) == b"JDWP-Handshake"
        # The agent's lines come between those of main, which runs beside it.
        service.expect(rf"(?s)(Listening for transport dt_socket at address: {port}\n.*){{{count + 1}}}")
    assert http_get_when_served(network, 80).status == 200
    assert f"Listening for transport dt_socket at address: {port}" in service.stdout
    assert service.stop() == 143


def test_java_agent(runner: Runner, network: Network, jdk: Jdk, agent_jar: Path) -> None:
    """A -javaagent that binds in premain gets its listener, and main gets the other."""
    options = ["-l", "81", "-l", "web=80", "-u", SERVICE_USER]
    service = runner.probe(options, jdk, "ChannelServer", "*", "80", jvm=[f"-javaagent:{agent_jar}=* 81"])

    service.expect(r"^PREMAIN-BOUND")
    service.expect(r"^READY$")
    assert http_get(network, 81).body == "agent"
    assert http_get(network, 80).body.startswith("channel")
    assert service.stop() == 143
    assert service.stdout.splitlines()[0].startswith("PREMAIN-BOUND")
