"""Comparison of the argument parser with real `java` commands: the launcher's own trace tells its JVM options.

The JVM never starts here: an unknown flag in JAVA_TOOL_OPTIONS makes JNI_CreateJavaVM fail after the trace is out.
"""

from __future__ import annotations

import os
import re
import subprocess
import zipfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jvmbind.errors import JavaLaunchError
from jvmbind.worker.arguments import parse

if TYPE_CHECKING:
    from pathlib import Path

    from support.jdks import Jdk

pytestmark = pytest.mark.jvm

COMMANDS: list[list[str]] = [
    ["Main"],
    ["Main", "a", "b c", "", "-x", "@y", "*"],
    ["-cp", "lib/*", "Main"],
    ["-cp", "lib/*:x:other/*", "Main"],
    ["-cp", "*", "Main"],
    ["-cp", "", "Main"],
    ["-classpath", "a:b", "Main"],
    ["--class-path", "a:b", "Main"],
    ["--class-path=lib/*", "Main"],
    ["--class-path=", "Main"],
    ["-cp"],
    ["-cp", "-x", "Main"],
    ["-cp", "a", "-cp", "b", "Main"],
    ["-Djava.class.path=q", "Main"],
    ["-Djava.class.path=q/*", "Main"],
    ["-jar", "lib/a.jar", "x"],
    ["-cp", "zz", "-jar", "lib/a.jar"],
    ["-jar", "-cp", "zz", "lib/a.jar"],
    ["-jar", "-Dx=1", "lib/a.jar"],
    ["-jar", "missing.jar"],
    ["-jar", "junk.jar"],
    ["-jar", "bare.jar"],
    ["-jar", "lib"],
    ["-jar", "prefixed.jar"],
    ["-jar", "commented.jar"],
    ["-Djava.awt.headless=true", "-jar", "lib/a.jar"],
    ["-jar"],
    ["-m", "mod"],
    ["-m", "mod/pkg.Main", "a"],
    ["--module", "mod/pkg.Main", "-a"],
    ["--module=mod/pkg.Main", "-a"],
    ["--module="],
    ["-m"],
    ["-m", "-x"],
    ["-m", "mod", "-client", "-server", "x"],
    ["-p", "mods", "-m", "mod"],
    ["-p"],
    ["-p", "-m", "mod"],
    ["--module-path", "mods", "-m", "mod"],
    ["--module-path=mods", "-m", "mod"],
    ["--module-path=", "-m", "mod"],
    ["--upgrade-module-path", "u", "Main"],
    ["--upgrade-module-path"],
    ["--add-modules", "java.sql", "Main"],
    ["--add-modules=java.sql,java.xml", "Main"],
    ["--add-modules", "Main"],
    ["--add-modules"],
    ["--limit-modules", "java.base", "Main"],
    ["--add-exports", "java.base/sun.nio.ch=ALL-UNNAMED", "Main"],
    ["--add-exports=", "Main"],
    ["--add-opens", "java.base/java.lang=ALL-UNNAMED", "--add-opens=java.base/java.util=ALL-UNNAMED", "Main"],
    ["--add-opens=", "Main"],
    ["--add-opens", "", "Main"],
    ["--add-reads", "a=b", "Main"],
    ["--patch-module", "a=b", "Main"],
    ["--enable-native-access", "ALL-UNNAMED", "Main"],
    ["--enable-native-access=ALL-UNNAMED", "Main"],
    ["--illegal-native-access=deny", "Main"],
    ["--illegal-native-access", "deny", "Main"],
    ["--finalization=disabled", "Main"],
    ["--sun-misc-unsafe-memory-access=allow", "Main"],
    ["--enable-preview", "Main"],
    ["--nonsense", "Main"],
    ["--nonsense=", "Main"],
    ["--show-module-resolution", "Main"],
    ["--show-resolved-modules", "Main"],
    ["--dry-run", "Main"],
    ["-Xdiag", "Main"],
    ["-XshowSettings:all", "Main"],
    ["-showversion", "Main"],
    ["--show-version", "Main"],
    ["-verbose", "-verbose:gc", "Main"],
    ["-verbosegc", "Main"],
    ["-verify", "Main"],
    ["-verifyremote", "Main"],
    ["-noverify", "Main"],
    ["-noclassgc", "Main"],
    ["-debug", "Main"],
    ["-t", "Main"],
    ["-tm", "Main"],
    ["-Xfuture", "Main"],
    ["-ss2m", "-ms16m", "-mx64m", "Main"],
    ["-oss1m", "Main"],
    ["-checksource", "Main"],
    ["-cs", "Main"],
    ["-noasyncgc", "Main"],
    ["-splash:none.png", "Main"],
    ["-disableassertions", "-ea:x...", "-esa", "Main"],
    ["-agentlib:jdwp=help", "-javaagent:a.jar=b", "-agentpath:/x", "Main"],
    ["-Xss2m", "-Xmx64m", "-Xms16m", "-XX:+UseSerialGC", "-Xint", "Main"],
    ["-server", "Main", "-server"],
    ["-client", "-J-server", "Main"],
    ["-J-Xmx1g", "Main"],
    ["-Jserver", "Main"],
    ["-d64", "Main"],
    ["-version:1.8", "Main"],
    ["-jre-restrict-search", "Main"],
    ["--disable-@files", "Main", "@x"],
    ["--disable-@files", "@args", "y"],
    ["@args", "y"],
    ["@@args", "y"],
    ["@", "y"],
    ["-cp", "@args", "Main"],
    ["-jar", "@jarname"],
    ["@missing"],
    ["@lib"],
    ["@odd", "z"],
    ["@long", "z"],
    ["--source", "17", "Main.java", "x"],
    ["--source=17", "Main.java", "x"],
    ["--source", "17", "nothing", "x"],
    ["--source", "-x"],
    ["--source"],
    ["--source", "17", "-jar", "lib/a.jar"],
    ["--source", "17", "-m", "mod"],
    ["--source 17 -Dx=1", "Main.java"],
    ["--source 17 -jar", "Main.java"],
    ["--source 17 Main", "Main.java"],
    ["Main.java", "x"],
    ["-cp", "a", "Main.java", "x"],
    ["None.java", "x"],
    ["-cp", "a", "--source", "17", "Main.java"],
    ["--source", "17", "-cp", "a", "Main.java"],
    ["--describe-module"],
    ["-d"],
]

ENVIRONMENTS: list[dict[str, str]] = [
    {"CLASSPATH": "env/*:lib/*"},
    {"CLASSPATH": ""},
    {"JDK_JAVA_OPTIONS": "-Da=1 '-Db=x y' -D\"c\"='d'\te\"\""},
    {"JDK_JAVA_OPTIONS": ""},
    {"JDK_JAVA_OPTIONS": "-cp lib/* @options"},
    {"JDK_JAVA_OPTIONS": "--disable-@files"},
    {"JDK_JAVA_OPTIONS": "'-Dopen"},
    {"JDK_JAVA_OPTIONS": "-version"},
    {"JDK_JAVA_OPTIONS": "-jar x.jar"},
    {"JDK_JAVA_OPTIONS": "Main"},
    {"JDK_JAVA_OPTIONS": "-cp lib -Dx ''"},
    {"JDK_JAVA_OPTIONS": "@args"},
    {"JDK_JAVA_OPTIONS": "@withjar"},
    {"JDK_JAVA_OPTIONS": "--module=x"},
    {"JDK_ALTERNATE_VM": "server"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the files that the commands name."""
    root = tmp_path_factory.mktemp("launch")
    for directory in ("lib", "other", "mods"):
        (root / directory).mkdir()
    for name in ("lib/a.jar", "lib/b.JAR", "lib/.hidden.jar"):
        with zipfile.ZipFile(root / name, "w") as jar:
            jar.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n")
    for name in ("lib/c.zip", "lib/d:e.jar", "junk.jar"):
        (root / name).write_text("junk that is not an archive")
    with zipfile.ZipFile(root / "bare.jar", "w") as jar:
        jar.writestr("readme", "no manifest")
    good = (root / "lib/a.jar").read_bytes()
    (root / "prefixed.jar").write_bytes(b"#!/bin/sh\n" + good)
    with zipfile.ZipFile(root / "commented.jar", "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n")
        jar.comment = b"a comment"
    (root / "Main.java").write_text("class Main {}")
    (root / "args").write_text("-Dfrom=file  Main 'one arg' two")
    (root / "jarname").write_text("lib/a.jar\n")
    (root / "options").write_text('-Da="b c"\n# remark\n-De=f\n')
    (root / "withjar").write_text("-Dx=1 -jar\n")
    (root / "odd").write_bytes(
        b'-Da=b#c\n-D"x"y#z\n"-Dq=\\n\\t\\\\ \\q" \'-Ds="\' -Du="open\n -Dv="con\\\n   tin\\\r\n ued"'
        b" -Dn=a\0b -De=\xff \f-Df=\xc3\xbc\r\n"
    )
    long = b"-Dlong=" + b"x" * 4088 + b"#y\n-Dnext=" + b"z" * 5000 + b'\n"-Dquoted=' + b"q " * 4096 + b'"\n'
    (root / "long").write_bytes(long + b"-Dtail=" + b"t" * (4096 * 5 - len(long) - 8) + b"\\\n'' Main ''")
    return root


def trace(jdk: Jdk, folder: Path, argv: list[str], environ: dict[str, str]) -> tuple[list[str] | None, str, int]:
    """Return the JVM options that the launcher makes, its stderr, and its status."""
    env = {"PATH": os.environ["PATH"], "_JAVA_LAUNCHER_DEBUG": "1", "JAVA_TOOL_OPTIONS": "-XX:+NoSuchFlag", **environ}
    done = subprocess.run([jdk.java, *argv], cwd=folder, env=env, capture_output=True, timeout=60, check=False)
    out = os.fsdecode(done.stdout)
    if "JavaVM args:" not in out:
        return None, os.fsdecode(done.stderr), done.returncode
    # An option may hold line ends and quotes; the last one is always the same.
    traced = out.split("JavaVM args:", 1)[1].rpartition("SUN_STANDARD'")[0] + "SUN_STANDARD'"
    options = [option[:-1] for option in re.split(r"\n    option\[ *\d+\] = '", traced)[1:]]
    return options, os.fsdecode(done.stderr), done.returncode


def compare(jdk: Jdk, folder: Path, argv: list[str], environ: dict[str, str]) -> None:
    """Assert that our options, notes and refusals are those of the JDK's launcher."""
    options, stderr, status = trace(jdk, folder, argv, environ)
    if options is None:
        expected: list[str] = []
        try:
            command = parse(argv, environ, jdk_feature=jdk.feature, java_home=jdk.home)
        except JavaLaunchError as refusal:
            expected = [*getattr(refusal, "__notes__", []), *refusal.args[0].splitlines()]
        else:
            assert command.full_version or command.delegate == f"there is no {command.vm} JVM"
        assert not expected or (stderr.splitlines(), status) == (expected, JavaLaunchError.status)
        return
    command = parse(argv, environ, jdk_feature=jdk.feature, java_home=jdk.home)
    assert options == ["-Dsun.java.launcher.diag=true", *command.options]
    printed = [note for note in command.notes if not note.startswith("jvmbind: ")]
    if command.delegate is None:
        assert stderr.splitlines()[: len(printed)] == printed
        assert stderr.splitlines()[len(printed)].startswith("Picked up JAVA_TOOL_OPTIONS")


CASES: list[tuple[list[str], dict[str, str]]] = [
    *((argv, {}) for argv in COMMANDS),
    *((["-Dz=1", "Main", "@args"], environ) for environ in ENVIRONMENTS),
]


@pytest.mark.parametrize(("argv", "environ"), CASES, ids=lambda value: str(value)[:60])
def test_same_options_as_java(
    jdk: Jdk, folder: Path, argv: list[str], environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The options for the JVM, or the refusal, are those of the real launcher of each JDK, to the last character."""
    monkeypatch.chdir(folder)

    compare(jdk, folder, argv, environ)


WORDS = st.sampled_from(sorted({word for command in COMMANDS for word in command} | {"-version", "--help", "-X"}))


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(argv=st.lists(WORDS, max_size=7), variable=st.none() | st.lists(WORDS, max_size=3).map(" ".join))
def test_same_options_for_any_words(
    jdk: Jdk, folder: Path, argv: list[str], variable: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Launcher words in any order and place give what the real launcher makes of them."""
    monkeypatch.chdir(folder)

    compare(jdk, folder, argv, {} if variable is None else {"JDK_JAVA_OPTIONS": variable})


LETTERS = [*"ab#\\'\" \t\f\n\r\x0bnrt@-é\0", "x" * 1500]
TEXT = st.lists(st.sampled_from(LETTERS), max_size=40).map("".join)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXT)
def test_same_words_of_any_argument_file(jdk: Jdk, folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any text as an argument file is split as the real launcher splits it, also across its pieces of 4096 bytes."""
    monkeypatch.chdir(folder)
    (folder / "any").write_text("Main " + text, newline="")

    compare(jdk, folder, ["@any", "end"], {})
