"""10.13: resource limits that are too low for a JVM, or for jvmbind: one clear line, status 71, nothing left.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support import jdks
from support.runner import PLAIN, Runner, as_user
from support.service import Service
from support.users import SERVICE_USER

pytestmark = [pytest.mark.root, pytest.mark.jvm, pytest.mark.skipif(PLAIN, reason="java has other words for it")]

INSTALLED = str(Path(sys.executable).parent / "jvmbind")
MIB = 1 << 20


def assert_one_line(service: Service, pattern: str) -> None:
    """Assert status 71, one line of jvmbind that fits, and that nothing is left."""
    assert service.wait() == 71, service.report()
    (line,) = service.stderr.splitlines()
    assert line.startswith("jvmbind: "), line
    assert re.search(pattern, line), line
    service.assert_nothing_left()


@pytest.mark.parametrize(
    ("limit", "value", "pattern"),
    [
        ("as", 20 * MIB, "resource limit as: 20971520 bytes; a JVM needs at least 268435456"),
        ("as", 200 * MIB, "resource limit as: 209715200 bytes; a JVM needs"),
        ("data", MIB, "resource limit data: 1048576 bytes; a JVM needs"),
        ("data", 8 * MIB, "resource limit data: 8388608 bytes; a JVM needs"),
        ("stack", 16384, "resource limit stack: 16384 bytes; a JVM needs"),
        ("nofile", 12, r"Too many open files.*nofile"),
        ("nproc", 0, r"cannot start generation 1: .*Resource temporarily unavailable \(resource limit nproc\?\)"),
    ],
)
def test_of_the_caller(runner: Runner, limit: str, value: int, pattern: str) -> None:
    """10.13: a limit that the caller has set is named, and what was there of it."""
    newest = jdks.tested_jdks()[-1]
    command = ["prlimit", f"--{limit}={value}:{value}", INSTALLED, "run", "--java-home", str(newest.home), "-l", "80"]
    service = runner.start([*command, "-u", SERVICE_USER, "--", *runner.java_arguments("ChannelServer", "*", "80")])

    assert_one_line(service, pattern)


@pytest.mark.parametrize(
    ("limit", "way"),
    [
        ("as = 104857600", "root"),
        ("data = 4194304", "root"),
        ("stack = 16384", "root"),
        ("nproc = 1", "root"),
        ("cpu = 0", "root"),
        ("nofile = 11", "root"),
        ("as = 104857600", "ordinary"),
        ("nproc = 1", "ordinary"),
    ],
)
def test_of_the_configuration(runner: Runner, workspace: Path, limit: str, way: str) -> None:
    """A limit of [security.limits] is named in the same way, whoever starts the service."""
    newest = jdks.tested_jdks()[-1]
    arguments = runner.java_arguments("ChannelServer", "*", "8080")
    config = workspace / "service.toml"
    owner = f'user = "{SERVICE_USER}"\n' if way == "root" else ""
    config.write_text(
        f'{owner}listen = ["8080"]\n[java]\nhome = "{newest.home}"\narguments = {arguments!r}\n[security.limits]\n{limit}\n'
    )
    prefix = as_user(SERVICE_USER) if way == "ordinary" else []
    service = runner.start([*prefix, INSTALLED, "run", "-c", str(config)])

    assert_one_line(service, limit.partition(" ")[0])


@pytest.mark.parametrize(
    ("limit", "value", "line"),
    [
        ("as", 16 * MIB, "resource limit as: 16777216 bytes; jvmbind needs at least 33554432"),
        ("as", 64 * MIB, "no service named 'nosuch' is running"),
        ("data", MIB, "resource limit data: 1048576 bytes; jvmbind needs at least 16777216"),
        ("data", 20 * MIB, "no service named 'nosuch' is running"),
        ("stack", 65536, "resource limit stack: 65536 bytes; jvmbind needs at least 131072"),
        ("nofile", 12, "no service named 'nosuch' is running"),
    ],
)
def test_of_a_command_without_a_jvm(limit: str, value: int, line: str) -> None:
    """A command that asks a service works with less than a JVM needs, and says what it lacks too."""
    words = ["prlimit", f"--{limit}={value}:{value}", INSTALLED, "status", "nosuch"]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == (71 if "needs" in line else 69)
    assert [one.partition("; expected")[0] for one in done.stderr.splitlines()] == [f"jvmbind: {line}"]
