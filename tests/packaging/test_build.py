"""The package: what is built from a checkout, and what a build without a JDK says.

Run by pytest, as anybody, with the network not needed. Works on a copy of the checkout.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
VERSION = (ROOT / "jvmbind" / "__init__.py").read_text("utf-8").partition('\n__version__ = "')[2].partition('"')[0]
WHEEL = f"jvmbind-{VERSION}-py3-none-any.whl"
SDIST = f"jvmbind-{VERSION}.tar.gz"
CLASSES = ("InheritedChannels", "ServiceLifecycle")


def copy_checkout(to: Path) -> Path:
    """Copy what a build reads, without anything that an earlier one left."""
    names = ["jvmbind", "java-shim", "scripts", "hatch_build.py", "pyproject.toml", "LICENSE", "README.md", ".gitignore"]
    to.mkdir()
    for name in names:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("__pycache__", "_shim.jar*", "target"))
        elif source.exists():
            shutil.copy2(source, to / name)
    return to


def run(command: list[str], cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command with these changes to the environment and pip cut off from any index."""
    env = {**os.environ, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **environ}
    return subprocess.run(command, cwd=cwd, env=env, text=True, capture_output=True, timeout=100, check=False)


def build(checkout: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Build the sdist, then the wheel from it."""
    return run([sys.executable, "-I", "-m", "build", "--no-isolation", "--outdir", "dist", "."], checkout, **environ)


def sha256(path: Path) -> str:
    """Return the digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an sdist and a wheel built from a copy of the checkout."""
    checkout = copy_checkout(tmp_path_factory.mktemp("build") / "checkout")
    done = build(checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    return checkout / "dist"


def shim(wheel: Path) -> zipfile.ZipFile:
    """Open the jar in a wheel."""
    archive = zipfile.ZipFile(wheel)
    return zipfile.ZipFile(archive.open("jvmbind/_shim.jar"))


def test_names(built: Path) -> None:
    """One build offline gives an sdist and one wheel for every platform."""
    assert sorted(path.name for path in built.iterdir()) == sorted([WHEEL, SDIST])


def test_wheel_holds_the_shim_and_the_types(built: Path) -> None:
    """The wheel has the compiled shim, the typing marker, the licence and the command, and no Java source or test."""
    with zipfile.ZipFile(built / WHEEL) as wheel:
        names = wheel.namelist()
        command = wheel.getinfo(f"jvmbind-{VERSION}.data/scripts/jvmbind")
        assert command.external_attr >> 16 & 0o111 == 0o111
        assert wheel.read(command) == (ROOT / "scripts" / "jvmbind").read_bytes()

    assert {"jvmbind/_shim.jar", "jvmbind/py.typed", f"jvmbind-{VERSION}.dist-info/licenses/LICENSE"} <= set(names)
    # An entry point would be started by an interpreter that is not isolated.
    assert f"jvmbind-{VERSION}.dist-info/entry_points.txt" not in names
    others = [name for name in names if not name.startswith(("jvmbind/", f"jvmbind-{VERSION}.dist-info/"))]
    assert others == [command.filename]
    assert [name for name in names if name.endswith((".java", ".class", ".pyc"))] == []


def test_shim_runs_on_java_11(built: Path) -> None:
    """The jar holds the two public classes and all classes are of Java 11's format (55)."""
    with shim(built / WHEEL) as jar:
        versions = {name: jar.read(name)[6:8] for name in jar.namelist() if name.endswith(".class")}
        manifest = jar.read("META-INF/MANIFEST.MF").decode()

    assert {f"dev/jvmbind/{name}.class" for name in CLASSES} <= set(versions)
    assert set(versions.values()) == {(55).to_bytes(2, "big")}
    assert f"Implementation-Version: {VERSION}\r\n" in manifest


def test_shim_has_fixed_times_and_order(built: Path) -> None:
    """Entries of the jar carry one time, are stored, and come in order after the manifest."""
    with shim(built / WHEEL) as jar:
        entries = jar.infolist()

    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {entry.compress_type for entry in entries} == {zipfile.ZIP_STORED}
    assert entries[0].filename == "META-INF/MANIFEST.MF"
    assert [entry.filename for entry in entries[1:]] == sorted(entry.filename for entry in entries[1:])


def test_sdist_holds_the_java_source_and_no_jar(built: Path) -> None:
    """The sdist has what it takes to compile the shim, and not the result."""
    with tarfile.open(built / SDIST) as sdist:
        names = {name.split("/", 1)[1] for name in sdist.getnames() if "/" in name}

    assert {f"java-shim/src/main/java/dev/jvmbind/{name}.java" for name in CLASSES} <= names
    assert {"hatch_build.py", "pyproject.toml", "LICENSE", "jvmbind/py.typed"} <= names
    assert [name for name in names if name.endswith((".jar", ".class", ".pyc"))] == []


def test_same_sources_give_the_same_files(built: Path, tmp_path: Path) -> None:
    """A second build, in another folder, at another time, gives the same wheel and sdist byte for byte."""
    again = copy_checkout(tmp_path / "elsewhere")
    for path in again.rglob("*.java"):
        os.utime(path, (1, 1))
    done = build(again, TZ="Pacific/Kiritimati", JDK_JAVAC_OPTIONS="-g")

    assert done.returncode == 0, done.stdout + done.stderr
    for name in (WHEEL, SDIST):
        assert sha256(built / name) == sha256(again / "dist" / name), name


def test_source_date_epoch_dates_the_shim(tmp_path: Path) -> None:
    """SOURCE_DATE_EPOCH is the time of the jar's entries, where a zip can hold it."""
    checkout = copy_checkout(tmp_path / "checkout")
    done = build(checkout, SOURCE_DATE_EPOCH="1600000000")

    assert done.returncode == 0, done.stdout + done.stderr
    with shim(checkout / "dist" / WHEEL) as jar:
        assert {entry.date_time for entry in jar.infolist()} == {(2020, 9, 13, 12, 26, 40)}


@pytest.mark.parametrize("what", ["checkout", "sdist"])
def test_no_javac(built: Path, tmp_path: Path, what: str) -> None:
    """Without a JDK, pip's user reads one sentence that says what is missing, and no traceback."""
    source = str(built / SDIST) if what == "sdist" else str(copy_checkout(tmp_path / "checkout"))
    empty = tmp_path / "bin"
    empty.mkdir()
    command = [sys.executable, "-I", "-m", "pip", "install", "--no-deps", "--no-build-isolation"]
    done = run([*command, "--target", str(tmp_path / "to"), source], tmp_path, PATH=str(empty), JAVA_HOME="")

    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert said.count("jvmbind: building from source needs a JDK, version 11 or newer") == 1, said
    assert "Traceback" not in said
    assert not (tmp_path / "to").exists()


def test_javac_of_java_home_comes_first(tmp_path: Path) -> None:
    """The compiler in JAVA_HOME is taken before the one on PATH; what it says is passed on."""
    checkout = copy_checkout(tmp_path / "checkout")
    javac = tmp_path / "home" / "bin" / "javac"
    javac.parent.mkdir(parents=True)
    javac.write_text("#!/bin/sh\necho 'no such release: 11' >&2\nexit 2\n", "utf-8")
    javac.chmod(0o755)
    done = build(checkout, JAVA_HOME=str(tmp_path / "home"))

    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert f"jvmbind: {javac} cannot compile java-shim/" in said
    assert "no such release: 11" in said
    assert "Traceback" not in said
    assert not (checkout / "jvmbind" / "_shim.jar").exists()


def test_a_warning_of_javac_fails_the_build(tmp_path: Path) -> None:
    """The Java source is compiled with all warnings on, as errors."""
    checkout = copy_checkout(tmp_path / "checkout")
    folder = checkout / "java-shim" / "src" / "main" / "java" / "dev" / "jvmbind"
    source = "package dev.jvmbind;\nfinal class Raw {\n    java.util.List list;\n}\n"
    (folder / "Raw.java").write_text(source, "utf-8")
    done = build(checkout)

    assert done.returncode != 0
    assert "[rawtypes]" in done.stdout + done.stderr


def test_one_version() -> None:
    """Where Maven, which has no other way, names the version in a file, it is that of the package."""
    pom = ET.parse(ROOT / "java-shim" / "pom.xml").getroot()
    users = ["docs/java-api.md", "examples/spring-boot-starter/pom.xml"]
    of_shim = re.compile(r"<artifactId>jvmbind-shim</artifactId>\s*<version>(.*?)</version>")

    assert pom.findtext("{http://maven.apache.org/POM/4.0.0}version") == VERSION
    assert [of_shim.findall((ROOT / name).read_text("utf-8")) for name in users] == [[VERSION]] * len(users)
