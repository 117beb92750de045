"""What start scripts do with Java, one thing a test: all of it works under `jvmbind wrap` as without.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable
from itertools import count
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

Wrap = Callable[..., Service]
Script = Callable[[str], list[str]]


@pytest.mark.parametrize(
    "java",
    [
        "exec $JAVA_HOME/bin/java",
        "exec $JRE_HOME/bin/java",
        "exec $JAVA",
        "exec $JAVACMD",
        "exec $_RUNJAVA",
        "exec java",
        'exec "$(command -v java)"',
        'home=$(dirname "$(dirname "$(readlink -f "$(command -v java)")")"); exec "$home/bin/java"',
        "$JAVA_HOME/bin/java",
        "setsid java",
        "exec 3>&1 4>&1 5>&1 6>&1 7>&1; exec java",
        "exec 3>&- 4>&- 5>&-; exec java",
    ],
)
def test_ways_to_java(wrap: Wrap, script: Script, server: str, network: Network, service_user: User, jdk: Jdk, java: str) -> None:
    """Every way by which a script finds Java leads to a JVM that is served by port 80 and has no privilege."""
    service = wrap(jdk, script(f"{java} {server}"))

    assert http_get_when_served(network, 80).status == 200
    for pid in service.processes():
        procfs.assert_dropped(pid, uid=service_user.uid, gid=service_user.gid, groups=service_user.groups)
    assert service.stop() == 143, service.report()
    service.assert_nothing_left()


def test_background_and_wait(wrap: Wrap, script: Script, server: str, network: Network, jdk: Jdk) -> None:
    """A script that starts its JVM in the background and waits for it is stopped with it."""
    service = wrap(jdk, script(f"java {server} &\nwait $!\necho ended $?"))

    assert http_get_when_served(network, 80).status == 200
    assert service.stop() == 143, service.report()
    service.assert_nothing_left()


def test_trap(wrap: Wrap, script: Script, server: str, network: Network, jdk: Jdk) -> None:
    """A script with a trap of its own for SIGTERM gets to run it to its end, and its status is the service's."""
    service = wrap(jdk, script(f"trap 'echo trapped; kill $pid; wait $pid; exit 7' TERM\njava {server} & pid=$!\nwait $pid"))

    assert http_get_when_served(network, 80).status == 200
    assert service.stop() == 7, service.report()
    assert "trapped" in service.stdout
    service.assert_nothing_left()


def test_script_that_leaves_its_jvm_behind(wrap: Wrap, script: Script, server: str, network: Network, jdk: Jdk) -> None:
    """The service lives as long as the JVM that the script left in the background, and is stopped with it."""
    service = wrap(jdk, script(f"java {server} &\necho left"))

    assert http_get_when_served(network, 80).status == 200
    service.expect("^left$")
    assert service.stop() == 143, service.report()
    service.assert_nothing_left()


def test_helpers_of_a_script(
    wrap: Wrap, script: Script, server: str, runner: Runner, network: Network, workspace: Path, jdk: Jdk
) -> None:
    """Version questions, keytool and a second, short-lived Java program work and are untouched by the listener."""
    store = workspace / "keys"
    store.mkdir()
    os.chmod(store, 0o777)
    facts = shlex.join(runner.java_arguments("Facts", "helper"))
    keytool = f"keytool -genkeypair -alias a -dname CN=a -keyalg EC -storepass secret -keystore {store}/k"
    service = wrap(
        jdk,
        script(
            f"java -version 2>&1 | head -1\n$JAVA_HOME/bin/java --version | head -1\njava {facts}\n"
            f"[ -x $JAVA_HOME/bin/keytool ] && $JAVA_HOME/bin/{keytool} 2>/dev/null\necho keytool $?\n"
            f"java -Dx=y NoSuchClass 2>/dev/null\necho missing $?\nexec java {server}"
        ),
    )

    assert http_get_when_served(network, 80).status == 200
    assert len(re.findall(rf"^openjdk (version \")?{jdk.feature}", service.stdout, re.MULTILINE)) == 2, service.stdout
    assert "ARG helper" in service.stdout
    assert "keytool 0" in service.stdout
    assert "missing 1" in service.stdout
    assert (store / "k").stat().st_size > 0
    assert service.stop() == 143, service.report()


def test_what_the_program_sees(wrap: Wrap, script: Script, runner: Runner, jdk: Jdk) -> None:
    """The application finds the real Java home in its properties and its environment, and nothing of the wrapper."""
    service = wrap(jdk, script(f"exec java {shlex.join(runner.java_arguments('Facts'))}"))

    assert service.wait() == 0, service.report()
    assert f"PROPERTY java.home={jdk.home}\n" in service.stdout
    assert f"ENV JAVA_HOME={jdk.home}\n" in service.stdout
    assert f"ENV JAVACMD={jdk.home}/bin/java\n" in service.stdout
    assert "JVMBIND" not in service.stdout
    assert "/jvmbind-" not in "".join(re.findall(r"^ENV .*$", service.stdout, re.MULTILINE))


@pytest.mark.jdks(at_most=21)
def test_the_name_of_the_process(wrap: Wrap, script: Script, server: str, network: Network, jdk: Jdk) -> None:
    """A script that looks for a process named java (Spark's, by `ps -o comm=`) finds its JVM by the number that it knows."""
    service = wrap(
        jdk, script(f"java {server} & pid=$!\nuntil [ $(cat /proc/$pid/comm) = java ]; do sleep 0.1; done\necho FOUND; wait")
    )

    service.expect("^FOUND$")
    assert http_get_when_served(network, 80).status == 200
    assert service.stop() == 143, service.report()


@pytest.mark.jdks(at_most=21)
def test_a_launcher_that_prints(wrap: Wrap, script: Script, server: str, runner: Runner, network: Network, jdk: Jdk) -> None:
    """A first JVM whose output the script reads (Spark's launcher) names a Java by JAVA_HOME through which the second is served."""
    facts = shlex.join(runner.java_arguments("Facts"))
    service = wrap(jdk, script(f"home=$(java {facts} | sed -n 's/^ENV JAVA_HOME=//p')\nexec $home/bin/java {server}"))

    assert http_get_when_served(network, 80).status == 200
    assert "gets no listener" not in service.stderr
    assert service.stop() == 143, service.report()
    service.assert_nothing_left()


@pytest.mark.parametrize("java", ["exec java {}", "java {}", "java {} & wait $!", "java {} &", "java {} & wait $! || exit 0"])
def test_restart_after_a_crash(wrap: Wrap, script: Script, server: str, network: Network, jdk: Jdk, java: str) -> None:
    """When the script's JVM is killed the script is started anew, and the port is never given up."""
    service = wrap(jdk, script(java.format(server)))
    assert http_get_when_served(network, 80).status == 200
    service.expect("generation 1 is ready", stream="stderr")
    (jvm,) = [pid for pid in service.processes() if procfs.is_jvm(pid)]
    if "exit 0" in java and not _knows_exits():
        pytest.skip("a script that hides the death of its JVM is seen through on Linux 6.15 or later alone")

    os.kill(jvm, signal.SIGKILL)
    service.expect("died after .*: killed by SIGKILL", stream="stderr")
    assert "tcp6 [::]:80" in network.bound()
    wait_until(lambda: service.stdout.count("READY") == 2, 40, "the second generation")
    assert http_get(network, 80).status == 200
    assert service.stop() == 143, service.report()
    service.assert_nothing_left()


def _knows_exits() -> bool:
    major, minor = (int(number) for number in os.uname().release.split(".")[:2])
    return (major, minor) >= (6, 15)


def test_a_restarting_script(wrap: Wrap, script: Script, server: str, network: Network, jdk: Jdk) -> None:
    """A script that starts its JVM again by itself is left to it: no generation dies."""
    service = wrap(jdk, script(f"n=0\nwhile [ $n -lt 2 ]; do java {server}; n=$((n+1)); done"))
    assert http_get_when_served(network, 80).status == 200
    service.expect("generation 1 is ready", stream="stderr")
    (jvm,) = [pid for pid in service.processes() if procfs.is_jvm(pid)]

    os.kill(jvm, signal.SIGKILL)
    wait_until(lambda: service.stdout.count("READY") == 2, 40, "the second JVM")
    assert http_get(network, 80).status == 200
    assert "died" not in service.stderr
    assert service.stop() == 143, service.report()
    service.assert_nothing_left()


@pytest.mark.parametrize("java", ["exec java {}", "java {} & wait $!", "java {} &"])
def test_reload(wrap: Wrap, script: Script, server: str, network: Network, jdk: Jdk, java: str) -> None:
    """SIGHUP runs the script a second time beside the first, whose JVM is drained and stopped; every client is served."""
    service = wrap(jdk, script(java.format(server)))
    service.expect("generation 1 is ready", stream="stderr")

    os.kill(service.pid, signal.SIGHUP)
    while "generation 2 is ready" not in service.stderr:
        assert http_get(network, 80).status == 200
    wait_until(lambda: len([pid for pid in service.processes() if procfs.is_jvm(pid)]) == 1, 30, "the end of the old JVM")
    assert http_get(network, 80).status == 200
    assert service.stop() == 143, service.report()
    service.assert_nothing_left()


def test_status(
    wrap: Wrap, script: Script, server: str, network: Network, jdk: Jdk, jvmbind: list[str], workspace: Path, service_user: User
) -> None:
    """`status` counts the memory and the threads of the JVM below the script, not those of the script alone."""
    control = workspace / "control" / "socket"
    control.parent.mkdir()
    os.chown(control.parent, service_user.uid, service_user.gid)
    service = wrap(jdk, script(f"java {server}\necho status $?"), ("-l", "80", "--control-socket", str(control)))
    assert http_get_when_served(network, 80).status == 200

    done = subprocess.run([*jvmbind, "status", "--json", str(control)], capture_output=True, text=True, check=True)
    (generation,) = json.loads(done.stdout)["generations"]

    (jvm,) = [pid for pid in service.processes() if procfs.is_jvm(pid)]
    assert generation["pid"] != jvm
    assert generation["privileges"]["threads"] > len(os.listdir(f"/proc/{jvm}/task"))
    assert generation["privileges"]["uids"] == [service_user.uid]
    assert generation["memory"]["rss"] > 40 * 1024
    assert service.stop() == 143, service.report()


def test_thread_dump(wrap: Wrap, script: Script, server: str, network: Network, jdk: Jdk) -> None:
    """SIGQUIT reaches the JVM and not the shell above it."""
    service = wrap(jdk, script(f"java {server}\necho status $?"))
    assert http_get_when_served(network, 80).status == 200

    os.kill(service.pid, signal.SIGQUIT)
    service.expect("Full thread dump")
    assert http_get(network, 80).status == 200
    assert service.stop() == 143, service.report()


def test_no_thread_dump(
    wrap: Wrap, script: Script, server: str, network: Network, jdk: Jdk, jvmbind: list[str], workspace: Path, service_user: User
) -> None:
    """A JVM with -Xrs below the script, which SIGQUIT would end, does not get it: `dump` is refused, and clients are served."""
    control = workspace / "control" / "socket"
    control.parent.mkdir()
    os.chown(control.parent, service_user.uid, service_user.gid)
    service = wrap(jdk, script(f"java -Xrs {server}"), ("-l", "80", "--control-socket", str(control)))
    assert http_get_when_served(network, 80).status == 200

    os.kill(service.pid, signal.SIGQUIT)
    done = subprocess.run([*jvmbind, "dump", str(control)], capture_output=True, text=True, check=False)

    assert done.returncode == 75
    assert "does not handle SIGQUIT (-Xrs)" in done.stderr
    assert http_get(network, 80).status == 200
    assert "died" not in service.stderr


def test_end_of_the_supervisor(wrap: Wrap, script: Script, server: str, network: Network, jdk: Jdk) -> None:
    """When the supervisor is killed, nothing of the script lives on, not even a JVM that it left in the background."""
    service = wrap(jdk, script(f"java {server} &\nwait"))
    assert http_get_when_served(network, 80).status == 200

    os.kill(service.pid, signal.SIGKILL)
    assert service.wait() == 137
    service.assert_nothing_left()


def test_script_status(wrap: Wrap, script: Script, jdk: Jdk) -> None:
    """The status of a script that ends by itself is the service's."""
    assert wrap(jdk, script("exit 3")).wait() == 3


def test_missing_script(wrap: Wrap, jdk: Jdk, workspace: Path) -> None:
    """A script that is not there is refused before anything is bound."""
    service = wrap(jdk, [str(workspace / "nothing.sh")])

    assert service.wait() == 78
    assert "nothing.sh: no such file or directory" in service.stderr


def test_java_outside_wrap(runner: Runner, jvmbind: list[str], jdk: Jdk) -> None:
    """`jvmbind java` outside `wrap` is `java`."""
    service = runner.start(
        [*jvmbind, "java", *runner.java_arguments("Facts", "alone")], environment={**os.environ, "JAVA_HOME": str(jdk.home)}
    )

    assert service.wait() == 0, service.report()
    assert "ARG alone" in service.stdout
    assert f"PROPERTY java.home={jdk.home}\n" in service.stdout


def test_facade_is_repaired(wrap: Wrap, script: Script, service_user: User, workspace: Path, jdk: Jdk) -> None:
    """The Java home that scripts are shown is a private folder of the user, and is put right when it was changed."""
    cache = workspace / "cache"  # not where the scripts of other tests are shown theirs
    cache.mkdir()
    os.chown(cache, service_user.uid, service_user.gid)
    environment = {"XDG_CACHE_HOME": str(cache)}
    text = "echo HOME $JAVA_HOME; stat -c 'MODE %a %U' $JAVA_HOME; cat $JAVA_HOME/bin/java | md5sum; "
    first = wrap(jdk, script(text), environment=environment)
    assert first.wait() == 0, first.report()
    match = re.search("^HOME (.*)$", first.stdout, re.MULTILINE)
    assert match
    home = Path(match.group(1))
    assert home.is_relative_to(cache)
    assert f"MODE 700 {service_user.name}" in first.stdout
    (home / "bin" / "java").write_text("#!/bin/sh\necho hijacked\n")
    (home / "lib").unlink()

    second = wrap(jdk, script(text), environment=environment)
    assert second.wait() == 0, second.report()
    assert second.stdout == first.stdout
    assert (home / "lib").resolve() == jdk.home / "lib"


@pytest.mark.jdks(at_most=21)
def test_no_descriptors_left(wrap: Wrap, script: Script, server: str, network: Network, workspace: Path, jdk: Jdk) -> None:
    """A worker that lacks descriptors to look at /proc keeps its script: it goes on to serve, and is stopped as ever."""
    command = script(f"echo $PPID; until [ -e {workspace}/go ]; do sleep 0.1; done\nexec java {server}")
    service = wrap(jdk, command)
    worker = int(service.expect(r"(\d+)\n")[1])

    limit = Path(f"/proc/{worker}/limits").read_text().split("Max open files")[1].split()[0]
    # The least of many: each of its looks has a descriptor for a moment.
    free = min(next(fd for fd in count() if fd not in procfs.descriptors(worker)) for _ in range(50))
    # As its user: root without CAP_SYS_RESOURCE may not.
    prlimit = [*as_user(SERVICE_USER), "prlimit", f"--pid={worker}"]
    subprocess.run([*prlimit, f"--nofile={free}:"], check=True, timeout=60)
    with network.connect("127.0.0.1", 80):  # has the worker look for whom the queue holds
        Path(command[0]).read_bytes()  # and for a stop command
        looks = _switches(worker)
        wait_until(lambda: _switches(worker) > looks + 10, 20, "some looks of the worker")
    subprocess.run([*prlimit, f"--nofile={limit}:"], check=True, timeout=60)
    (workspace / "go").touch()

    assert http_get_when_served(network, 80).status == 200
    assert "generation 2" not in service.stderr
    assert service.stop() == 143, service.report()
    service.assert_nothing_left()


def _switches(pid: int) -> int:
    return int(procfs.status_fields(Path(f"/proc/{pid}/status"))["voluntary_ctxt_switches"])
