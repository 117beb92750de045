"""The `java` command line as data: each rule of the launcher on its own, without any JDK."""

from __future__ import annotations

import os
import string
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jvmbind.errors import JavaLaunchError, JvmbindError
from jvmbind.worker.argfile_words import split_argfile
from jvmbind.worker.arguments import Mode, expand_arguments, jdk_feature, parse, parse_size
from jvmbind.worker.classpath import expand_class_path
from jvmbind.worker.selection import read_vms, select_vm

if TYPE_CHECKING:
    from jvmbind.worker.arguments import JavaCommand

LAUNCHER = "-Dsun.java.launcher=SUN_STANDARD"


def command(*argv: str, feature: int = 25, **environ: str) -> JavaCommand:
    """Parse for one feature version with only these environment variables."""
    return parse(argv, environ, jdk_feature=feature)


def refused(*argv: str, feature: int = 25, **environ: str) -> str:
    """Return the message of the refusal."""
    with pytest.raises(JavaLaunchError) as refusal:
        command(*argv, feature=feature, **environ)
    assert refusal.value.status == 1
    return str(refusal.value)


def test_main_class() -> None:
    """A main class gets the class path `.`, and its name and arguments as sun.java.command."""
    parsed = command("-Xmx64m", "Main", "a", "b c", "-Dno")

    assert parsed.options == ("-Xmx64m", "-Djava.class.path=.", "-Dsun.java.command=Main a b c -Dno", LAUNCHER)
    assert (parsed.mode, parsed.what, parsed.arguments) == (Mode.CLASS, "Main", ("a", "b c", "-Dno"))
    assert (parsed.class_path, parsed.delegate, parsed.notes) == (".", None, ())


def test_application_arguments_are_untouched() -> None:
    """Behind the main class nothing is an option, an argument file or a wildcard, and empty arguments stay."""
    arguments = ("", "@none", "*", "lib/*", "-cp", "-jar", "--disable-@files", "@@x")

    assert command("-cp", "x", "Main", *arguments).arguments == arguments


def test_many_arguments() -> None:
    """A hundred thousand arguments come through, in order and quickly."""
    arguments = tuple(f"argument-{number}" for number in range(100_000))

    assert command("Main", *arguments).arguments == arguments


def test_module() -> None:
    """A module sets jdk.module.main without the class, and has no class path unless it is given one."""
    parsed = command("-p", "mods", "-m", "shop/pkg.Main", "x")

    assert parsed.options[:2] == ("--module-path=mods", "-Djdk.module.main=shop")
    assert (parsed.mode, parsed.what, parsed.class_path) == (Mode.MODULE, "shop/pkg.Main", None)


def test_class_path_variable_counts_where_there_is_no_option() -> None:
    """CLASSPATH comes first in the JVM's options, so that -cp wins and a module keeps it."""
    assert command("Main", CLASSPATH="env").class_path == "env"
    assert command("-cp", "own", "Main", CLASSPATH="env").options[:2] == (
        "-Djava.class.path=env",
        "-Djava.class.path=own",
    )
    assert command("-m", "mod", CLASSPATH="env").class_path == "env"
    assert command("Main", CLASSPATH="").class_path == ""


def test_jar(tmp_path: Path) -> None:
    """A jar is the class path, whatever -cp and CLASSPATH say."""
    jar = tmp_path / "a.jar"
    jar.write_bytes(_archive(b"META-INF/MANIFEST.MF"))

    parsed = command("-cp", "zz", "-jar", str(jar), "x", CLASSPATH="env")

    assert (parsed.mode, parsed.what, parsed.class_path) == (Mode.JAR, str(jar), str(jar))
    assert parsed.options[-3:] == (f"-Djava.class.path={jar}", f"-Dsun.java.command={jar} x", LAUNCHER)


@pytest.mark.parametrize("feature", [17, 25])
def test_jar_is_looked_at_before_the_jvm(tmp_path: Path, feature: int) -> None:
    """A jar that is missing, no archive or without manifest is refused in the launcher's own words."""
    junk, bare = tmp_path / "junk.jar", tmp_path / "bare.jar"
    junk.write_bytes(b"junk" * 100)
    bare.write_bytes(_archive(b"readme"))

    assert refused("-jar", "no.jar", feature=feature) == "Error: Unable to access jarfile no.jar"
    assert refused("-jar", str(junk), feature=feature) == f"Error: Invalid or corrupt jarfile {junk}"
    assert refused("-jar", str(bare), feature=feature) == f"Error: Invalid or corrupt jarfile {bare}"


def test_headless_jar_is_left_to_the_jvm() -> None:
    """From JDK 24 on the launcher reads the jar only for its splash screen: not when headless."""
    assert command("-Djava.awt.headless=true", "-jar", "no.jar").mode is Mode.JAR
    assert refused("-Djava.awt.headless=true", "-jar", "no.jar", feature=17).endswith("no.jar")


def _archive(name: bytes) -> bytes:
    local = b"PK\x03\x04" + bytes(22) + len(name).to_bytes(2, "little") + bytes(2) + name
    entry = b"PK\x01\x02" + bytes(24) + len(name).to_bytes(2, "little") + bytes(16) + name
    end = b"PK\x05\x06" + bytes(4) + b"\1\0\1\0" + len(entry).to_bytes(4, "little") + len(local).to_bytes(4, "little")
    return local + entry + end + bytes(2)


@pytest.mark.parametrize(
    ("feature", "launcher", "mode_told"),
    [(17, "Main", False), (22, "SourceLauncher", False), (25, "SourceLauncher", True)],
)
def test_source_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, feature: int, launcher: str, mode_told: bool) -> None:
    """A source file is run by the compiler module's launcher, under the name that it has in each version."""
    monkeypatch.chdir(tmp_path)
    Path("Main.java").touch()

    parsed = command("Main.java", "x", feature=feature)

    assert (parsed.mode, parsed.what) == (Mode.SOURCE, f"jdk.compiler/com.sun.tools.javac.launcher.{launcher}")
    assert parsed.arguments == ("Main.java", "x")
    assert ("-Dsun.java.launcher.mode=source" in parsed.options) is mode_told
    assert "--add-modules=ALL-DEFAULT" in parsed.options
    assert command("Missing.java").mode is Mode.CLASS
    assert command("--source", "17", "script").arguments == ("script",)


def test_space_form_becomes_equals_form() -> None:
    """Module options reach the JVM as OPTION=VALUE, in order, whichever way they were written."""
    parsed = command("--add-opens", "a/b=c", "--add-opens=d/e=f", "--enable-native-access", "x", "-p", "m", "Main")

    assert parsed.options[:4] == (
        "--add-opens=a/b=c",
        "--add-opens=d/e=f",
        "--enable-native-access=x",
        "--module-path=m",
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["-cp"], "Error: -cp requires class path specification"),
        (["--class-path", "-x"], "Error: --class-path requires class path specification"),
        (["-p"], "Error: -p requires module path specification"),
        (["-m"], "Error: -m requires module name"),
        (["--module="], "Error: --module= requires module name"),
        (["-d"], "Error: -d requires module name"),
        (["--add-modules"], "Error: --add-modules requires modules to be specified"),
        (["--add-exports="], "Error: --add-exports= requires modules to be specified"),
        (["--source"], "Error: --source requires source version"),
        (["--source", "17", "-jar", "x"], "Error: Option -jar is not allowed with --source"),
        (["@none"], "Error: could not open `none'"),
    ],
)
def test_refusals(argv: list[str], message: str) -> None:
    """What the launcher refuses is refused in its words."""
    assert refused(*argv) == message


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512k", 512 << 10),
        ("2M", 2 << 20),
        ("1g", 1 << 30),
        ("1T", 1 << 40),
        ("100", 100),
        *((text, None) for text in ("1x", "", "1kb", "-5k", "+5", "k")),
        ("9" * 30, (1 << 63) - 1),
        ("9" * 30 + "k", -1024),
    ],
)
def test_sizes(text: str, size: int | None) -> None:
    """Sizes are those of the launcher, its clamping and its overflow included."""
    assert parse_size(text) == size


def test_stack_of_the_main_thread() -> None:
    """The last valid -Xss counts, at least 64 KiB; -XX:ThreadStackSize does not reach the main thread, as in `java`."""
    assert command("-Xss2m", "-Xss4m", "Main").stack_size == 4 << 20
    assert command("-Xss2m", "-Xssbad", "Main").stack_size == 2 << 20
    assert command("-Xss1k", "Main").stack_size == 64 << 10
    assert command("-Xss2m", "-Xss0", "Main").stack_size is None
    assert command("-XX:ThreadStackSize=8192", "Main").stack_size is None
    assert (command("-Xms1m", "-Xmx2m", "Main").initial_heap, command("-mx2m", "Main").max_heap) == (1 << 20, 2 << 20)


@pytest.mark.parametrize(
    "argv",
    [
        *(
            [option]
            for option in [
                "-version",
                "--version",
                "-fullversion",
                "--full-version",
                "-help",
                "-?",
                "-h",
                "--help",
                "-X",
            ]
        ),
        *([option] for option in ["--help-extra", "--list-modules", "--validate-modules", "-Xshare:dump", "-jar"]),
        ["-d", "java.base"],
        ["--dry-run", "Main"],
        ["--source", "17"],
        ["-cp", "x"],
        [],
    ],
    ids=str,
)
def test_what_is_left_to_java(argv: list[str]) -> None:
    """Launches that print something and end, or have nothing to run, say why they are the real `java`'s."""
    parsed = command(*argv)

    assert parsed.delegate
    assert "\n" not in parsed.delegate


def test_printing_options() -> None:
    """The double-dash forms print to stdout, the others to stderr; showing goes on to the main class."""
    shown = command("-showversion", "-XshowSettings:vm", "--show-resolved-modules", "Main")

    assert (shown.show_version, shown.show_settings, shown.show_resolved_modules) == (True, "-XshowSettings:vm", True)
    assert (shown.print_to_stderr, shown.delegate) == (True, None)
    assert command("--show-version", "Main").print_to_stderr is False
    assert (command("--version").print_version, command("--version").print_to_stderr) == (True, False)
    assert (command("-X").help, command("--help").help) == ("extra", "full")
    assert command("-jar", "-version").mode is Mode.NONE


def test_old_options_by_version() -> None:
    """Undocumented options are translated, warned about or left to the JVM's refusal, as each version does."""
    warning = "Warning: -verbosegc option is deprecated and may be removed in a future release."

    assert (command("-verbosegc", "M", feature=17).options[0], command("-verbosegc", "M").notes) == (
        "-verbose:gc",
        (warning,),
    )
    assert command("-debug", "M", feature=17).options[0] == "-Xdebug"
    assert "-Xdebug" not in command("-debug", "M").options
    assert command("-Xfuture", "M").options[0] == "-Xfuture"
    assert command("-noverify", "M", feature=27).options[0] == "-noverify"
    assert command("-splash:x.png", "M").notes == ("jvmbind: -splash: is ignored, a service has no screen",)
    assert "--disable-@files" in command("--disable-@files", "M", feature=17).options
    assert "--disable-@files" not in command("--disable-@files", "M").options


def test_java_options_variable() -> None:
    """JDK_JAVA_OPTIONS comes first, is told about, and is split at blanks with quotes."""
    value = "-Da=1 '-Db=x y' \"-Dc='\""
    parsed = command("-Dd=2", "Main", JDK_JAVA_OPTIONS=value)

    assert parsed.options[:4] == ("-Da=1", "-Db=x y", "-Dc='", "-Dd=2")
    assert parsed.notes == (f"NOTE: Picked up JDK_JAVA_OPTIONS: {value}",)
    assert expand_arguments(["Main"], {"JDK_JAVA_OPTIONS": value}) == ["-Da=1", "-Db=x y", "-Dc='", "Main"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("'open", "Error: Unmatched quote in environment variable JDK_JAVA_OPTIONS"),
        ("-version", "Error: Option -version is not allowed in environment variable JDK_JAVA_OPTIONS"),
        ("--module=x", "Error: Option --module=x is not allowed in environment variable JDK_JAVA_OPTIONS"),
        ("-Dx Main", "Error: Cannot specify main class in environment variable JDK_JAVA_OPTIONS"),
    ],
)
def test_java_options_variable_refusals(value: str, message: str) -> None:
    """JDK_JAVA_OPTIONS must not decide what runs; the refusal carries the note that `java` printed before it."""
    with pytest.raises(JavaLaunchError) as refusal:
        command("Main", JDK_JAVA_OPTIONS=value)

    assert refusal.value.__notes__ == [f"NOTE: Picked up JDK_JAVA_OPTIONS: {value}"]
    assert str(refusal.value) == message


def test_argument_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An argument file is read in place, `@@` is a plain `@`, and --disable-@files ends it, also from within a file."""
    monkeypatch.chdir(tmp_path)
    Path("a").write_text("-Da=1 # remark\n\"-Db=x y\" '-Dc=#'\n-cp x")
    Path("stop").write_text("--disable-@files")

    assert expand_arguments(["@a", "Main", "@a"], {}) == ["-Da=1", "-Db=x y", "-Dc=#", "-cp", "x", "Main", "@a"]
    assert expand_arguments(["@@a"], {}) == ["@a"]
    assert expand_arguments(["@stop", "@a"], {}) == ["--disable-@files", "@a"]
    assert expand_arguments(["-jar", "@a"], {})[:3] == ["-jar", "-Da=1", "-Db=x y"]


def quote(word: str) -> str:
    """Write one word for an argument file, all of it in double quotes."""
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"}
    return '"' + "".join(escapes.get(letter, letter) for letter in word) + '"'


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_argument_file_round_trip(words: list[str]) -> None:
    """Words that are quoted into an argument file come out again, whatever they contain."""
    data = "".join(quote(word) + "\n" for word in words).encode()
    pieces = [data[start : start + 4096] for start in range(0, len(data), 4096)]

    assert [word.decode() for word in split_argfile(pieces)] == words


WORD = st.text(string.printable, max_size=6) | st.sampled_from(
    [
        "-cp",
        "-jar",
        "-m",
        "--module=",
        "-p",
        "--add-opens",
        "--add-opens=",
        "--source",
        "-d",
        "-version",
        "-X",
        "@",
        "@@",
        "@x",
        "-Xss",
        "-splash:",
        "-",
        "--",
        "--=",
        "=",
        "Main",
        "x/*",
        "*",
        "-server",
        "-XXaltjvm=",
        "-J",
        "\x00",
        "",
    ]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(argv=st.lists(WORD), environ=st.dictionaries(st.sampled_from(["JDK_JAVA_OPTIONS", "CLASSPATH"]), WORD))
@pytest.mark.parametrize("feature", [0, 17, 21, 25])
def test_never_anything_but_our_errors(
    feature: int, argv: list[str], environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any argument vector is understood or refused with an error of ours, of one line."""
    monkeypatch.chdir(tmp_path)
    try:
        parsed = parse(argv, environ, jdk_feature=feature)
    except JvmbindError as error:
        message = str(error)
        assert "\n" not in message
    else:
        assert parsed.options[-1] == LAUNCHER
        assert parsed.delegate or parsed.what is not None


def test_wildcards(tmp_path: Path) -> None:
    """`dir/*` names the jars in dir in directory order, hidden ones too; other elements stay as they are."""
    for name in ("a.jar", "B.JAR", ".c.jar", "d.zip", "e:f.jar", "g.Jar"):
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()

    jars = [name for name in os.listdir(tmp_path) if name in {"a.jar", "B.JAR", ".c.jar"}]
    assert expand_class_path(f"{tmp_path}/*") == ":".join(f"{tmp_path}/{name}" for name in jars)
    for same in (f"{tmp_path}/empty/*", "none/*", "a*", "a*/b", "x::y", ""):
        assert expand_class_path(same) == same
    (tmp_path / "empty/*").touch()
    assert expand_class_path(f"{tmp_path}/empty/*") == f"{tmp_path}/empty/*"


@pytest.mark.parametrize(
    ("text", "feature"),
    [('JAVA_VERSION="17.0.15"\n', 17), ('X=1\nJAVA_VERSION="25"\n', 25), ("JAVA_VERSION=1.8.0\n", 8), ("", 0)],
)
def test_feature_version(tmp_path: Path, text: str, feature: int) -> None:
    """The feature version is the first number of JAVA_VERSION in `release`."""
    (tmp_path / "release").write_text(text)

    assert jdk_feature(tmp_path) == feature
    assert jdk_feature(tmp_path / "none") == 0


def test_choice_of_the_jvm(tmp_path: Path) -> None:
    """The flags of jvm.cfg choose a JVM, are taken out, and an impossible one is refused or left to `java`."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/jvm.cfg").write_text(
        "# remark\n-server KNOWN\n-client IGNORE\n-zero KNOWN\n-old WARN\n-gone ERROR\n-other ALIASED_TO -zero\n"
        "-a ALIASED_TO -b\n-b ALIASED_TO -a\n-c ALIASED_TO -d\n"
    )
    notes: list[str] = []

    assert read_vms(tmp_path)[:2] == [("-server", "KNOWN", ""), ("-client", "IGNORE", "")]
    assert select_vm(["-client", "-x", "M", "-zero"], {}, tmp_path, notes) == (["-x", "M", "-zero"], "server")
    assert select_vm(["-J-zero", "M"], {}, tmp_path, notes) == (["M"], "zero")
    assert select_vm(["-other", "M"], {}, tmp_path, notes) == (["M"], "zero")
    assert select_vm(["-XXaltjvm=q", "M"], {}, tmp_path, notes) == (["M"], "q")
    assert select_vm(["M"], {"JDK_ALTERNATE_VM": "q"}, tmp_path, notes) == (["M"], "q")
    assert not notes
    assert select_vm(["-old", "M"], {}, tmp_path, notes) == (["M"], "server")
    assert notes == ["Warning: old VM not supported; server VM will be used"]
    for flag in ("-gone", "-a", "-c"):
        with pytest.raises(JavaLaunchError, match=r"VM|alias"):
            select_vm([flag], {}, tmp_path, notes)
    assert parse(["-zero", "M"], {}, jdk_feature=17, java_home=tmp_path).delegate == "there is no zero JVM"
