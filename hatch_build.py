"""Build hook: compiles java-shim/ into jvmbind/_shim.jar, which goes into the wheel.

Run by hatchling as whoever builds the package. Standard library and hatchling only.

The jar is the same, byte for byte, for the same sources and the same javac: entries are sorted and
stored, and carry one fixed time. It is not in version control, so it is named as an artifact. The
wheel stays py3-none-any: class files are for every machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

JAR = "jvmbind/_shim.jar"
SOURCES = "java-shim/src/main/java"
# The oldest Java that the shim runs on; javac 11 and newer can compile for it.
RELEASE = "11"
# A zip entry can name no time before 1980.
ZIP_EPOCH = 315532800
# As java-shim/pom.xml has them (OSGi Core, section 3.2), each of at most 72 bytes with its name: the JAR file specification.
HEADERS = {
    "Bundle-ManifestVersion": "2",
    "Bundle-SymbolicName": "dev.jvmbind",
    "Bundle-Name": "jvmbind shim",
    "Bundle-Version": "{version}",
    "Bundle-License": "Apache-2.0",
    "Export-Package": 'dev.jvmbind;version="{version}"',
    "Require-Capability": 'osgi.ee;filter:="(&(osgi.ee=JavaSE)(version=11))"',
    "Implementation-Title": "jvmbind-shim",
    "Implementation-Version": "{version}",
}


class ShimBuildHook(BuildHookInterface[Any]):
    """Compiles the Java shim before a wheel (also an editable one) is put together."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the jar and name it as part of the wheel; the sdist carries the sources instead.

        An editable install is for who works on jvmbind: it may lack the jar, which most unit tests do without.
        """
        if self.target_name != "wheel":
            return
        if version == "editable" and find_javac() is None:
            self.app.display_warning("jvmbind: no javac, so this install has no Java shim.")
            return
        root = Path(self.root)
        sources = sorted((root / SOURCES).rglob("*.java"))
        if not sources:
            self.app.abort(f"jvmbind: no Java sources in {root / SOURCES}.")
        with tempfile.TemporaryDirectory(prefix="jvmbind-shim-") as classes:
            self._compile(find_javac(), sources, Path(classes))
            write_jar(Path(classes), root / JAR, self.metadata.version)
        build_data["artifacts"].append(JAR)

    def _compile(self, javac: str | None, sources: list[Path], classes: Path) -> None:
        if javac is None:
            self.app.abort(
                "jvmbind: building from source needs a JDK, version 11 or newer, and no javac was found in "
                "JAVA_HOME/bin or on PATH (Debian: apt-get install openjdk-17-jdk-headless)."
            )
            return  # not reached: abort ends the process, which its type does not say
        # JDK_JAVAC_OPTIONS would add options of the builder's own.
        environ = {name: value for name, value in os.environ.items() if name != "JDK_JAVAC_OPTIONS"}
        options = ["--release", RELEASE, "-Xlint:all", "-Werror", "-proc:none", "-encoding", "UTF-8"]
        command = [javac, *options, "-d", str(classes), *map(str, sources)]
        try:
            done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        except OSError as error:
            self.app.abort(f"jvmbind: cannot run {javac}: {error.strerror}.")
            return
        if done.returncode != 0:
            self.app.abort(f"jvmbind: {javac} cannot compile java-shim/:\n{done.stdout}{done.stderr}".rstrip())


def find_javac() -> str | None:
    """The compiler in JAVA_HOME, else on PATH, else none."""
    home = os.environ.get("JAVA_HOME")
    inside = shutil.which("javac", path=str(Path(home) / "bin")) if home else None
    return inside or shutil.which("javac")


def write_jar(classes: Path, jar: Path, version: str) -> None:
    """Pack all files under ``classes`` with a manifest; the result depends on nothing else but the version."""
    epoch = max(int(os.environ.get("SOURCE_DATE_EPOCH", ZIP_EPOCH)), ZIP_EPOCH)
    date_time = time.gmtime(epoch)[:6]
    headers = ("Manifest-Version: 1.0", *(f"{name}: {value.format(version=version)}" for name, value in HEADERS.items()))
    # The manifest comes first, as java.util.jar.JarInputStream wants it.
    entries = [("META-INF/MANIFEST.MF", "\r\n".join((*headers, "", "")).encode())]
    files = sorted(path for path in classes.rglob("*") if path.is_file())
    entries += [(path.relative_to(classes).as_posix(), path.read_bytes()) for path in files]
    # Written beside its place and renamed: a build that dies leaves no half jar behind.
    part = jar.with_name(jar.name + ".part")
    with zipfile.ZipFile(part, "w") as archive:
        for name, content in entries:
            info = zipfile.ZipInfo(name, date_time)
            # Stored: what deflate writes differs from one zlib to the next.
            info.compress_type = zipfile.ZIP_STORED
            info.create_system = 3
            info.external_attr = 0o100644 << 16
            archive.writestr(info, content)
    part.replace(jar)
