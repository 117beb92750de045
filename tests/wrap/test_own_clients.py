"""A script that asks its own port whether its server runs is answered as without jvmbind: nobody is there.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from support import procfs
from support.clients import http_get
from support.jdks import Jdk
from support.network import Network
from support.service import Service

pytestmark = [pytest.mark.jdks(at_most=21)]

Wrap = Callable[..., Service]
Script = Callable[[str], list[str]]

# What `curl -f URL && exit 1` does, as OpenRefine's script asks.
ASK = """
bash -c 'exec 3<>/dev/tcp/127.0.0.1/80; printf "GET / HTTP/1.0\\r\\n\\r\\n" >&3; read -r line <&3 && echo "ANSWERED $line"'
echo ASKED
exec java {server}
"""


def test_a_question_before_the_start(wrap: Wrap, script: Script, server: str, network: Network, jdk: Jdk) -> None:
    """The question ends without an answer, once with a line, and the JVM is started: at first, and again after a crash."""
    service = wrap(jdk, script(ASK.format(server=server)))
    service.expect("generation 1 is ready", stream="stderr", timeout=60)

    (jvm,) = [pid for pid in service.processes() if procfs.is_jvm(pid)]
    os.kill(jvm, signal.SIGKILL)
    service.expect("generation 2 is ready", stream="stderr", timeout=60)

    assert http_get(network, 80).status == 200
    assert "ANSWERED" not in service.stdout
    assert service.stderr.count("asked port 80 whether a server answers") == 2
    assert service.stop() == 143, service.report()
    service.assert_nothing_left()


def test_a_question_while_the_jvm_starts(wrap: Wrap, script: Script, server: str, jdk: Jdk) -> None:
    """A script that asks while its JVM starts gets the JVM's answer."""
    service = wrap(jdk, script(f"java {server} &\nsleep 1\n" + ASK.format(server="-version")))

    service.expect("ANSWERED HTTP/1.1 200", timeout=60)
    assert "asked port" not in service.stderr
    service.expect("generation 1 is ready", stream="stderr")
    assert service.stop() == 143, service.report()
