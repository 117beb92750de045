"""10.4: whose code root runs when it starts the installed command, whatever its environment and directory say.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from support import jdks
from support.runner import PLAIN, Runner
from support.users import SERVICE_USER

pytestmark = [pytest.mark.root, pytest.mark.skipif(PLAIN, reason="java reads nothing of this kind")]

VENV = Path(sys.executable).parents[1]
INSTALLED = VENV / "bin" / "jvmbind"
VERSION = f"jvmbind {version('jvmbind')}\n"


class Planted:
    """What another user has put where root's environment leads to; whatever of it runs leaves its name in `ran`."""

    def __init__(self, folder: Path) -> None:
        """Plant it all."""
        self.folder = folder
        self.log = folder / "ran"
        for name in ("sitecustomize", "usercustomize", "jvmbind", "prctl", "os", "argparse"):
            (folder / f"{name}.py").write_text(f"open({str(self.log)!r}, 'a').write('{name}.py ')\n")
        site = folder / "base" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
        site.mkdir(parents=True)
        shutil.copy(folder / "usercustomize.py", site)
        (site / "planted.pth").write_text(f"import sys; open({str(self.log)!r}, 'a').write('planted.pth ')\n")
        (folder / "startup.sh").write_text(f"printf startup.sh >> {self.log}\n")
        (folder / "bin").mkdir()
        for name in ("python", "python3", "readlink", "sh", "dirname", "exec", "printf", "test", "["):
            program = folder / "bin" / name
            program.write_text(f"#!/bin/bash\nprintf '{name} ' >> {self.log}\n")
            program.chmod(0o755)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
            "PYTHONPATH": str(folder),
            "PYTHONUSERBASE": str(folder / "base"),
            "PYTHONSTARTUP": str(folder / "usercustomize.py"),
            "PYTHONINSPECT": "",
            "PATH": f"{folder}/bin:{os.environ['PATH']}",
            "ENV": str(folder / "startup.sh"),
            "BASH_ENV": str(folder / "startup.sh"),
            "CDPATH": str(folder),
            "IFS": "/jb",
            "jvmbind_bin": str(folder / "bin"),
        }

    def ran(self) -> list[str]:
        """Return what has run, and forget it."""
        found = self.log.read_text().split() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return found

    def run(self, *command: str | Path, **changes: str) -> subprocess.CompletedProcess[str]:
        """Run a command in this surroundings."""
        environment = {**self.environment, **changes}
        return subprocess.run(
            command,
            env=environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture
def planted(workspace: Path) -> Planted:
    """A hostile environment that works: an interpreter which is not isolated does run it."""
    made = Planted(workspace)
    base = sys.base_prefix + f"/bin/python3.{sys.version_info.minor}"
    made.run(base, "-c", "import prctl", LD_BIND_NOW="")
    assert {"sitecustomize.py", "usercustomize.py", "prctl.py"} <= set(made.ran())
    made.run(VENV / "bin" / "python", "-m", "jvmbind", "--version")
    assert {"sitecustomize.py", "jvmbind.py"} <= set(made.ran())
    made.run("/bin/bash", "-c", "readlink")
    assert {"startup.sh", "readlink"} == set(made.ran()[0].replace("startup.sh", "startup.sh ").split())
    return made


def test_the_installed_command_runs_nothing_of_others(planted: Planted) -> None:
    """As root the installed command prints its version, and nothing that root's environment or directory leads to has run."""
    done = planted.run(INSTALLED, "--version")

    assert (done.returncode, done.stdout, done.stderr) == (0, VERSION, "")
    assert planted.ran() == []


def test_links_blanks_and_other_shells(planted: Planted, workspace: Path) -> None:
    """The same holds by links to it, absolute and relative, in a path with blanks, and with bash in the place of sh."""
    odd = workspace / "a 'b' $c\n*"
    (odd / "bin").mkdir(parents=True)
    shutil.copy(VENV / "pyvenv.cfg", odd)
    shutil.copy(INSTALLED, odd / "bin")
    (odd / "bin" / "python").symlink_to(VENV / "bin" / "python")
    (odd / "lib").symlink_to(VENV / "lib")
    (workspace / "jb").symlink_to(INSTALLED)
    (workspace / "-n").symlink_to("jb")
    (workspace / "usr").mkdir()
    (workspace / "usr" / "jvmbind").symlink_to("../-n")
    (workspace / "links").mkdir()
    (workspace / "links" / "sh").symlink_to("/bin/bash")

    for command in (
        [odd / "bin" / "jvmbind"],
        [workspace / "jb"],
        ["./-n"],
        ["usr/jvmbind"],
        [workspace / "links" / "sh", INSTALLED],
        [workspace / "links" / "sh", odd / "bin" / "jvmbind"],
    ):
        done = planted.run(*command, "--version")
        assert (done.returncode, done.stdout, done.stderr) == (0, VERSION, ""), command
        assert planted.ran() == [], command


def test_outside_a_virtual_environment(planted: Planted, workspace: Path) -> None:
    """Installed beside an interpreter of the system, its version is found; where there is none the line says so."""
    minor = sys.version_info.minor
    place = workspace / "local"
    (place / "bin").mkdir(parents=True)
    shutil.copy(INSTALLED, place / "bin")
    done = planted.run(place / "bin" / "jvmbind", "--version")
    assert done.returncode == 71
    assert done.stderr.startswith(f"jvmbind: no interpreter for {place}/bin/jvmbind: expected")
    assert len(done.stderr.splitlines()) == 1

    package = place / "lib" / f"python3.{minor}" / "dist-packages" / "jvmbind"
    package.mkdir(parents=True)
    (package / "__main__.py").touch()
    (place / "bin" / f"python3.{minor}").symlink_to(VENV / "bin" / "python")
    (place / "pyvenv.cfg").unlink(missing_ok=True)
    done = planted.run(place / "bin" / "jvmbind", "--version")
    assert planted.ran() == []
    # This interpreter is isolated and has no jvmbind of its own, unless the link leads back to the environment.
    assert done.stdout == VERSION or "No module named jvmbind" in done.stderr


@pytest.mark.jvm
def test_a_service_started_with_it(planted: Planted, runner: Runner) -> None:
    """Nor does anything of the kind run in a whole life of a service that root starts with the installed command."""
    newest = jdks.tested_jdks()[-1]
    words = [*runner.java_arguments("ChannelServer", "*", "80")]
    command = [
        str(INSTALLED),
        "run",
        "--java-home",
        str(newest.home),
        "-l",
        "80",
        "-u",
        SERVICE_USER,
        "-n",
        "isolated",
        "--",
        *words,
    ]
    service = runner.start(command, environment=planted.environment, cwd=planted.folder)
    service.expect(r"^READY$")

    assert planted.run(INSTALLED, "status", "isolated").returncode == 0
    assert service.stop() == 143
    assert planted.ran() == []
