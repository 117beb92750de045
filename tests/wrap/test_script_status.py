"""How a script ends is what the service ends with, and the script's own stop command is not a crash.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support import procfs
from support.clients import http_get, http_get_when_served
from support.jdks import Jdk
from support.network import Network
from support.runner import Runner, as_user
from support.service import Service
from support.users import SERVICE_USER, User
from support.waiting import wait_until

pytestmark = [pytest.mark.jdks(at_most=21)]

Wrap = Callable[..., Service]
Script = Callable[[str], list[str]]

# The JVM is nobody's child, and the script waits for it all the same.
WATCHED = r"""
f=$(mktemp)
setsid -f sh -c "echo \$\$ > $f; exec java {}"
until [ -s $f ]; do sleep 0.1; done
exec tail --pid=$(cat $f) -f /dev/null
"""
OPTIONS = ("-l", "80", "--restart", "never")


@pytest.mark.parametrize(
    ("text", "ending", "status"),
    [
        ("java {}; exit 0", "exit 3", 0),
        ("java {}; exit 7", "exit 0", 7),
        ("java {} & wait; exit 0", "exit 3", 0),
        ("java {} || exit 9", "exit 3", 9),
        ("java {}", "exit 3", 3),
        ("exec java {}", "exit 3", 3),
        (WATCHED, "exit 3", 0),
        ("java {} & exit 0", "exit 3", 3),  # the script had no status of the JVM to give on
        ("sh -c 'java {}; exit $?' & exit 0", "exit 3", 3),
        ("java {}; kill -SEGV $$", "exit 0", 139),
        ("java {}; kill -KILL $$", "exit 0", 137),
        ("java {}; kill -TERM $$", "exit 0", 143),
    ],
)
def test_the_status_is_the_scripts(
    wrap: Wrap, script: Script, runner: Runner, network: Network, jdk: Jdk, text: str, ending: str, status: int
) -> None:
    """What the script ends with is the service's status, whatever its JVM ended with, as without jvmbind."""
    java = shlex.join(runner.java_arguments("Once", "80", *ending.split()))
    service = wrap(jdk, script(text.format(java)), OPTIONS)

    assert http_get_when_served(network, 80).status == 200
    assert service.wait() == status, service.report()
    service.assert_nothing_left()


# A start script with a pid file, which stops its JVM as ActiveMQ's and Tomcat's -force do: by SIGKILL, and waits.
DISTRIBUTION = """
pid_file={folder}/pid
case $1 in
    run) echo $$ > $pid_file; exec java {server} ;;
    start) java {server} & echo $! > $pid_file ;;
    status) sleep 1000 ;;
    stop) kill -9 $(cat $pid_file); while kill -0 $(cat $pid_file) 2>/dev/null; do sleep 0.1; done; sleep ${{LINGER:-0.1}} ;;
esac
"""


@pytest.fixture
def distribution(script: Script, server: str, workspace: Path, service_user: User) -> Path:
    """A start script that knows run, start, status and stop."""
    folder = workspace / "state"
    folder.mkdir()
    os.chown(folder, service_user.uid, service_user.gid)
    return Path(script(DISTRIBUTION.format(folder=folder, server=server))[0])


def killed(service: Service) -> None:
    """Kill the one JVM of a service, as somebody outside does it."""
    (jvm,) = [pid for pid in service.processes() if procfs.is_jvm(pid)]
    os.kill(jvm, signal.SIGKILL)


@pytest.mark.parametrize(
    ("action", "who", "way"),
    [
        ("run", "service", "{}"),
        ("start", "service", "cd {folder} && ./{name}"),
        ("run", "root", "sh {}"),
        ("run", "root", "cd {folder} && ./{name}"),
        ("run", "service", "/bin/bash -e {folder}/../{base}/{name}"),
    ],
)
def test_its_own_stop_command(wrap: Wrap, distribution: Path, network: Network, jdk: Jdk, action: str, who: str, way: str) -> None:
    """The script's `stop`, run by the user of the service or by root, ends the service, though it kills; the log says so."""
    service = wrap(jdk, [str(distribution), action])
    service.expect("generation 1 is ready", stream="stderr")

    place = {"folder": distribution.parent, "base": distribution.parent.name, "name": distribution.name}
    command = f"{way.format(distribution, **place)} stop"
    subprocess.run([*(as_user(SERVICE_USER) if who == "service" else []), "sh", "-c", command], check=True, timeout=60)

    assert service.wait() == 143, service.report()
    assert re.search(r"requested by the script's own stop command: .*start\.sh stop \(process \d+ of user ", service.stderr)
    assert not network.bound()


def test_a_stop_script_beside_it(wrap: Wrap, distribution: Path, jdk: Jdk) -> None:
    """A `stop.sh` in the folder of the script is a stop command of its own."""
    stop = distribution.with_name("stop.sh")
    stop.write_text(f"#!/bin/sh\nset -- stop\n. {distribution}\n")
    stop.chmod(0o755)
    service = wrap(jdk, [str(distribution), "run"])
    service.expect("generation 1 is ready", stream="stderr")

    subprocess.run([*as_user(SERVICE_USER), stop], check=True, timeout=60)

    assert service.wait() == 143, service.report()
    assert "own stop command" in service.stderr


@pytest.mark.parametrize("beside", ["status", "an editor", "the stop of another user"])
def test_a_kill_from_outside(wrap: Wrap, distribution: Path, runner: Runner, network: Network, jdk: Jdk, beside: str) -> None:
    """A SIGKILL that no stop command sent is a crash, whatever else runs, and the log says how to stop the service."""
    service = wrap(jdk, [str(distribution), "run"])
    service.expect("generation 1 is ready", stream="stderr")
    commands = {
        "status": [*as_user(SERVICE_USER), str(distribution), "status"],
        "an editor": [*as_user(SERVICE_USER), "tail", "-f", str(distribution), "stop"],
        "the stop of another user": [*as_user("nobody"), "env", "LINGER=1000", str(distribution), "stop"],
    }
    other = runner.start(commands[beside])
    wait_until(lambda: str(distribution) in "".join(procfs.command_line(other.pid)), 20, "the other process")

    killed(service)

    service.expect(r"died after .*: killed by SIGKILL.*jvmbind stop start\b", stream="stderr")
    wait_until(lambda: "generation 2 is ready" in service.stderr, 60, "the next generation")
    assert http_get(network, 80).status == 200
    other.end()
    assert service.stop() == 143, service.report()


@pytest.mark.parametrize("when", ["the script stops what may be left", "a helper stays", "before the JVM is started"])
def test_a_stop_command_of_the_start(
    wrap: Wrap, distribution: Path, workspace: Path, network: Network, jdk: Jdk, when: str
) -> None:
    """A JVM that is killed just after its start is started again: stop commands of the start or before it did not ask for it."""
    stop = distribution.with_name("stop.sh")
    stop.write_text("#!/bin/sh\nsleep $1\n")
    stop.chmod(0o755)
    go = workspace / "go"
    own = {"the script stops what may be left": f"{stop} 1", "a helper stays": f"{stop} 1000 &"}
    first = own.get(when, f"echo waiting; until [ -e {go} ]; do sleep 0.1; done")
    distribution.write_text(distribution.read_text().replace("run) ", f"run) {first}\n"))
    service = wrap(jdk, [str(distribution), "run"])
    if when not in own:
        service.expect("waiting")
        subprocess.run([*as_user(SERVICE_USER), stop, "1"], check=True, timeout=60)
        go.touch()
    service.expect("generation 1 is ready", stream="stderr")

    killed(service)

    service.expect(r"generation 2 is ready", stream="stderr")
    assert http_get(network, 80).status == 200
    assert "own stop command" not in service.stderr
    assert service.stop() == 143, service.report()
    service.assert_nothing_left()
