"""The Java library as a dependency: what a dry run of its release leaves for Maven.

Run by pytest, as anybody, without a network: Maven has its plugins from an earlier build (tests/run.sh makes one).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import pytest

from support.needs import need

SHIM = Path(__file__).resolve().parents[2] / "java-shim"
POM = "{http://maven.apache.org/POM/4.0.0}"


def release(to: Path, *options: str) -> Path:
    """Make a dry run in a copy of the project; return the folder of the version."""
    need("mvn", there=shutil.which("mvn") is not None)
    shutil.copytree(SHIM, to / "java-shim", ignore=shutil.ignore_patterns("target"))
    words = ["mvn", "-q", "-B", "-DskipTests", *options, "deploy", f"-DaltDeploymentRepository=dry::file://{to}/repository"]
    done = subprocess.run(words, cwd=to / "java-shim", stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (to / "repository" / "dev" / "jvmbind" / "jvmbind-shim").glob("*/")
    return folder


def manifest(jar: Path) -> dict[str, str]:
    """Return the main attributes of a jar."""
    with zipfile.ZipFile(jar) as archive:
        text = archive.read("META-INF/MANIFEST.MF").decode().replace("\r\n ", "")
    return dict(line.split(": ", 1) for line in text.splitlines() if line)


@pytest.mark.timeout(600)
def test_release(tmp_path: Path) -> None:
    """A release has all that Maven Central asks for but signatures, another build gives the same bytes, and is an OSGi bundle."""
    one = release(tmp_path / "one")
    other = release(tmp_path / "other", "-Duser.timezone=Pacific/Kiritimati", "-Duser.language=tr")

    name = f"jvmbind-shim-{one.name}"
    jars = [f"{name}.jar", f"{name}-sources.jar", f"{name}-javadoc.jar"]
    assert sorted(path.name for path in one.iterdir() if path.suffix in {".jar", ".pom"}) == sorted([*jars, f"{name}.pom"])
    for jar in jars:
        assert (one / jar).read_bytes() == (other / jar).read_bytes(), jar
        assert (one / f"{jar}.sha1").is_file()
    pom = ET.parse(one / f"{name}.pom").getroot()
    for path in ("name", "description", "url", "licenses/license/url", "developers/developer/name", "scm/connection", "scm/url"):
        assert pom.findtext(POM + path.replace("/", f"/{POM}")), path
    dependencies = pom.findall(f"{POM}dependencies/{POM}dependency/{POM}scope")
    assert {scope.text for scope in dependencies} == {"test"}

    found = manifest(one / jars[0])
    assert found["Bundle-SymbolicName"] == "dev.jvmbind"
    assert re.fullmatch(r'dev\.jvmbind;version="[0-9.]+"', found["Export-Package"])
    wheel = subprocess.run(
        [sys.executable, "-I", "-c", "import jvmbind; print(jvmbind.shim_jar())"], capture_output=True, text=True, check=True
    )
    packed = manifest(Path(wheel.stdout.strip()))
    assert packed == {key: found[key] for key in packed}
    with zipfile.ZipFile(wheel.stdout.strip()) as archive, zipfile.ZipFile(one / jars[0]) as released:
        classes = {entry for entry in archive.namelist() if entry.endswith(".class")}
        assert {entry for entry in released.namelist() if entry.endswith(".class")} == classes
        assert "module-info.class" in classes
