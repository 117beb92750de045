"""bind-only listeners: many connections at once from one low port, as FTP's active mode makes them.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial

import pytest

from support.jdks import Jdk
from support.network import Network
from support.runner import PLAIN, Runner
from support.users import SERVICE_USER
from support.waiting import wait_until

pytestmark = [pytest.mark.root, pytest.mark.jvm, pytest.mark.skipif(PLAIN, reason="jvmbind's own option")]

PEERS, ROUNDS, SIZE = 4, 12, 300_000


class Receivers:
    """One receiver a peer, each slow; what came on each connection: (its source port, how many bytes, how it ended)."""

    def __init__(self, network: Network, first: int) -> None:
        """Listen on ports counted from `first`."""
        self.got: list[tuple[int, int, str]] = []
        self.begun: set[int] = set()
        for number in range(2 * PEERS):
            server = network.open_socket(socket.AF_INET, socket.SOCK_STREAM)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 30_000)
            server.bind(("0.0.0.0", first + number))
            server.listen()
            threading.Thread(target=self._serve, args=(server,), daemon=True).start()

    def _serve(self, server: socket.socket) -> None:
        while True:
            connection, peer = server.accept()
            threading.Thread(target=self._receive, args=(connection, peer[1]), daemon=True).start()

    def _receive(self, connection: socket.socket, port: int) -> None:
        count, end = 0, "end of input"
        try:
            while data := connection.recv(30_000):
                count += len(data)
                self.begun.add(connection.getsockname()[1])
                time.sleep(0.002)
        except OSError as error:
            end = type(error).__name__
        connection.close()
        self.got.append((port, count, end))

    def have(self, count: int) -> bool:
        """Say whether so many connections have ended."""
        return len(self.got) == count


@pytest.mark.parametrize("jvm", ["-ea", "-Djava.net.preferIPv4Stack=true"])
@pytest.mark.parametrize("spec", ["20,bind-only", "127.0.0.1:20,bind-only=4"])
def test_active_mode(runner: Runner, network: Network, jdk: Jdk, spec: str, jvm: str) -> None:
    """Four clients at once get all of every transfer from port 20, and none is reset; the service can start again at once."""
    receivers = Receivers(network, 9000)
    for turn in (1, 2):
        service = runner.probe(
            ["-l", f"data={spec}", "-u", SERVICE_USER], jdk,
            "ActiveMode", "20", "9000", str(PEERS), str(ROUNDS), str(SIZE), jvm=[jvm],
        )  # fmt: skip
        service.expect("^DONE$")
        wait_until(partial(receivers.have, turn * PEERS * ROUNDS), 60, "the last of the transfers")
        assert set(receivers.got) == {(20, SIZE, "end of input")}, receivers.got
        assert "FAILED" not in service.stdout
        assert service.stop() == 143


def test_a_reload_in_the_middle(runner: Runner, network: Network, jdk: Jdk) -> None:
    """A reload succeeds while transfers are under way, and neither generation's are harmed."""
    receivers = Receivers(network, 9000)
    control = runner.workspace / "control"
    runner.workspace.chmod(0o777)
    service = runner.probe(
        ["-l", "data=20,bind-only=16", "-u", SERVICE_USER, "--control-socket", str(control)],
        jdk, "ActiveMode", "20", "9000", str(PEERS), "400", "20000",
    )  # fmt: skip
    wait_until(lambda: len(receivers.got) > 20, 60, "the first transfers")

    command = [sys.executable, "-I", "-m", "jvmbind", "reload", str(control)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)

    assert (done.returncode, done.stdout) == (0, "reload: done\n"), done.stderr + service.report()
    before = len(receivers.got)
    wait_until(lambda: len(receivers.got) > before + 20, 60, "transfers of the next generation")
    # The old generation is ended in the middle of one transfer a thread at most, as `java` would be.
    whole = [one for one in receivers.got if one == (20, 20_000, "end of input")]
    assert len(receivers.got) - len(whole) <= PEERS, set(receivers.got)
    assert "FAILED" not in service.stdout
    service.stop()


def test_killed_in_the_middle(runner: Runner, network: Network, jdk: Jdk) -> None:
    """When the JVM is killed the receivers see the end of their connections, as if it had been the only one to have them."""
    receivers = Receivers(network, 9000)
    service = runner.probe(
        ["-l", "data=20,bind-only=4", "--restart", "never", "-u", SERVICE_USER],
        jdk, "ActiveMode", "20", "9000", str(PEERS), "1", str(20 * SIZE),
    )  # fmt: skip
    wait_until(lambda: len(receivers.begun) == PEERS, 60, "a connection to each peer")
    os.kill(service.worker(), signal.SIGKILL)

    wait_until(lambda: len(receivers.got) == PEERS, 60, "the end of each connection")
