"""The JDK's own servers that have launchers of their own, beside `java`: a script that starts one is given its listener.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from support import procfs
from support.clients import http_get_when_served
from support.jdks import Jdk
from support.network import Network
from support.service import Service
from support.waiting import wait_until

Wrap = Callable[..., Service]
Script = Callable[[str], list[str]]


def _options(service: Service) -> list[str]:
    """Return the command line of the one process of the service that has a JVM."""
    (jvm,) = [pid for pid in service.processes() if procfs.is_jvm(pid)]
    return procfs.command_line(jvm)


@pytest.mark.parametrize("way", ["exec $JAVA_HOME/bin/rmiregistry", "rmiregistry"])
def test_rmiregistry(wrap: Wrap, script: Script, network: Network, jdk: Jdk, way: str) -> None:
    """`rmiregistry PORT` serves a low port, and its -J options, wherever they stand, reach the JVM."""
    service = wrap(jdk, script(f"{way} -J-Dfirst='a b' 109 -J-Dlast=c"), ("-l", "109"))

    service.expect("generation 1 is ready", stream="stderr")
    with network.connect("127.0.0.1", 109) as client:
        client.sendall(b"JRMI\0\x02K")
        assert client.recv(1) == b"N"
    words = _options(service)
    assert "-Dfirst=a b" in words
    assert words[words.index("-m") :] == ["-m", "java.rmi/sun.rmi.registry.RegistryImpl", "109"]
    assert "-Dlast=c" in words[: words.index("-m")]
    assert service.stop() == 143, service.report()
    service.assert_nothing_left()


@pytest.mark.jdks(at_least=18)
def test_jwebserver(wrap: Wrap, script: Script, workspace: Path, network: Network, jdk: Jdk) -> None:
    """`jwebserver` serves a folder on port 80, and comes back after its JVM was killed."""
    (workspace / "index.html").write_text("a page of the JDK\n")
    service = wrap(jdk, script(f"exec jwebserver -b 0.0.0.0 -p 80 -d {workspace}"), ("-l", "0.0.0.0:80"))

    assert http_get_when_served(network, 80).body == "a page of the JDK\n"
    (jvm,) = [pid for pid in service.processes() if procfs.is_jvm(pid)]
    os.kill(jvm, 9)
    wait_until(lambda: jvm not in service.processes(), 10, "the end of the killed JVM")
    service.expect("generation 2 is ready", stream="stderr")
    assert http_get_when_served(network, 80).body == "a page of the JDK\n"
    assert service.stop() == 143, service.report()
    service.assert_nothing_left()


def test_a_fixed_path(wrap: Wrap, script: Script, network: Network, jdk: Jdk) -> None:
    """One that a script starts by the path of the real one gets no listener, and is named as a `java` would be."""
    del network
    path = f"{jdk.home}/bin/rmiregistry"
    service = wrap(jdk, script(f"exec {path} 109"), ("-l", "109"))

    assert service.wait() == 1, service.report()
    assert re.findall(r"started as process \d+ \((.*?)\) gets no listener", service.stderr) == [path]
    service.assert_nothing_left()
