"""The family of the application's socket against that of the listener: addresses and clients as under plain `java`.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import os
import re
import signal
import socket

import pytest

from support.jdks import Jdk
from support.network import Network
from support.runner import PLAIN, Runner, as_user
from support.users import SERVICE_USER
from support.waiting import wait_until

pytestmark = [pytest.mark.root, pytest.mark.jvm, pytest.mark.skipif(PLAIN, reason="compares with plain java itself")]

HOSTS = ("*", "127.0.0.1", "::1")
KINDS = 8
DATAGRAMS_FROM = 4  # the kinds before take TCP clients
PLAIN_PORT, LOW_PORT = 20000, 600


def ask(network: Network, protocol: str, host: str, port: int) -> str:
    """Return what a client at `host` is told, or how it is turned away."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with network.open_socket(family, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        try:
            client.connect((host, port))
            if protocol == "udp":
                client.send(b"?")
            return client.recv(200).decode()
        except OSError as error:
            return type(error).__name__


def everything(network: Network, first: int, addresses: list[str]) -> list[str]:
    """Ask each port that the program could bind from both versions of the loopback address; ports are counted from 0."""
    found = []
    for number in range(KINDS * len(HOSTS)):
        if "Exception" in addresses[number]:
            continue  # a declared listener queues clients all the same
        protocol = "tcp" if number < DATAGRAMS_FROM * len(HOSTS) else "udp"
        for host in ("127.0.0.1", "::1", "127.0.0.1"):
            answer = ask(network, protocol, host, first + number).replace(f":{first + number}", f":{number}")
            found.append(f"{number} {host}: {answer}")
    return found


def bound(stdout: str, first: int) -> list[str]:
    """Return what the program says of its own addresses, with ports counted from 0."""
    lines = stdout.partition("READY")[0].splitlines()
    return [re.sub(r":(\d+)$", lambda match: f":{int(match[1]) - first}", line) for line in lines]


def specs(hosts: tuple[str, ...] = HOSTS) -> list[str]:
    """Return `-l` and a listener for each port."""
    found = []
    for number in range(KINDS * len(hosts)):
        host = {"*": "", "127.0.0.1": "127.0.0.1:", "::1": "[::1]:"}[hosts[number % len(hosts)]]
        found += ["-l", f"{host}{LOW_PORT + number}/{'tcp' if number < DATAGRAMS_FROM * len(hosts) else 'udp'}"]
    return found


@pytest.mark.parametrize("way", ["--direct", "--no-direct"])
@pytest.mark.parametrize("option", ["-ea", "-Djava.net.preferIPv4Stack=true", "-Djava.net.preferIPv6Addresses=true"])
def test_every_kind_on_every_address(runner: Runner, network: Network, jdk: Jdk, option: str, way: str) -> None:
    """Each kind of server socket on each address reports the addresses, and takes the clients, that it has under java."""
    plain = runner.start([*as_user(SERVICE_USER), jdk.java, *runner.java_arguments("Kinds", str(PLAIN_PORT), *HOSTS, jvm=[option])])
    service = runner.probe([way, *specs(), "-u", SERVICE_USER], jdk, "Kinds", str(LOW_PORT), *HOSTS, jvm=[option])
    plain.expect(r"^READY$")
    service.expect(r"^READY$")

    addresses = bound(plain.stdout, PLAIN_PORT)
    assert bound(service.stdout, LOW_PORT) == addresses
    assert everything(network, LOW_PORT, addresses) == everything(network, PLAIN_PORT, addresses)
    assert "FAILED" not in service.stdout
    assert service.stop() == 143
    plain.stop()


def test_the_next_generation_may_use_the_other_family(runner: Runner, network: Network, jdk: Jdk) -> None:
    """After a crash an application with IPv4 sockets has the port, and the one with both families after the next."""
    # The program reads its option from a file, so that each generation of one configuration can differ.
    options = runner.workspace / "options"
    options.write_text("-Djava.net.preferIPv4Stack=false\n")
    options.chmod(0o644)
    service = runner.run(
        ["-l", "600", "-l", "601/udp", "--ready", "listen", "--backoff-first", "0.01", "-u", SERVICE_USER],
        jdk, [f"@{options}", *runner.java_arguments("TwoPorts", "600", "601")],
    )  # fmt: skip

    for number, ipv4 in enumerate((False, True, False), 1):
        service.expect(rf"(?s)(READY.*){{{number}}}")
        for protocol, port in (("tcp", 600), ("udp", 601)):
            assert ask(network, protocol, "127.0.0.1", port) == "4"
            assert ask(network, protocol, "::1", port) == ("ConnectionRefusedError" if ipv4 else "6")
        options.write_text(f"-Djava.net.preferIPv4Stack={'false' if ipv4 else 'true'}\n")
        os.kill(service.worker(), signal.SIGKILL)
    wait_until(lambda: service.stdout.count("READY") == 4, 30, "generation 4")
    assert service.stop() == 143


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_inherited_socket_of_both_families(runner: Runner, network: Network, jdk: Jdk, kind: int) -> None:
    """An IPv4 application on an inherited dual-stack socket gets no IPv6 datagram, and answers the others."""
    with network.open_socket(socket.AF_INET6, kind) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", 600 if kind == socket.SOCK_STREAM else 601))
        helper = "import os,sys; os.dup2(int(sys.argv[1]),3); os.set_inheritable(3,True); os.environ.update(LISTEN_PID=str(os.getpid()),LISTEN_FDS='1'); os.execvp(sys.argv[2],sys.argv[2:])"  # noqa: E501
        service = runner.run(
            ["--ready", "listen", "-u", SERVICE_USER], jdk,
            runner.java_arguments("TwoPorts", "600", "601", jvm=["-Djava.net.preferIPv4Stack=true"]),
            prefix=["/usr/bin/python3", "-I", "-c", helper, str(sock.fileno())], pass_fds=[sock.fileno()],
        )  # fmt: skip
        service.expect("^READY$")

        if kind == socket.SOCK_DGRAM:
            assert ask(network, "udp", "::1", 601) == "TimeoutError"
            assert ask(network, "udp", "127.0.0.1", 601) == "4"
        else:
            assert ask(network, "tcp", "127.0.0.1", 600) == "4"
    service.stop()
