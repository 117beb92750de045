"""A start is seen to be ready without a connection to the server. Run by pytest as root; must not import jvmbind."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import jdks
from support.artifacts import artifact
from support.runner import PLAIN, QUICK_JVM
from support.users import SERVICE_USER

if TYPE_CHECKING:
    from support.jdks import Jdk
    from support.network import Network
    from support.runner import Runner

pytestmark = pytest.mark.skipif(PLAIN, reason="java has no supervisor that asks")

# Servers with a thread for each connection, which take one that ends at once for a broken client.
SERVERS = {
    "hsqldb": (9001, ["org.hsqldb.server.Server", "--port", "9001", "--database.0", "mem:a", "--dbname.0", "a"]),
    "greenmail": (143, ["com.icegreen.greenmail.standalone.GreenMailStandaloneRunner"]),
}

GREENMAIL = {"verbose": "", "imap.hostname": "0.0.0.0", "imap.port": 143, "pop3.hostname": "0.0.0.0", "pop3.port": 110}


def _connections(network: Network, port: int) -> list[str]:
    """Return the rows of connections from or to a port that the kernel still knows, those in TIME-WAIT included."""
    with network.entered():
        rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/thread-self/net/{name}").read_text().splitlines()]
    ends = [(row, {row[1][-5:], row[2][-5:]}) for row in rows if row[0] != "sl"]
    return [" ".join(row) for row, ports in ends if f":{port:04X}" in ports and row[3] != "0A"]


# GreenMail answers the connection of "connect" with a greeting, which resets it: nothing is left of that one to be seen.
@pytest.mark.parametrize(("name", "mode"), [("hsqldb", "accept"), ("hsqldb", "connect"), ("greenmail", "accept")])
def test_no_connection_at_a_start(runner: Runner, network: Network, jdk: Jdk, name: str, mode: str) -> None:
    """A real server with a thread for each connection is ready without having had one, unless `--ready connect` asks for it."""
    port, words = SERVERS[name]
    options = ["-l", str(port), "-u", SERVICE_USER, "--ready", mode]
    if name == "greenmail":
        options += ["-l", "110"]
        words = [f"-Dgreenmail.{each}={value}" for each, value in GREENMAIL.items()] + words
    java = ["-cp", f"{artifact(name)}/*", *words]
    service = runner.run(options, jdk, java)
    service.expect(r"generation 1 is ready", stream="stderr")

    assert bool(_connections(network, port)) is (mode == "connect")
    assert _connections(network, 110) == []
    assert "Handling new client" not in service.stdout
    with network.connect("127.0.0.1", port) as client:
        if name == "greenmail":
            assert client.recv(100).startswith(b"* OK")
    assert service.stop() == 143, service.report()


def test_a_server_is_ready_when_it_waits_and_hears_nothing_before(
    runner: Runner, network: Network, workspace: Path, talk_classes: Path
) -> None:
    """A server that says each connection and datagram hears none until a client comes, and is ready once it waits on both ports."""
    gate = workspace / "gate"
    java = [*QUICK_JVM, "-cp", str(talk_classes), "servers.TalkServer", "threads", "80", str(gate)]
    service = runner.run(["-l", "80", "-l", "80/udp", "-u", SERVICE_USER], jdks.tested_jdks()[-1], java)
    service.expect(r"80/udp\) handed over", stream="stderr")
    service.expect(r"80/tcp\) handed over", stream="stderr")
    time.sleep(0.5)
    assert "ready" not in service.stderr
    gate.touch()
    service.expect(r"generation 1 is ready", stream="stderr")
    assert service.stdout == ""

    with network.connect("127.0.0.1", 80) as client:
        client.sendall(b"ask\n")
        assert client.recv(100) == b"answer\n"
    assert service.stdout == "ACCEPTED\n"
    with network.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"", ("127.0.0.1", 80))
    service.expect("RECEIVED")
    assert service.stop() == 143
