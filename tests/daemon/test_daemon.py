"""commons-daemon classes under `jvmbind run --daemon`: the four calls, the controller, the signals, as under jsvc.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from support import procfs
from support.artifacts import artifact
from support.clients import http_get, http_get_when_served
from support.jdks import Jdk
from support.network import Network
from support.runner import QUICK, QUICK_JVM, Runner
from support.servers import Tomcat
from support.service import Service
from support.users import SERVICE_USER, User
from support.waiting import wait_until

OPTIONS = ["-l", "80", "-u", SERVICE_USER]


def start(runner: Runner, jdk: Jdk, name: str, class_path: str, *arguments: str, restart: str = "on-failure") -> Service:
    """Start a daemon class with these arguments."""
    return runner.run([*OPTIONS, "--restart", restart, "--daemon", name], jdk, [*QUICK_JVM, "-cp", class_path, *arguments])


def calls(service: Service) -> list[str]:
    """Return what the daemon said, in order."""
    return service.stdout.splitlines()


def test_class_without_interface(runner: Runner, network: Network, service_user: User, jdk: Jdk, daemons: str) -> None:
    """init(String[]), start, stop and destroy are called on the main thread; SIGTERM ends with 143."""
    service = start(runner, jdk, "daemon.Plain", daemons, "80", "b")

    assert http_get_when_served(network, 80).body == "daemon\n"
    for pid in service.processes():
        procfs.assert_dropped(pid, uid=service_user.uid, gid=service_user.gid)
    assert service.stop() == 143, service.report()
    assert calls(service) == ["init 80,b on main", "start on main", "stop on main", "destroy on main"]
    service.assert_nothing_left()


def test_class_in_the_place_of_the_main_class(runner: Runner, network: Network, jdk: Jdk, daemons: str) -> None:
    """As with jsvc the class may stand before its arguments; it is not an argument itself then."""
    service = start(runner, jdk, "daemon.Plain", daemons, "daemon.Plain", "80")

    assert http_get_when_served(network, 80).status == 200
    assert service.stop() == 143, service.report()
    assert calls(service)[0] == "init 80 on main"


def test_interface(runner: Runner, network: Network, jdk: Jdk, daemons: str, library: str) -> None:
    """A class with the interfaces gets a DaemonContext, and SIGUSR2 as DaemonUserSignal."""
    service = start(runner, jdk, "daemon.WithInterface", f"{daemons}:{library}", "80")
    assert http_get_when_served(network, 80).status == 200

    os.kill(service.pid, signal.SIGUSR2)
    service.expect("^signal on ")
    assert http_get(network, 80).status == 200
    assert service.stop() == 143, service.report()
    assert [line.partition(" on ")[0] for line in calls(service)] == ["init 80", "start", "signal", "stop", "destroy"]


def test_reload(runner: Runner, network: Network, jdk: Jdk, daemons: str, library: str) -> None:
    """DaemonController.reload() stops and destroys the daemon and begins anew, on the same port."""
    service = start(runner, jdk, "daemon.WithInterface", f"{daemons}:{library}", "80")
    assert http_get_when_served(network, 80, "/reload").status == 200

    wait_until(lambda: len(calls(service)) == 6, 20, "the second start")
    assert http_get_when_served(network, 80).status == 200
    assert [line.partition(" on ")[0] for line in calls(service)] == ["init 80", "start", "stop", "destroy", "init 80", "start"]
    assert service.stop() == 143, service.report()


def test_shutdown(runner: Runner, network: Network, jdk: Jdk, daemons: str, library: str) -> None:
    """DaemonController.shutdown() stops, destroys and ends the service with 0."""
    service = start(runner, jdk, "daemon.WithInterface", f"{daemons}:{library}", "80")
    assert http_get_when_served(network, 80, "/shutdown").status == 200

    assert service.wait() == 0, service.report()
    assert [line.partition(" on ")[0] for line in calls(service)][2:] == ["stop", "destroy"]


def test_fail(runner: Runner, network: Network, jdk: Jdk, daemons: str, library: str) -> None:
    """DaemonController.fail() reports the message and the exception, and ends the service with 1."""
    service = start(runner, jdk, "daemon.WithInterface", f"{daemons}:{library}", "80", restart="on-crash")
    assert http_get_when_served(network, 80, "/fail").status == 200

    assert service.wait() == 1, service.report()
    assert "daemon daemon.WithInterface failed: disk full" in service.stderr
    assert "java.lang.IllegalStateException: why" in service.stderr


def test_init_that_throws(runner: Runner, jdk: Jdk, daemons: str) -> None:
    """What init throws is reported as an exception of main, and the status is 1."""
    service = start(runner, jdk, "daemon.Plain", daemons, "broken")

    assert service.wait() == 1, service.report()
    assert 'Exception in thread "main" java.lang.IllegalStateException: broken init' in service.stderr


@pytest.mark.parametrize(
    ("name", "message"), [("no.Such", "ClassNotFoundException: no.Such"), ("java.lang.Object", "has no init(String[])")]
)
def test_no_daemon(runner: Runner, jdk: Jdk, daemons: str, name: str, message: str) -> None:
    """A class that is missing, or is no daemon, is reported and the status is 1."""
    service = start(runner, jdk, name, daemons, "80")

    assert service.wait() == 1, service.report()
    assert message in service.stderr


def test_tomcat(runner: Runner, network: Network, jdk: Jdk, workspace: Path, service_user: User) -> None:
    """Tomcat's own daemon class, made for jsvc, serves port 80 and shuts down completely."""
    tomcat = Tomcat(artifact("tomcat11"), workspace / "base", service_user)
    *arguments, _ = tomcat.java_arguments()
    service = runner.run([*OPTIONS, "--daemon", "org.apache.catalina.startup.Bootstrap"], jdk, [*QUICK, *arguments])

    assert "successfully installed Tomcat" in http_get_when_served(network, 80).body
    assert service.stop() == 143, service.report()
    assert 'Destroying ProtocolHandler ["http-nio-80"]' in tomcat.log()
    service.assert_nothing_left()
