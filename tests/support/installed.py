"""Installations of jvmbind of a test's own, whose version can be replaced while services run from it. Must not import jvmbind."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_READ_BY_A_BUILD = ("jvmbind", "java-shim", "scripts", "hatch_build.py", "pyproject.toml", "LICENSE", "README.md", ".gitignore")


def build_wheels(folder: Path, *versions: str) -> dict[str, Path]:
    """Build a wheel of this checkout, and make others of it that differ in their version number."""
    checkout = folder / "checkout"
    checkout.mkdir()
    for name in _READ_BY_A_BUILD:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, checkout / name, ignore=shutil.ignore_patterns("__pycache__", "_shim.jar*", "target"))
        else:
            shutil.copy2(source, checkout / name)
    first, *others = versions
    file = checkout / "jvmbind" / "__init__.py"
    lines = [f'__version__ = "{first}"' if line.startswith("__version__ = ") else line for line in file.read_text().splitlines()]
    file.write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-I", "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=checkout, check=True, capture_output=True, timeout=100)
    wheels = {version: folder / f"jvmbind-{version}-py3-none-any.whl" for version in versions}
    for version in others:
        with zipfile.ZipFile(wheels[first]) as built, zipfile.ZipFile(wheels[version], "w") as other:
            for info in built.infolist():
                other.writestr(
                    info, built.read(info).replace(f'__version__ = "{first}"'.encode(), f'__version__ = "{version}"'.encode())
                )
    return wheels


class Installation:
    """A virtual environment with one version of jvmbind in it, and all else from that of the tests."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        """Make it."""
        self.bin = folder / "bin"
        self.site = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
        self.bin.mkdir(parents=True)
        self.site.mkdir(parents=True)
        base = Path(os.path.realpath(sys.executable))
        (self.bin / "python").symlink_to(base)
        (folder / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n")
        (self.site / "rest.pth").write_text("\n".join(site.getsitepackages()) + "\n")
        self.install(wheel)

    @property
    def jvmbind(self) -> list[str]:
        """The command."""
        return [str(self.bin / "python"), "-I", "-m", "jvmbind"]

    def install(self, wheel: Path, edits: dict[str, tuple[str, str]] | None = None, without: tuple[str, ...] = ()) -> None:
        """Put each file of a wheel in the place of that which is there, as an installer does; `edits` changes some before.

        `edits` maps a file to what is replaced in it, and by what; files in `without` are removed.
        """
        with tempfile.TemporaryDirectory(dir=self.site) as name:
            fresh = Path(name)
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(fresh)
            for file, (before, after) in (edits or {}).items():
                path = fresh / "jvmbind" / file
                text = path.read_text("utf-8")
                assert before in text, f"{file} has no {before!r}"
                path.write_text(text.replace(before, after), "utf-8")
            for path in sorted((fresh / "jvmbind").rglob("*")):
                if path.is_file():
                    target = self.site / path.relative_to(fresh)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    path.chmod(0o644)
                    path.replace(target)
        for file in without:
            (self.site / "jvmbind" / file).unlink()
