"""Odd surroundings that callers have: closed streams, ignored and blocked signals, closed folders, locales.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from support import procfs
from support.clients import http_get, http_get_unix, http_get_when_served
from support.jdks import Jdk
from support.network import Network
from support.runner import Runner, as_user
from support.users import SERVICE_USER, User
from support.waiting import wait_until

pytestmark = [pytest.mark.root, pytest.mark.jvm]

WAYS = pytest.mark.parametrize("way", [["--direct"], ["--restart", "never"]], ids=["direct", "supervised"])
BASE = ["-l", "80", "-u", SERVICE_USER]


@WAYS
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(runner: Runner, network: Network, jdk: Jdk, way: list[str], closed: str) -> None:
    """With stdin, stdout or stderr closed by the caller no listener or file of ours lands on fd 0, 1 or 2."""
    service = runner.probe([*way, *BASE], jdk, "ChannelServer", "*", "80", prefix=["sh", "-c", f'exec "$@" {closed}', "sh"])

    assert http_get_when_served(network, 80).status == 200
    for pid in service.processes():
        for fd, target in procfs.descriptors(pid).items():
            assert fd > 2 or target == "/dev/null" or "service-" in target, (pid, fd, target)
    assert service.stop() == 143


@WAYS
@pytest.mark.parametrize("state", ["--ignore-signal=CHLD", "--block-signal=TERM", "--ignore-signal=PIPE", "--block-signal"])
def test_inherited_signal_state(runner: Runner, network: Network, jdk: Jdk, way: list[str], state: str) -> None:
    """Signals that the caller ignores or blocks do not keep the service from serving, stopping or reaping."""
    service = runner.probe([*way, *BASE], jdk, "ChannelServer", "*", "80", prefix=["env", state])

    service.expect(r"^READY$")
    assert http_get(network, 80).status == 200
    assert service.stop() == 143, service.report()
    service.assert_nothing_left()


@WAYS
def test_under_nohup(runner: Runner, network: Network, jdk: Jdk, way: list[str]) -> None:
    """Where the caller ignores SIGHUP, as nohup does, the service outlives it, as under java."""
    service = runner.probe([*way, *BASE], jdk, "ChannelServer", "*", "80", prefix=["env", "--ignore-signal=HUP"])

    service.expect(r"^READY$")
    service.process.send_signal(signal.SIGHUP)
    os.kill(service.worker(), signal.SIGHUP)
    for _ in range(20):
        assert http_get(network, 80).status == 200
    assert service.stop() == 143


@WAYS
def test_current_folder_is_closed_to_the_user(runner: Runner, network: Network, jdk: Jdk, way: list[str]) -> None:
    """Started from a folder that the service user may not enter, as root's home is, the service runs."""
    closed = runner.workspace / "closed"
    closed.mkdir(mode=0o700)
    service = runner.probe([*way, *BASE], jdk, "ChannelServer", "*", "80", cwd=closed)

    service.expect(r"^READY$")
    assert http_get(network, 80).status == 200
    assert service.stop() == 143


@pytest.mark.parametrize("locale", ["C", "POSIX", "C.UTF-8", None])
def test_arguments_in_every_locale(runner: Runner, jdk: Jdk, locale: str | None) -> None:
    """Arguments and properties with characters outside ASCII reach the program as under java, in any locale."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/", "USER": "x"} | ({} if locale is None else {"LC_ALL": locale})
    arguments = ["plain", "ümlaut", "日本語", "emoji-🎈"]
    jvm = ["-Dprobe.text=größe-日本"]
    plain = runner.start(
        [*as_user(SERVICE_USER), jdk.java, *runner.java_arguments("Facts", *arguments, jvm=jvm)], environment=environment
    )
    assert plain.wait() == 0, plain.report()
    service = runner.probe(["--direct", *BASE], jdk, "Facts", *arguments, jvm=jvm, environment=environment)

    assert service.wait() == 0, service.report()
    for word in ("ARG ", "PROPERTY probe.text", "PROPERTY file.encoding", "PROPERTY native.encoding", "PROPERTY sun.jnu"):
        wanted = [line for line in plain.stdout_path.read_bytes().splitlines() if line.startswith(word.encode())]
        got = [line for line in service.stdout_path.read_bytes().splitlines() if line.startswith(word.encode())]
        assert wanted == got, word


def test_path_with_spaces_and_other_characters(runner: Runner, jdk: Jdk, probes: Path) -> None:
    """A class path with blanks and characters outside ASCII works."""
    folder = runner.workspace / "größe and blanks"
    (folder / "probe").mkdir(parents=True)
    for name in ("Facts.class", "Wire.class"):
        (folder / "probe" / name).write_bytes((probes / "probe" / name).read_bytes())
    service = runner.run(
        ["--direct", *BASE], jdk, ["-cp", str(folder), "probe.Facts"], environment={**os.environ, "LC_ALL": "C.UTF-8"}
    )

    assert service.wait() == 0, service.report()
    assert f"PROPERTY java.class.path={folder}" in service.stdout


def test_few_descriptors(runner: Runner, network: Network, jdk: Jdk) -> None:
    """A low limit of open files does not matter, and a limit that is too low fails in one line with nothing left."""
    service = runner.probe(BASE, jdk, "ChannelServer", "*", "80", prefix=["prlimit", "--nofile=64:64"])
    service.expect(r"^READY$")
    assert http_get(network, 80).status == 200
    assert service.stop() == 143

    ports = [word for port in range(100, 200) for word in ("-l", str(port))]
    service = runner.probe([*ports, "-u", SERVICE_USER], jdk, "ChannelServer", "*", "100", prefix=["prlimit", "--nofile=64:64"])
    assert service.wait() == 71, service.report()
    assert len(service.stderr.splitlines()) == 1, service.stderr
    service.assert_nothing_left()


@WAYS
def test_unix_socket_file_that_the_program_deletes_first(runner: Runner, jdk: Jdk, way: list[str], service_user: User) -> None:
    """A program that deletes the socket file before it binds, as most do, is reachable at that path all the same."""
    folder = runner.workspace / "own"
    folder.mkdir()
    os.chown(folder, service_user.uid, service_user.gid)
    path = folder / "app.sock"
    service = runner.probe([*way, "-l", f"unix:{path}", "-u", SERVICE_USER], jdk, "UnixServer", str(path), "delete")

    service.expect(r"^READY$")
    assert http_get_unix(path).body == "unix"
    assert service.stop() == 143


def test_old_unix_socket_file(runner: Runner, jdk: Jdk) -> None:
    """The file that a killed service left behind is replaced at the next start; one in use is not."""
    path = runner.workspace / "app.sock"
    options = ["-l", f"unix:{path},mode=0600", "-u", SERVICE_USER]
    first = runner.probe(options, jdk, "UnixServer", str(path))
    first.expect(r"^READY$")
    second = runner.probe(options, jdk, "UnixServer", str(path))
    assert second.wait() == 69, second.report()
    assert http_get_unix(path).body == "unix"

    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    first.assert_nothing_left()
    assert path.exists()
    third = runner.probe(options, jdk, "UnixServer", str(path))
    third.expect(r"^READY$")
    assert http_get_unix(path).body == "unix"
    assert third.stop() == 143


def test_unix_socket_path_is_no_socket(runner: Runner, jdk: Jdk) -> None:
    """A file that is not a socket is never deleted to make room for one."""
    path = runner.workspace / "precious"
    path.write_text("precious")
    service = runner.probe(["-l", f"unix:{path}", "-u", SERVICE_USER], jdk, "UnixServer", str(path))

    assert service.wait() in {69, 78}, service.report()
    assert len(service.stderr.splitlines()) == 1, service.stderr
    assert path.read_text() == "precious"


def test_unix_socket_path_through_a_link_of_the_users(runner: Runner, jdk: Jdk, service_user: User) -> None:
    """Root makes no socket, and deletes none, through a link that the service user planted in its own folder."""
    folder = runner.workspace / "own"
    folder.mkdir()
    os.chown(folder, service_user.uid, service_user.gid)
    guarded = runner.workspace / "guarded"
    guarded.mkdir(mode=0o755)
    (folder / "sub").symlink_to(guarded)
    os.chown(folder / "sub", service_user.uid, service_user.gid, follow_symlinks=False)
    service = runner.probe(["-l", f"unix:{folder}/sub/app.sock", "-u", SERVICE_USER], jdk, "UnixServer", f"{folder}/sub/app.sock")

    wait_until(lambda: not service.running() or "READY" in service.stdout, 20, "the end or the start")
    assert not (guarded / "app.sock").exists()
    assert service.wait(10) in {69, 71, 77, 78}, service.report()
