"""Asks the real `java` whether it takes a command line, without running anything of the application.

Runs as the service user, in a child that has given up every privilege: `run` before it binds, `check`, and before a
reload or restart. What would have an effect is left out first (`java_options`). `java -version` reads the options and
makes a JVM; `java --dry-run` finds the main class besides and does not initialise it. Sources: the `java` manual page,
java.c and LauncherHelper.java of JDK 17 to 25, posix_spawn(3).
"""

from __future__ import annotations

import os
import select
import signal
import time
from typing import TYPE_CHECKING

import prctl

from jvmbind.errors import JavaRefusedError, NotPermittedError
from jvmbind.plan.java_options import is_about_memory, with_variables, without_effects
from jvmbind.root.drop import drop_permanently
from jvmbind.worker.arguments import Mode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jvmbind.worker.arguments import JavaCommand

_PATIENCE = 10.0  # seconds: a JVM that has said nothing by then is not waited for
_WORDS_MAX = 65536
# The launcher's and the JVM's own options are on the command line by then; the service manager is not this JVM's business.
_READ_BY_JVM = ("JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS")
_VARIABLES = (*_READ_BY_JVM, "JDK_JAVA_OPTIONS", "_JAVA_LAUNCHER_DEBUG", "NOTIFY_SOCKET", "WATCHDOG_PID")
_ELSEWHERE = ("-javaagent:", "-agent", "-Xrun", "-Djava.system.class.loader=")  # what may bring a main class of its own


def ask(java_home: str, command: JavaCommand, environ: Mapping[str, str], *, main_class: bool) -> None:
    """Raise JavaRefusedError, with the words of `java`, where it does not take the command line.

    With `main_class` it looks for that too, where it can without running anything. What it says for lack of memory, and
    a JVM that dies or hangs, is no answer: then nothing is raised.
    """
    if command.delegate is not None:
        return
    options = with_variables(command.options, environ)
    words = [f"{java_home}/bin/java", "-XX:-UsePerfData"]
    if command.vm != "server":
        words.append(f"-XXaltjvm={command.vm}" if "/" in command.vm else f"-{command.vm}")
    words += [f"-Djdk.module.main={(command.what or '').partition('/')[0]}"] if command.mode is Mode.MODULE else []
    words += ["-Xdiag"] if "-Dsun.java.launcher.diag=true" in options else []
    words += without_effects(options)
    if command.class_path is not None and command.mode is not Mode.JAR:
        words += ["-cp", command.class_path]
    looks = main_class and command.mode in {Mode.CLASS, Mode.JAR, Mode.MODULE} and not _has_agent(command, options)
    if looks:
        words += ["--dry-run", *{Mode.JAR: ["-jar"], Mode.MODULE: ["-m"]}.get(command.mode, []), command.what or ""]
    else:
        words.append("-version")
    status, out, err = _run(words, {name: value for name, value in environ.items() if name not in _VARIABLES})
    if status == 1 and not is_about_memory(out + err):
        # What it would have said first, had the variables been left to it.
        before = [note for note in command.notes if note not in err.splitlines()]
        before += [f"Picked up {name}: {environ[name]}" for name in _READ_BY_JVM if name in environ]
        raise JavaRefusedError(out, "".join(f"{line}\n" for line in before) + err)


def _has_agent(command: JavaCommand, options: list[str]) -> bool:
    """Whether agents are there, which `java --dry-run` would run (that of a jar's manifest) or miss (those left out)."""
    if any(option.startswith(_ELSEWHERE) for option in options):
        return True
    if command.mode is not Mode.JAR:
        return False
    import zipfile  # noqa: PLC0415 - not on the way of an ordinary start

    try:
        with zipfile.ZipFile(command.what or "") as jar:
            return b"launcher-agent-class" in jar.read("META-INF/MANIFEST.MF").lower()
    except Exception:  # noqa: BLE001 - whatever that jar is, `java` says it better
        return False


def _run(words: list[str], environ: Mapping[str, str]) -> tuple[int, str, str]:
    """Run `java` in a child that can do no more than any process of its user; return (status, stdout, stderr).

    The status is -1 where there is none in time.
    """
    out, err = os.pipe(), os.pipe()
    child = os.fork()  # one thread only so far: drop_permanently would refuse more
    if child == 0:
        try:
            _become(words, environ, out[1], err[1])
        finally:
            os._exit(255)
    os.close(out[1])
    os.close(err[1])
    found = {out[0]: b"", err[0]: b""}
    deadline = time.monotonic() + _PATIENCE
    poll = select.poll()
    for fd in found:
        poll.register(fd, select.POLLIN)
    open_fds = set(found)
    while open_fds and (left := deadline - time.monotonic()) > 0:
        for fd, _ in poll.poll(left * 1000):
            data = os.read(fd, 4096)
            found[fd] = (found[fd] + data)[:_WORDS_MAX]
            if not data:
                open_fds.discard(fd)
                poll.unregister(fd)
    for fd in found:
        os.close(fd)
    if open_fds:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    ended = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1
    return ended, found[out[0]].decode("utf-8", "replace"), found[err[0]].decode("utf-8", "replace")


def _become(words: list[str], environ: Mapping[str, str], out: int, err: int) -> None:
    if os.geteuid() == 0:
        msg = "java is never asked as root"
        raise NotPermittedError(msg)
    drop_permanently(os.geteuid(), os.getegid(), tuple(os.getgroups()))
    prctl.set_pdeathsig(signal.SIGKILL)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (out, 1), (err, 2)):
        os.dup2(source, target)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.execve(words[0], words, environ)
