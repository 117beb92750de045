"""The launch cases, as data: each is run by `java` and by jvmbind, and both must look the same.

Read by test_differential.py. Paths are relative to the folder that fixtures.py builds; `{root}` stands for it. A case
that differs on purpose says so in `difference` and names the lines that are left out of the comparison in `drop`; these
reasons are the list of documented differences.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NEWEST = 1000

ALL = ""
OURS = r"^(\[|    )jvmbind\."
WHY_FRAMES = "the JVM's crash report names the C functions below Java, which are not those of libjli"
WHY_OURS = "the Java API learns from these properties how to reach the supervisor"


@dataclass(frozen=True, slots=True)
class Case:
    """One launch.

    `signal` is sent once the program has printed `ready`; `jdks` are the first and last feature version it is for;
    `drop` are patterns of lines that are left out on both sides; `status` is jvmbind's where that differs on purpose;
    `unordered` compares sorted lines; `supervised` says whether the case has
    a meaning under the supervisor too.
    """

    name: str
    args: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    signal: str = ""
    jdks: tuple[int, int] = (17, NEWEST)
    drop: Sequence[str] = ()
    difference: str = ""
    status: int | None = None
    unordered: bool = False
    supervised: bool = True


def app(name: str, *args: str, jvm: Sequence[str] = (), **more: object) -> Case:
    """Return a case that runs App with these arguments."""
    return Case(name, [*jvm, "-cp", "classes", "App", *args], **more)  # type: ignore[arg-type]


def main(name: str, *args: str, **more: object) -> Case:
    """Return a case with the class path and these arguments of `java`."""
    return Case(name, ["-cp", "classes", *args], **more)  # type: ignore[arg-type]


LEFT_OUT: dict[str, Any] = {
    "drop": ["^jvmbind: (class|module) path entry .*: .*; java ignores it$"],
    "difference": "what java leaves out in silence is named",
}

ARGUMENTS = (
    app("no arguments"),
    app("arguments", "args", "a", "b c", "d\te", "'", '"', "\\"),
    app("empty arguments", "args", "", "", "x", ""),
    app("arguments like options", "args", "-cp", "-jar", "--version", "-Dx=1", "--", "-"),
    app("arguments like files", "args", "@file", "@@file", "@", "@args"),
    app("arguments like wildcards", "args", "*", "lib/*", "?", "[a]", "~", "$HOME"),
    app("argument with line ends", "args", "a\nb", "\r\n"),
    app("non-ASCII arguments", "args", "üöä", "€", "😀", "日本"),
    app("argument that is not UTF-8", "args", "x\udcffy"),
    app("long argument", "args", "x" * 100_000),
    app("many arguments", "args", *(f"argument {number}" for number in range(5_000))),
    app("command property", "prop", "sun.java.command"),
    app("command property with blanks", "prop", "sun.java.command", "a b", ""),
    app("all properties", "props", drop=[OURS], difference=WHY_OURS),
    app("input arguments", "input", jvm=["-Xmx96m", "-Da=b c", "-XX:+UseSerialGC"]),
    app("process info", "info", drop=[r"^\["], difference="the process is a Python interpreter that contains the JVM"),
)

MAIN_THREAD = (
    app("main thread", "thread"),
    app("live threads", "threads"),
    app("loaders", "loader"),
    app("no console", "console"),
    app("stack of the main thread", "depth", "5000"),
    app("stack -Xss8m", "depth", "60000", jvm=["-Xint", "-Xss8m"]),
    app("stack -Xss512k", "depth", "4000", jvm=["-Xint", "-Xss512k"]),
    app("stack -Xss64m", "depth", "500000", jvm=["-Xint", "-Xss64m"]),
    app("stack -ss4m", "depth", "30000", jvm=["-Xint", "-ss4m"]),
    app("stack -XX:ThreadStackSize", "depth", "8000", jvm=["-Xint", "-XX:ThreadStackSize=8192"]),
    app("stack JAVA_TOOL_OPTIONS", "depth", "8000", jvm=["-Xint"], env={"JAVA_TOOL_OPTIONS": "-Xss8m"}),
    app("stack JDK_JAVA_OPTIONS", "depth", "60000", jvm=["-Xint"], env={"JDK_JAVA_OPTIONS": "-Xss8m"}),
    app("stack too small", "args", jvm=["-Xss1k"]),
    app("stack malformed", "args", jvm=["-Xss1x"]),
    app("stack zero", "args", jvm=["-Xss0"]),
)

CLASS_PATH = (
    Case("default class path", ["Here"]),
    Case("default class path property", ["-XX:+UseSerialGC", "Here", "path"]),
    Case("-classpath", ["-classpath", "classes", "App", "prop", "java.class.path"]),
    Case("--class-path", ["--class-path", "classes", "App", "prop", "java.class.path"]),
    Case("--class-path=", ["--class-path=classes", "App", "prop", "java.class.path"]),
    Case("class path given twice", ["-cp", "none", "-cp", "classes", "App", "prop", "java.class.path"]),
    Case("class path by property", ["-Djava.class.path=classes", "App", "prop", "java.class.path"]),
    Case("empty class path", ["-cp", "", "Here", "path"]),
    Case("class path with empty elements", ["-cp", ":classes:", "App", "prop", "java.class.path"]),
    Case("CLASSPATH", ["App", "prop", "java.class.path"], env={"CLASSPATH": "classes"}),
    Case("CLASSPATH and -cp", ["-cp", "classes", "App", "prop", "java.class.path"], env={"CLASSPATH": "none"}),
    Case("CLASSPATH wildcard", ["App", "prop", "java.class.path"], env={"CLASSPATH": "lib/*"}),
    Case("empty CLASSPATH", ["Here", "path"], env={"CLASSPATH": ""}),
    Case("wildcard", ["-cp", "lib/*", "App", "prop", "java.class.path"]),
    Case("wildcard among others", ["-cp", "none:lib/*:classes", "App", "prop", "java.class.path"], **LEFT_OUT),
    Case("wildcard without jars", ["-cp", "classes:empty/*", "App", "prop", "java.class.path"], **LEFT_OUT),
    Case("wildcard in a folder with a space", ["-cp", "dir with space/*", "App", "prop", "java.class.path"]),
    Case("folder with a space", ["-cp", "dir with space/classes", "App", "loader"]),
    Case("non-ASCII folder", ["-cp", "größe/classes", "App", "loader"]),
    Case("non-ASCII jar", ["-jar", "größe/größe.jar", "loader"]),
    Case("non-ASCII class path property", ["-cp", "größe/classes", "App", "prop", "java.class.path"]),
    Case("resource from a jar", ["-cp", "lib/app.jar", "App", "resource", "text.txt"]),
    Case("resource that is missing", ["-cp", "lib/app.jar", "App", "resource", "none.txt"]),
    Case(
        "resource of ours",
        ["-cp", "classes", "App", "resource", "org/jpype/pickle/ByteBufferInputStream.class"],
    ),
    Case("class in a package", ["-cp", "classes", "shop.Named", "x"]),
    Case("class in a package with a slash", ["-cp", "classes", "shop/Named", "x"]),
    Case("non-ASCII class", ["-cp", "classes", "löwe.Größe", "x"]),
    Case("absolute class path", ["-cp", "{root}/classes", "App", "prop", "java.class.path"]),
)

JAR = (
    Case("jar", ["-jar", "app.jar", "args", "a"]),
    Case("jar and -cp", ["-cp", "none", "-jar", "app.jar", "prop", "java.class.path"]),
    Case("jar before -cp", ["-jar", "-cp", "none", "app.jar"], **LEFT_OUT),
    Case("jar and CLASSPATH", ["-jar", "app.jar", "prop", "java.class.path"], env={"CLASSPATH": "none"}),
    Case("jar command property", ["-jar", "app.jar", "prop", "sun.java.command"]),
    Case("jar properties", ["-jar", "app.jar", "props"], drop=[OURS], difference=WHY_OURS),
    Case("jar thread", ["-jar", "app.jar", "thread"]),
    Case("jar loader", ["-jar", "app.jar", "loader"]),
    Case("jar with Class-Path", ["-jar", "class-path.jar", "args", "found by Class-Path"]),
    Case("jar with Add-Opens", ["-jar", "add-opens.jar", "open", "java.lang"]),
    Case("jar without Add-Opens", ["-jar", "app.jar", "open", "java.lang"]),
    Case("jar with Add-Exports", ["-jar", "add-exports.jar", "args"]),
    Case("jar with Enable-Native-Access", ["-jar", "native-access.jar", "native"]),
    Case("jar with a bad Enable-Native-Access", ["-jar", "bad-native-access.jar", "args"]),
    Case("jar with Launcher-Agent-Class", ["-jar", "launcher-agent.jar", "args", "a"]),
    Case("jar with a missing Launcher-Agent-Class", ["-jar", "bad-launcher-agent.jar", "args", "a"]),
    Case("multi-release jar", ["-jar", "multi-release.jar", "resource", "text.txt"]),
    Case("jar with Main-Class that is missing", ["-jar", "missing-main.jar"]),
    Case("jar without Main-Class", ["-jar", "no-main.jar"]),
    Case("jar without manifest", ["-jar", "bare.jar"]),
    Case("headless jar without manifest", ["-Djava.awt.headless=true", "-jar", "bare.jar"]),
    Case("jar that is junk", ["-jar", "junk.jar"]),
    Case("headless jar that is junk", ["-Djava.awt.headless=true", "-jar", "junk.jar"]),
    Case("jar that is missing", ["-jar", "missing.jar"]),
    Case(
        "headless jar that is missing",
        ["-Djava.awt.headless=true", "-jar", "missing.jar"],
        jdks=(24, NEWEST),
        drop=[ALL],
        status=78,
        difference="what the service user cannot read is found before a port is bound",
    ),
    Case("jar that is a folder", ["-jar", "classes"]),
    Case(
        "jar that may not be read",
        ["-jar", "unreadable.jar"],
        drop=[ALL],
        status=78,
        difference="the message names the file or the folder that denies it, before a port is bound",
    ),
    Case("jar that is empty", ["-jar", "empty.jar"]),
    Case("jar behind a script", ["-jar", "prefixed.jar", "args", "a"]),
    Case("jar with a space", ["-jar", "dir with space/the app.jar", "prop", "java.class.path"]),
    Case("jar in a dot folder", ["-jar", "./app.jar", "prop", "sun.java.command"]),
    Case("-jar alone", ["-jar"]),
    Case("jar with a splash screen", ["-jar", "splash.jar", "args"]),
    Case("jar with a blank in Main-Class", ["-jar", "blank-main.jar", "args"]),
)

MODULES = (
    Case("module", ["-p", "mods", "-m", "shop.main/shop.main.Till", "a"]),
    Case("module --module=", ["--module-path=mods", "--module=shop.main/shop.main.Till", "-a"]),
    Case("module with a main class of its own", ["-p", "modjars", "-m", "shop.main", "a"]),
    Case("module without a main class", ["-p", "mods", "-m", "shop.main"]),
    Case("module that is missing", ["-p", "mods", "-m", "shop.none/x.Y"]),
    Case("module with a class that is missing", ["-p", "mods", "-m", "shop.main/shop.main.None"]),
    Case("module name that is not a name", ["-p", "mods", "-m", "1/2/3"]),
    Case("module and CLASSPATH", ["-p", "mods", "-m", "shop.main/shop.main.Till"], env={"CLASSPATH": "classes"}),
    Case("module and -cp", ["-cp", "classes", "-p", "mods", "-m", "shop.main/shop.main.Till"]),
    Case("module that throws", ["-p", "mods", "-m", "shop.main/shop.main.Till", "throw"]),
    Case("module that opens", ["-p", "mods", "-m", "shop.main/shop.main.Till", "open"]),
    Case(
        "module with --add-opens",
        ["--add-opens", "java.base/java.lang=shop.main", "-p", "mods", "-m", "shop.main/shop.main.Till", "open"],
    ),
    Case("module -m without a value", ["-m"]),
    Case("module path without a value", ["-p"]),
    Case("module and -client behind it", ["-p", "mods", "-m", "shop.main/shop.main.Till", "-client", "-x"]),
    Case("module path that is missing", ["-p", "nowhere", "-cp", "classes", "App"], **LEFT_OUT),
    Case("module path that is junk", ["-p", "junk.jar", "-cp", "classes", "App"]),
    Case("JDK module without a main class", ["-m", "java.base"]),
    main("--add-modules", "--add-modules", "java.sql", "App", "modules", "java.sql"),
    main("--add-modules=", "--add-modules=jdk.httpserver", "App", "modules", "jdk.httpserver"),
    main("--add-modules missing", "--add-modules", "none", "App"),
    main("--add-modules twice", "--add-modules", "java.sql", "--add-modules", "java.xml", "App", "modules", "java.xml"),
    main("--limit-modules", "--limit-modules", "java.management,jdk.unsupported", "App", "modules", "java.sql"),
    main("--add-opens", "--add-opens", "java.base/java.lang=ALL-UNNAMED", "App", "open", "java.lang"),
    main("--add-opens=", "--add-opens=java.base/java.lang=ALL-UNNAMED", "App", "open", "java.lang"),
    main("--add-opens twice", *["--add-opens", "java.base/java.util=ALL-UNNAMED"] * 2, "App", "open", "java.util"),
    main("--add-opens malformed", "--add-opens", "java.base", "App"),
    main("--add-opens unknown package", "--add-opens", "java.base/none=ALL-UNNAMED", "App"),
    main("--add-exports", "--add-exports", "java.base/sun.nio.ch=ALL-UNNAMED", "App"),
    main("--add-reads", "--add-reads", "java.base=ALL-UNNAMED", "App"),
    main("--add-reads unknown module", "--add-reads", "none=ALL-UNNAMED", "App"),
    main("--patch-module", "--patch-module", "java.base=empty", "App", "args"),
    main("--patch-module unknown", "--patch-module", "none=empty", "App", "args"),
    main("--upgrade-module-path", "--upgrade-module-path", "mods", "App"),
    main("--illegal-access", "--illegal-access=permit", "App"),
    main("--enable-native-access", "--enable-native-access", "ALL-UNNAMED", "App", "native"),
    main("--enable-native-access=", "--enable-native-access=ALL-UNNAMED", "App", "native", jdks=(22, NEWEST)),
    main("no --enable-native-access", "App", "native"),
    main("--enable-native-access unknown", "--enable-native-access=none", "App", "native"),
    main("--illegal-native-access=deny", "--illegal-native-access=deny", "App", "native"),
    main("--finalization", "--finalization=disabled", "App"),
    main("--sun-misc-unsafe-memory-access", "--sun-misc-unsafe-memory-access=deny", "App"),
    main("--show-module-resolution", "--show-module-resolution", "--limit-modules", "java.management", "App", unordered=True),
    main(
        "module properties",
        "--add-opens",
        "java.base/java.lang=ALL-UNNAMED",
        "--add-modules",
        "java.sql",
        "App",
        "props",
        drop=[OURS],
        difference=WHY_OURS,
    ),
)

FILES = (
    Case("argument file", ["@args", "more"]),
    Case("argument file with quotes", ["-cp", "classes", "@quoted", "end"]),
    Case("argument file without a main class", ["@options", "App", "args", "@options"]),
    Case("argument files twice", ["@options", "@options", "App", "args"]),
    Case("argument file that is missing", ["@missing", "App"]),
    Case("argument file that is a folder", ["@classes", "App"]),
    Case("argument file that is empty", ["@nothing", "-cp", "classes", "App", "args"]),
    Case("argument file with comments", ["@commented", "x"]),
    Case("argument file with a jar", ["-jar", "@jarname", "args", "@jarname"]),
    Case("argument file with a non-ASCII path", ["@größe/args", "x"]),
    Case("argument file that is long", ["@long", "x"]),
    Case("--disable-@files", ["--disable-@files", "-cp", "classes", "App", "args", "@args"]),
    Case("--disable-@files before a file", ["--disable-@files", "@args"]),
    Case("@@", ["@@args"]),
    Case("JDK_JAVA_OPTIONS", ["App", "input"], env={"JDK_JAVA_OPTIONS": "-cp classes -Da=1"}),
    Case("JDK_JAVA_OPTIONS with quotes", ["App", "prop", "a"], env={"JDK_JAVA_OPTIONS": "-cp classes '-Da=b c'"}),
    Case("JDK_JAVA_OPTIONS with a file", ["App", "prop", "a"], env={"JDK_JAVA_OPTIONS": "@options"}),
    Case("JDK_JAVA_OPTIONS empty", ["-cp", "classes", "App"], env={"JDK_JAVA_OPTIONS": ""}),
    Case("JDK_JAVA_OPTIONS with an open quote", ["-cp", "classes", "App"], env={"JDK_JAVA_OPTIONS": "'-Dx"}),
    Case("JDK_JAVA_OPTIONS with -version", ["-cp", "classes", "App"], env={"JDK_JAVA_OPTIONS": "-version"}),
    Case("JDK_JAVA_OPTIONS with a main class", ["-cp", "classes", "App"], env={"JDK_JAVA_OPTIONS": "-Dx=1 App"}),
    Case("JDK_JAVA_OPTIONS with a bad option", ["-cp", "classes", "App"], env={"JDK_JAVA_OPTIONS": "-XX:+NoSuchFlag"}),
    Case(
        "JAVA_TOOL_OPTIONS",
        ["-cp", "classes", "App", "input"],
        env={"JAVA_TOOL_OPTIONS": "-Da=1 -Xmx96m"},
    ),
    Case("JAVA_TOOL_OPTIONS with a bad option", ["-cp", "classes", "App"], env={"JAVA_TOOL_OPTIONS": "-XX:+NoSuchFlag"}),
    Case("_JAVA_OPTIONS", ["-cp", "classes", "-Da=2", "App", "prop", "a"], env={"_JAVA_OPTIONS": "-Da=1"}),
    Case("-XX:Flags=", ["-XX:Flags=flags", "-cp", "classes", "App", "memory"]),
    Case("-XX:Flags= missing", ["-XX:Flags=missing", "-cp", "classes", "App", "memory"]),
    Case("-XX:VMOptionsFile=", ["-XX:VMOptionsFile=vmoptions", "-cp", "classes", "App", "memory"]),
    Case("-XX:VMOptionsFile= missing", ["-XX:VMOptionsFile=missing", "-cp", "classes", "App"]),
    Case("JVM options file with a property", ["-XX:VMOptionsFile=vmoptions", "-cp", "classes", "App", "prop", "a"]),
)

OPTIONS = (
    main("-Xmx", "-Xmx96m", "-XX:+UseSerialGC", "App", "memory"),
    main("-mx", "-mx96m", "-XX:+UseSerialGC", "App", "memory"),
    main("-Xmx too large", "-Xmx99999999g", "App"),
    main("-Xmx malformed", "-Xmx1q", "App"),
    main("-Xint", "-Xint", "App", "prop", "java.vm.info"),
    main("-Xcomp", "-XX:TieredStopAtLevel=1", "-Xcomp", "App", "prop", "java.vm.info"),
    main("-Xshare:off", "-Xshare:off", "App", "prop", "java.vm.info"),
    main("-Xbatch", "-Xbatch", "App"),
    main("-Xlog", "-Xlog:gc=off", "-Xlog:disable", "App"),
    main("-Xlog malformed", "-Xlog:none=none", "App"),
    main("-Xcheck:jni", "-Xcheck:jni", "App", "args"),
    main("-Xdiag", "-Xdiag", "App", "prop", "sun.java.launcher.diag"),
    main("-Xdiag with a missing class", "-Xdiag", "None"),
    main("-Xunknown", "-Xunknown", "App"),
    main("-XX unknown", "-XX:+NoSuchFlag", "App"),
    main("-XX unknown ignored", "-XX:+IgnoreUnrecognizedVMOptions", "-XX:+NoSuchFlag", "App"),
    main("-XX malformed", "-XX:MaxHeapSize=x", "App"),
    main("-XX contradiction", "-XX:+UseSerialGC", "-XX:+UseG1GC", "App"),
    main("-XX diagnostic without unlocking", "-XX:+PrintAssembly", "App"),
    main("unknown option", "--nonsense", "App"),
    main("unknown short option", "-nonsense", "App"),
    main("-server", "-server", "App", "args"),
    main("-client", "-client", "App", "args"),
    main("-J option", "-J-Xmx96m", "App"),
    main("-D", "-Da", "-Db=", "-Dc=d=e", "-Df=ü", "App", "prop", "c"),
    main("-D non-ASCII", "-Da=ü€", "App", "prop", "a"),
    main("-D overridden", "-Da=1", "-Da=2", "App", "prop", "a"),
    main("-D of the JVM's own", "-Duser.home=/nowhere", "-Duser.dir=/tmp", "App", "cwd"),
    main("-ea", "-ea", "App", "asserts"),
    main("-ea of a class", "-ea:App", "App", "asserts"),
    main("-da", "-ea", "-da:App", "App", "asserts"),
    main("-esa", "-esa", "App", "asserts"),
    main("-enableassertions", "-enableassertions:App...", "App", "asserts"),
    main("-dsa", "-ea", "-dsa", "App", "asserts"),
    main("-verify", "-verify", "App"),
    main("-noverify", "-noverify", "App"),
    main("-verbosegc", "-verbosegc", "-Xlog:disable", "App"),
    main("-debug", "-debug", "App"),
    main("-noclassgc", "-noclassgc", "App"),
    main("-Xfuture", "-Xfuture", "App"),
    main("-t", "-t", "App"),
    main("-version:", "-version:1.8", "App"),
    main("-jre-restrict-search", "-jre-restrict-search", "App"),
    main("-d64", "-d64", "App"),
    main("--enable-preview", "--enable-preview", "App"),
    main("-splash", "-splash:none.png", "App", drop=["^jvmbind: -splash"], difference="the option is ignored with a word"),
    main("-javaagent", "-javaagent:agent.jar=hello", "App", "args"),
    main("-javaagent twice", "-javaagent:agent.jar=a", "-javaagent:agent.jar", "App", "args"),
    main("-javaagent missing", "-javaagent:missing.jar", "App"),
    main(
        "-javaagent that fails",
        "-javaagent:agent.jar=fail",
        "App",
        drop=[r"^C  \["],
        difference=WHY_FRAMES,
    ),
    main("-javaagent that exits", "-javaagent:agent.jar=exit", "App"),
    main("-javaagent and properties", "-javaagent:agent.jar=x", "App", "prop", "java.class.path"),
    main("-agentlib missing", "-agentlib:none", "App"),
    main("-agentpath missing", "-agentpath:/none.so", "App"),
    main("-agentlib:jdwp=help", "-agentlib:jdwp=help", "App"),
    main("-Xbootclasspath/a", "-Xbootclasspath/a:lib/app.jar", "App", "loader"),
    main("-XX:+DisableAttachMechanism", "-XX:+DisableAttachMechanism", "App", "threads"),
    main("-Xrs", "-Xrs", "App", "threads"),
    main("headless", "-Djava.awt.headless=true", "App", "prop", "java.awt.headless"),
    main("system class loader", "-Djava.system.class.loader=none", "App"),
    main("security manager", "-Djava.security.manager", "App", "args"),
    main("security manager that refuses", "-Djava.security.manager", "App", "prop", "user.home"),
    main("locale", "-Duser.language=de", "-Duser.country=DE", "App", "locale"),
)

PRINTING = (
    Case("-version", ["-version"]),
    Case("--version", ["--version"]),
    Case("-fullversion", ["-fullversion"]),
    Case("--full-version", ["--full-version"]),
    Case("-version with an option", ["-XX:+UseSerialGC", "-Xint", "-version"]),
    Case("-version and JDK_JAVA_OPTIONS", ["-version"], env={"JDK_JAVA_OPTIONS": "-Xint"}),
    main("-showversion", "-showversion", "App", "args"),
    main("--show-version", "--show-version", "App", "args"),
    Case("-help", ["-help"]),
    Case("-h", ["-h"]),
    Case("-?", ["-?"]),
    Case("--help", ["--help"]),
    Case("-X", ["-X"]),
    Case("--help-extra", ["--help-extra"]),
    Case("nothing", [], drop=[ALL], status=64, difference="`jvmbind run --` without anything is wrong usage of jvmbind"),
    Case("only options", ["-Xmx96m", "-cp", "classes"]),
    Case("--list-modules", ["--list-modules"]),
    Case("--list-modules of a path", ["-p", "mods", "--list-modules"]),
    Case("--describe-module", ["--describe-module", "java.logging"], unordered=True),
    Case("--describe-module=", ["-p", "mods", "--describe-module=shop.main"], unordered=True),
    Case("-d", ["-d", "java.xml"], unordered=True),
    Case("-d missing", ["-d", "none"]),
    Case("-d alone", ["-d"]),
    Case("--validate-modules", ["-p", "mods", "--validate-modules"]),
    main("--dry-run", "--dry-run", "App", "exit", "3"),
    main("--dry-run of a missing class", "--dry-run", "None"),
    main("-XshowSettings:vm", "-XshowSettings:vm", "-Xmx96m", "-Xms16m", "-Xss1m", "App", "args"),
    main("-XshowSettings:locale", "-XshowSettings:locale", "App", "args"),
    main("-XshowSettings:properties", "-XshowSettings:properties", "App", "args", drop=[OURS], difference=WHY_OURS),
    main("-XshowSettings and -showversion", "-XshowSettings:vm", "-showversion", "App", "args"),
    main("-XshowSettings and --show-version", "-XshowSettings:vm", "--show-version", "App", "args"),
    main("--show-resolved-modules", "--show-resolved-modules", "--limit-modules", "java.management", "App"),
)

MAINS = (
    *(
        main(f"main {name}", f"Mains${name}", "x")
        for name in (
            "Returns",
            "NotStatic",
            "NotPublic",
            "Private",
            "NoArguments",
            "InstanceNoArguments",
            "NoConstructor",
            "Varargs",
            "Inherits",
            "Nothing",
            "FailsToLoad",
            "ConstructorFails",
            "Face",
            "Number",
        )
    ),
    *(
        main(f"main {name} with --enable-preview", "--enable-preview", f"Mains${name}", "x")
        for name in ("NotStatic", "InstanceNoArguments")
    ),
    main("class that is missing", "None"),
    main("class that is missing in a package", "a.b.None"),
    main("class in the wrong case", "app"),
    main("class in the wrong package", "Named"),
    main("class with .class", "App.class"),
    main("class that is a path", "classes/App"),
    main("class that is corrupt", "Corrupt"),
    main("class that is too new", "TooNew"),
    main("class named -", "-"),
    main("class with an empty name", ""),
    main("class that cannot be linked", "Dangling"),
    main("JDK class without main", "java.lang.String"),
)

SOURCES = (
    Case("source", ["Single.java", "thrown"]),
    Case("source without arguments", ["Single.java"]),
    Case("source with a class path", ["-cp", "classes", "Single.java"]),
    Case("source that does not compile", ["Broken.java"]),
    Case("source that is missing", ["None.java"]),
    Case("source with --source", ["--source", "17", "Single.java"]),
    Case("source with a bad --source", ["--source", "99", "Single.java"]),
    Case("source script", ["--source", "17", "script", "a"]),
    Case("source script by #!", ["--source 17 -Da=b", "script", "a", "b"]),
    Case("source with -jar", ["--source", "17", "-jar", "app.jar"]),
    Case("source without a file", ["--source", "17"]),
    Case("source compact", ["Compact.java"], jdks=(25, NEWEST)),
    Case("source with --enable-preview", ["--enable-preview", "--source", "{feature}", "Single.java"]),
)

ENDINGS = (
    *(app(f"exit {status}", "exit", str(status)) for status in (0, 1, 3, 42, 127, 143, 255, 256, -1)),
    app("halt", "halt", "9"),
    app("hooks after main", "hooks"),
    app("hooks after exit", "hooks", "4"),
    app("hooks after an exception", "hooks", "throw"),
    *(app(f"throw {kind}", "throw", kind) for kind in ("", "checked", "error", "null", "init")),
    app("throw memory", "throw", "memory", jvm=["-Xmx32m"]),
    app("exit on out of memory", "throw", "memory", jvm=["-Xmx32m", "-XX:+ExitOnOutOfMemoryError"]),
    app("throw overflow", "throw", "overflow", drop=[r"^\tat "], difference="where the stack overflows is not exact"),
    app("uncaught exception handler", "handler"),
    app("daemon thread", "daemon"),
    app("thread outlives main", "outlive"),
    app("thread outlives main and exits", "outlive", "exit"),
    app("thread outlives main and throws", "outlive", "throw"),
    app("thread outlives main that throws", "outlive", "mainthrow"),
    *(app(f"SIG{name}", "wait", "hook", signal=name) for name in ("TERM", "INT")),
    app("SIGHUP", "wait", "hook", signal="HUP", supervised=False),
    *(app(f"SIG{name} without a hook", "wait", signal=name) for name in ("TERM", "INT")),
    *(app(f"SIG{name} without a hook", "wait", signal=name, supervised=False) for name in ("USR1", "KILL")),
    app("SIGTERM while a thread sleeps", "hooks", "wait", signal="TERM"),
    *(app(f"SIG{name} handled", "signal", name, signal=name) for name in ("TERM", "INT")),
    *(app(f"SIG{name} handled", "signal", name, signal=name, supervised=False) for name in ("HUP", "USR2", "WINCH")),
    *(app(f"SIG{name} with -Xrs", "wait", "hook", jvm=["-Xrs"], signal=name, supervised=False) for name in ("TERM", "INT", "HUP")),
    *(app(f"kill -{name} by itself", "killself", name) for name in ("TERM", "KILL", "INT", "ABRT")),
    app("kill -SEGV by itself", "killself", "SEGV", drop=[r"^# C  \["], difference=WHY_FRAMES),
)

STREAMS = (
    app("streams", "streams"),
    app("stdin", "stdin", stdin=b"some input\nand \xff bytes\0"),
    app("stdin at its end", "stdin"),
    app("stdin large", "stdin", stdin=b"0123456789abcdef" * 65_536),
    app("output large", "flood", "200000"),
    app("encoding UTF-8", "encoding", "ü", env={"LANG": "C.UTF-8"}),
    app("encoding LANG=C", "encoding", "ü", env={"LANG": "C"}),
    app("encoding LC_CTYPE=C", "encoding", "ü", env={"LC_CTYPE": "C"}),
    app("encoding C", "encoding", "ü", env={"LANG": "C", "LC_ALL": "C"}),
    app("encoding POSIX", "encoding", "ü", env={"LC_ALL": "POSIX"}),
    app("encoding of no environment", "encoding", "ü", env={"LANG": ""}),
    app("encoding of an unknown locale", "encoding", "ü", env={"LANG": "xx_YY.ISO-8859-15"}),
    app("encoding by property", "encoding", "ü", jvm=["-Dfile.encoding=ISO-8859-1", "-Dstdout.encoding=UTF-16"]),
    app("non-ASCII file", "files", "größe/args"),
    app("non-ASCII file in C", "files", "größe/args", env={"LC_ALL": "C"}),
    app("properties in C", "props", env={"LC_ALL": "C"}, drop=[OURS], difference=WHY_OURS),
    app("environment of LANG=C", "env", env={"LANG": "C"}),
    app("environment without LANG", "env", env={"LANG": ""}),
    app("environment of LC_CTYPE", "env", env={"LANG": "C", "LC_CTYPE": "POSIX"}),
    app("environment", "env", env={"SOME": "value", "WITH_SPACE": "a b", "UMLAUT": "ü", "EMPTY": ""}),
    app("working directory", "cwd"),
    app("time zone", "locale", env={"TZ": "Asia/Tokyo"}),
    app("child process", "child", "sh", "-c", "echo out; echo err >&2; exit 3"),
    app("child process reads stdin", "child", "cat", stdin=b"for the child"),
    app("child process is java", "fork"),
    app("child process's environment", "child", "env", unordered=True),
    app("child process's file descriptors", "child", "sh", "-c", "ls /proc/self/fd | wc -l"),
    app("child process's signals", "child", "grep", "^Sig[BI]", "/proc/self/status"),
    app("child process's limits", "child", "cat", "/proc/self/limits"),
)

CASES = (*ARGUMENTS, *MAIN_THREAD, *CLASS_PATH, *JAR, *MODULES, *FILES, *OPTIONS, *PRINTING, *MAINS, *SOURCES, *ENDINGS, *STREAMS)
