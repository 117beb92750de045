"""What a program sees of itself is what it sees under the `java` command.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import re
import subprocess

import pytest

from support.jdks import Jdk
from support.runner import PLAIN, Runner, as_user
from support.users import SERVICE_USER, User

pytestmark = [pytest.mark.root, pytest.mark.jvm]

WAYS = pytest.mark.parametrize("way", [["--direct"], ["--restart", "never"]], ids=["direct", "supervised"])

# Properties that may differ from one run of java to the next, or that jvmbind documents as its own.
OWN = re.compile(r"PROPERTY (jvmbind\.|java\.vm\.compressedOopsMode=)")


def lines(text: str, word: str) -> list[str]:
    """Return the lines of the Facts probe that begin with a word."""
    return sorted(line for line in text.splitlines() if line.startswith(f"{word} ") and not OWN.match(line))


@WAYS
def test_main_thread_properties_and_threads(runner: Runner, jdk: Jdk, way: list[str], service_user: User) -> None:
    """Arguments, main thread, live threads, stack depth and every system property equal those of plain java."""
    # The environment that the drop builds, given to java as well.
    environment = {
        "HOME": service_user.home, "USER": service_user.name, "LOGNAME": service_user.name,
        "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8",
    }  # fmt: skip
    arguments = ["one", "", "two words", "*", "ünïcode", "@nofile"]
    plain = runner.start([*as_user(SERVICE_USER), jdk.java, *runner.java_arguments("Facts", *arguments)], environment=environment)
    assert plain.wait() == 0, plain.report()

    service = runner.probe([*way, "-l", "80", "-u", SERVICE_USER], jdk, "Facts", *arguments, environment=environment)

    assert service.wait() == 0, service.report()
    for word in ("ARG", "THREAD", "FRAMES", "LIVE", "CONSOLE", "PROPERTY"):
        assert lines(plain.stdout, word) == lines(service.stdout, word), word


@pytest.mark.skipif(PLAIN, reason="jvmbind's own rule")
@WAYS
def test_environment_is_rebuilt(runner: Runner, jdk: Jdk, way: list[str], service_user: User) -> None:
    """The program gets the target user's HOME, USER and LOGNAME; LD_*, PYTHON*, LISTEN_* and secrets do not reach it."""
    environment = {
        "HOME": "/root", "USER": "root", "LOGNAME": "root", "SHELL": "/bin/bash", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8",
        "LD_LIBRARY_PATH": "/nowhere", "LD_BIND_NOW": "1", "PYTHONPATH": "/nowhere", "PYTHONWARNINGS": "error",
        "NOTIFY_SOCKET": "/nowhere", "AWS_SECRET_ACCESS_KEY": "secret", "SUDO_USER": "somebody",
    }  # fmt: skip
    service = runner.probe([*way, "-l", "80", "-u", SERVICE_USER], jdk, "Facts", environment=environment)

    assert service.wait() == 0, service.report()
    seen = dict(line[4:].split("=", 1) for line in lines(service.stdout, "ENV"))
    assert seen["HOME"] == service_user.home
    assert seen["USER"] == seen["LOGNAME"] == service_user.name
    assert [name for name in seen if name.startswith(("LD_", "PYTHON", "LISTEN_", "NOTIFY", "AWS"))] == []


def test_stack_size_of_main(runner: Runner, jdk: Jdk) -> None:
    """-Xss decides the depth that main can reach, as under java."""
    depths = []
    for size in ("512k", "8m"):
        service = runner.probe(["--direct", "-l", "80", "-u", SERVICE_USER], jdk, "Depth", jvm=[f"-Xss{size}", "-Xint"])
        assert service.wait() == 0, service.report()
        depths.append(int(service.stdout))

    assert depths[1] > 8 * depths[0]


def test_process_name(runner: Runner, jdk: Jdk) -> None:
    """The worker's command line shows the Java arguments, for ps."""
    service = runner.probe(["--direct", "-l", "80", "-u", SERVICE_USER], jdk, "Ending", "idle")

    service.expect(r"^READY$")
    shown = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(service.pid)], capture_output=True, text=True, check=True)
    assert "probe.Ending idle" in shown.stdout
    assert service.stop() == 143
