"""Every example is started as its own comment says, as root in a network namespace, and answers.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import sys
import zipfile
from pathlib import Path

import pytest

from support.artifacts import artifact
from support.clients import http_get_when_served
from support.jdks import Jdk, compiler, write_jar
from support.needs import need
from support.network import Network
from support.runner import PLAIN, QUICK_JVM, Runner
from support.servers import Jetty, Tomcat
from support.users import SERVICE_USER, User
from support.waiting import wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.jvm,
    pytest.mark.servers,
    pytest.mark.timeout(180),
    pytest.mark.skipif(PLAIN, reason="the examples start jvmbind themselves"),
]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def environment(workspace: Path, jdk: Jdk) -> dict[str, str]:
    """An environment in which `jvmbind` is the one under test."""
    return with_command(workspace, jdk)


def with_command(workspace: Path, jdk: Jdk) -> dict[str, str]:
    """Return an environment in which `jvmbind` is the one under test, and this JDK the one that is found."""
    command = workspace / "bin" / "jvmbind"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -m jvmbind "$@"\n')
    command.chmod(0o755)
    return {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}", "JAVA_HOME": str(jdk.home)}


def copied(name: str, workspace: Path) -> Path:
    """Return a copy of an example that the service user can read."""
    return Path(shutil.copytree(EXAMPLES / name, workspace / name))


@pytest.mark.jdks(tools=True)  # a single-file source launch needs a compiler
def test_syslog(runner: Runner, network: Network, workspace: Path, environment: dict[str, str]) -> None:
    """The syslog server, run from its source file, prints what comes to UDP port 514."""
    service = runner.start(["sh", str(copied("syslog", workspace) / "run.sh"), SERVICE_USER], environment=environment)

    service.expect("^listening on .*:514$", timeout=60)
    with network.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"<11>app: disk full\n", ("127.0.0.1", 514))
    service.expect("^127.0.0.1 err app: disk full$")
    assert service.stop() == 143, service.report()


def test_tomcat_by_its_script(
    runner: Runner, network: Network, workspace: Path, service_user: User, environment: dict[str, str]
) -> None:
    """Tomcat's catalina.sh serves port 80."""
    home = workspace / "tomcat"
    shutil.copytree(artifact("tomcat11"), home)
    (home / "bin" / "catalina.sh").chmod(0o755)
    tomcat = Tomcat(home, workspace / "base", service_user)
    environment |= {"CATALINA_HOME": str(home), "CATALINA_BASE": str(tomcat.base)}
    service = runner.start(["sh", str(EXAMPLES / "tomcat-wrap" / "run.sh"), SERVICE_USER], environment=environment)

    assert "successfully installed Tomcat" in http_get_when_served(network, 80).body
    assert service.stop() == 143, service.report()


def test_jetty_by_a_file(
    runner: Runner, network: Network, workspace: Path, service_user: User, jdk: Jdk, jvmbind: list[str], environment: dict[str, str]
) -> None:
    """Jetty, left at its own port, serves port 80 by the configuration file; only the two folders are other ones here."""
    home = artifact("jetty12")
    jetty = Jetty(home, workspace / "base", service_user, jdk)
    text = (EXAMPLES / "jetty" / "jetty.toml").read_text()
    config = workspace / "jetty.toml"
    config.write_text(text.replace("/opt/jetty", str(home)).replace("/srv/jetty", str(jetty.base)))
    service = runner.start([*jvmbind, "run", "-c", str(config)], environment=environment)

    service.expect("generation 1 is ready", stream="stderr", timeout=60)
    assert http_get_when_served(network, 80).body == "a page of jetty\n"
    assert service.stop() == 143, service.report()


def test_systemd_socket(runner: Runner, network: Network, workspace: Path, probes: Path, environment: dict[str, str]) -> None:
    """The two units' own lines, as systemd would carry them out: it binds, and the service starts without privilege."""
    need("systemd-socket-activate", there=shutil.which("systemd-socket-activate") is not None)
    socket_unit = (EXAMPLES / "systemd" / "hello.socket").read_text()
    service_unit = (EXAMPLES / "systemd" / "hello.service").read_text()
    port = re.search("^ListenStream=(.*)$", socket_unit, re.MULTILINE)
    name = re.search("^FileDescriptorName=(.*)$", socket_unit, re.MULTILINE)
    command = re.search("^ExecStart=/usr/local/bin/jvmbind (.*)$", service_unit, re.MULTILINE)
    assert port
    assert name
    assert command
    jar = write_jar(workspace / "hello.jar", probes, {"Main-Class": "probe.SocketServer"})
    words = [str(jar) if word.endswith(".jar") else word for word in shlex.split(command.group(1))]
    start = ["setpriv", "--reuid", SERVICE_USER, "--regid", SERVICE_USER, "--init-groups", "--inh-caps=-all", "--no-new-privs"]
    service = runner.start(
        ["systemd-socket-activate", "-l", port.group(1), f"--fdname={name.group(1)}", "-E", "PATH", "-E", "JAVA_HOME",
         *start, str(workspace / "bin" / "jvmbind"), *words, "*", port.group(1)],
        environment=environment,
    )  # fmt: skip
    service.quiet = False
    wait_until(lambda: "tcp6 [::]:80" in network.bound(), 10, "systemd's own bind")

    assert http_get_when_served(network, 80).status == 200
    assert service.stop() == 143, service.report()


def test_rolling_update(runner: Runner, workspace: Path) -> None:
    """Two rolling updates of two replicas behind HAProxy lose no request under load, and every version has sold something."""
    need("haproxy", there=shutil.which("haproxy") is not None)
    environment = with_command(workspace, compiler()) | {"ROLLING_LOG": str(workspace / "rolling.log")}
    command = ["sh", str(EXAMPLES / "rolling-update" / "run.sh"), "--updates", "2", "--replicas", "2", "--only", "jvmbind"]
    service = runner.start(command, environment=environment)

    assert service.wait(timeout=170) == 0, service.report()
    counts = json.loads(service.stdout.splitlines()[-1])["jvmbind"]
    assert {kind: counts[kind] for kind in ("refused", "reset", "timeout", "wrong")} == {
        "refused": 0, "reset": 0, "timeout": 0, "wrong": 0,
    }  # fmt: skip
    assert counts["ok"] > 100
    assert counts["different_bodies"] == 3


def test_spring_boot(runner: Runner, network: Network, environment: dict[str, str]) -> None:
    """The Spring Boot jar, which binds 8080, serves port 80 and shuts down gracefully."""
    jar = artifact("spring-boot") / "shop.jar"
    service = runner.start(["sh", str(EXAMPLES / "spring-boot" / "run.sh"), str(jar), SERVICE_USER], environment=environment)

    assert http_get_when_served(network, 80, timeout=60).body == "open\n"
    assert service.stop() == 143, service.report()


def test_spring_boot_starter(
    runner: Runner, network: Network, workspace: Path, jdk: Jdk, jvmbind: list[str], environment: dict[str, str]
) -> None:
    """The starter says ready when Spring accepts traffic, and has Spring refuse it at the drain, before the shutdown."""
    unpacked = workspace / "shop"
    with zipfile.ZipFile(artifact("spring-boot") / "shop.jar") as jar:
        jar.extractall(unpacked)
    class_path = f"{artifact('spring-boot-starter') / 'starter.jar'}:{unpacked}/BOOT-INF/classes:{unpacked}/BOOT-INF/lib/*"
    options = ["--java-home", str(jdk.home), "-l", "http=80:8080", "--ready", "notify", "-u", SERVICE_USER]
    words = [*QUICK_JVM, "-Dlogging.level.org.springframework.boot.availability=debug", "-cp", class_path, "example.Shop"]
    service = runner.start([*jvmbind, "run", *options, "--", *words], environment=environment)

    service.expect("generation 1 is ready", stream="stderr", timeout=60)
    assert http_get_when_served(network, 80).body == "open\n"
    assert service.stop() == 143, service.report()
    refused = re.findall(r"\[(\S+)\].* ReadinessState changed .*REFUSING_TRAFFIC", service.stdout)
    assert refused[0].endswith("bind-lifecycle"), service.stdout
