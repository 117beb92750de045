"""A Java that the script starts past `wrap`, or chooses against it, is named, and is never a success.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

import pytest

from support import procfs
from support.clients import http_get_when_served
from support.jdks import Jdk, find_jdks
from support.network import Network
from support.runner import Runner
from support.service import Service

Wrap = Callable[..., Service]
Script = Callable[[str], list[str]]

UNREACHED = r"the JVM that the script started as process (\d+) \((.*?)\) gets no listener"


@pytest.mark.parametrize(
    ("way", "status"),
    [
        ("exec {java} {server}", 1),
        ("env -i {java} {server}", 1),
        ("{java} {server} || exit 3", 3),
        ("nohup {java} {server} &", 75),
        ("setsid -f env -i {java} {server}", 75),
        ("{java} {server} & sleep 5; exit 0", 75),
    ],
)
def test_a_fixed_path(wrap: Wrap, script: Script, server: str, network: Network, jdk: Jdk, way: str, status: int) -> None:
    """A JVM that a script starts by a path of its own, and that is refused the port, is named once, and nothing ends with 0."""
    del network
    service = wrap(jdk, script(way.format(java=jdk.java, server=server)))

    assert service.wait() == status, service.report()
    ((_, executable),) = re.findall(UNREACHED, service.stderr)
    assert executable == jdk.java
    assert "JAVA_HOME" in service.stderr
    assert "jvmbind run" in service.stderr
    service.assert_nothing_left()


@pytest.mark.parametrize(("way", "status"), [("exec {}", None), ("{} &", 75)])
def test_one_that_lives(
    wrap: Wrap, script: Script, runner: Runner, network: Network, jdk: Jdk, way: str, status: int | None
) -> None:
    """A JVM out of reach that serves some other port is named while it lives, once; one left behind makes a failed start."""
    java = shlex.join([jdk.java, *runner.java_arguments("SocketServer", "*", "8080")])
    service = wrap(jdk, script(way.format(java)), ("-l", "80", "--start-timeout", "10"))
    assert http_get_when_served(network, 8080).status == 200

    service.expect(UNREACHED, stream="stderr")
    (named,) = re.findall(UNREACHED, service.stderr)
    assert int(named[0]) in [pid for pid in service.processes() if procfs.is_jvm(pid)]
    if status is None:
        service.expect("was not claimed within 10 s", stream="stderr")
        assert service.stop() == 143, service.report()
    else:
        assert service.wait(60) == status, service.report()
    assert len(re.findall(UNREACHED, service.stderr)) == 1, service.report()
    service.assert_nothing_left()


def test_a_launcher(wrap: Wrap, script: Script, server: str, runner: Runner, network: Network, jdk: Jdk) -> None:
    """A launcher JVM is reached, the server JVM that it starts from `java.home` is not: that one is named."""
    del network
    launcher = shlex.join(runner.java_arguments("Launcher", *shlex.split(server)))
    service = wrap(jdk, script(f"exec java {launcher}"))

    assert service.wait() != 0, service.report()
    ((_, executable),) = re.findall(UNREACHED, service.stderr)
    assert executable == jdk.java


def test_no_false_alarm(wrap: Wrap, script: Script, server: str, runner: Runner, network: Network, jdk: Jdk) -> None:
    """Helpers of a script that are no servers, and every java that is reached, are not named, however long they run."""
    facts = shlex.join(runner.java_arguments("Facts", "x"))
    sleeps = f"timeout 4 java {shlex.join(runner.java_arguments('Ending', 'idle'))}"
    # Reads its password from a pipe that says nothing for a while.
    keys = "sleep 3 | $JAVA_HOME/bin/keytool -genkeypair -alias a -dname CN=a -keyalg EC -keystore /nowhere/k"
    service = wrap(
        jdk,
        script(
            f"for n in 1 2 3 4 5 6 7 8; do java -version; done\njava -Xlog:help >/dev/null\njava -XshowSettings:all -version\n"
            f"java {facts} >/dev/null\n{sleeps}\n{keys}\nexec java {server}"
        ),
    )

    assert http_get_when_served(network, 80).status == 200
    assert not re.findall(UNREACHED, service.stderr), service.stderr
    assert "asked for" not in service.stderr
    assert service.stop() == 143, service.report()


@pytest.mark.parametrize("choice", ["export JAVA_HOME={}; exec $_RUNJAVA", "JRE_HOME={}; exec java", "exec {}/bin/java"])
def test_another_java(wrap: Wrap, script: Script, server: str, network: Network, jdk: Jdk, choice: str) -> None:
    """A script that chooses another Java than the one that wrap runs is said to, with the option that chooses it."""
    others = [one for one in find_jdks() if one.home != jdk.home]
    other = others[0]
    service = wrap(jdk, script(f"{choice.format(other.home)} {server}"))

    line = (
        f"the script asked for the Java of {other.home}, wrap runs that of {jdk.home}; to run the other: --java-home {other.home}"
    )
    service.expect(re.escape(line), stream="stderr")
    if choice.startswith("exec"):
        assert service.wait() == 1, service.report()
    else:
        assert http_get_when_served(network, 80).status == 200
        assert service.stop() == 143, service.report()
    assert service.stderr.count(line) == 1


def test_the_same_java_by_another_name(wrap: Wrap, script: Script, server: str, network: Network, jdk: Jdk) -> None:
    """A JAVA_HOME that leads to the very Java that runs, by a link or with a file that is not there, is not another choice."""
    link = 'ln -s "$REAL" "$PWD/link.$$"'
    service = wrap(
        jdk,
        script(
            f"cd $(mktemp -d)\n{link}\nexport JAVA_HOME=$PWD/link.$$ JRE_HOME=$JAVA_HOME/jre\n"
            f"$_RUNJAVA -version\nexec $_RUNJAVA {server}"
        ),
        environment={"REAL": str(jdk.home)},
    )

    assert http_get_when_served(network, 80).status == 200
    assert "asked for" not in service.stderr
    assert service.stop() == 143, service.report()
