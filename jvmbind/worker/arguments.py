"""The `java` command line: what the launcher (libjli) makes of it for JNI_CreateJavaVM and LauncherHelper.

Runs in the worker before the JVM exists, and in `check`, as any user; reads argument files, class path directories,
the end of the jar, `lib/jvm.cfg` and `release`, and writes nothing. Must not import jpype. The order and the text of
the JVM's options are those of libjli's java.c of JDK 17 to 25, differences between the versions included; tests
compare them with the launcher's own trace (_JAVA_LAUNCHER_DEBUG).
"""

from __future__ import annotations

from jvmbind.errors import JavaLaunchError
from jvmbind.record import NamedTuple
from jvmbind.worker import argfile
from jvmbind.worker.argfile import CLASS_PATH_OPTIONS, MODULE_OPTIONS, WHITE_SPACE_OPTIONS
from jvmbind.worker.classpath import check_jar, expand_class_path
from jvmbind.worker.selection import is_source_file, jdk_feature, look_for_version, select_vm, vm_exists

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Final

__all__ = ["JavaCommand", "Mode", "expand_arguments", "jdk_feature", "parse", "parse_size"]

_NEWEST = 1000  # stands for an unknown feature version
_STACK_MINIMUM = 64 * 1024
_INT64 = 1 << 63
_UNITS = {"t": 40, "g": 30, "m": 20, "k": 10, "": 0}
_DIGITS = frozenset("0123456789")
_MODULE_ASSIGNMENTS = tuple(
    f"{option}="
    for option in sorted(MODULE_OPTIONS - {"-p", "--add-opens"})  # libjli's list lacks --add-opens=
)
_PATH_OPTIONS = frozenset({"--module-path", "-p", "--upgrade-module-path"})
# option -> (option for the JVM or None, first feature version that warns, first that does not know it)
_OLD_OPTIONS: Mapping[str, tuple[str | None, int, int]] = {
    "-verbosegc": ("-verbose:gc", 24, _NEWEST),
    "-noclassgc": ("-Xnoclassgc", 24, 27),
    "-verify": ("-Xverify:all", 24, _NEWEST),
    "-verifyremote": ("-Xverify:remote", 24, 27),
    "-noverify": ("-Xverify:none", _NEWEST, 27),
    "-t": ("-Xt", _NEWEST, 24),
    "-tm": ("-Xtm", _NEWEST, 24),
    "-Xfuture": ("-Xverify:all", 0, 24),
}
_UNSUPPORTED_OPTIONS = frozenset({"-checksource", "-cs", "-noasyncgc"})
_HELP = {"-help": "full", "-h": "full", "-?": "full", "--help": "full", "-X": "extra", "--help-extra": "extra"}


class Mode:
    """How the main class is named: the launch modes of LauncherHelper.checkAndLoadMain."""

    NONE: Final = 0
    CLASS: Final = 1
    JAR: Final = 2
    MODULE: Final = 3
    SOURCE: Final = 4


MODE_NAMES = ("none", "class", "jar", "module", "source")


class JavaCommand(NamedTuple):
    """One `java` command line, understood.

    `options` are the JVM's option strings in the launcher's order. `what` is the name for checkAndLoadMain, and
    `class_path` the value of the last -Djava.class.path=, None without any. `stack_size` is that of the main thread in
    bytes, from -Xss alone as with `java` (-XX:ThreadStackSize and JAVA_TOOL_OPTIONS do not reach it), None for the
    JVM's default. `initial_heap` and `max_heap` are -Xms and -Xmx in bytes, 0 without, as LauncherHelper.showSettings
    takes them. `vm` is the directory of libjvm.so below lib/ (or a path with a slash). `print_to_stderr`: where version
    and help go. `delegate` says why the real `java` must be run instead, None when this can be had in a created JVM.
    `notes` are lines for stderr, in order: what `java` prints before the JVM starts, and remarks of ours.
    """

    options: tuple[str, ...]
    mode: int  # one of Mode
    what: str | None
    arguments: tuple[str, ...]
    class_path: str | None
    stack_size: int | None
    print_to_stderr: bool = True
    show_version: bool = False
    print_version: bool = False
    full_version: bool = False
    show_settings: str | None = None
    list_modules: bool = False
    describe_module: str | None = None
    show_resolved_modules: bool = False
    validate_modules: bool = False
    dry_run: bool = False
    help: str | None = None
    initial_heap: int = 0
    max_heap: int = 0
    vm: str = "server"
    delegate: str | None = None
    notes: tuple[str, ...] = ()


def parse(argv: Sequence[str], environ: Mapping[str, str], *, jdk_feature: int, java_home: str | Path | None = None) -> JavaCommand:
    """Understand the arguments that stand after `java`.

    `jdk_feature` is the JDK's feature version (17, 25), 0 for unknown, taken as the newest. With `java_home` its
    jvm.cfg decides which JVMs there are. Raises JavaLaunchError, with `java`'s own wording, for what `java` refuses
    with status 1 before it starts a JVM; what it prints before that is in the error's notes (PEP 678).
    """
    launch = _Launch(environ, jdk_feature or _NEWEST, java_home)
    arguments, launch.notes = argfile.expand(argv, environ, java_home)
    try:
        return launch.run(arguments)
    except JavaLaunchError as error:
        for note in launch.notes:
            error.add_note(note)
        raise


def expand_arguments(argv: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Return the arguments with those of JDK_JAVA_OPTIONS before them and argument files expanded.

    Raises JavaLaunchError for what `java` refuses.
    """
    return argfile.expand(argv, environ)[0]


def parse_size(text: str) -> int | None:
    """Return the bytes that a JVM size such as 512k or 2M names, as a signed 64-bit number; None if it is none."""
    # sscanf("%ld") takes a sign and leading blanks, but the digit loop after it does not: only plain digits remain.
    digits = text[:-1] if text[-1:] in "tgmkTGMK" else text
    if not digits or not _DIGITS.issuperset(digits):
        return None
    size = min(int(digits[:20]), _INT64 - 1) << _UNITS[text[len(digits) :].lower()]
    return (size + _INT64) % (2 * _INT64) - _INT64


class _Launch:
    """The state of one pass over the arguments."""

    def __init__(self, environ: Mapping[str, str], feature: int, java_home: str | Path | None) -> None:
        self.environ = environ
        self.feature = feature
        self.java_home = java_home
        self.notes: list[str] = []
        self.options: list[str] = []
        self.class_path: str | None = None
        self.stack = self.initial_heap = self.max_heap = 0
        self.mode: int = Mode.NONE
        self.what: str | None = None
        self.rest: list[str] = []
        self.delegate: str | None = None
        self.vm = "server"
        self.headless = self.splash = False
        self.print_to_stderr = True
        self.show_version = self.print_version = self.full_version = False
        self.list_modules = self.show_resolved_modules = self.validate_modules = self.dry_run = False
        self.show_settings: str | None = None
        self.describe_module: str | None = None
        self.help: str | None = None

    def run(self, arguments: list[str]) -> JavaCommand:
        if "_JAVA_LAUNCHER_DEBUG" in self.environ:
            self.add("-Dsun.java.launcher.diag=true")
            self.notes.append("jvmbind: _JAVA_LAUNCHER_DEBUG: the launcher's trace is not printed")
        if self.feature < 24:
            look_for_version(arguments, self.environ, self.notes)
        arguments, self.vm = select_vm(arguments, self.environ, self.java_home, self.notes)
        if self.vm != "server" and self.java_home and not vm_exists(self.java_home, self.vm):
            self.give_to_java(f"there is no {self.vm} JVM")
        if "CLASSPATH" in self.environ:
            self.set_class_path(self.environ["CLASSPATH"])
        if self.scan(arguments):
            self.settle()
        if self.what is not None:
            self.add("-Dsun.java.command=" + " ".join([self.what, *self.rest]))
        self.add("-Dsun.java.launcher=SUN_STANDARD")
        if self.splash:
            self.notes.append("jvmbind: -splash: is ignored, a service has no screen")
        return self.command()

    def command(self) -> JavaCommand:
        return JavaCommand(
            options=tuple(self.options),
            mode=self.mode,
            what=self.what,
            arguments=tuple(self.rest),
            class_path=self.class_path,
            stack_size=self.stack if self.stack > 0 else None,
            print_to_stderr=self.print_to_stderr,
            show_version=self.show_version,
            print_version=self.print_version,
            full_version=self.full_version,
            show_settings=self.show_settings,
            list_modules=self.list_modules,
            describe_module=self.describe_module,
            show_resolved_modules=self.show_resolved_modules,
            validate_modules=self.validate_modules,
            dry_run=self.dry_run,
            help=self.help,
            initial_heap=self.initial_heap,
            max_heap=self.max_heap,
            vm=self.vm,
            delegate=self.delegate,
            notes=tuple(self.notes),
        )

    def add(self, option: str) -> None:
        """Append one option for the JVM; the launcher reads three sizes as they pass, for itself."""
        self.options.append(option)
        size = parse_size(option[4:]) if option.startswith(("-Xss", "-Xmx", "-Xms")) else None
        if size is None:
            return
        if option.startswith("-Xss"):
            self.stack = _STACK_MINIMUM if 0 < size < _STACK_MINIMUM else size
        elif option.startswith("-Xmx"):
            self.max_heap = size
        else:
            self.initial_heap = size

    def set_class_path(self, class_path: str) -> None:
        self.class_path = expand_class_path(class_path)
        self.add(f"-Djava.class.path={self.class_path}")

    def give_to_java(self, reason: str) -> None:
        self.delegate = self.delegate or reason

    def scan(self, arguments: list[str]) -> bool:
        """Read the options up to the main class; False when one of them ends the scan."""
        here = 0
        while here < len(arguments) and arguments[here].startswith("-"):
            argument = arguments[here]
            here += 1
            value: str | None = None
            if argument in WHITE_SPACE_OPTIONS:
                if here < len(arguments) and not arguments[here].startswith("-"):
                    value = arguments[here]
                    here += 1
            elif argument.startswith("--") and "=" in argument:
                value = argument.partition("=")[2]
            name = argument.partition("=")[0] if argument.startswith("--") else argument
            if argument == "-jar":
                if here >= len(arguments):
                    self.give_to_java("-jar has no jar after it")
                    return False
                self.set_mode(Mode.JAR, argument)
            elif name in argfile.MAIN_MODULE_OPTIONS:
                if not value:
                    raise JavaLaunchError(f"Error: {argument} requires module name")
                self.add(f"-Djdk.module.main={value.partition('/')[0]}")
                self.set_mode(Mode.MODULE, argument)
                self.what = value
                break
            elif not self.launcher_option(argument, name, value) and not self.plain_option(argument):
                return False
            if argument == "-Xshare:dump":
                self.give_to_java("-Xshare:dump writes an archive and ends")
        self.rest = arguments[here:]
        if self.what is None and self.rest:
            self.what = self.rest.pop(0)
        return True

    def set_mode(self, mode: int, argument: str) -> None:
        if self.mode == Mode.SOURCE:
            raise JavaLaunchError(f"Error: Option {argument} is not allowed with --source")
        self.mode = mode

    def launcher_option(self, argument: str, name: str, value: str | None) -> bool:
        """Take an option that the launcher handles and that has a value or prints something about modules."""
        if name == "--source":
            if not value:
                raise JavaLaunchError(f"Error: {argument} requires source version")
            self.mode = Mode.SOURCE
            self.add(f"-Djdk.internal.javac.source={value}")
        elif name in CLASS_PATH_OPTIONS:
            if value is None:
                raise JavaLaunchError(f"Error: {argument} requires class path specification")
            self.set_class_path(value)
            if self.feature < 24 and self.mode != Mode.SOURCE:
                self.mode = Mode.CLASS  # until JDK-8211033: a -jar before it is forgotten
        elif name in {"--describe-module", "-d"}:
            if value is None:
                raise JavaLaunchError(f"Error: {argument} requires module name")
            self.describe_module = value
            self.give_to_java("--describe-module prints and ends")
        elif argument == "--list-modules":
            self.list_modules = True
            self.give_to_java("--list-modules prints and ends")
        elif argument == "--show-resolved-modules":
            self.show_resolved_modules = True
        elif argument == "--validate-modules":
            self.add("-Djdk.module.validation=true")
            self.validate_modules = True
            self.give_to_java("--validate-modules prints and ends")
        elif value:
            if argument in MODULE_OPTIONS:
                self.add(f"{'--module-path' if argument == '-p' else argument}={value}")
            else:
                self.add(argument)
        elif argument in _PATH_OPTIONS:
            raise JavaLaunchError(f"Error: {argument} requires module path specification")
        elif argument in MODULE_OPTIONS or argument.startswith(_MODULE_ASSIGNMENTS):
            raise JavaLaunchError(f"Error: {argument} requires modules to be specified")
        else:
            return False
        return True

    def plain_option(self, argument: str) -> bool:
        """Take any other option; False when it ends the scan."""
        if argument in _HELP:
            self.help = _HELP[argument]
            return self.end(argument)
        if argument in {"-version", "--version"}:
            self.print_version = True
            return self.end(argument)
        if argument in {"-fullversion", "--full-version"}:
            self.full_version = True
            return self.end(argument)
        if argument in {"-showversion", "--show-version"}:
            self.show_version = True
            self.print_to_stderr = self.print_to_stderr and argument == "-showversion"
        elif argument == "--dry-run":
            self.dry_run = True
            self.give_to_java("--dry-run ends before the main method")
        elif argument == "-XshowSettings" or argument.startswith("-XshowSettings:"):
            self.show_settings = argument
        elif argument == "-Xdiag":
            self.add("-Dsun.java.launcher.diag=true")
        elif argument == "--show-module-resolution":
            self.add("-Djdk.module.showModuleResolution=true")
        elif not self.old_option(argument):
            self.vm_option(argument)
        return True

    def end(self, argument: str) -> bool:
        self.print_to_stderr = self.print_to_stderr and not argument.startswith("--")
        self.mode = Mode.NONE
        self.give_to_java(f"{argument} prints and ends")
        return False

    def old_option(self, argument: str) -> bool:
        """Take an undocumented or outdated option; which ones there are depends on the version."""
        old = _OLD_OPTIONS.get(argument)
        if old is not None and self.feature < old[2]:
            if self.feature >= old[1]:
                self.deprecated(argument)
            if old[0] is not None:
                self.add(old[0])
        elif argument == "-debug":
            if self.feature < 22:
                self.add("-Xdebug")
            else:
                self.deprecated(argument)
        elif argument.startswith(("-ss", "-ms", "-mx")) or (self.feature < 24 and argument.startswith("-oss")):
            if self.feature >= 24:
                self.deprecated(argument[:3])
            self.add(f"-X{argument[1:]}")
        elif argument in _UNSUPPORTED_OPTIONS and self.feature < 24:
            self.notes.append(f"Warning: {argument} option is no longer supported.")
        elif argument.startswith("-splash:"):
            self.splash = True
        else:
            # JDK 17 has read --disable-@files already and hands it on all the same: its JVM refuses it.
            return argument == "--disable-@files" and self.feature >= 21
        return True

    def deprecated(self, argument: str) -> None:
        self.notes.append(f"Warning: {argument} option is deprecated and may be removed in a future release.")

    def vm_option(self, argument: str) -> None:
        if argument.startswith("-Djava.class.path="):
            self.class_path = argument.partition("=")[2]
        elif argument.startswith("-Djava.awt.headless="):
            self.headless = argument.endswith("=true")
        self.add(argument)

    def settle(self) -> None:
        """Decide the mode from what was found, and complete the options."""
        if self.what is None:
            self.give_to_java("there is no main class, jar or module")
            if self.mode != Mode.SOURCE:
                self.mode = Mode.NONE
                return
        elif self.mode == Mode.NONE:
            if self.class_path is None:
                self.set_class_path(".")
            self.mode = Mode.CLASS
        if self.what is not None and self.mode == Mode.CLASS and is_source_file(self.what):
            self.mode = Mode.SOURCE
        if self.mode == Mode.SOURCE:
            if self.feature >= 25:
                self.add("-Dsun.java.launcher.mode=source")
            self.add("--add-modules=ALL-DEFAULT")
            if self.what is not None:
                self.rest.insert(0, self.what)
            launcher = "SourceLauncher" if self.feature >= 22 else "Main"  # renamed by JEP 458
            self.what = f"jdk.compiler/com.sun.tools.javac.launcher.{launcher}"
        elif self.mode == Mode.JAR and self.what is not None:
            if self.feature >= 24 and not self.headless and not self.splash:
                check_jar(self.what)  # the launcher looks for SplashScreen-Image
            self.set_class_path(self.what)
