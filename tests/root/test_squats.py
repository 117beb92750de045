"""What another user puts into directories that everybody may write to, and that it stops nobody.

Run by pytest as root; each service has a /tmp of its own. Must not import jvmbind.
"""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support import jdks
from support.clients import http_get_when_served
from support.network import Network
from support.runner import PLAIN, Runner, as_user
from support.service import Service
from support.users import OTHER_USER, SERVICE_USER, user

pytestmark = [pytest.mark.root, pytest.mark.jvm, pytest.mark.skipif(PLAIN, reason="java has no directory of this kind")]

OWNER, OTHER = user(SERVICE_USER), user(OTHER_USER)

# Runs a command as the service user, with the directory $1 as its /tmp, in which the one above it, with the probes, stays
# where it was; nothing else there would do as a place.
IN_A_TMP = f"""
above=$(dirname "$1") && mkdir -p "$1/$(basename "$above")" && mount --bind "$above" "$1/$(basename "$above")" &&
mount --rbind "$1" /tmp && [ ! -e /run/user/{OWNER.uid} ] && shift && exec {shlex.join(as_user(SERVICE_USER))} "$@"
"""


def directory(path: Path) -> None:
    """Make a directory of the other user's."""
    path.mkdir(mode=0o700)
    os.chown(path, OTHER.uid, OTHER.gid)


def file(path: Path) -> None:
    """Make a file of the other user's."""
    path.touch(mode=0o644)
    os.chown(path, OTHER.uid, OTHER.gid)


def link_to_the_users_own(path: Path) -> None:
    """Make a link of the other user's that leads to a directory of the service user's."""
    inside = path.with_name("own")
    inside.mkdir(mode=0o700)
    os.chown(inside, OWNER.uid, OWNER.gid)
    path.symlink_to("/tmp/own")
    os.chown(path, OTHER.uid, OTHER.gid, follow_symlinks=False)


SQUATS: dict[str, Callable[[Path], None]] = {"directory": directory, "file": file, "link": link_to_the_users_own}


def start(runner: Runner, tmp: Path, command: list[str]) -> Service:
    """Start a command with `tmp` as /tmp, and an environment that names no other place."""
    environ = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ} | {"HOME": "/nonexistent"}
    prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c", IN_A_TMP, "sh", str(tmp)]
    return runner.start([*prefix, *command], environment=environ)


@pytest.fixture(params=SQUATS)
def tmp(request: pytest.FixtureRequest, shared_directory: Path) -> Path:
    """A /tmp in which another user has taken the name that could be expected, and one like those that are used."""
    path = Path(shared_directory, f"tmp-{request.node.name}")
    path.mkdir()
    path.chmod(0o1777)
    SQUATS[request.param](path / f"jvmbind-{OWNER.uid}")
    directory(path / f"jvmbind-{OWNER.uid}-0123456789abcdef")
    return path


def made_in(tmp: Path) -> list[Path]:
    """Return what the service user has made there."""
    found = tmp.glob(f"jvmbind-{OWNER.uid}-*")
    return [path for path in found if path.lstat().st_uid == OWNER.uid and stat.S_IMODE(path.lstat().st_mode) == 0o700]


def test_a_squat_stops_no_service(runner: Runner, tmp: Path) -> None:
    """10.10: with the known name in /tmp taken by somebody else, `run` has a control socket that `status` finds by name."""
    newest = jdks.tested_jdks()[-1]
    java = runner.java_arguments("ChannelServer", "*", "8080")
    for _ in range(2):
        service = start(
            runner, tmp, [*runner.jvmbind, "run", "--java-home", str(newest.home), "-l", "8080", "-n", "free", "--", *java]
        )
        service.expect(r"^READY$")
        ask = ["nsenter", "--mount", "--target", str(service.pid), *as_user(SERVICE_USER), *runner.jvmbind, "status", "free"]
        done = subprocess.run(ask, capture_output=True, text=True, check=False, timeout=60)

        assert done.returncode == 0, done.stderr + service.report()
        assert f"supervisor  pid {service.pid}" in done.stdout
        assert service.stop() == 143
    assert len(made_in(tmp)) == 1, "the next start did not find the directory of the first"


def test_a_squat_stops_no_script(runner: Runner, tmp: Path, network: Network) -> None:
    """10.10: with the known name in /tmp taken by somebody else, `wrap` shows its script a Java home all the same."""
    newest = jdks.tested_jdks()[-1]
    java = shlex.join(runner.java_arguments("SocketServer", "*", "8080"))
    command = [*runner.jvmbind, "wrap", "--java-home", str(newest.home), "-l", "8080", "--", "/bin/sh", "-c", f"exec java {java}"]
    service = start(runner, tmp, command)

    assert http_get_when_served(network, 8080).status == 200, service.report()
    assert len(made_in(tmp)) == 1
    assert service.stop() == 143
