"""Builds what the launch cases run: classes, jars, modules, argument files. Run by pytest; must not import jvmbind."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from support.jdks import FLOOR, compiler, made_once

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

JAVA = Path(__file__).resolve().parent / "java"

HERE = """public class Here {
    public static void main(String[] args) {
        System.out.println("here " + (args.length == 0 ? "" : System.getProperty("java.class.path")));
    }
}
"""
LION = """package löwe;

/** A main class with a name that is not ASCII. */
public class Größe {
    public static void main(String[] args) {
        System.out.println(Größe.class.getName().length() + " " + args.length);
    }
}
"""
DANGLING = """public class Dangling extends Gone {
    public static void main(String[] args) {
        System.out.println("never");
    }
}

class Gone {
}
"""


def javac(*arguments: str | Path) -> None:
    """Run the compiler of the oldest JDK."""
    command = [compiler().javac, "-encoding", "UTF-8", "--release", str(FLOOR), "-nowarn", "-Xlint:-options", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env={"LC_ALL": "C.UTF-8"})
    assert result.returncode == 0, result.stdout + result.stderr


def jar(path: Path, folder: Path | None, manifest: Mapping[str, str] | None, more: Mapping[str, bytes] | None = None) -> None:
    """Write a jar of a class folder; without a `manifest` it has none."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        if manifest is not None:
            lines = [f"{key}: {value}\r\n" for key, value in {"Manifest-Version": "1.0", **manifest}.items()]
            archive.writestr("META-INF/MANIFEST.MF", "".join(lines) + "\r\n")
        if folder is not None:
            for file in sorted(folder.rglob("*")):
                archive.write(file, file.relative_to(folder))
        for name, data in (more or {}).items():
            archive.writestr(name, data)


def build(root: Path) -> Path:
    """Fill `root`, readable by every user, and return it. What was built before from the same sources is copied."""
    known = hashlib.sha256(str(compiler().javac.resolve()).encode() + Path(__file__).read_bytes())
    for source in sorted(path for path in JAVA.rglob("*") if path.is_file()):
        known.update(str(source.relative_to(JAVA)).encode() + b"\0" + source.read_bytes())
    shutil.copytree(made_once("launches", known.hexdigest(), _fill), root, dirs_exist_ok=True)
    for path in (root, *root.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (root / "unreadable.jar").chmod(0)
    return root


def _fill(root: Path) -> None:
    classes = root / "classes"
    extra = root / "extra"
    for folder in (classes, extra, root / "empty", root / "lib", root / "mods", root / "modjars"):
        folder.mkdir()
    for name, text in (("Here", HERE), ("Größe", LION), ("Dangling", DANGLING)):
        (extra / f"{name}.java").write_text(text, encoding="utf-8")
    javac("-d", classes, *sorted((JAVA / "classes").rglob("*.java")), extra / "Größe.java", extra / "Dangling.java")
    (classes / "Gone.class").unlink()
    javac("-d", root, extra / "Here.java")
    shutil.rmtree(extra)
    (classes / "Corrupt.class").write_bytes(b"\xca\xfe\xba\xbe junk")
    data = bytearray((root / "Here.class").read_bytes())
    data[6:8] = (999).to_bytes(2, "big")
    (classes / "TooNew.class").write_bytes(data)
    for source in sorted((JAVA / "sources").iterdir()):
        shutil.copyfile(source, root / source.name)
    _jars(root, classes)
    _modules(root)
    _texts(root)


def _jars(root: Path, classes: Path) -> None:
    text = {"text.txt": b"base"}
    app = {"Main-Class": "App"}
    jar(root / "app.jar", classes, app, text)
    jar(root / "lib/app.jar", classes, app, text)
    jar(root / "lib/other.JAR", None, {}, text)
    jar(root / "class-path.jar", None, {**app, "Class-Path": "lib/app.jar missing.jar"})
    jar(root / "add-opens.jar", classes, {**app, "Add-Opens": "java.base/java.lang java.base/java.util"})
    jar(root / "add-exports.jar", classes, {**app, "Add-Exports": "java.base/sun.nio.ch"})
    jar(root / "native-access.jar", classes, {**app, "Enable-Native-Access": "ALL-UNNAMED"})
    jar(root / "bad-native-access.jar", classes, {**app, "Enable-Native-Access": "some.module"})
    jar(root / "launcher-agent.jar", classes, {**app, "Launcher-Agent-Class": "Agent"})
    jar(root / "bad-launcher-agent.jar", classes, {**app, "Launcher-Agent-Class": "None"})
    jar(root / "agent.jar", classes, {"Premain-Class": "Agent", "Agent-Class": "Agent"})
    release = {"META-INF/versions/17/text.txt": b"seventeen", "META-INF/versions/25/text.txt": b"twenty-five"}
    jar(root / "multi-release.jar", classes, {**app, "Multi-Release": "true"}, {**text, **release})
    jar(root / "missing-main.jar", None, {"Main-Class": "None"})
    jar(root / "no-main.jar", classes, {})
    jar(root / "bare.jar", classes, None)
    jar(root / "splash.jar", classes, {**app, "SplashScreen-Image": "none.png"})
    jar(root / "blank-main.jar", classes, {"Main-Class": " App "})
    jar(root / "unreadable.jar", classes, app)
    (root / "junk.jar").write_bytes(b"this is not an archive\n" * 50)
    (root / "empty.jar").write_bytes(b"")
    (root / "prefixed.jar").write_bytes(b"#!/bin/sh\nexec java -jar $0\n" + (root / "app.jar").read_bytes())
    for name, title in (("dir with space", "the app"), ("größe", "größe")):
        (root / name).mkdir()
        shutil.copytree(classes, root / name / "classes")
        shutil.copyfile(root / "app.jar", root / name / f"{title}.jar")


def _modules(root: Path) -> None:
    for name in ("shop.lib", "shop.main"):
        javac("-p", root / "mods", "-d", root / "mods" / name, *sorted((JAVA / "modules" / name).rglob("*.java")))
    jar(root / "modjars/shop.lib.jar", root / "mods/shop.lib", {})
    # Only the jar tool writes a module's main class into module-info.class.
    tool = compiler().home / "bin" / "jar"
    target = root / "modjars/shop.main.jar"
    command: Sequence[str | Path] = [tool, "-c", "-f", target, "-e", "shop.main.Till", "-C", root / "mods/shop.main", "."]
    subprocess.run(command, check=True, capture_output=True)


def _texts(root: Path) -> None:
    texts = {
        "args": "-cp classes\nApp args 'one arg' \"two\\targ\"\n",
        "quoted": "-Da='b c' App args \"a \\\n   b\" 'c\"d' e\\f ''\n",
        "options": "-cp classes '-Da=from a file'\n",
        "nothing": "",
        "commented": "# all\n-cp classes # the class path\nApp args a#b\n#end",
        "jarname": "app.jar\n",
        "größe/args": "-cp größe/classes App args ü\n",
        "long": "-cp classes App args " + " ".join(f"'argument {number}'" for number in range(20_000)) + "\n",
        "flags": "+UseSerialGC\n",
        "vmoptions": "-Xmx96m -XX:+UseSerialGC\n-Da=1\n",
    }
    for name, text in texts.items():
        (root / name).write_text(text, encoding="utf-8")
