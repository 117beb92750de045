"""Binds under stress and in odd order: many, at the same moment, interrupted, with time-outs.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import re
import signal
import subprocess
import threading

import pytest

from support.clients import http_get, http_get_when_served, udp_ask
from support.jdks import Jdk
from support.network import Network
from support.runner import PLAIN, Runner
from support.users import SERVICE_USER

pytestmark = [pytest.mark.root, pytest.mark.jvm]


def test_five_hundred_binds_while_signals_come(runner: Runner, jdk: Jdk) -> None:
    """Bind and close 500 times, interrupted by thread dumps, without an error and without a descriptor left over."""
    service = runner.probe(["--direct", "-l", "80", "-u", SERVICE_USER], jdk, "BindStress", "cycle", "80", "500")

    service.expect(r"^READY$")
    for _ in range(20):
        if service.running():
            service.process.send_signal(signal.SIGQUIT)
    assert service.wait() == 0, service.report()
    leaked = int(service.expect(r"^OK leaked=(-?\d+)$|\Z").group(1))
    assert leaked <= 2


def test_thirty_threads_bind_at_once(runner: Runner, jdk: Jdk) -> None:
    """Thirty threads get thirty listeners at the same moment; of all those that want one more, exactly one gets it."""
    options = [word for port in range(100, 131) for word in ("-l", f"n{port}={port}")]
    service = runner.probe([*options, "-u", SERVICE_USER], jdk, "BindStress", "parallel", "100", "30")

    assert service.expect(r"^OK (.*)$").group(1) == "own=30 shared=1", service.report()
    assert service.stop() == 143


def test_close_while_a_thread_accepts(runner: Runner, jdk: Jdk) -> None:
    """Closing a listener under a thread that waits in accept wakes it as under java, 20 times on one listener."""
    service = runner.probe(["--direct", "-l", "80", "-u", SERVICE_USER], jdk, "BindStress", "accepting", "80", "20")

    assert service.wait() == 0, service.report()
    assert service.stdout.splitlines() == ["OK"]


@pytest.mark.parametrize("api", ["socket", "adaptor"])
def test_accept_with_a_timeout(runner: Runner, network: Network, jdk: Jdk, api: str) -> None:
    """accept() with SO_TIMEOUT times out when nobody comes and serves who comes later."""
    # Without a supervisor, whose probe for readiness would be the first client.
    service = runner.probe(["--direct", "-l", "80", "-u", SERVICE_USER], jdk, "TimedAccept", "80", api)

    for number in (1, 2):
        service.expect(rf"\A(TIMEOUT\n){{{number}}}")
        assert http_get_when_served(network, 80).body == "timed"
    assert service.wait() == 0, service.report()
    assert service.stdout.splitlines() == ["TIMEOUT", "TIMEOUT", "DONE"]


def test_datagrams_of_an_ipv4_only_jvm(runner: Runner, network: Network, jdk: Jdk) -> None:
    """A JVM told to use IPv4 only receives and answers datagrams on the dual-stack listener."""
    service = runner.probe(
        ["-l", "53/udp", "-u", SERVICE_USER], jdk, "DatagramSocketEcho", "*", "53", jvm=["-Djava.net.preferIPv4Stack=true"]
    )

    service.expect(r"^READY$")
    assert udp_ask(network, "127.0.0.1", 53, b"x") == b"socket:x"
    assert service.stop() == 143


def test_machine_without_ipv6(runner: Runner, network: Network, jdk: Jdk) -> None:
    """Where IPv6 is switched off a plain port is an IPv4 listener and is served, TCP and UDP."""
    for name in ("all", "default", "lo"):
        network.set_sysctl(f"net/ipv6/conf/{name}/disable_ipv6", "1")
    service = runner.probe(["-l", "80", "-l", "dns=53/udp", "-u", SERVICE_USER], jdk, "AllKinds", "80", "53", "")

    service.expect(r"^READY$")
    assert http_get(network, 80).body == "tcp"
    assert udp_ask(network, "127.0.0.1", 53, b"x") == b"x"
    assert service.stop() == 143


@pytest.mark.skipif(PLAIN, reason="jvmbind's own option")
def test_reserved_source_port(runner: Runner, network: Network, jdk: Jdk) -> None:
    """A bind-only listener is the source port of a client's connection."""
    with network.open_socket(2, 1) as server:
        server.bind(("127.0.0.1", 2049))
        server.listen()
        service = runner.probe(["-l", "nfs=700,bind-only", "-u", SERVICE_USER], jdk, "FromPort", "700", "127.0.0.1", "2049")
        server.settimeout(30)
        connection, peer = server.accept()
        with connection:
            connection.sendall(b"hello\n")
    assert peer[1] == 700
    assert service.wait() == 0, service.report()
    assert service.stdout.splitlines() == ["LOCAL 700", "GOT hello"]


@pytest.mark.parametrize(
    ("way", "names"),
    [(["--direct"], ["USR2", "HUP", "TERM"]), (["--restart", "never"], ["USR2", "TERM"])],
    ids=["direct", "supervised"],
)
def test_programs_own_signal_handlers(runner: Runner, jdk: Jdk, way: list[str], names: list[str]) -> None:
    """Handlers that the program installs get their signals through the process that was started, TERM too.

    SIGHUP to a supervisor means reload and is not passed on.
    """
    service = runner.probe([*way, "-l", "80", "-u", SERVICE_USER], jdk, "Signals", *names, stdin=subprocess.PIPE)

    service.expect(r"^READY$")
    for name in names:
        service.process.send_signal(getattr(signal, f"SIG{name}"))
        service.expect(rf"^GOT {name}$")
    assert service.running()
    service.process.stdin.close()  # type: ignore[union-attr]
    assert service.wait() == 0, service.report()
    assert "END" in service.stdout


def test_clients_at_the_same_moment(runner: Runner, network: Network, jdk: Jdk) -> None:
    """A server with one thread answers all of 400 connections from 8 clients, which begin while it becomes ready.

    The supervisor's probe for readiness is one more client, and must not keep that thread from the others.
    """
    service = runner.probe(["-l", "80", "-u", SERVICE_USER], jdk, "ChannelServer", "*", "80")
    service.expect(r"^BOUND")
    failures: list[str] = []

    def ask() -> None:
        for _ in range(50):
            try:
                body = http_get(network, 80).body
                if not re.match(r"channel local=/127\.0\.0\.1:80 ", body):
                    failures.append(body)
            except OSError as error:
                failures.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    if not PLAIN:
        service.expect(r"generation 1 is ready", stream="stderr", timeout=10)
    assert service.stop() == 143
