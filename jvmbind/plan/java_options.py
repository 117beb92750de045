"""Which options of a JVM are known to be accepted, and which of the others `java` can be asked about without harm.

Pure but for looks at files that an option names. Runs before anything is bound, as the service user. An option that is
known costs no start of a JVM; it is in the table below only where every HotSpot of 17 to 25 takes it, whatever else is
given. Sources: arguments.cpp and globals.hpp of these versions, logConfiguration.cpp, the `java` manual page.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

KNOWN_VERSIONS = range(17, 26)

_KIB, _MIB, _GIB = 1 << 10, 1 << 20, 1 << 30
_UNITS = {"": 1, "k": _KIB, "m": _MIB, "g": _GIB}
_SIZE = re.compile(r"([0-9]{1,12})([kmg]?)", re.IGNORECASE)
# The value is checked by the JVM against others: outside of these bounds it is asked.
_SIZES = {
    "-Xms": (8 * _MIB, 32 * _GIB),
    "-Xmx": (16 * _MIB, 32 * _GIB),
    "-Xss": (512 * _KIB, _GIB),
    "-XX:MaxMetaspaceSize=": (16 * _MIB, 32 * _GIB),
    "-XX:MetaspaceSize=": (_MIB, 16 * _MIB),
    "-XX:MaxDirectMemorySize=": (_MIB, 32 * _GIB),
    "-XX:ReservedCodeCacheSize=": (64 * _MIB, 512 * _MIB),
}
_COLLECTORS = ("UseSerialGC", "UseParallelGC", "UseG1GC")
_FLAGS = frozenset(
    {
        "AlwaysPreTouch",
        "CrashOnOutOfMemoryError",
        "DisableAttachMechanism",
        "DisableExplicitGC",
        "ExitOnOutOfMemoryError",
        "ExplicitGCInvokesConcurrent",
        "HeapDumpOnOutOfMemoryError",
        "OmitStackTraceInFastThrow",
        "ParallelRefProcEnabled",
        "PerfDisableSharedMem",
        "PrintCommandLineFlags",
        "ShowCodeDetailsInExceptionMessages",
        "StackTraceInThrowable",
        "UnlockDiagnosticVMOptions",
        "UnlockExperimentalVMOptions",
        "UseContainerSupport",
        "UsePerfData",
        "UseStringDeduplication",
        *_COLLECTORS,
    }
)
_NAMES = r"[A-Za-z_][\w.]*"
_PERCENT = r"(100|[1-9]?[0-9](\.[0-9]{1,3})?)"
_KNOWN = re.compile(
    r"-D(?!java\.security\.manager|jdk\.module\.).*"
    r"|-(ea|da|enableassertions|disableassertions)(:.*)?|-(esa|dsa|enablesystemassertions|disablesystemassertions)"
    r"|-verbose:(gc|class|jni|module)|-Xshare:(auto|off)|-Xint|--enable-preview"
    rf"|--add-(opens|exports)={_NAMES}/{_NAMES}=[\w.,-]+|--add-reads={_NAMES}=[\w.,-]+"
    r"|--enable-native-access=ALL-UNNAMED|--add-modules=ALL-(DEFAULT|SYSTEM|MODULE-PATH)|--module-path=.*"
    r"|-XX:(HeapDumpPath|ErrorFile|OnError|OnOutOfMemoryError)=.+"
    rf"|-XX:(Max|Initial|Min)RAMPercentage={_PERCENT}|-XX:MaxGCPauseMillis=[1-9][0-9]{{0,4}}|-XX:TieredStopAtLevel=[0-4]"
    r"|-XX:ActiveProcessorCount=[1-9][0-9]?",
    re.DOTALL,
)
_FLAG = re.compile(r"-XX:[+-](\w+)")

# What does more in a JVM than to be understood: it starts agents, opens ports, writes files, takes memory, or waits.
_ACTS = re.compile(
    r"-D(?!java\.security\.manager).*"
    r"|-XX:(OnError|OnOutOfMemoryError|StartFlightRecording|FlightRecorderOptions)([=:].*)?"
    r"|-XX:(ArchiveClassesAtExit|DumpLoadedClassList|AOTMode|AOTCacheOutput|AOTConfiguration|PerfDataSaveFile|LogFile|CRaC\w*)=.*"
    r"|-XX:[+-](AlwaysPreTouch|AlwaysPreTouchStacks|UseLargePages|AutoCreateSharedArchive|RecordDynamicDumpInfo|PerfDataSaveToFile"
    r"|DumpPerfMapAtExit|LogVMOutput|LogCompilation|PauseAtStartup|PauseAtExit|ManagementServer|DumpSharedSpaces"
    r"|ShowMessageBoxOnError)|-XX:PauseAtStartupFile=.*|-XX:\+?FlightRecorder|-Xshare:dump|-Xrun.*|-Xinternalversion",
    re.DOTALL,
)
_FILE = re.compile(r"-XX:(?:Flags|VMOptionsFile)=(.*)", re.DOTALL)
_AGENT = re.compile(r"-(javaagent|agentpath|agentlib):([^=]*).*", re.DOTALL)
_LOG = re.compile(r"(-Xlog:[^:]*:)(?:file=)?(\"[^\"]*\"|[^:]*)((?::[^:]*)?)(?::.*)?", re.DOTALL)
_MEMORY = re.compile(
    r"Could not (reserve|allocate|commit)|Failed to reserve|insufficient memory|out of memory|unable to create (new )?native",
    re.IGNORECASE,
)


def size_of(text: str) -> int:
    """Return the bytes of 512k or 2M, -1 for what is none."""
    found = _SIZE.fullmatch(text)
    return int(found.group(1)) * _UNITS[found.group(2).lower()] if found else -1


def split_variable(text: str) -> list[str]:
    """Split JAVA_TOOL_OPTIONS, _JAVA_OPTIONS or an options file as the JVM does: at white space, but not within quotes."""
    words: list[str] = []
    word: str | None = None
    quote = ""
    for char in text:
        if quote:
            quote, word = ("", word) if char == quote else (quote, (word or "") + char)
        elif char in "\"'":
            quote, word = char, word or ""
        elif char.isspace():
            words += [] if word is None else [word]
            word = None
        else:
            word = (word or "") + char
    return words if word is None else [*words, word]


def with_variables(options: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Return all options that the JVM reads, in its order, with the files of -XX:VMOptionsFile in their places."""
    found: list[str] = []
    words = [*split_variable(environ.get("JAVA_TOOL_OPTIONS", "")), *options, *split_variable(environ.get("_JAVA_OPTIONS", ""))]
    for word in words:
        file = word.partition("-XX:VMOptionsFile=")[2]
        if file:
            try:
                with open(file, encoding="utf-8", errors="surrogateescape") as lines:
                    found += split_variable(lines.read(1 << 20))
                continue
            except (OSError, ValueError):
                pass  # asked about as it is, `java` finds the same
        found.append(word)
    return found


def needs_asking(options: Sequence[str], environ: Mapping[str, str], feature: int) -> bool:
    """Whether there is an option of which only the JVM can tell."""
    return bool(unknown(with_variables(options, environ), feature))


def unknown(options: Sequence[str], feature: int) -> list[str]:
    """Return the options of which only this JVM can tell whether it takes them, without those that it cannot be asked about."""
    if feature not in KNOWN_VERSIONS:
        return [option for option in without_effects(options) if not option.startswith("-D")]
    found = without_effects(option for option in options if not _is_known(option))
    sizes = {name: size_of(option[4:]) for option in options for name in ("-Xms", "-Xmx") if option.startswith(name)}
    if sizes.get("-Xms", 0) > sizes.get("-Xmx", sizes.get("-Xms", 0)):
        found.append("-Xms above -Xmx")
    collectors = {option for option in options if option.startswith("-XX:+") and option[5:] in _COLLECTORS}
    return [*found, *(sorted(collectors) if len(collectors) > 1 else ())]


def _is_known(option: str) -> bool:
    if _log_file(option):
        return bool(_KNOWN_LOG.fullmatch(option)) and may_be_written(_log_file(option))
    for name, (least, most) in _SIZES.items():
        if option.startswith(name):
            return least <= size_of(option[len(name) :]) <= most
    flag = _FLAG.fullmatch(option)
    return flag.group(1) in _FLAGS if flag else bool(_KNOWN.fullmatch(option))


_TAGS = r"gc(\+(heap|age|ergo|phases|cpu|metaspace))?\*?(=(error|warning|info|debug|trace))?"
_DECORATIONS = r"(time|t|utctime|utc|uptime|u|tid|ti|pid|p|level|l|tags|tg|hostname|hn)"
_KNOWN_LOG = re.compile(
    rf"-Xlog:({_TAGS})(,{_TAGS})*:file=(\"[^\"]*\"|[^:\"]+)"
    rf"(:({_DECORATIONS}(,{_DECORATIONS})*)?(:(filecount=[0-9]{{1,3}}|filesize=[1-9][0-9]{{0,6}}[kmg]?|,)+)?)?",
    re.IGNORECASE,
)


def _log_file(option: str) -> str:
    """Return the file that -Xlog or -Xloggc writes to, "" for stdout, stderr and none, and for another option."""
    if option.startswith("-Xloggc:"):
        return option.partition(":")[2]
    found = _LOG.fullmatch(option)
    name = found.group(2) if found else ""
    return "" if name in {"", "stdout", "stderr"} else name.strip('"')


def may_be_written(file: str) -> bool:
    """Whether a log file could be made, or one moved away, in the directory of `file`."""
    return os.access(os.path.dirname(file) or ".", os.W_OK | os.X_OK, effective_ids=True)


def without_effects(options: Iterable[str]) -> list[str]:
    """Return what `java` can be asked about: no agent runs, nothing is written, no port opened.

    An option that would act stays where it cannot: a log file in a directory that may not be written, an agent that is not there.
    """
    kept: list[str] = []
    for option in options:
        agent, file, log = _AGENT.fullmatch(option), _FILE.fullmatch(option), _log_file(option)
        if agent or file:
            acts = _can_run(*agent.groups()) if agent else _can_read(file.group(1)) if file else True
            kept += [] if acts else [option]
        elif log and may_be_written(log):
            form = _LOG.fullmatch(option)
            kept += [f"{form.group(1)}stdout{form.group(3)}"] if form else []  # -Xloggc:FILE has nothing else in it
        elif not _ACTS.fullmatch(option):
            kept.append(option)
    return kept


def _can_run(kind: str, name: str) -> bool:
    return kind == "agentlib" or _can_read(name)  # a library's name is looked for in places that the environment tells


def _can_read(file: str) -> bool:
    return bool(file) and os.access(file, os.R_OK, effective_ids=True)


def is_about_memory(words: str) -> bool:
    """Whether a JVM says that there is no room for it now, which is no mistake in an option."""
    return bool(_MEMORY.search(words))
