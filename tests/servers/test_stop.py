"""How long a stop takes, beside plain `java` in the same test.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import contextlib
import shlex
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from support import jdks
from support.artifacts import artifact
from support.clients import http_get_when_served
from support.runner import PLAIN, QUICK, QUICK_JVM, as_user
from support.servers import Tomcat
from support.users import SERVICE_USER, User

if TYPE_CHECKING:
    from pathlib import Path

    from support.jdks import Jdk
    from support.network import Network
    from support.runner import Runner
    from support.service import Service

# Each connector whose accepting thread nobody wakes costs Tomcat a second or two; so the margin proves that none does, and
# leaves room for a machine under load.
_CONNECTORS = 6
_MARGIN = 4.0

pytestmark = pytest.mark.skipif(PLAIN, reason="compares with java itself")


def _stopped_after(service: Service, network: Network) -> float:
    """Return the seconds that a stop takes while one client keeps its connection and another has left its own half open."""
    http_get_when_served(network, 80)
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            client = stack.enter_context(network.connect("127.0.0.1", 80))
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
        begun = time.monotonic()
        assert service.stop() == 143, service.report()
        return time.monotonic() - begun


def test_tomcat_stops_as_quickly_as_under_java(
    runner: Runner, network: Network, jdk: Jdk, workspace: Path, service_user: User
) -> None:
    """Tomcat with six connectors wakes its accepting threads at a stop, though the port is not its own any more by then."""
    tomcat = Tomcat(artifact("tomcat11"), workspace / "base", service_user)
    server = tomcat.base / "conf" / "server.xml"
    others = "".join(f'<Connector port="{port}"/>' for port in range(81, 80 + _CONNECTORS))
    server.write_text(server.read_text().replace('<Connector port="80"', f'{others}<Connector port="80"'))
    listeners = [word for port in range(80, 80 + _CONNECTORS) for word in ("-l", str(port))]

    java = [*QUICK, *tomcat.java_arguments()]
    supervised = _stopped_after(runner.run([*listeners, "-u", SERVICE_USER], jdk, java), network)
    network.set_sysctl("net/ipv4/ip_unprivileged_port_start", "0")
    plain = _stopped_after(runner.start([*as_user(SERVICE_USER), jdk.java, *java]), network)

    assert supervised < plain + _MARGIN, (supervised, plain)


class Sender:
    """A client that sends what is not answered, again and again, until the server has ended."""

    def __init__(self, connection: socket.socket) -> None:
        """Begin."""
        self._connection = connection
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def _send(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._connection.sendall(b"note of some words\n")
                time.sleep(0.005)


def _exchange(client: socket.socket) -> None:
    client.sendall(b"more\n")
    assert client.recv(100) == b"more\n"


@pytest.mark.parametrize("how", ["threads", "selector", "keeper"])
def test_a_stop_does_not_wait_for_who_is_not_answered(runner: Runner, network: Network, talk_classes: Path, how: str) -> None:
    """Clients that only send (MQTT at QoS 0, STOMP, syslog), keep their connection, or have gone, hold no stop."""
    options = ["-l", "80", "-u", SERVICE_USER, "--stop-drain-timeout", "200"]
    java = [*QUICK_JVM, "-cp", str(talk_classes), "servers.TalkServer", how, "80"]
    service = runner.run(options, jdks.tested_jdks()[-1], java)
    service.expect("generation 1 is ready", stream="stderr")
    clients = [network.connect("127.0.0.1", 80) for _ in range(4)]
    for client in clients[1:]:
        _exchange(client)
    for client in clients[:2]:
        Sender(client)
    clients[2].shutdown(socket.SHUT_WR)
    time.sleep(0.3)  # none of them has just connected, or said a first word

    assert service.stop(timeout=100) == 143, service.report()
    for client in clients:
        client.close()


@pytest.mark.parametrize("command", ["run", "wrap"])
def test_a_program_wakes_its_own_accepting_thread(
    runner: Runner, jvmbind: list[str], network: Network, workspace: Path, talk_classes: Path, command: str
) -> None:
    """A program that wakes its accepting thread by a connection to its own port does so at a stop too, below a script as well."""
    jdk = jdks.tested_jdks()[-1]
    java = [*QUICK_JVM, "-cp", str(talk_classes), "servers.TalkServer", "unlock", "80"]
    if command == "wrap":
        script = workspace / "start.sh"
        script.write_text(f"#!/bin/sh\njava {shlex.join(java)}\n")
        script.chmod(0o755)
        java = [str(script)]
    options = ["-l", "80", "-u", SERVICE_USER, "--java-home", str(jdk.home)]
    service = runner.start([*jvmbind, command, *options, "--", *java])
    service.expect("generation 1 is ready", stream="stderr")
    with network.connect("127.0.0.1", 80) as client:
        assert client.recv(100) == b"answer\n"

    service.stop(timeout=100)
    assert "acceptor ended" in service.stdout, service.report()
