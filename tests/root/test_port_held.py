"""Nobody else gets the port: not while the worker crashes, not while it is dead, not while it starts.

Run by pytest as root. In the namespace every user may bind low ports, so that only the held listener is in the way.
Must not import jvmbind.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import pytest

from support.clients import http_get, http_get_when_served
from support.jdks import Jdk
from support.network import Network
from support.runner import Runner, as_user
from support.service import Service
from support.users import OTHER_USER, SERVICE_USER
from support.waiting import wait_until

pytestmark = [pytest.mark.never, pytest.mark.root, pytest.mark.jvm]

# Tries every kind of bind over and over until its stdin ends; prints how often each outcome came.
CONTENDER = """
import collections, errno, select, socket, sys
kinds = [(socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
seen = collections.Counter()
started = False
while not select.select([sys.stdin], [], [], 0)[0]:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        for family, host in kinds:
            for option in (0, socket.SO_REUSEADDR, socket.SO_REUSEPORT):
                if kind == socket.SOCK_DGRAM and option == socket.SO_REUSEADDR:
                    continue
                with socket.socket(family, kind) as rival:
                    if option:
                        rival.setsockopt(socket.SOL_SOCKET, option, 1)
                    try:
                        rival.bind((host, 80))
                        if kind == socket.SOCK_STREAM:
                            rival.listen()
                        seen["got it"] += 1
                    except OSError as error:
                        seen[errno.errorcode[error.errno]] += 1
    if not started:
        print("started", flush=True)
        started = True
for outcome, count in seen.items():
    print(outcome, count, flush=True)
"""

Start = Callable[[str], Service]


@pytest.fixture
def start_contender(runner: Runner, network: Network) -> Start:
    """Start a rival of another user in the namespace."""
    network.set_sysctl("net/ipv4/ip_unprivileged_port_start", "0")

    def start(user: str) -> Service:
        contender = runner.start([*as_user(user), sys.executable, "-I", "-c", CONTENDER], stdin=subprocess.PIPE)
        contender.expect(r"^started$")
        return contender

    return start


def is_gone(pid: int) -> bool:
    """Tell whether the process is gone."""
    return not os.path.exists(f"/proc/{pid}")


def has_been_ready(service: Service, times: int) -> bool:
    """Tell whether so many generations have bound everything."""
    return service.stdout.count("READY") == times


def outcomes(contender: Service) -> dict[str, int]:
    """End a rival and return how often each outcome came."""
    assert contender.process.stdin is not None
    contender.process.stdin.close()
    assert contender.wait() == 0, contender.report()
    words = [line.split() for line in contender.stdout.splitlines()[1:]]
    return {" ".join(line[:-1]): int(line[-1]) for line in words}


def test_rival_takes_a_free_port(start_contender: Start) -> None:
    """The rival of these tests does get the port when nobody holds it."""
    assert outcomes(start_contender(OTHER_USER))["got it"] > 0


def test_no_rival_gets_the_port_while_the_worker_is_killed_again_and_again(
    runner: Runner, network: Network, jdk: Jdk, start_contender: Start
) -> None:
    """Over three kill -9 of the worker another user never binds the port, and clients that come meanwhile are served."""
    options = ["-l", "80", "-l", "log=80/udp", "-u", SERVICE_USER, "--restart", "on-crash"]
    service = runner.probe(options, jdk, "AllKinds", "80", "80", "")
    service.quiet = False  # deaths are reported
    service.expect(r"^READY$")
    rival = start_contender(OTHER_USER)

    for number in range(1, 4):
        worker = service.worker()
        os.kill(worker, signal.SIGKILL)
        wait_until(partial(is_gone, worker), 10, "the worker's end")
        # Connected while nobody can accept: queued by the kernel, served by the next generation.
        assert http_get(network, 80, timeout=30).body == "tcp"
        wait_until(partial(has_been_ready, service, number + 1), 20, "the next generation")

    seen = outcomes(rival)
    assert "got it" not in seen, seen
    assert set(seen) == {"EADDRINUSE"}, seen
    assert seen["EADDRINUSE"] > 100
    assert "Traceback" not in service.stderr
    assert service.stop() == 143
    service.assert_nothing_left()


def test_the_services_own_user_cannot_share_the_port(runner: Runner, network: Network, jdk: Jdk, start_contender: Start) -> None:
    """Another program of the service's own user cannot bind the port either, SO_REUSEPORT or not."""
    service = runner.probe(["-l", "80", "-l", "log=80/udp", "-u", SERVICE_USER], jdk, "AllKinds", "80", "80", "")

    service.expect(r"^READY$")
    seen = outcomes(start_contender(SERVICE_USER))
    assert set(seen) == {"EADDRINUSE"}, seen
    assert http_get_when_served(network, 80).body == "tcp"
    assert service.stop() == 143


def test_port_is_held_when_the_program_does_not_start(runner: Runner, network: Network, jdk: Jdk, start_contender: Start) -> None:
    """A program that crashes at every start is tried again with growing pauses while the port stays held."""
    options = ["-l", "80", "-l", "log=80/udp", "-u", SERVICE_USER, "--restart", "always"]
    service = runner.probe(options, jdk, "Ending", "halt", "3")
    service.quiet = False
    wait_until(lambda: {"tcp6 [::]:80", "udp6 [::]:80"} <= set(network.bound()), 10, "the listeners")
    rival = start_contender(OTHER_USER)

    # The second start has come and gone: some time with a worker, some without.
    wait_until(lambda: service.stderr.count("next generation") >= 2, 20, "two restarts")
    seen = outcomes(rival)
    assert service.stop() in {143, 3}
    assert set(seen) == {"EADDRINUSE"}, seen
    service.assert_nothing_left()


def test_everything_is_released_at_the_end(runner: Runner, network: Network, jdk: Jdk) -> None:
    """After a stop the port can be bound again at once, by anybody who may."""
    for _ in range(2):
        service = runner.probe(["-l", "80", "-u", SERVICE_USER], jdk, "ChannelServer", "*", "80")
        service.expect(r"^READY$")
        # A connection closed by the server leaves TIME_WAIT behind, which must not be in the way.
        assert http_get(network, 80).status == 200
        assert service.stop() == 143
        service.assert_nothing_left()
