"""Start scripts of well-known servers, unmodified, on ports below 1024: Tomcat, Jetty, Artemis, Karaf, Derby.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support import procfs
from support.artifacts import artifact
from support.clients import http_get, http_get_when_served
from support.jdks import Jdk
from support.needs import need
from support.network import Network
from support.runner import QUICK
from support.servers import Jetty, Tomcat, give_to
from support.service import Service
from support.users import User

pytestmark = [pytest.mark.servers]

# The scripts' own variables for options of the JVM.
TOMCAT, JETTY = {"CATALINA_OPTS": " ".join(QUICK)}, {"JAVA_OPTIONS": " ".join(QUICK)}

Wrap = Callable[..., Service]


def installed(name: str, workspace: Path) -> Path:
    """Return a copy of a distribution whose scripts are executable, as unpacking it by unzip or tar gives."""
    home = workspace / name
    shutil.copytree(artifact(name), home)
    for path in (home / "bin").iterdir():
        if path.is_file():
            path.chmod(0o755)
    return home


def assert_powerless(service: Service, user: User) -> None:
    """Assert that every thread of every process of the service has dropped."""
    for pid in service.processes():
        procfs.assert_dropped(pid, uid=user.uid, gid=user.gid, groups=user.groups)


def tree(service: Service) -> list[str]:
    """Return the service's processes from the supervisor down, each with the name of what it runs, without responders."""
    names = []
    for pid in service.processes():
        words = procfs.command_line(pid)
        if words[0].startswith("jvmbind: responder"):
            continue
        shown = next((word for word in words if word.endswith(("__main__.py", ".sh", "karaf", "xargs", "/java"))), words[0])
        names.append("/".join(shown.split("/")[-2:]))
    return names


@pytest.mark.parametrize("action", ["run", "start"])
def test_catalina(wrap: Wrap, network: Network, jdk: Jdk, workspace: Path, service_user: User, action: str) -> None:
    """`catalina.sh run`, which execs java, and `catalina.sh start`, which leaves it behind: served, stopped completely."""
    home = installed("tomcat11", workspace)
    tomcat = Tomcat(home, workspace / "base", service_user)
    service = wrap(jdk, [str(home / "bin" / "catalina.sh"), action], environment={"CATALINA_BASE": str(tomcat.base), **TOMCAT})

    assert "successfully installed Tomcat" in http_get_when_served(network, 80).body
    assert_powerless(service, service_user)
    assert tree(service) == ["jvmbind supervisor catalina", "worker/__main__.py", "jvmbind/__main__.py"]
    assert service.stop() == 143, service.report()
    assert 'Destroying ProtocolHandler ["http-nio-80"]' in tomcat.log()
    service.assert_nothing_left()


def test_catalina_crash(wrap: Wrap, network: Network, jdk: Jdk, workspace: Path, service_user: User) -> None:
    """A crash of Tomcat's JVM runs `catalina.sh run` again; the port stays bound meanwhile."""
    home = installed("tomcat11", workspace)
    tomcat = Tomcat(home, workspace / "base", service_user)
    service = wrap(jdk, [str(home / "bin" / "catalina.sh"), "run"], environment={"CATALINA_BASE": str(tomcat.base), **TOMCAT})
    service.expect("generation 1 is ready", stream="stderr")
    (jvm,) = [pid for pid in service.processes() if procfs.is_jvm(pid)]

    os.kill(jvm, signal.SIGKILL)
    service.expect("generation 1 .*died after", stream="stderr")
    assert "tcp6 [::]:80" in network.bound()
    service.expect("generation 2 is ready", stream="stderr")
    assert http_get(network, 80).status == 200
    assert service.stop() == 143, service.report()


@pytest.mark.parametrize("action", ["run", "start"])
def test_jetty(wrap: Wrap, network: Network, jdk: Jdk, workspace: Path, service_user: User, action: str) -> None:
    """`jetty.sh` asks Java for its arguments first, then starts it by xargs in the background and ends."""
    home = installed("jetty12", workspace)
    jetty = Jetty(home, workspace / "base", service_user, jdk)
    with (jetty.base / "start.d" / "http.ini").open("a") as file:
        file.write("\njetty.http.port=80\n")
    give_to(service_user, jetty.base)
    environment = {"JETTY_HOME": str(home), "JETTY_BASE": str(jetty.base), "JETTY_RUN": str(jetty.base), **JETTY}
    service = wrap(jdk, [str(home / "bin" / "jetty.sh"), action], environment=environment)

    assert http_get_when_served(network, 80).body == "a page of jetty\n"
    service.expect("generation 1 is ready", stream="stderr")
    assert_powerless(service, service_user)
    assert service.stop() == 143, service.report()
    assert "Stopped oejs.ServerConnector@" in service.stderr
    service.assert_nothing_left()


def test_artemis(wrap: Wrap, network: Network, jdk: Jdk, workspace: Path, service_user: User) -> None:
    """`artemis run` of a broker that its own `artemis create` made: Netty's native epoll gets port 25 for 61616."""
    home = installed("artemis", workspace)
    broker = workspace / "broker"
    created = subprocess.run(
        [home / "bin" / "artemis", "create", "--user", "a", "--password", "a", "--allow-anonymous", "--silent", "--no-web",
         "--no-amqp-acceptor", "--no-hornetq-acceptor", "--no-mqtt-acceptor", "--no-stomp-acceptor", broker],
        env={**os.environ, "JAVA_HOME": str(jdk.home)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert created.returncode == 0, created.stdout + created.stderr
    for path in (broker, *broker.rglob("*")):
        os.chown(path, service_user.uid, service_user.gid)
    service = wrap(jdk, [str(broker / "bin" / "artemis"), "run"], ["-l", "25:61616"])

    service.expect("AMQ221007: Server is now active", timeout=60)
    with network.connect("127.0.0.1", 25) as client:
        client.sendall(b"CONNECT\naccept-version:1.2\nhost:a\n\n\0")
        assert client.recv(100).startswith(b"CONNECTED\n")
    assert_powerless(service, service_user)
    assert service.stop() == 143, service.report()
    assert "stopped, uptime" in service.stdout
    service.assert_nothing_left()


@pytest.mark.jdks(at_most=21)  # it needs the security manager, which JDK 24 took away
def test_karaf(wrap: Wrap, network: Network, jdk: Jdk, workspace: Path, service_user: User) -> None:
    """`karaf server`, a shell that waits for its JVM in a loop, answers as an SSH server on port 22."""
    home = installed("karaf", workspace)
    for path in (home, *home.rglob("*")):
        os.chown(path, service_user.uid, service_user.gid)
    service = wrap(jdk, [str(home / "bin" / "karaf"), "server"], ["-l", "0.0.0.0:22:8101"])

    service.expect("generation 1 is ready", stream="stderr", timeout=60)
    with network.connect("127.0.0.1", 22) as client:
        assert client.recv(100).startswith(b"SSH-2.0-")
    assert_powerless(service, service_user)
    assert service.stop(timeout=60) == 143, service.report()
    service.assert_nothing_left()


def test_derby(wrap: Wrap, network: Network, jdk: Jdk, service_user: User) -> None:
    """Debian's `derbyctl start`, by way of its java-wrappers library, is given port 527 for 1527."""
    need("derbyctl of Debian's package derby-tools", there=Path("/usr/bin/derbyctl").exists())
    service = wrap(jdk, ["/usr/bin/derbyctl", "start"], ["-l", "127.0.0.1:527:1527"])

    service.expect("started and ready to accept connections")
    network.connect("127.0.0.1", 527).close()
    assert any(row.endswith(("127.0.0.1:527", "127.0.0.1]:527")) for row in network.bound())
    assert_powerless(service, service_user)
    assert service.stop() == 143, service.report()
    service.assert_nothing_left()
