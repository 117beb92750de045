"""Which JDK, which of its JVMs, and what is a source file: `release`, `jvm.cfg`, and the options about them.

Runs in the worker and in `check`, as any user; reads those two files and the end of a jar. Must not import jpype.
Follows libjli's CheckJvmType, ReadKnownVMs and, before JDK 24, SelectVersion.
"""

from __future__ import annotations

import os

from jvmbind.errors import JavaLaunchError
from jvmbind.worker.argfile import WHITE_SPACE_OPTIONS
from jvmbind.worker.classpath import check_jar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Vm = tuple[str, str, str]
"""Flag, kind and alias of one line of jvm.cfg."""

_DEFAULT_VMS: tuple[Vm, ...] = (("-server", "KNOWN", ""), ("-client", "IGNORE", ""))
_KINDS = ("KNOWN", "WARN", "IGNORE", "ERROR", "ALIASED_TO")


def jdk_feature(java_home: str | Path) -> int:
    """Return the feature version (17, 25) that the JDK's `release` file names, 0 when that cannot be told."""
    try:
        fd = os.open(f"{java_home}/release", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe in its place says nothing
        with open(fd, encoding="utf-8", errors="replace") as file:
            lines = file.read(1 << 16).split("\n")
    except OSError:
        return 0
    for line in lines:
        version = line.removeprefix("JAVA_VERSION=").removeprefix('"')
        digits = _leading_digits(version.removeprefix("1.")) or _leading_digits(version)
        if line.startswith("JAVA_VERSION=") and digits:
            return int(digits)
    return 0


def _leading_digits(text: str) -> str:
    return text[: len(text) - len(text.lstrip("0123456789"))]


def read_vms(java_home: str | Path) -> list[Vm]:
    """Return (flag, kind, alias) for each line of lib/jvm.cfg, KNOWN, IGNORE, WARN, ERROR or ALIASED_TO.

    Raises JavaLaunchError when there is no such file.
    """
    path = f"{java_home}/lib/jvm.cfg"
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError as error:
        raise JavaLaunchError(f"Error: could not open `{path}'") from error
    vms: list[Vm] = []
    for line in lines:
        words = line.split()
        if len(words) < 2 or line.startswith("#"):
            continue
        for kind in _KINDS:
            if words[1].startswith(kind):
                vms.append((words[0], kind, words[2] if len(words) > 2 else ""))
                break
    return vms


def look_for_version(arguments: Sequence[str], environ: Mapping[str, str], notes: list[str]) -> None:
    """Do what was left of multiple JRE support before JDK 24 (JDK-8340114): two complaints and a look at the jar.

    The scan goes on behind `-m MODULE`, so there an application's own `-jar` counts too. Raises JavaLaunchError for
    a jar that cannot be read or has no manifest.
    """
    if "_JAVA_VERSION_SET" in environ:
        return
    here = 0
    jar = False
    while here < len(arguments) and arguments[here].startswith("-"):
        argument = arguments[here]
        if argument.startswith("-version:"):
            notes += [
                "Error: Specifying an alternate JDK/JRE version is no longer supported.",
                "  The use of the flag '-version:' is no longer valid.",
                "  Please download and execute the appropriate version.",
            ]
        elif argument in {"-jre-restrict-search", "-jre-no-restrict-search"}:
            notes += [
                "Error: Specifying an alternate JDK/JRE is no longer supported.",
                "  The related flags -jre-restrict-search | -jre-no-restrict-search are also no longer valid.",
            ]
        else:
            jar = jar or argument == "-jar"
            following = arguments[here + 1 : here + 2]
            if argument in WHITE_SPACE_OPTIONS and following and not following[0].startswith("-"):
                here += 1
        here += 1
    if jar and here < len(arguments):
        check_jar(arguments[here])


def select_vm(
    arguments: Sequence[str], environ: Mapping[str, str], java_home: str | Path | None, notes: list[str]
) -> tuple[list[str], str]:
    """Take out -server and its kind; return what is left and the directory of libjvm.so below lib/, or a path.

    Like the launcher it goes on behind `-m MODULE`. Raises JavaLaunchError for a JVM that jvm.cfg rules out.
    """
    vms = read_vms(java_home) if java_home else list(_DEFAULT_VMS)
    if not vms:
        raise JavaLaunchError("Error: no known VMs. (check for corrupt jvm.cfg file)")
    by_flag = {vm[0]: vm for vm in reversed(vms)}
    chosen: Vm | None = None
    alternate = environ.get("JDK_ALTERNATE_VM")
    kept: list[str] = []
    here = 0
    while here < len(arguments):
        argument = arguments[here]
        if argument in WHITE_SPACE_OPTIONS:
            kept += arguments[here : here + 2]
            here += 2
            continue
        if not argument.startswith("-"):
            break
        vm = by_flag.get(argument.removeprefix("-J"))
        if vm is not None:
            chosen, alternate = vm, None
        elif argument.startswith(("-XXaltjvm=", "-J-XXaltjvm=")):
            chosen, alternate = None, argument.partition("=")[2]
        else:
            kept.append(argument)
        here += 1
    kept += arguments[here:]
    if alternate is not None:
        return kept, alternate
    if chosen is None:
        return kept, vms[0][0][1:]
    return kept, _resolve(chosen, by_flag, vms[0], notes)


def vm_exists(java_home: str | Path, vm: str) -> bool:
    """Tell whether there is a libjvm.so for this JVM."""
    directory = vm if "/" in vm else f"{java_home}/lib/{vm}"
    return os.path.exists(f"{directory}/libjvm.so")


def _resolve(vm: Vm, by_flag: Mapping[str, Vm], default: Vm, notes: list[str]) -> str:
    for _ in range(len(by_flag) + 2):
        if vm[1] != "ALIASED_TO":
            break
        if vm[2] not in by_flag:
            raise JavaLaunchError(f"Error: Unable to resolve VM alias {vm[2]}")
        vm = by_flag[vm[2]]
    else:
        raise JavaLaunchError("Error: Corrupt jvm.cfg file; cycle in alias list.")
    name, fallback = vm[0][1:], default[0][1:]
    if vm[1] == "ERROR":
        raise JavaLaunchError(f"Error: {name} VM not supported")
    if vm[1] == "WARN":
        notes.append(f"Warning: {name} VM not supported; {fallback} VM will be used")
    return name if vm[1] == "KNOWN" else fallback


def is_source_file(name: str) -> bool:
    """Tell whether the launcher takes this main class for a source file: NAME.java, and it exists."""
    return name.endswith(".java") and os.path.exists(name)
