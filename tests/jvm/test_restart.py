"""What the supervisor does when a worker that had served ends, under each restart policy.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import os
import signal
import time
from functools import partial

import pytest

from support.clients import http_get
from support.jdks import Jdk
from support.network import Network
from support.runner import PLAIN, Runner
from support.service import Service
from support.users import SERVICE_USER
from support.waiting import wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.jvm,
    pytest.mark.skipif(PLAIN, reason="plain java has no supervisor"),
]

# policy, ending of the program, status of the service; None: it is started again.
CASES = [
    ("never", ["exit", "0"], 0),
    ("never", ["exit", "3"], 3),
    ("never", ["crash"], 134),
    ("on-crash", ["exit", "0"], 0),
    ("on-crash", ["exit", "3"], 3),
    ("on-crash", ["throw"], 1),
    ("on-crash", ["crash"], None),
    ("on-failure", ["return"], 0),
    ("on-failure", ["exit", "3"], None),
    ("on-failure", ["crash"], None),
    ("always", ["exit", "0"], None),
    ("always", ["halt", "9"], None),
]


def ready_count(service: Service, count: int) -> bool:
    """Tell whether so many generations have bound."""
    return service.stdout.count("READY") >= count


@pytest.mark.parametrize(("policy", "ending", "status"), CASES, ids=lambda v: "-".join(v) if isinstance(v, list) else str(v))
def test_policies(runner: Runner, network: Network, jdk: Jdk, policy: str, ending: list[str], status: int | None) -> None:
    """A program that has served one client and ended is started again, or its status is the service's."""
    service = runner.probe(
        ["--ready", "listen", "--restart", policy, "-l", "80", "-u", SERVICE_USER], jdk, "Once", "80", *ending, cwd="/tmp"
    )
    service.quiet = False
    service.expect(r"^READY$")
    assert http_get(network, 80).body == "once"

    if status is not None:
        assert service.wait() == status, service.report()
        assert service.stdout.count("READY") == 1
    else:
        wait_until(partial(ready_count, service, 2), 20, "the second generation")
        assert service.stop() == 143, service.report()
    assert "Traceback" not in service.stderr
    service.assert_nothing_left()


def test_stop_during_the_back_off(runner: Runner, network: Network, jdk: Jdk) -> None:
    """SIGTERM while no worker runs ends the service at once."""
    service = runner.probe(
        ["--ready", "listen", "--restart", "always", "-l", "80", "-u", SERVICE_USER], jdk, "Once", "80", "exit", "4"
    )
    service.quiet = False
    for number in range(1, 4):
        wait_until(partial(ready_count, service, number), 20, "the next generation")
        assert http_get(network, 80).body == "once"
    # After three quick ends the pause is long enough to be met.
    wait_until(lambda: len(service.processes()) == 1, 10, "a moment without a worker")
    begun = time.monotonic()
    service.stop()
    assert time.monotonic() - begun < 1
    service.assert_nothing_left()


def test_stopped_by_hand_is_no_crash(runner: Runner, jdk: Jdk) -> None:
    """SIGTERM to the worker itself ends it as asked; the supervisor's policy decides as for any exit."""
    service = runner.probe(["--restart", "on-crash", "-l", "80", "-u", SERVICE_USER], jdk, "ChannelServer", "*", "80")
    service.expect(r"^READY$")
    os.kill(service.worker(), signal.SIGTERM)
    assert service.wait() == 143, service.report()
    service.assert_nothing_left()


def test_killed_worker_is_reported_with_its_signal(runner: Runner, jdk: Jdk) -> None:
    """With --restart never a worker that was killed gives 128 plus the signal and a line with the signal's name."""
    service = runner.probe(["--restart", "never", "-l", "80", "-u", SERVICE_USER], jdk, "ChannelServer", "*", "80")
    service.expect(r"^READY$")
    os.kill(service.worker(), signal.SIGKILL)
    assert service.wait() == 137, service.report()
    assert "SIGKILL" in service.stderr
    service.assert_nothing_left()
