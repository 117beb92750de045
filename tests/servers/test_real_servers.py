"""Real, unmodified servers on port 80 as an unprivileged user.

Each: the answer, the rights of every thread of every process, what is on the descriptors, a graceful stop with
status 143 and the server's own last words. Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support import procfs
from support.artifacts import artifact
from support.clients import dns_query, http_get, http_get_when_served, udp_ask
from support.jdks import Jdk
from support.needs import need
from support.network import Network
from support.runner import PLAIN, Runner
from support.servers import Jetty, Tomcat
from support.service import Service
from support.users import SERVICE_USER, User

OPTIONS = ["-l", "80", "-u", SERVICE_USER]


def assert_unprivileged_service(service: Service, user: User, listeners: list[str]) -> None:
    """Assert the drop in every thread of every process, and that supervisor and worker hold the listeners.

    Every other socket that the supervisor has must be a connected one of its own (to the worker).
    """
    if PLAIN:
        return
    network = service.network
    pids = service.processes()
    worker = service.worker()
    assert service.pid in pids
    for pid in pids:
        procfs.assert_dropped(pid, uid=user.uid, gid=user.gid, groups=user.groups)
    for pid in {service.pid, worker}:
        inodes = [procfs.socket_inode(target) for target in procfs.descriptors(pid).values()]
        held = {network.describe(inode) for inode in inodes if inode is not None}
        assert set(listeners) <= held, (procfs.command_line(pid), held)
    bound = network.bound_ports()
    for listener in listeners:
        assert bound.count(listener) == 1


@pytest.mark.parametrize("version", ["tomcat10", "tomcat11"])
def test_tomcat(runner: Runner, network: Network, jdk: Jdk, workspace: Path, service_user: User, version: str) -> None:
    """Tomcat's own page comes from port 80, and its log shows a complete shutdown."""
    tomcat = Tomcat(artifact(version), workspace / "base", service_user)
    service = runner.run(OPTIONS, jdk, tomcat.java_arguments())

    answer = http_get_when_served(network, 80)
    assert answer.status == 200
    assert "successfully installed Tomcat" in answer.body
    assert http_get(network, 80, "/tomcat.svg", host="::1").status == 200
    assert_unprivileged_service(service, service_user, ["tcp6 [::]:80"])

    assert service.stop() == 143, service.report()
    log = tomcat.log()
    assert 'Starting ProtocolHandler ["http-nio-80"]' in log
    for words in ('Pausing ProtocolHandler ["http-nio-80"]', "Stopping service [Catalina]",
                  'Stopping ProtocolHandler ["http-nio-80"]', 'Destroying ProtocolHandler ["http-nio-80"]'):  # fmt: skip
        assert words in log, words
    assert "SEVERE" not in log
    assert "InterruptedException" not in log + service.stderr
    service.assert_nothing_left()


@pytest.mark.skipif(PLAIN, reason="plain java has no inherited channel here")
def test_tomcat_with_its_inherited_channel(runner: Runner, network: Network, jdk: Jdk, workspace: Path, service_user: User) -> None:
    """With useInheritedChannel="true" Tomcat serves from System.inheritedChannel() and its last log lines appear."""
    tomcat = Tomcat(artifact("tomcat11"), workspace / "base", service_user, connector='useInheritedChannel="true"')
    service = runner.run(OPTIONS, jdk, tomcat.java_arguments())

    assert "successfully installed Tomcat" in http_get_when_served(network, 80).body
    assert_unprivileged_service(service, service_user, ["tcp6 [::]:80"])
    assert service.stop() == 143, service.report()
    # Closing that channel points fds 0 to 2 at /dev/null in the JDK: the console log must survive it.
    assert 'Destroying ProtocolHandler ["http-nio-JVMInheritedChannel"]' in service.stderr
    service.assert_nothing_left()


def test_jetty(runner: Runner, network: Network, jdk: Jdk, workspace: Path, service_user: User) -> None:
    """Jetty serves a page from port 80 and logs that its server and connector have stopped."""
    jetty = Jetty(artifact("jetty12"), workspace / "base", service_user, jdk)
    service = runner.run(OPTIONS, jdk, jetty.java_arguments(), cwd=jetty.base)

    answer = http_get_when_served(network, 80)
    assert (answer.status, answer.body) == (200, "a page of jetty\n")
    assert http_get(network, 80, host="::1").headers["server"].startswith("Jetty(12")
    assert_unprivileged_service(service, service_user, ["tcp6 [::]:80"])

    assert service.stop() == 143, service.report()
    assert re.search(r"Stopped oejs\.Server@", service.stderr + service.stdout)
    assert re.search(r"Stopped oejs\.ServerConnector@.*:80\}", service.stderr + service.stdout)
    service.assert_nothing_left()


@pytest.mark.skipif(PLAIN, reason="plain java has no inherited channel here")
def test_jetty_with_its_inherited_channel(runner: Runner, network: Network, jdk: Jdk, workspace: Path, service_user: User) -> None:
    """With inheritChannel Jetty serves from System.inheritedChannel() and does not fall back to a bind of its own."""
    jetty = Jetty(artifact("jetty12"), workspace / "base", service_user, jdk)
    jetty.inherit_channel()
    service = runner.run(OPTIONS, jdk, jetty.java_arguments("etc/inherit.xml"), cwd=jetty.base)

    assert http_get_when_served(network, 80).body == "a page of jetty\n"
    assert_unprivileged_service(service, service_user, ["tcp6 [::]:80"])
    assert service.stop() == 143, service.report()
    assert "Unable to use System.inheritedChannel" not in service.stderr + service.stdout
    assert re.search(r"Stopped oejs\.ServerConnector@", service.stderr + service.stdout)


@pytest.mark.parametrize("transport", ["epoll", "nio"])
@pytest.mark.parametrize("library", ["netty41", "netty42"])
def test_netty(
    runner: Runner, network: Network, jdk: Jdk, service_user: User, server_classes: dict[str, str], library: str, transport: str
) -> None:
    """Netty serves from port 80 by its native epoll transport and by NIO, many connections, and stops gracefully."""
    service = runner.run(OPTIONS, jdk, ["-cp", server_classes[library], "servers.NettyServer", transport, "80"])

    service.expect(r"^netty \w+ on ")
    for number in range(50):
        host = "::1" if number % 2 else "127.0.0.1"
        assert http_get(network, 80, f"/{number}", host=host).body == f"netty /{number}\n"
    assert_unprivileged_service(service, service_user, ["tcp6 [::]:80"])
    assert service.stop() == 143, service.report()
    assert "netty stopped" in service.stdout
    if transport == "epoll" and jdk.feature >= 24:
        # The program's own native-access warning is not hidden along with the one that JPype would cause.
        assert "java.lang.System::loadLibrary has been called by io.netty" in service.stderr
    service.assert_nothing_left()


def test_undertow(runner: Runner, network: Network, jdk: Jdk, service_user: User, server_classes: dict[str, str]) -> None:
    """Undertow on 0.0.0.0:80, which Java binds as both families, serves and stops gracefully."""
    service = runner.run(OPTIONS, jdk, ["-cp", server_classes["undertow"], "servers.UndertowServer", "0.0.0.0", "80"])

    service.expect(r"^undertow on ")
    for number in range(50):
        assert http_get(network, 80, f"/{number}").body == f"undertow /{number}\n"
    assert_unprivileged_service(service, service_user, ["tcp6 [::]:80"])
    assert service.stop() == 143, service.report()
    assert "undertow stopped" in service.stdout
    service.assert_nothing_left()


def test_jdk_http_server(runner: Runner, network: Network, jdk: Jdk, service_user: User, server_classes: dict[str, str]) -> None:
    """The JDK's own HttpServer serves from port 80 and stops gracefully."""
    service = runner.run(OPTIONS, jdk, ["-cp", server_classes["jdk"], "servers.JdkServer", "80"])

    service.expect(r"^jdk server on ")
    for number in range(50):
        assert http_get(network, 80, f"/{number}").body == f"jdk /{number}\n"
    assert_unprivileged_service(service, service_user, ["tcp6 [::]:80"])
    assert service.stop() == 143, service.report()
    assert "jdk server stopped" in service.stdout
    service.assert_nothing_left()


@pytest.mark.jdks(at_least=18)
def test_jdk_simple_web_server(runner: Runner, network: Network, jdk: Jdk, workspace: Path, service_user: User) -> None:
    """`-m jdk.httpserver` (18+), a main class in a named module of the JDK, serves files from port 80."""
    need("the module jdk.httpserver", there=(jdk.home / "bin" / "jwebserver").exists())
    (workspace / "page.txt").write_text("a page of the jdk\n")
    service = runner.run(OPTIONS, jdk, ["-m", "jdk.httpserver", "-b", "::", "-p", "80", "-d", str(workspace)])

    assert http_get_when_served(network, 80, "/page.txt").body == "a page of the jdk\n"
    assert_unprivileged_service(service, service_user, ["tcp6 [::]:80"])
    assert service.stop() == 143, service.report()


def test_dns_server(runner: Runner, network: Network, jdk: Jdk, service_user: User, server_classes: dict[str, str]) -> None:
    """A name server answers over UDP and TCP on port 53."""
    options = ["-l", "dns=53/udp", "-l", "dns-tcp=53", "-u", SERVICE_USER]
    service = runner.run(options, jdk, ["-cp", server_classes["jdk"], "servers.DnsServer", "*", "53"])

    service.expect(r"^dns on ")
    query = dns_query("jvmbind.example")
    for host in ("127.0.0.1", "::1"):
        assert udp_ask(network, host, 53, query).endswith(bytes([192, 0, 2, 53]))
        with network.connect(host, 53) as connection:
            connection.sendall(len(query).to_bytes(2, "big") + query)
            reply = connection.makefile("rb").read()
        assert reply.endswith(bytes([192, 0, 2, 53]))
    assert_unprivileged_service(service, service_user, ["tcp6 [::]:53", "udp6 [::]:53"])
    assert service.stop() == 143, service.report()
    assert "dns stopped" in service.stdout
    service.assert_nothing_left()
