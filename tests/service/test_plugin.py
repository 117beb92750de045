"""The pytest plugin and the examples of the Python API, each run as its user runs it.

Run by pytest as root; what is started runs in a network namespace of its own.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.jdks import Jdk
from support.runner import QUICK_JVM, Runner
from support.users import SERVICE_USER

pytestmark = [pytest.mark.root, pytest.mark.jvm]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "python"

TESTS = """
import socket
import jvmbind.testing
pytest_plugins = ["jvmbind.testing"]

def start(jvm_service, port, **more):
    java = {{"main": "probe.ChannelServer", "classpath": {classes!r}, "args": ["*", str(port)], "home": {home!r}}}
    java["options"] = {options!r}
    return jvm_service(java=java, listen={{"http": port}}, user={user!r}, **more)

def test_served(jvm_service):
    port = jvmbind.testing.free_port()
    start(jvm_service, port)
    socket.create_connection(("127.0.0.1", port)).close()

def test_that_fails(jvm_service):
    running = start(jvm_service, 80)
    assert running.state == "no such state"
"""


def test_plugin(runner: Runner, jdk: Jdk, probes: Path) -> None:
    """A test gets a service that is served, a failed one shows what its service printed, and none is left."""
    folder = runner.workspace / "suite"
    folder.mkdir()
    values = {"classes": str(probes), "home": str(jdk.home), "options": list(QUICK_JVM), "user": SERVICE_USER}
    (folder / "conftest.py").write_text('pytest_plugins = ["jvmbind.testing"]\n')
    tests = TESTS.replace('pytest_plugins = ["jvmbind.testing"]\n', "")
    (folder / "test_suite.py").write_text(tests.format(**values))
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:faulthandler", "--rootdir", str(folder), str(folder)]
    service = runner.start([sys.executable, "-I", *words])
    service.quiet = False

    assert service.wait(100) == 1, service.report()
    assert "1 failed, 1 passed" in service.stdout
    assert "output of <RunningService" in service.stdout
    assert "BOUND /" in service.stdout
    service.assert_nothing_left()


PARALLEL = """
import os, socket
import pytest
import jvmbind

@pytest.mark.parametrize("number", range(4))
def test_served(jvm_service, number):
    port = jvmbind.testing.free_port()
    java = {{"main": "probe.ChannelServer", "classpath": {classes!r}, "args": ["*", str(port)], "home": {home!r}}}
    java["options"] = {options!r}
    running = jvm_service(java=java, listen={{"http": port}}, user={user!r})
    print(os.environ["PYTEST_XDIST_WORKER"], port)
    socket.create_connection(("127.0.0.1", port)).close()
    assert number < 3
"""


@pytest.mark.jdks(at_least=18)
def test_plugin_in_parallel(runner: Runner, jdk: Jdk, probes: Path) -> None:
    """Under xdist each test has a service and a port of its own, a failed one shows its own service's output, and none is left."""
    folder = runner.workspace / "parallel"
    folder.mkdir()
    values = {"classes": str(probes), "home": str(jdk.home), "options": list(QUICK_JVM), "user": SERVICE_USER}
    (folder / "conftest.py").write_text('pytest_plugins = ["jvmbind.testing"]\n')
    (folder / "test_suite.py").write_text(PARALLEL.format(**values))
    words = [
        "-m",
        "pytest",
        "-q",
        "-n",
        "2",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:faulthandler",
        "--rootdir",
        str(folder),
        str(folder),
    ]
    service = runner.start([sys.executable, "-I", *words])
    service.quiet = False

    assert service.wait(100) == 1, service.report()
    assert "1 failed, 3 passed" in service.stdout
    assert service.stdout.count("output of <RunningService") == 1
    assert service.stdout.count("BOUND /") == 1
    service.assert_nothing_left()


def test_follow(runner: Runner, jdk: Jdk, probes: Path) -> None:
    """The example says what happens to a service, a crash too, and ends with its status after Ctrl-C."""
    options = ["--user", SERVICE_USER, "--listen", "80", "--java-home", str(jdk.home)]
    java = [*QUICK_JVM, "-cp", str(probes), "probe.ChannelServer", "*", "80"]
    service = runner.start([sys.executable, "-I", str(EXAMPLES / "follow.py"), *options, "--", *java])

    service.expect(r"^state: ready$")
    subprocess.run(["kill", "-KILL", str(service.worker())], check=True)
    service.expect(r"^death: .*generation 1 died after .*: killed by SIGKILL")
    service.expect(r"(?s)death: .*^state: ready$")
    assert service.stop(signal.SIGINT) == 143
    assert service.stdout.splitlines()[-1].startswith("ended: ended (status 143")
    service.assert_nothing_left()


@pytest.mark.jdks(at_least=18)
def test_rolling(runner: Runner, jdk: Jdk) -> None:
    """The example reloads a service that runs already, and ends with the status of the first that is not there."""
    server = runner.probe(["-n", "rolled", "-u", SERVICE_USER, "-l", "80"], jdk, "ChannelServer", "*", "80")
    server.expect(r"generation 1 is ready", stream="stderr")
    rolling = runner.start([sys.executable, "-I", str(EXAMPLES / "rolling.py"), "rolled", "no-such-service"])

    assert rolling.wait(60) == 69, rolling.report()
    assert rolling.stdout == "rolled: reload done: generation 2 serves\n"
    assert rolling.stderr.startswith("no-such-service: no service named 'no-such-service' is running")
    assert server.stop() == 143
