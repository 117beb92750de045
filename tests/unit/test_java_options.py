"""Which options are known, and what a JVM is asked about: the table, and what real JVMs make of it.

Run by pytest, as anybody; needs a JDK.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jvmbind.plan.java_options import is_about_memory, needs_asking, split_variable, unknown, with_variables, without_effects
from support import jdks
from support.jdks import Jdk

KNOWN = [
    "-Xms64m", "-Xmx512m", "-Xss1m", "-Dx=y", "-D", "-ea", "-da:a.b...", "-esa", "-verbose:gc", "-Xshare:auto", "--enable-preview",
    "--add-opens=java.base/java.lang=ALL-UNNAMED", "--add-exports=java.base/sun.nio.ch=a,b", "--add-reads=java.base=ALL-UNNAMED",
    "--enable-native-access=ALL-UNNAMED", "--add-modules=ALL-DEFAULT", "--module-path=/nosuch",
    "-XX:+HeapDumpOnOutOfMemoryError", "-XX:HeapDumpPath=/tmp", "-XX:ErrorFile=/tmp/e",
    "-XX:OnError=true", "-XX:OnOutOfMemoryError=true",
    "-XX:+ExitOnOutOfMemoryError", "-XX:+CrashOnOutOfMemoryError", "-XX:+UseStringDeduplication", "-XX:-OmitStackTraceInFastThrow",
    "-XX:MaxRAMPercentage=75.5", "-XX:InitialRAMPercentage=1", "-XX:MinRAMPercentage=100", "-XX:MaxGCPauseMillis=50",
    "-XX:MaxMetaspaceSize=256m", "-XX:MetaspaceSize=16m", "-XX:MaxDirectMemorySize=64m", "-XX:ReservedCodeCacheSize=128m",
    "-XX:TieredStopAtLevel=1", "-XX:ActiveProcessorCount=2", "-XX:+DisableExplicitGC", "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:+ParallelRefProcEnabled", "-XX:+PerfDisableSharedMem", "-XX:+DisableAttachMechanism", "-XX:-UsePerfData",
    "-XX:+UseContainerSupport", "-XX:+UnlockDiagnosticVMOptions", "-XX:+UnlockExperimentalVMOptions", "-XX:+StackTraceInThrowable",
    "-XX:+ShowCodeDetailsInExceptionMessages", "-XX:-PrintCommandLineFlags", "-XX:-AlwaysPreTouch",
    "-Xlog:gc*,gc+heap=debug:file=/tmp/jvmbind-known-gc.log:time,uptime,level,tags:filecount=5,filesize=10m",
]  # fmt: skip
COLLECTORS = ["-XX:+UseSerialGC", "-XX:+UseParallelGC", "-XX:+UseG1GC"]
ASKED = [
    "-Xmx512megs", "-Xmx1k", "-Xms1GB", "-Xss1k", "-Xmx", "-Xmx64g", "-XX:+NoSuch", "-XX:UseG1GC", "-XX:MaxRAMPercentage=101",
    "-XX:+UseZGC", "-XX:ParallelGCThreads=2", "-Xfoo", "-z", "--add-modules=x", "--add-opens=x", "-Xlog:gcc",
    "-Xlog:gc:file=/nosuch/x",
    "-javaagent:/nosuch.jar", "-agentpath:/nosuch.so", "-XX:VMOptionsFile=/nosuch", "-XX:Flags=/nosuch", "-Djava.security.manager",
    "-XX:ReservedCodeCacheSize=1m", "-Xshare:on", "-verbose:x",
]  # fmt: skip


def test_what_is_known_and_what_is_asked() -> None:
    """What services usually say costs no JVM; all else does, and in an unknown version all but system properties."""
    assert [option for option in (*KNOWN, *COLLECTORS) if unknown([option], 17) or unknown([option], 25)] == []
    assert [option for option in ASKED if not unknown([option], 17)] == []
    assert unknown(["-Xms2g", "-Xmx1g"], 25)
    assert unknown(COLLECTORS[:2], 25)
    assert unknown(["-ea", "-Dx"], 26) == ["-ea"]


@pytest.mark.jdks
def test_what_is_known_is_taken(jdk: Jdk, tmp_path: Path) -> None:
    """Each JVM takes all that is known, with each collector: nothing in the table is a guess."""
    for collector in COLLECTORS:
        options = [option.replace("/tmp/", f"{tmp_path}/") for option in KNOWN if option != "-D"]
        done = subprocess.run([jdk.java, *options, collector, "-version"], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_what_acts_is_left_out(tmp_path: Path) -> None:
    """An option that runs, writes or opens something is not asked about; one of these that cannot act is."""
    agent = tmp_path / "agent.jar"
    agent.touch()
    acts = [
        f"-javaagent:{agent}=x", f"-agentpath:{agent}", "-agentlib:jdwp=transport=dt_socket", "-Xrunjdwp", f"-XX:Flags={agent}",
        "-XX:StartFlightRecording=filename=x", "-XX:ArchiveClassesAtExit=x", "-XX:AOTCacheOutput=x", "-XX:AOTMode=create",
        "-XX:+AlwaysPreTouch", "-XX:OnError=touch x", "-Dcom.sun.management.jmxremote.port=1", "-XX:+LogVMOutput", "-Xshare:dump",
        f"-Xloggc:{tmp_path}/gc.log", "-XX:+UseLargePages",
    ]  # fmt: skip
    assert without_effects(acts) == []
    assert without_effects([f"-Xlog:gc*:file={tmp_path}/gc.log:time:filecount=2"]) == ["-Xlog:gc*:stdout:time"]
    assert without_effects([f'-Xlog:gc:file="{tmp_path}/a:b.log"']) == ["-Xlog:gc:stdout"]
    cannot = [
        "-javaagent:/nosuch.jar",
        "-Xlog:gc:file=/nosuch/gc.log",
        "-XX:VMOptionsFile=/nosuch",
        "-Xlog:gc",
        "-Xlog:gc:stderr:time",
    ]
    assert without_effects(cannot) == cannot


def test_options_from_elsewhere(tmp_path: Path) -> None:
    """What JAVA_TOOL_OPTIONS, _JAVA_OPTIONS and an options file say is read as the JVM reads it, in its order."""
    file = tmp_path / "options"
    file.write_text("-Xfoo\n  '-Da=b c'")
    environ = {"JAVA_TOOL_OPTIONS": '-Xbar "-Dx=y z"', "_JAVA_OPTIONS": "-Xmx1k"}

    assert with_variables(["-ea", f"-XX:VMOptionsFile={file}"], environ) == [
        "-Xbar",
        "-Dx=y z",
        "-ea",
        "-Xfoo",
        "-Da=b c",
        "-Xmx1k",
    ]
    assert needs_asking([], environ, 25)
    assert not needs_asking(["-Xmx64m"], {}, 25)
    assert split_variable(" a'b c'\td\"\" \n'' ") == ["ab c", "d", ""]


@pytest.mark.parametrize("words", ["Could not reserve enough space for object heap", "There is insufficient memory for the Java"])
def test_want_of_memory_is_no_mistake(words: str) -> None:
    """A JVM that has no room beside the one that serves does not make an option wrong."""
    assert is_about_memory(words)
    assert not is_about_memory("Too small maximum heap")


ASK = """
import os, sys
from pathlib import Path
from jvmbind.errors import JavaRefusedError
from jvmbind.plan.java_asked import ask
from jvmbind.worker.arguments import parse
home = sys.argv[1]
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
command = parse(sys.argv[2:], {}, jdk_feature=25, java_home=Path(home))
try:
    ask(home, command, {"PATH": "/usr/bin"}, main_class=True)
except JavaRefusedError as error:
    print(error)
else:
    print("taken")
"""


def test_nothing_is_left_of_a_question(workspace: Path) -> None:
    """Asked about options that log, record, archive and dump, `java` answers and no file is there afterwards."""
    folder = workspace / "work"
    folder.mkdir()
    folder.chmod(0o777)
    home = str(jdks.tested_jdks()[-1].home)
    options = [
        f"-Xlog:gc*:file={folder}/gc.log", "-XX:StartFlightRecording=filename=r.jfr",
        "-XX:+UnlockDiagnosticVMOptions", "-XX:+LogVMOutput",
        "-XX:ArchiveClassesAtExit=a.jsa", "-XX:+PerfDataSaveToFile", "-XX:OnError=touch x",
        "-agentlib:jdwp=transport=dt_socket,server=y",
    ]  # fmt: skip
    for more, answer in (([], "taken"), (["-Xmx512megs"], "Invalid maximum heap size: -Xmx512megs")):
        command = [sys.executable, "-I", "-c", ASK, home, *options, *more, "-cp", "/usr", "com.sun.tools.javac.Main"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
        assert (done.stdout.strip(), done.stderr) == (answer, "")
        assert list(folder.iterdir()) == []
