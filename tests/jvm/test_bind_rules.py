"""The rules of the hand-over: repeated binds, refusals, options, the shared backlog, unclaimed listeners.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import re
import subprocess

import pytest

from support.clients import http_get, http_get_when_served
from support.jdks import Jdk
from support.network import Network
from support.runner import PLAIN, Runner
from support.users import SERVICE_USER

pytestmark = [pytest.mark.root, pytest.mark.jvm]

# The default probe for readiness is a connection: it would be the first client of a program that counts its clients.
NO_PROBE = ["--ready", "listen"]

DENIED = r"java\.net\.(SocketException|BindException): Permission denied"


def outcome(stdout: str, what: str) -> str:
    """Return what the TryBind probe says of one address."""
    match = re.search(rf"^BIND {re.escape(what)} (.*)$", stdout, re.MULTILINE)
    assert match is not None, stdout
    return match.group(1)


@pytest.mark.parametrize("api", ["channel", "socket"])
def test_bind_again_after_close(runner: Runner, network: Network, jdk: Jdk, api: str) -> None:
    """A connector that closes and binds the same address again gets the listener again, five times."""
    service = runner.probe([*NO_PROBE, "-l", "80", "-u", SERVICE_USER], jdk, "Rebind", "*", "80", "5", api)

    for number in range(1, 6):
        service.expect(rf"^BOUND {number}$")
        assert http_get_when_served(network, 80).body == f"round {number}"
        service.expect(rf"^CLOSED {number}$")
    service.expect(r"^DONE$|\Z")
    assert service.wait() == 0
    service.assert_nothing_left()


@pytest.mark.skipif(PLAIN, reason="plain java has no supervisor")
def test_clients_wait_while_the_program_has_closed_its_listener(runner: Runner, network: Network, jdk: Jdk) -> None:
    """Between close and the next bind a client is queued on the listener, not refused, and then served."""
    service = runner.probe([*NO_PROBE, "-l", "80", "-u", SERVICE_USER], jdk, "Rebind", "*", "80", "3", "channel")

    service.expect(r"^BOUND 1$")
    # All three connect at once: the second and third are queued while the program closes and binds.
    connections = [network.connect("127.0.0.1", 80) for _ in range(3)]
    answers = []
    for connection in connections:
        with connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answers.append(connection.makefile("rb").read().partition(b"\r\n\r\n")[2])

    assert answers == [b"round 1", b"round 2", b"round 3"]
    assert service.wait() == 0


def test_two_binds_of_one_address(runner: Runner, network: Network, jdk: Jdk) -> None:
    """A second bind while the first is open fails with the BindException that Java programs know."""
    service = runner.probe(["-l", "80", "-u", SERVICE_USER], jdk, "DoubleBind", "*", "80", "2", "plain")

    service.expect(r"^READY$")
    assert "BIND 1 ok" in service.stdout
    assert re.search(r"^BIND 2 java\.net\.BindException: Address already in use", service.stdout, re.MULTILINE)
    assert http_get(network, 80).body == "double"
    assert service.stop() == 143


def test_two_binds_with_reuseport(runner: Runner, network: Network, jdk: Jdk) -> None:
    """With SO_REUSEPORT set by the program, three binds of one address all succeed and all clients are served."""
    service = runner.probe(["-l", "80", "-u", SERVICE_USER], jdk, "DoubleBind", "*", "80", "3", "reuseport")

    service.expect(r"^READY$")
    assert service.stdout.count(" ok") == 3, service.stdout
    for _ in range(30):
        assert http_get(network, 80).body == "double"
    assert service.stop() == 143


@pytest.mark.parametrize(("protocol", "spec"), [("tcp", "80"), ("udp", "53/udp")])
def test_options_set_before_bind_are_kept(runner: Runner, jdk: Jdk, protocol: str, spec: str) -> None:
    """Each option that the program set on its own socket reads the same after bind."""
    port = spec.partition("/")[0]
    service = runner.probe(["-l", spec, "-u", SERVICE_USER], jdk, "Options", protocol, "*", port)

    assert service.wait() == 0, service.report()
    before = service.expect(r"^BEFORE (.*)$|\Z").group(1)
    after = service.expect(r"^AFTER (.*)$|\Z").group(1)
    assert before == after


@pytest.mark.skipif(PLAIN, reason="a plain bind has the backlog that the program asks for")
def test_backlog_is_not_shrunk_by_the_program(runner: Runner, network: Network, jdk: Jdk) -> None:
    """A program that listens with a backlog of 5 does not shrink the queue of the shared listener."""
    service = runner.probe(["-l", "80", "-u", SERVICE_USER], jdk, "SocketServer", "*", "80", "5")

    service.expect(r"^READY$")
    with network.entered():
        lines = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=True).stdout.splitlines()
    queues = [int(line.split()[2]) for line in lines if line.split()[3].endswith(":80")]
    assert len(queues) == 1
    assert queues[0] >= 1024
    assert service.stop() == 143


@pytest.mark.skipif(PLAIN, reason="low ports are free for all in the plain run")
def test_what_was_not_declared_goes_to_the_kernel(runner: Runner, network: Network, jdk: Jdk) -> None:
    """An undeclared high port is bound as ever; an undeclared low port is denied as to any ordinary user."""
    service = runner.probe(
        ["-l", "80", "-u", SERVICE_USER], jdk, "TryBind",
        "tcp", "*", "8080", "tcp", "*", "81", "udp", "*", "80", "tcp", "127.0.0.1", "0", "tcp", "*", "80",
    )  # fmt: skip

    service.expect(r"^READY$")
    assert outcome(service.stdout, "tcp * 8080").startswith("ok ")
    assert re.match(DENIED, outcome(service.stdout, "tcp * 81"))
    assert re.match(DENIED, outcome(service.stdout, "udp * 80"))
    assert outcome(service.stdout, "tcp 127.0.0.1 0").startswith("ok ")
    assert outcome(service.stdout, "tcp * 80").startswith("ok ")
    assert {"tcp6 [::]:80", "tcp6 [::]:8080"} <= set(network.bound())
    assert service.stop() == 143


@pytest.mark.skipif(PLAIN, reason="jvmbind's own option")
def test_strict_binds(runner: Runner, network: Network, jdk: Jdk) -> None:
    """With --strict-binds anything but the declared listener is denied, ephemeral and loopback ports included."""
    service = runner.probe(
        ["-l", "80", "--strict-binds", "-u", SERVICE_USER], jdk, "TryBind",
        "tcp", "*", "8080", "tcp", "127.0.0.1", "0", "udp", "*", "5353", "tcp", "*", "80",
    )  # fmt: skip

    service.expect(r"^READY$")
    for what in ("tcp * 8080", "tcp 127.0.0.1 0", "udp * 5353"):
        assert re.match(DENIED, outcome(service.stdout, what)), service.stdout
    assert outcome(service.stdout, "tcp * 80").startswith("ok ")
    assert network.bound_ports() == ["tcp6 [::]:80"]
    assert service.stop() == 143


@pytest.mark.skipif(PLAIN, reason="jvmbind's own rule")
def test_wildcard_listener_is_not_given_for_a_specific_address(runner: Runner, jdk: Jdk) -> None:
    """A program that asks for 127.0.0.1:80 is refused the listener on every address: it would be exposed by it."""
    service = runner.probe(["-l", "web=80", "-u", SERVICE_USER], jdk, "TryBind", "tcp", "127.0.0.1", "80", "tcp", "::1", "80")

    service.expect(r"^READY$")
    assert re.match(DENIED, outcome(service.stdout, "tcp 127.0.0.1 80")), service.stdout
    assert re.match(DENIED, outcome(service.stdout, "tcp ::1 80")), service.stdout
    service.expect("web", stream="stderr")
    assert service.stop() == 143


@pytest.mark.skipif(PLAIN, reason="jvmbind's own log")
def test_hand_over_is_logged_once(runner: Runner, jdk: Jdk) -> None:
    """Which listener went to the program is logged once for each listener, by name."""
    service = runner.probe(
        ["-l", "web=80", "-l", "dns=53/udp", "-u", SERVICE_USER], jdk, "TryBind", "tcp", "*", "80", "udp", "*", "53"
    )

    service.expect(r"^READY$")
    assert service.stop() == 143
    for name in ("web", "dns"):
        lines = [line for line in service.stderr.splitlines() if re.search(rf"\b{name}\b.*hand|hand.*\b{name}\b", line)]
        assert len(lines) == 1, service.stderr


@pytest.mark.skipif(PLAIN, reason="jvmbind's own log")
def test_unclaimed_listener_is_reported(runner: Runner, jdk: Jdk) -> None:
    """A listener that the program never claims is reported by name, with the address that it bound instead."""
    service = runner.probe(["-l", "web=80", "--start-timeout", "3", "-u", SERVICE_USER], jdk, "TryBind", "tcp", "*", "8080")

    line = service.expect(r"^.*\bweb\b.*8080.*$", stream="stderr", timeout=20).group(0)
    assert "80" in line
    assert service.stop() in {143, 0} or service.process.returncode is not None
