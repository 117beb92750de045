"""A server that accepts by io_uring: what the kernel shows of it, and what a reload makes of that.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from support.clients import http_get_when_served
from support.users import SERVICE_USER

if TYPE_CHECKING:
    from support.jdks import Jdk
    from support.network import Network
    from support.runner import Runner


def test_reload_is_a_restart(runner: Runner, network: Network, jdk: Jdk, server_classes: dict[str, str]) -> None:
    """It gets ready, and a reload is a restart with the port held that names io_uring: its accept cannot be taken away."""
    java = ["-Xmx64m", "-cp", server_classes["netty42-uring"], "servers.UringServer", "80"]
    service = runner.run(["-l", "80", "-u", SERVICE_USER, "--start-timeout", "40"], jdk, java)
    service.expect("generation 1 is ready", stream="stderr", timeout=60)
    assert http_get_when_served(network, 80, "/1").body == "uring /1\n"

    os.kill(service.pid, signal.SIGHUP)
    service.expect("reload by a restart.*an io_uring instance", stream="stderr", timeout=60)
    assert "tcp6 [::]:80" in network.bound()
    service.expect("generation 2 is ready", stream="stderr", timeout=60)

    assert http_get_when_served(network, 80, "/2").body == "uring /2\n"
    assert service.stop() == 143, service.report()
    service.assert_nothing_left()
