"""How long a stop takes, beside plain `java` in the same test.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from support.artifacts import artifact
from support.clients import http_get_when_served
from support.runner import PLAIN, as_user
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

    supervised = _stopped_after(runner.run([*listeners, "-u", SERVICE_USER], jdk, tomcat.java_arguments()), network)
    network.set_sysctl("net/ipv4/ip_unprivileged_port_start", "0")
    plain = _stopped_after(runner.start([*as_user(SERVICE_USER), jdk.java, *tomcat.java_arguments()]), network)

    assert supervised < plain + _MARGIN, (supervised, plain)
