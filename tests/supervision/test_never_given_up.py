"""A service that has served is started again after whatever ends it, for as long as it takes; its port is kept meanwhile.

Run by pytest as root; jvmbind is started by the service user. Must not import jvmbind.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from support.clients import http_get_when_served
from support.waiting import wait_until

if TYPE_CHECKING:
    from supervision.conftest import Supervised


def _pid_that_answers(supervised: Supervised) -> int:
    return int(http_get_when_served(supervised.network, 8080).body.partition(" ")[0].partition("=")[2])


def test_a_listener_that_is_never_bound(supervised: Supervised) -> None:
    """A service with a declared listener that its application never binds serves again after two crashes, ready or not."""
    service = supervised.launch("http=8080", listen="'8080', '8443'", more="start_timeout = 4")
    service.expect("listener '8443' .* was not claimed within 4 s", stream="stderr")
    for _ in range(2):
        os.kill(_pid_that_answers(supervised), signal.SIGKILL)
    _pid_that_answers(supervised)

    assert service.running()
    with supervised.network.open_socket(socket.AF_INET6, socket.SOCK_STREAM) as rival, pytest.raises(OSError, match="in use"):
        rival.bind(("::", 8443))
    assert service.stop() == 143


def test_starts_that_are_too_slow_after_a_crash(supervised: Supervised) -> None:
    """After a crash starts that exceed their time are ended again and again, each with more time, until one gets through."""
    gate = supervised.folder / "run" / "gate"
    gate.touch()
    service = supervised.start(f"await={gate}", "http=8080", more="start_timeout = 1")
    gate.unlink()
    os.kill(supervised.serving(), signal.SIGKILL)
    wait_until(lambda: len(supervised.status()["deaths"]) >= 3, 60, "two starts that were ended")
    assert "tcp6 [::]:8080" in supervised.network.bound()
    gate.touch()

    service.expect(r"generation [3-9] is ready", stream="stderr", timeout=60)
    assert _pid_that_answers(supervised) == supervised.serving()
    assert service.stop() == 143


def test_a_status_of_its_own_after_it_has_served(supervised: Supervised) -> None:
    """An application that ends with status 1 by itself is started again once it has served, and each time that it does so."""
    service = supervised.start("http=8080", "wait=1500", "exit=1")

    service.expect(r"generation 3 is ready", stream="stderr", timeout=60)
    assert [death["status"] for death in supervised.status()["deaths"]][:2] == [1, 1]
    assert service.stop() == 143
