"""System.inheritedChannel() gives a listener while stdin, stdout and stderr stay the caller's.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import subprocess

import pytest

from support.clients import http_get, http_get_unix, udp_ask
from support.jdks import Jdk
from support.network import Network
from support.runner import PLAIN, Runner
from support.service import Service
from support.users import SERVICE_USER

pytestmark = [
    pytest.mark.root,
    pytest.mark.jvm,
    pytest.mark.skipif(PLAIN, reason="plain java has no inherited channel here"),
]

WAYS = pytest.mark.parametrize("way", [["--direct"], ["--restart", "never"]], ids=["direct", "supervised"])


def finish(service: Service) -> None:
    """Show that stdin is a live stream of its own and that closing the channel left all three streams alone."""
    service.send_line("first line")
    service.expect(r"^STDIN first line$")
    service.expect(r"^AFTER-CLOSE stdout$")
    service.expect(r"^AFTER-CLOSE stderr$", stream="stderr")
    service.send_line("second line")
    assert service.wait() == 0, service.report()
    assert service.stdout.splitlines()[-1] == "STDIN second line"
    assert "SAME true" in service.stdout
    service.assert_nothing_left()


@WAYS
def test_tcp(runner: Runner, network: Network, jdk: Jdk, way: list[str]) -> None:
    """The first TCP listener comes as a ServerSocketChannel that serves."""
    service = runner.probe([*way, "-l", "80", "-l", "other=81", "-u", SERVICE_USER], jdk, "Inherited", "2", stdin=subprocess.PIPE)

    assert service.expect(r"^CHANNEL server (\S+)").group(1).endswith(":80")
    assert http_get(network, 80).body == "inherited"
    assert http_get(network, 80, host="::1").body == "inherited"
    finish(service)


def test_the_chosen_one(runner: Runner, network: Network, jdk: Jdk) -> None:
    """With --inherit NAME it is that listener and not the first."""
    options = ["--restart", "never", "-l", "web=80", "-l", "other=81", "--inherit", "other", "-u", SERVICE_USER]
    service = runner.probe(options, jdk, "Inherited", "1", stdin=subprocess.PIPE)

    assert service.expect(r"^CHANNEL server (\S+)").group(1).endswith(":81")
    assert http_get(network, 81).body == "inherited"
    finish(service)


@WAYS
def test_udp(runner: Runner, network: Network, jdk: Jdk, way: list[str]) -> None:
    """A UDP listener comes as a DatagramChannel that answers."""
    service = runner.probe([*way, "-l", "514/udp", "-u", SERVICE_USER], jdk, "Inherited", "1", stdin=subprocess.PIPE)

    assert service.expect(r"^CHANNEL datagram (\S+)").group(1).endswith(":514")
    assert udp_ask(network, "127.0.0.1", 514, b"ping") == b"ping"
    finish(service)


@WAYS
def test_unix(runner: Runner, jdk: Jdk, way: list[str]) -> None:
    """A Unix-domain listener comes as a ServerSocketChannel that serves."""
    path = runner.workspace / "app.sock"
    service = runner.probe([*way, "-l", f"unix:{path}", "-u", SERVICE_USER], jdk, "Inherited", "1", stdin=subprocess.PIPE)

    assert service.expect(r"^CHANNEL server (\S+)").group(1) == str(path)
    assert http_get_unix(path).body == "inherited"
    finish(service)
