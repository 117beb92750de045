"""Every way in which Java code binds a server socket gets the listener and serves from it.

Run by pytest as root: bound low, dropped to an unprivileged user. Must not import jvmbind.
"""

from __future__ import annotations

import pytest

from support.clients import http_get, http_get_unix, http_get_when_served, udp_ask
from support.jdks import Jdk
from support.network import Network
from support.procfs import assert_dropped
from support.runner import PLAIN, Runner
from support.users import SERVICE_USER, User

pytestmark = [pytest.mark.root, pytest.mark.jvm]

TCP_SERVERS = {
    "channel": ("ChannelServer", []),
    "async": ("AsyncServer", []),
    "socket": ("SocketServer", []),
    "selector-late": ("SelectorServer", ["late"]),
    "selector-early": ("SelectorServer", ["early"]),
    "virtual": ("VirtualServer", []),
}


@pytest.mark.parametrize("kind", [kind for kind in TCP_SERVERS if kind != "virtual"])
def test_tcp_server_is_served_on_port_80(runner: Runner, network: Network, jdk: Jdk, service_user: User, kind: str) -> None:
    """An unmodified TCP server binds [::]:80 as an unprivileged user and answers IPv4 and IPv6 clients."""
    serves_port_80(runner, network, jdk, service_user, kind)


@pytest.mark.jdks(at_least=21)
def test_virtual_threads(runner: Runner, network: Network, jdk: Jdk, service_user: User) -> None:
    """A server whose threads are virtual ones is served in the same way."""
    serves_port_80(runner, network, jdk, service_user, "virtual")


def serves_port_80(runner: Runner, network: Network, jdk: Jdk, service_user: User, kind: str) -> None:
    """Start a server of that kind, ask it over IPv4 and IPv6, look at its rights, stop it."""
    name, more = TCP_SERVERS[kind]
    service = runner.probe(["-l", "80", "-u", SERVICE_USER], jdk, name, "*", "80", *more)

    service.expect(r"^READY$")
    bound = service.expect(r"^BOUND (\S+)").group(1)
    assert bound.endswith(":80"), bound
    word = kind.partition("-")[0]
    assert http_get(network, 80).body.startswith(word)
    for _ in range(20):
        assert http_get(network, 80, host="::1").body.startswith(word)
    assert_dropped(service.worker(), uid=service_user.uid, gid=service_user.gid, groups=service_user.groups)

    assert service.stop() == 143
    service.assert_nothing_left()


@pytest.mark.skipif(PLAIN, reason="plain Java takes 0.0.0.0 for both families")
@pytest.mark.parametrize(
    ("spec", "host", "reached", "not_reached"),
    [
        ("0.0.0.0:80", "0.0.0.0", ["127.0.0.1", "127.0.0.9"], ["::1"]),
        ("127.0.0.1:80", "127.0.0.1", ["127.0.0.1"], ["127.0.0.9", "::1"]),
        ("[::1]:80", "::1", ["::1"], ["127.0.0.1"]),
        ("[::]:80", "::", ["127.0.0.1", "::1"], []),
    ],
)
def test_address_of_the_listener_is_kept(
    runner: Runner, network: Network, jdk: Jdk, spec: str, host: str, reached: list[str], not_reached: list[str]
) -> None:
    """A listener on one address is reachable there and nowhere else."""
    service = runner.probe(["-l", spec, "-u", SERVICE_USER], jdk, "ChannelServer", host, "80")

    service.expect(r"^READY$")
    for address in reached:
        assert http_get(network, 80, host=address).status == 200
    for address in not_reached:
        with pytest.raises(ConnectionRefusedError):
            network.connect(address, 80).close()
    assert service.stop() == 143


def test_prefer_ipv4_stack(runner: Runner, network: Network, jdk: Jdk) -> None:
    """A JVM told to use IPv4 only gets the dual-stack listener and serves IPv4 clients with their IPv4 address."""
    service = runner.probe(
        ["-l", "80", "-u", SERVICE_USER], jdk, "ChannelServer", "*", "80", jvm=["-Djava.net.preferIPv4Stack=true"]
    )

    service.expect(r"^READY$")
    assert "remote=/127.0.0.1:" in http_get(network, 80).body
    assert service.stop() == 143


def test_datagram_servers_on_port_53(runner: Runner, network: Network, jdk: Jdk) -> None:
    """A DatagramChannel on [::]:53 answers IPv4 and IPv6 clients."""
    service = runner.probe(["-l", "dns=53/udp", "-u", SERVICE_USER], jdk, "DatagramChannelEcho", "*", "53")

    service.expect(r"^READY$")
    assert udp_ask(network, "127.0.0.1", 53, b"one") == b"channel:one"
    assert udp_ask(network, "::1", 53, b"two") == b"channel:two"
    assert service.stop() == 143
    service.assert_nothing_left()


def test_datagram_socket_on_port_53(runner: Runner, network: Network, jdk: Jdk) -> None:
    """A DatagramSocket on [::]:53 answers IPv4 and IPv6 clients."""
    service = runner.probe(["-l", "dns=53/udp", "-u", SERVICE_USER], jdk, "DatagramSocketEcho", "*", "53")

    service.expect(r"^READY$")
    assert udp_ask(network, "127.0.0.1", 53, b"one") == b"socket:one"
    assert udp_ask(network, "::1", 53, b"two") == b"socket:two"
    assert service.stop() == 143


def test_datagram_channel_of_the_ipv4_family(runner: Runner, network: Network, jdk: Jdk) -> None:
    """A DatagramChannel opened for IPv4 gets a listener on an IPv4 address."""
    service = runner.probe(["-l", "127.0.0.1:514/udp", "-u", SERVICE_USER], jdk, "DatagramChannelEcho", "127.0.0.1", "514", "inet")

    service.expect(r"^READY$")
    assert udp_ask(network, "127.0.0.1", 514, b"log") == b"channel:log"
    assert service.stop() == 143


def test_datagram_channel_of_the_ipv4_family_on_a_dual_stack_listener(runner: Runner, network: Network, jdk: Jdk) -> None:
    """An IPv4 DatagramChannel on the wildcard answers IPv4 clients although the listener is dual stack."""
    service = runner.probe(["-l", "514/udp", "-u", SERVICE_USER], jdk, "DatagramChannelEcho", "0.0.0.0", "514", "inet")

    service.expect(r"^READY$")
    assert udp_ask(network, "127.0.0.1", 514, b"log") == b"channel:log"
    assert service.stop() == 143


def test_tcp_and_udp_on_one_port_are_two_listeners(runner: Runner, network: Network, jdk: Jdk) -> None:
    """A TCP and a UDP listener with the same number are told apart by protocol."""
    options = ["-l", "dns-tcp=53", "-l", "dns=53/udp", "-u", SERVICE_USER]
    service = runner.probe(options, jdk, "TryBind", "tcp", "*", "53", "udp", "*", "53")

    service.expect(r"^READY$")
    assert service.stdout.count(" ok ") == 2, service.stdout
    assert network.bound_ports() == ["tcp6 [::]:53", "udp6 [::]:53"]
    assert service.stop() == 143


@pytest.mark.skipif(PLAIN, reason="the folder is not the service user's")
def test_unix_domain_server(runner: Runner, jdk: Jdk) -> None:
    """A Unix-domain ServerSocketChannel gets the listener, whose file has the mode asked for, and serves."""
    # Nobody but root can make this file's folder writable: the service user could not bind here itself.
    path = runner.workspace / "app.sock"
    service = runner.probe(["-l", f"unix:{path},mode=0660", "-u", SERVICE_USER], jdk, "UnixServer", str(path))

    service.expect(r"^READY$")
    assert path.stat().st_mode & 0o777 == 0o660
    assert http_get_unix(path).body == "unix"
    assert service.stop() == 143


@pytest.mark.skipif(PLAIN, reason="jvmbind's own mapping")
def test_port_mapping(runner: Runner, network: Network, jdk: Jdk) -> None:
    """With 443:8443 the program binds 8443 as ever and serves on 443, and nothing listens on 8443."""
    service = runner.probe(["-l", "https=443:8443", "-u", SERVICE_USER], jdk, "SocketServer", "*", "8443")

    service.expect(r"^READY$")
    assert http_get(network, 443).status == 200
    assert network.bound_ports() == ["tcp6 [::]:443"]
    assert service.stop() == 143


def test_many_listeners(runner: Runner, network: Network, jdk: Jdk) -> None:
    """Twenty listeners at once all reach the program that binds them."""
    ports = range(101, 121)
    options = [word for port in ports for word in ("-l", f"n{port}={port}")]
    addresses = [word for port in ports for word in ("*", str(port))]
    service = runner.probe([*options, "-u", SERVICE_USER], jdk, "ChannelServer", *addresses)

    service.expect(r"^READY$")
    for port in ports:
        assert http_get(network, port).body.startswith("channel")
    assert service.stop() == 143
    service.assert_nothing_left()


def test_unprivileged_port_needs_no_privilege(runner: Runner, network: Network, jdk: Jdk) -> None:
    """A listener at or above the unprivileged limit works for an ordinary user who starts jvmbind himself."""
    prefix = ["setpriv", "--reuid=33", "--regid=33", "--clear-groups"]
    service = runner.probe(["-l", "8080"], jdk, "ChannelServer", "*", "8080", prefix=prefix)

    service.expect(r"^READY$")
    assert http_get_when_served(network, 8080).status == 200
    assert service.stop() == 143
    service.assert_nothing_left()
