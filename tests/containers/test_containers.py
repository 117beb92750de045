"""The image under crun and runc, without a capability, with a read-only root and docker's and podman's own seccomp profile.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import os
import re
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from support.clients import http_get, http_get_when_served
from support.network import Network
from support.oci import PROFILES, RUNTIMES, UID, Container
from support.runner import QUICK_JVM
from support.service import Service
from support.waiting import wait_until

BIND = "CAP_NET_BIND_SERVICE"
UNPRIVILEGED_PORTS = "net/ipv4/ip_unprivileged_port_start"
SERVE = ("--", *QUICK_JVM, "-cp", "/srv", "service.App", "http=80")

# A child whose parent ends first: it lives until it reads the end of its parent's pipe.
ORPHAN = """
import os
r, w = os.pipe()
if not os.fork():
    os.close(w)
    os.read(r, 1)
    os._exit(0)
"""
# The states of all children of process 1 but those that run or sleep.
OTHERS = """
import os
stats = [open(f"/proc/{pid}/stat").read().rpartition(")")[2].split() for pid in os.listdir("/proc") if pid.isdigit()]
print([stat for stat in stats if stat[0] == "Z"])
"""


def run(port: str = "80", *options: str) -> tuple[str, ...]:
    """Return the words that serve a port."""
    return ("jvmbind", "run", "-n", "app", "-l", port, *options, *SERVE)


def assert_powerless(service: Service) -> None:
    """The supervisor and every thread of the JVM have no capability and can get none, as the kernel says."""
    worker = service.worker()
    (parent,) = re.findall(r"^PPid:\t(\d+)$", Path(f"/proc/{worker}/status").read_text(), re.MULTILINE)
    tasks = [*Path(f"/proc/{worker}/task").iterdir(), *Path(f"/proc/{parent}/task").iterdir()]
    seen = 0
    for task in tasks:
        try:
            status = (task / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # a thread of the JVM has ended
        seen += 1
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert {int(fields[name], 16) for name in ("CapEff", "CapPrm", "CapAmb", "CapInh")} == {0}, fields
        assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
        assert set(fields["Uid"].split()) == {str(UID)}
    assert seen > 5


@pytest.mark.timeout(600)  # the first of all tests with an image makes it: jlink is slow on a busy machine
def test_image(image: Path) -> None:
    """No shell, no package manager, nothing with a set-user-ID bit or a capability, and nothing that others may write to."""
    programs = sorted(path.name for path in (image / "usr/bin").iterdir())
    every = [image, *image.rglob("*")]
    kinds = {path: path.lstat() for path in every}
    writable = [
        path for path, info in kinds.items() if not stat.S_ISLNK(info.st_mode) and info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    ]

    assert [name for name in programs if not name.startswith("python3")] == ["jvmbind"]
    assert [path for path, info in kinds.items() if info.st_mode & (stat.S_ISUID | stat.S_ISGID)] == []
    assert [path for path in every if not path.is_symlink() and "security.capability" in os.listxattr(path)] == []
    assert writable == [image / "tmp"]
    assert {info.st_uid for info in kinds.values()} == {0}
    assert [path for path in every if path.is_symlink() and not path.resolve().is_relative_to(image)] == []
    assert (image / "usr/share/doc/libc6/copyright").is_file()


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_serves(container: Callable[..., Container], network: Network, runtime: str, profile: str) -> None:
    """Port 80 without any capability, where the container's first port is 0: ready, reloaded by SIGHUP, stopped with 143."""
    network.set_sysctl(UNPRIVILEGED_PORTS, "0")
    box = container(runtime=runtime, profile=profile)
    service = box.run(*run("80", "--strict-binds"))
    assert http_get_when_served(network, 80).status == 200
    service.expect("generation 1 is ready", stream="stderr")

    ready = box.exec("jvmbind", "status", "--field", "ready")
    assert (ready.stdout, ready.returncode) == ("true\n", 0), ready.stderr
    assert_powerless(service)
    box.kill("HUP")
    service.expect("generation 2 is ready", stream="stderr")
    assert http_get(network, 80).status == 200

    box.kill("TERM")
    assert service.wait() == 143, service.report()
    assert "fault" not in service.stderr
    service.assert_nothing_left()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_not_ready(container: Callable[..., Container], network: Network, runtime: str) -> None:
    """The probe fails with 1 while the program has not bound its port, and with 69 where there is no service to ask."""
    network.set_sysctl(UNPRIVILEGED_PORTS, "0")
    box = container(runtime=runtime)
    service = box.run("jvmbind", "run", "-n", "app", "-l", "80", "--", *QUICK_JVM, "-cp", "/srv", "service.App", "wait=100000")
    probe = wait_until(lambda: answered(box), 30, "an answer of the supervisor")

    assert probe == ("false\n", 1)
    assert box.exec("jvmbind", "status", "other", "--field", "ready").returncode == 69
    box.kill("TERM")
    assert service.wait() == 143, service.report()


def answered(box: Container) -> tuple[str, int] | None:
    """Return what the probe printed and its status, once there is somebody who answers."""
    probe = box.exec("jvmbind", "status", "--field", "ready")
    return (probe.stdout, probe.returncode) if probe.returncode in {0, 1} and probe.stdout else None


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_one_capability(container: Callable[..., Container], network: Network, runtime: str) -> None:
    """With CAP_NET_BIND_SERVICE alone, as an ordinary user (podman's --cap-add), port 80 is bound and the capability is gone."""
    box = container(runtime=runtime, capabilities=(BIND,))
    service = box.run(*run())
    assert http_get_when_served(network, 80).status == 200
    service.expect("generation 1 is ready", stream="stderr")

    assert_powerless(service)
    box.kill("TERM")
    assert service.wait() == 143, service.report()


def test_inherited_socket(container: Callable[..., Container], network: Network) -> None:
    """A socket of the host's, passed by LISTEN_FDS, is served by a container that may bind nothing below 1024."""
    box = container(profile="docker")
    with network.open_socket(socket.AF_INET6, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("::", 80))
        listener.listen(128)
        box.environment = {"LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_FDNAMES": "web"}
        service = box.run(*run("web=80"), passed=listener.fileno())
    assert http_get_when_served(network, 80).status == 200

    box.kill("TERM")
    assert service.wait() == 143, service.report()


def test_user_namespace(container: Callable[..., Container], network: Network) -> None:
    """In a user namespace, where the files of the image belong to nobody it knows, port 80 is served and reloaded."""
    network.set_sysctl(UNPRIVILEGED_PORTS, "0")
    box = container(user_namespace=True)
    service = box.run(*run())
    assert http_get_when_served(network, 80).status == 200
    service.expect("generation 1 is ready", stream="stderr")

    reload = box.exec("jvmbind", "reload")
    assert reload.returncode == 0, reload.stderr
    box.kill("TERM")
    assert service.wait() == 143, service.report()


def test_process_one(container: Callable[..., Container], network: Network) -> None:
    """As process 1 it collects orphans that somebody's `exec` leaves behind, and passes SIGQUIT on for a thread dump."""
    network.set_sysctl(UNPRIVILEGED_PORTS, "0")
    box = container()
    service = box.run(*run())
    assert http_get_when_served(network, 80).status == 200
    service.expect("generation 1 is ready", stream="stderr")
    left = box.exec("python3", "-I", "-c", ORPHAN)
    assert left.returncode == 0, left.stderr

    wait_until(lambda: box.exec("python3", "-I", "-c", OTHERS).stdout == "[]\n", 20, "the end of all zombies")
    box.kill("QUIT")
    service.expect("Full thread dump")
    box.kill("TERM")
    assert service.wait() == 143, service.report()


@pytest.mark.parametrize(
    ("uid", "capabilities", "way_out"),
    [
        (65532, (), "net.ipv4.ip_unprivileged_port_start=0"),
        (0, (), "--cap-add SETUID --cap-add SETGID"),
        (0, (BIND,), "--cap-add SETUID --cap-add SETGID"),
        (0, ("CAP_SETUID", "CAP_SETGID"), "--cap-add NET_BIND_SERVICE"),
    ],
    ids=["user", "root", "root that cannot drop", "root that cannot bind"],
)
def test_refusal(
    container: Callable[..., Container], network: Network, uid: int, capabilities: tuple[str, ...], way_out: str
) -> None:
    """What cannot be had in a container is refused in one line that says what to add, with 77, and nothing is bound."""
    box = container(uid=uid, capabilities=capabilities)
    service = box.run(*run("80", *(("-u", "nonroot") if uid == 0 else ())))

    assert service.wait() == 77, service.report()
    said = [line for line in service.stderr.splitlines() if "cgroup" not in line]
    assert len(said) == 1, said
    assert way_out in said[0]
    assert network.bound_ports() == []


def test_root_with_three_capabilities(container: Callable[..., Container], network: Network) -> None:
    """Root with NET_BIND_SERVICE, SETUID and SETGID, as docker gives it, binds port 80 and drops for good."""
    box = container(profile="docker", uid=0, capabilities=(BIND, "CAP_SETUID", "CAP_SETGID"))
    service = box.run(*run("80", "-u", "nonroot"))
    assert http_get_when_served(network, 80).status == 200
    service.expect("generation 1 is ready", stream="stderr")

    assert_powerless(service)
    box.kill("TERM")
    assert service.wait() == 143, service.report()
