"""Real, unmodified servers are reloaded under load: each has habits of its own at start and stop, and none may cost a client.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.artifacts import artifact
from support.clients import dns_query, http_get_when_served, udp_ask
from support.jdks import Jdk
from support.network import Network
from support.runner import PLAIN, QUICK, Runner
from support.servers import Jetty, Tomcat
from support.users import SERVICE_USER, User

pytestmark = [pytest.mark.never, pytest.mark.skipif(PLAIN, reason="plain java has no reload"), pytest.mark.timeout(240)]

LOAD = Path(__file__).parent.parent.parent / "benchmarks" / "load.py"
OPTIONS = ["-l", "80", "-u", SERVICE_USER]
LOST = ("refused", "reset", "timeout", "wrong")
NIO2 = 'protocol="org.apache.coyote.http11.Http11Nio2Protocol"'


class Kit:
    """What a server is laid out with."""

    def __init__(self, jdk: Jdk, workspace: Path, user: User, classes: dict[str, str]) -> None:
        """Keep it."""
        self.jdk, self.base, self.user, self.classes = jdk, workspace / "base", user, classes

    def tomcat(self, version: str, connector: str = "") -> list[str]:
        """Lay Tomcat out, with its shutdown port as it comes."""
        tomcat = Tomcat(artifact(version), self.base, self.user, connector=connector)
        if connector == NIO2:
            path = self.base / "conf" / "server.xml"
            path.write_text(path.read_text().replace('protocol="HTTP/1.1"', "", 1))
        return tomcat.java_arguments()

    def jetty(self, *more: str) -> list[str]:
        """Lay Jetty out."""
        jetty = Jetty(artifact("jetty12"), self.base, self.user, self.jdk)
        if more:
            jetty.inherit_channel()
        return jetty.java_arguments(*more)

    def own(self, library: str, *arguments: str) -> list[str]:
        """Return the arguments of one of the servers in tests/java."""
        return ["-cp", self.classes[library], *arguments]


SERVERS: dict[str, tuple[Callable[[Kit], list[str]], str]] = {
    "tomcat10": (lambda kit: kit.tomcat("tomcat10"), "successfully installed Tomcat"),
    "tomcat11": (lambda kit: kit.tomcat("tomcat11"), "successfully installed Tomcat"),
    "tomcat11-nio2": (lambda kit: kit.tomcat("tomcat11", NIO2), "successfully installed Tomcat"),
    "tomcat11-inherited": (lambda kit: kit.tomcat("tomcat11", 'useInheritedChannel="true"'), "successfully installed Tomcat"),
    "jetty12": (lambda kit: kit.jetty(), "a page of jetty"),
    "jetty12-inherited": (lambda kit: kit.jetty("etc/inherit.xml"), "a page of jetty"),
    "netty41-epoll": (lambda kit: kit.own("netty41", "servers.NettyServer", "epoll", "80"), "netty /"),
    "netty41-nio": (lambda kit: kit.own("netty41", "servers.NettyServer", "nio", "80"), "netty /"),
    "netty42-epoll": (lambda kit: kit.own("netty42", "servers.NettyServer", "epoll", "80"), "netty /"),
    "undertow": (lambda kit: kit.own("undertow", "servers.UndertowServer", "0.0.0.0", "80"), "undertow /"),
    "jdk": (lambda kit: kit.own("jdk", "servers.JdkServer", "80"), "jdk /"),
}


@pytest.mark.parametrize("name", SERVERS)
def test_reload_under_load(
    runner: Runner, network: Network, jdk: Jdk, workspace: Path, service_user: User, server_classes: dict[str, str], name: str
) -> None:
    """Two reloads under load lose no connection, one after the other with nobody asking, and the port answers after each."""
    build, body = SERVERS[name]
    kit = Kit(jdk, workspace, service_user, server_classes)
    java = build(kit)
    service = runner.run(OPTIONS, jdk, [*QUICK, *java], cwd=kit.base if name.startswith("jetty") else workspace)
    service.expect("generation 1 is ready", stream="stderr", timeout=60)
    # A page that is being compiled is a file open for writing, which a look would see.
    assert body in http_get_when_served(network, 80).body

    with network.entered():
        client = subprocess.Popen(
            [sys.executable, "-I", str(LOAD), "--port", "80", "--threads", "4", "--pause", "0.005", "--body", body],
            stdout=subprocess.PIPE,
            text=True,
        )
    try:
        for number in (2, 3):
            os.kill(service.pid, signal.SIGHUP)
            service.expect(rf"generation {number} is ready", stream="stderr", timeout=60)
    finally:
        client.terminate()
        load = json.loads(client.communicate(timeout=60)[0])
    assert {kind: load[kind] for kind in LOST} == dict.fromkeys(LOST, 0), load
    assert load["ok"] > 100

    # Nothing that these servers hold makes two instances a danger.
    assert "by a restart" not in service.stderr, service.report()

    # Nobody asks now: threads that wait in poll(2) must find their way to the listener by themselves.
    os.kill(service.pid, signal.SIGHUP)
    service.expect("generation 4 is ready", stream="stderr", timeout=60)
    assert body in http_get_when_served(network, 80).body
    assert service.stop() == 143, service.report()
    service.assert_nothing_left()


def test_dns_server(runner: Runner, network: Network, jdk: Jdk, server_classes: dict[str, str]) -> None:
    """A name server, on UDP and TCP, answers after each of two reloads."""
    options = ["-l", "dns=53/udp", "-l", "dns-tcp=53", "-u", SERVICE_USER]
    service = runner.run(options, jdk, ["-cp", server_classes["jdk"], "servers.DnsServer", "*", "53"])
    service.expect("generation 1 is ready", stream="stderr")
    query = dns_query("jvmbind.example")

    for number in (2, 3):
        os.kill(service.pid, signal.SIGHUP)
        service.expect(rf"generation {number} is ready", stream="stderr", timeout=60)
        for host in ("127.0.0.1", "::1"):
            assert udp_ask(network, host, 53, query).endswith(bytes([192, 0, 2, 53]))
            with network.connect(host, 53) as connection:
                connection.sendall(len(query).to_bytes(2, "big") + query)
                assert connection.makefile("rb").read().endswith(bytes([192, 0, 2, 53]))
    assert service.stop() == 143, service.report()
