"""What `jvmbind unit` refuses to make, and where it refuses to write. Run by pytest as root, in a mount namespace of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.users import SERVICE_USER

pytestmark = pytest.mark.root

UNITS = "/etc/systemd/system"


def unit(
    workspace: Path, *words: str, user: str = SERVICE_USER, name: str = "shop", before: str = "true", **environ: str
) -> tuple[int, str]:
    """Run `jvmbind unit` on a configuration, in a namespace whose directory of units is empty; return status and stderr."""
    path = workspace / f"{name}.toml"
    path.write_text(f'name = "{name}"\nuser = "{user}"\nlisten = ["80"]\n[java]\nmain = "org.example.Shop"\n')
    script = (
        f"mount --make-rprivate / && mount -t tmpfs none {UNITS} && mount -t tmpfs none /home && {before} && "
        'timeout 60 "$@"; status=$?; echo "LEFT $(ls -A /etc/systemd/system)" >&2; exit $status'
    )
    command = ["unshare", "-m", "sh", "-c", script, "sh", sys.executable, "-I", "-m", "jvmbind", "unit", str(path), *words]
    done = subprocess.run(command, cwd="/", env={**os.environ, **environ}, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "user", ["root", "0", "00", f"{SERVICE_USER}:root", f"{SERVICE_USER}:0", ":0", ":daemon", "4294967295", "-1"]
)
@pytest.mark.parametrize("way", [(), ("--root",), ("--socket",)], ids=["capability", "root", "socket"])
def test_users_that_a_start_refuses(workspace: Path, user: str, way: tuple[str, ...]) -> None:
    """No unit is made for root, for a group of root's, or for no user at all: one line and status 78, nothing on stdout."""
    status, said = unit(workspace, "--install", *way, user=user)
    assert status == 78, said
    assert "user = " in said
    assert said.endswith("LEFT \n"), said


def test_a_unit_of_a_package(workspace: Path) -> None:
    """A service with the name of a packaged unit does not get its place."""
    packaged = next(path.stem for path in sorted(Path("/usr/lib/systemd/system").glob("systemd-*.service")) if "@" not in path.name)
    status, said = unit(workspace, "--install", name=packaged)
    assert status == 78, said
    assert "would stand in the place of" in said
    assert said.endswith("LEFT \n"), said


@pytest.mark.parametrize(
    ("before", "why"),
    [
        (f"mkfifo {UNITS}/shop.service", "was not made by jvmbind unit"),
        (f"ln -s nowhere {UNITS}/shop.service", "is a symbolic link"),
        (f"mkdir {UNITS}/shop.service", "shop.service"),
    ],
    ids=["fifo", "link", "directory"],
)
def test_what_is_in_the_place_of_a_unit(workspace: Path, before: str, why: str) -> None:
    """Whatever stands there is neither waited for nor replaced."""
    status, said = unit(workspace, "--install", before=before)
    assert status in {71, 78}, said
    assert why in said


@pytest.mark.parametrize("how", ["home", "configuration", "link"])
def test_the_place_of_another_user(workspace: Path, how: str) -> None:
    """Root with the environment of another user writes nothing where that user's directories and links lead."""
    link = f"mkdir -p /home/a/.config/systemd && ln -s {UNITS} /home/a/.config/systemd/user && chown -hR {SERVICE_USER} /home/a"
    if how == "link":
        link = f"mkdir -p /home/a/systemd && ln -s {UNITS} /home/a/systemd/user"
    environ = {"HOME": "/home/a"} if how == "home" else {"HOME": "/root", "XDG_CONFIG_HOME": "/home/a/.config"}
    environ = {**environ, "XDG_CONFIG_HOME": "/home/a"} if how == "link" else environ
    status, said = unit(workspace, "--user", "--install", before=link, **environ)
    assert status == 77, said
    assert "another user's" in said
    assert said.endswith("LEFT \n"), said
