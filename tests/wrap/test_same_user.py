"""What scripts do to be found and to become their user: by PATH, and by su, runuser and sudo.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from support.clients import http_get_when_served
from support.jdks import Jdk
from support.network import Network
from support.service import Service
from support.users import SERVICE_USER

pytestmark = [pytest.mark.jdks(at_most=21)]

Wrap = Callable[..., Service]
Script = Callable[[str], list[str]]
Installed = Callable[[str], dict[str, str]]


@pytest.fixture
def installed(workspace: Path) -> Installed:
    """Return a PATH on which a program of that name is, that of a machine which has it; it fails, as sudo would."""

    def install(name: str) -> dict[str, str]:
        folder = workspace / "installed"
        folder.mkdir()
        (folder / name).write_text("#!/bin/sh\nexit 9\n")
        (folder / name).chmod(0o755)
        return {"PATH": f"{folder}:{os.environ['PATH']}"}

    return install


@pytest.mark.parametrize(
    "way",
    [
        'su {user} -s /bin/sh -c "exec java {server}"',
        'su -s /bin/bash - {user} -c "java {server} & wait"',
        "exec runuser -u {user} -- java {server}",
        'runuser -s /bin/sh -l {user} -c "java {server}" &',
        "sudo -n -E -u {user} MARK=1 java {server}",
    ],
)
def test_the_same_user(wrap: Wrap, script: Script, server: str, network: Network, jdk: Jdk, installed: Installed, way: str) -> None:
    """A script that becomes the user that it is already is served, a login shell with its profile included."""
    service = wrap(jdk, script(way.format(user=SERVICE_USER, server=server)), environment=installed("sudo"))

    assert http_get_when_served(network, 80).status == 200
    assert service.stop() == 143, service.report()
    service.assert_nothing_left()


@pytest.mark.parametrize(
    "way", ["su nobody -s /bin/sh -c 'java {server}'", "runuser -u nobody java {server}", "sudo java {server}"]
)
def test_another_user(wrap: Wrap, script: Script, server: str, jdk: Jdk, installed: Installed, way: str) -> None:
    """A script that would become another user is told why it cannot, with the option to use, and ends with 77."""
    service = wrap(jdk, script(way.format(server=server)), environment=installed("sudo"))

    assert service.wait() == 77, service.report()
    other = "root" if "sudo" in way else "nobody"
    assert f"this service runs as user {SERVICE_USER}" in service.stderr
    assert f"jvmbind wrap --user {other}" in service.stderr


def test_the_application_sees_nothing_of_it(wrap: Wrap, script: Script, jdk: Jdk) -> None:
    """The folder of these commands is on the script's PATH only, and questions to the real ones reach them."""
    service = wrap(jdk, script("command -v su; su --version; exec java -XshowSettings:properties -version"))

    assert service.wait() == 0, service.report()
    assert "/shims/su\n" in service.stdout
    assert "util-linux" in service.stdout


def test_one_that_is_not_installed(wrap: Wrap, script: Script, workspace: Path, jdk: Jdk) -> None:
    """A script that looks for `sudo` on a machine without it finds none, as without jvmbind."""
    folder = workspace / "only"
    folder.mkdir()
    for name in ("sh", "env", "su"):
        (folder / name).symlink_to(str(shutil.which(name)))
    path = {"PATH": str(folder)}

    service = wrap(jdk, script("command -v su; command -v sudo || command -v runuser || echo none; sudo -V"), environment=path)

    assert service.wait() == 127, service.report()
    assert "/shims/su\nnone\n" in service.stdout


def test_one_that_has_gone(wrap: Wrap, script: Script, jdk: Jdk, installed: Installed) -> None:
    """A question to a `sudo` that is not on the script's PATH any more is answered in the words of a shell, with 127."""
    path = installed("sudo")
    first = path["PATH"].partition(":")[0]

    service = wrap(jdk, script(f'PATH=$(echo "$PATH" | sed s,{first}:,,); sudo -V'), environment=path)

    assert service.wait() == 127, service.report()
    assert "sudo: not found\n" in service.stderr


def test_a_script_on_the_path(wrap: Wrap, script: Script, server: str, network: Network, workspace: Path, jdk: Jdk) -> None:
    """A script without a directory is looked for on PATH, as execvp does it; one that is not there is named with the PATH."""
    path = Path(script(f"exec java {server}")[0])
    command = shutil.copy(path, workspace / "served-here")
    os.chmod(command, 0o755)
    service = wrap(jdk, ["served-here"], environment={"PATH": f"{workspace}:{os.environ['PATH']}"})

    assert http_get_when_served(network, 80).status == 200
    assert service.stop() == 143, service.report()

    service = wrap(jdk, ["served-nowhere"], environment={"PATH": f"{workspace}:{os.environ['PATH']}"})
    assert service.wait() == 78
    assert f"script served-nowhere: no such command on the PATH of the service, {workspace}:" in service.stderr
