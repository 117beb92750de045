"""The real servers used by tests/servers, fetched once from Maven Central with the `mvn` command.

Run by pytest, or as a program (`python tests/support/artifacts.py`) to fill the cache while there is a
network: the tests themselves may run where there is none. Must not import jvmbind.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

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
    "undertow": ["io.undertow:undertow-core:2.3.27.Final"],
}

# Jars for which tests/servers has no main class.
JARS = {
    "commons-daemon": ["commons-daemon:commons-daemon:1.4.0"],
    "junit": ["org.junit.platform:junit-platform-console-standalone:1.14.4"],
}

# Projects of examples/ that Maven builds; the folder is named after the version of what they are made with.
PROJECTS = {"spring-boot": "spring-boot:shop:4.0.7"}

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
    coordinates = (DISTRIBUTIONS | PROJECTS).get(name) or (LIBRARIES | JARS)[name][0]
    # The version is part of the folder's name, so a changed version is fetched anew.
    version = coordinates.split(":")[2]
    target = cache_directory() / f"{name}-{version}"
    if not target.is_dir():
        cache_directory().mkdir(parents=True, exist_ok=True, mode=0o755)
        with tempfile.TemporaryDirectory(dir=cache_directory(), prefix=f"{name}-") as work:
            make = _distribution if name in DISTRIBUTIONS else _project if name in PROJECTS else _libraries
            made = make(name, Path(work))
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


def _distribution(name: str, work: Path) -> Path:
    _maven("dependency:copy", f"-Dartifact={DISTRIBUTIONS[name]}", f"-DoutputDirectory={work}")
    (archive,) = work.glob("*.zip")
    unpacked = work / "unpacked"
    with zipfile.ZipFile(archive) as zipped:
        zipped.extractall(unpacked)
    (folder,) = unpacked.iterdir()
    return folder


def _project(name: str, work: Path) -> Path:
    project = work / name
    shutil.copytree(Path(__file__).parents[2] / "examples" / name, project)
    _maven("-f", str(project / "pom.xml"), "package")
    return project / "target"


def _libraries(name: str, work: Path) -> Path:
    entries = []
    for coordinates in (LIBRARIES | JARS)[name]:
        group, identity, version, *classifier = coordinates.split(":")
        more = f"<classifier>{classifier[0]}</classifier>" if classifier else ""
        entries.append(
            f"<dependency><groupId>{group}</groupId><artifactId>{identity}</artifactId>"
            f"<version>{version}</version>{more}</dependency>"
        )
    pom = work / "pom.xml"
    pom.write_text(_POM.format("".join(entries)))
    folder = work / "jars"
    _maven("-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={folder}")
    assert list(folder.glob("*.jar")), f"mvn copied no jar for {name}"
    return folder


def _make_readable(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


if __name__ == "__main__":
    for wanted in (*DISTRIBUTIONS, *LIBRARIES, *JARS, *PROJECTS):
        sys.stdout.write(f"{artifact(wanted)}\n")
