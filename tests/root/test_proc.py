"""What a sandbox hides of /proc, /sys and /dev: the service runs all the same, or says in one line what it needs.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from support import jdks
from support.clients import http_get
from support.jdks import Jdk
from support.network import Network
from support.runner import PLAIN, Runner
from support.users import SERVICE_USER

pytestmark = [pytest.mark.root, pytest.mark.jvm, pytest.mark.skipif(PLAIN, reason="jvmbind's own rules")]

OPTIONS = ["-l", "80", "-u", SERVICE_USER]
SYSTEM_FAILURE = 71
# As systemd's ProtectProc=invisible, ProcSubset=pid, both, ProtectKernelTunables=, a root folder without /sys, PrivateDevices=.
SANDBOXES = {
    "hidepid": "umount -l /proc; mount -t proc -o hidepid=2 proc /proc",
    "subset": "umount -l /proc; mount -t proc -o subset=pid proc /proc",
    "both": "umount -l /proc; mount -t proc -o subset=pid,hidepid=2 proc /proc",
    "read-only-sys": "mount -t sysfs -o ro sysfs /sys",
    "no-sys": "mount -t tmpfs -o ro tmpfs /sys",
    "no-null": "mount -t tmpfs tmpfs /dev; mknod -m 666 /dev/urandom c 1 9; mknod -m 666 /dev/random c 1 8",
}


@pytest.fixture
def newest() -> Jdk:
    """The newest JDK: what is tested here hardly depends on it."""
    return jdks.tested_jdks()[-1]


def within(mounts: str) -> list[str]:
    """Return the words that run a command in a mount namespace of its own."""
    return ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh"]


@pytest.mark.parametrize("sandbox", SANDBOXES)
@pytest.mark.parametrize("way", ["direct", "supervised", "wrap"])
def test_sandboxes(
    runner: Runner, network: Network, newest: Jdk, jvmbind: list[str], workspace: Path, sandbox: str, way: str
) -> None:
    """In each sandbox a server is served over the IP versions that Java sees there, can be reloaded, and ends with 143."""
    prefix = within(SANDBOXES[sandbox])
    if way == "wrap":
        script = workspace / "start.sh"
        words = runner.java_arguments("ChannelServer", "*", "80")
        script.write_text("#!/bin/sh\nexec java " + " ".join(f"'{word}'" for word in words) + "\n")
        script.chmod(0o755)
        service = runner.start([*prefix, *jvmbind, "wrap", "--java-home", str(newest.home), *OPTIONS, "--", str(script)])
    else:
        options = [*(["--direct"] if way == "direct" else []), *OPTIONS]
        service = runner.probe(options, newest, "ChannelServer", "*", "80", prefix=prefix)

    service.expect(r"^READY$")
    assert http_get(network, 80).status == 200
    # Where /proc/net is hidden Java sees no IPv6 address, and has IPv4 sockets alone, with jvmbind or without.
    hidden = sandbox in {"subset", "both"}
    assert network.bound_ports() == (["tcp 0.0.0.0:80"] if hidden else ["tcp6 [::]:80"])
    if way != "direct":
        service.expect(r"generation 1 is ready", stream="stderr")
        service.process.send_signal(signal.SIGHUP)
        service.expect(r"generation 2 is ready", stream="stderr")
        assert http_get(network, 80).status == 200
    assert service.stop() == 143, service.report()


@pytest.mark.parametrize("command", ["run", "run --direct", "wrap", "check"])
def test_without_proc(runner: Runner, newest: Jdk, jvmbind: list[str], probes: Path, workspace: Path, command: str) -> None:
    """Without /proc nothing could be proven: one line, and the status of a machine that lacks something."""
    file = workspace / "service.toml"
    file.write_text(f'user = "{SERVICE_USER}"\n[java]\nmain = "probe.ChannelServer"\nclasspath = "{probes}"\n')
    words = {
        "wrap": ["--java-home", str(newest.home), *OPTIONS, "--", "/bin/true"],
        "check": [str(file)],
    }.get(command, ["--java-home", str(newest.home), *OPTIONS, "--", *runner.java_arguments("ChannelServer", "*", "80")])

    service = runner.start([*within("mount -t tmpfs -o ro tmpfs /proc"), *jvmbind, *command.split(), *words])

    assert service.wait() == SYSTEM_FAILURE, service.report()
    (line,) = service.stderr.splitlines()
    assert line.startswith("jvmbind: /proc: No such file or directory; expected a proc file system that shows each process itself")


def test_closed_stream_without_null(runner: Runner, newest: Jdk) -> None:
    """A closed standard stream whose place nothing can take is said, before a socket could get its number."""
    prefix = [*within("mount -t tmpfs tmpfs /dev"), "sh", "-c", 'exec "$@" <&-', "sh"]
    service = runner.probe(OPTIONS, newest, "ChannelServer", "*", "80", prefix=prefix, stdin=subprocess.DEVNULL)

    assert service.wait() == SYSTEM_FAILURE, service.report()
    assert service.stderr.splitlines() == [
        "jvmbind: descriptor 0 is closed and /dev/null cannot be opened (No such file or directory); expected one of the two"
    ]
