"""The JVM is the one that `java` creates: nothing is added to it that would have to be taken back.

Run by pytest as root. Must not import jvmbind, but in child processes.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.artifacts import artifact
from support.jdks import Jdk, write_jar
from support.runner import PLAIN, QUICK_JVM, Runner, as_user
from support.service import Service
from support.users import SERVICE_USER

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.root, pytest.mark.jvm, pytest.mark.skipif(PLAIN, reason="compares with plain java itself")]

OPTIONS = ["-l", "80", "-u", SERVICE_USER]
AOT_IN_ONE_STEP = 25  # JEP 514


@pytest.fixture(params=["direct", "supervised", "wrap"])
def start(request: pytest.FixtureRequest, runner: Runner, jvmbind: list[str], workspace: Path) -> Callable[..., Service]:
    """Start the words after `java` in one of three ways."""

    def begin(jdk: Jdk, *words: str) -> Service:
        if request.param != "wrap":
            return runner.run([*(["--direct"] if request.param == "direct" else ["--restart", "never"]), *OPTIONS], jdk, words)
        script = workspace / "start.sh"
        script.write_text(f"#!/bin/sh\nexec java {shlex.join(words)}\n")
        script.chmod(0o755)
        return runner.start(
            [*jvmbind, "wrap", "--restart", "never", "--java-home", str(jdk.home), *OPTIONS, "--", str(script)],
            environment=os.environ,
        )

    return begin


def folder_of_the_service(workspace: Path) -> Path:
    """Return a folder in which the service user may write."""
    folder = workspace / "written"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def test_shutdown_hooks_of_agents_and_of_jfr(start: Callable[..., Service], jdk: Jdk, probes: Path, workspace: Path) -> None:
    """Hooks that are registered while the JVM starts run at SIGTERM: an agent's, and the one that writes a flight recording."""
    jar = write_jar(workspace / "hooks.jar", probes, {"Premain-Class": "probe.HookAgent"}, only="probe/")
    recording = folder_of_the_service(workspace) / "flight.jfr"
    agents = [f"-javaagent:{jar}", f"-XX:StartFlightRecording=filename={recording}"]

    service = start(jdk, *QUICK_JVM, *agents, "-cp", str(probes), "probe.ChannelServer", "*", "80")
    service.expect(r"^READY$")

    assert service.stop() == 143, service.report()
    assert "AGENT-HOOK" in service.stdout
    assert recording.read_bytes()[:4] == b"FLR\0"


def test_archives_of_plain_java(start: Callable[..., Service], runner: Runner, jdk: Jdk, probes: Path, workspace: Path) -> None:
    """An archive made by plain `java` is used: -Xshare:on or -XX:AOTMode=on accepts it, and the program's class comes from it."""
    jar = write_jar(workspace / "app.jar", probes, {}, only="probe/")
    archive = folder_of_the_service(workspace) / "app.archive"
    make, use = f"-XX:ArchiveClassesAtExit={archive}", ["-Xshare:on", f"-XX:SharedArchiveFile={archive}"]
    if jdk.feature >= AOT_IN_ONE_STEP:
        make, use = f"-XX:AOTCacheOutput={archive}", ["-XX:AOTMode=on", f"-XX:AOTCache={archive}"]
    program = [*QUICK_JVM, "-cp", str(jar), "-Xlog:class+load:stdout", "probe.Ending", "return"]
    made = runner.start([*as_user(SERVICE_USER), jdk.java, make, *program])
    assert made.wait(90) == 0, made.report()

    service = start(jdk, *use, *program)

    assert service.wait() == 0, service.report()
    assert "RETURNED" in service.stdout
    (line,) = [line for line in service.stdout.splitlines() if "] probe.Ending source:" in line]
    assert "shared objects file" in line


CREATE = """
import os, sys
sys.path.insert(0, sys.argv[1])
from jvmbind.worker import jvm
from jvmbind.worker.jni import Jni, JavaError
import _jpype
assert _jpype.__file__.startswith(sys.argv[1]), _jpype.__file__
remark = jvm.create_jvm(sys.argv[2], ["-Djava.class.path=/nowhere", "-Xmx64m"])
jni = Jni(sys.argv[2])
jni.find_class("java/lang/System")
print(_jpype.__version__, "jpype" in sys.modules, remark, sep="|", flush=True)
os._exit(0)
"""


def create(jdk: Jdk, version: str) -> list[str]:
    """Create a JVM with a version of JPype and return the version, whether all of JPype was loaded, and the remark."""
    command = [sys.executable, "-I", "-c", CREATE, str(artifact(f"jpype-{version}")), str(jdk.home / "lib/server/libjvm.so")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().split("|")


@pytest.mark.parametrize("version", ["1.7.0", "1.7.1"])
def test_each_version_of_jpype(jdk: Jdk, version: str) -> None:
    """Each version of JPype that may be installed creates the JVM alone."""
    assert create(jdk, version) == [version, "False", ""]


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="JPype 1.4 is not to be had for this Python")
def test_a_jpype_that_behaves_otherwise(jdk: Jdk) -> None:
    """Where a JPype cannot do that (1.4, whose start takes other arguments), its documented start is used, and it is said."""
    version, is_whole, remark = create(jdk, "1.4.1")

    assert (version, is_whole) == ("1.4.1", "True")
    assert remark.startswith("JPype 1.4.1 cannot create a JVM alone (TypeError: ")
