"""Ctrl-C and `kill -INT` stop a script's JVM at once, with its hooks, however the script has started it.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Callable

import pytest

from support.clients import http_get_when_served
from support.jdks import Jdk
from support.network import Network
from support.runner import Runner
from support.service import Service

Wrap = Callable[..., Service]
Script = Callable[[str], list[str]]

WAYS = [
    "exec java {}",
    "java {}",
    "java {} &",  # a shell without job control lets it ignore SIGINT: POSIX, asynchronous lists
    "java {} & wait",
    "nohup java {} &",
    "setsid java {} &",
    "setsid -f java {}",
    "trap '' INT HUP; java {}",
    "(trap '' INT; exec java {}) & tail -f /dev/null",
    "java {} & sleep 1000",
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_stop(wrap: Wrap, script: Script, runner: Runner, network: Network, jdk: Jdk, way: str, number: int) -> None:
    """The JVM gets a signal that it acts on, runs its hooks once, and nothing is killed or left."""
    del network
    service = wrap(jdk, script(way.format(shlex.join(runner.java_arguments("Ending", "hook", "100")))), ("--stop-timeout", "120"))
    service.expect("^READY$")

    os.kill(service.pid, number)

    status = service.wait(60)
    assert status in {0, 130, 143}, service.report()  # 0 is the script's own, where it has left its JVM behind
    assert service.stdout.count("HOOK-BEGINS") == 1
    assert service.stdout.count("HOOK-ENDS true") == 1
    assert "SIGKILL" not in service.stderr
    service.assert_nothing_left()


def test_a_trap_of_the_script(wrap: Wrap, script: Script, server: str, network: Network, jdk: Jdk) -> None:
    """A signal for which the script has a trap is the script's; any other is passed to its JVM."""
    service = wrap(jdk, script(f"trap 'echo trapped' USR1\njava {server} & pid=$!\nwhile kill -0 $pid; do wait $pid; done"))
    assert http_get_when_served(network, 80).status == 200

    os.kill(service.pid, signal.SIGUSR1)
    service.expect("^trapped$")
    os.kill(service.pid, signal.SIGQUIT)
    service.expect("JNI global ref")
    assert service.stop() in {130, 143, 0}, service.report()
    service.assert_nothing_left()
