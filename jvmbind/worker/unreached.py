"""Finds JVMs below a wrapper script that were not started as the `java` that `jvmbind wrap` shows, and so get no listener.

Runs in the worker that runs the script, as the service user. Must not import jpype. Sources: proc(5), pidfd_open(2).
"""

from __future__ import annotations

import os
import time

from jvmbind.posix.process import children
from jvmbind.record import NamedTuple
from jvmbind.worker import facade
from jvmbind.worker.script_jvm import exit_status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

SOON, LATER = 0.015, 0.25  # seconds from one look to the next, in the first seconds and after; a JVM takes 40 ms to fail
_FIRST_SECONDS = 20.0
_LIVES = 2.0  # seconds after which a JVM is no question about a version
_LOOKED_AT = 512  # processes


class Found(NamedTuple):
    """A JVM out of reach: its process, since when it was seen (monotonic), its executable and what it runs."""

    pid: int
    pidfd: int
    seen: float
    executable: str

    def text(self, java_home: str) -> str:
        """Return the line for the log."""
        home = home_of(self.executable)
        text = (
            f"the JVM that the script started as process {self.pid} ({self.executable}) gets no listener: it was not started as the"
            " java that wrap shows by JAVA_HOME, JRE_HOME, JAVA, JAVACMD and PATH; let the script take that one, without a fixed"
            " path and without env -i, or start the program by jvmbind run"
        )
        return f"{text}; {another(home, java_home)}" if home and os.path.realpath(home) != os.path.realpath(java_home) else text


def another(home: str, java_home: str) -> str:
    """Return the words about a script that asked for another Java home."""
    return f"the script asked for the Java of {home}, wrap runs that of {java_home}; to run the other: --java-home {home}"


def home_of(executable: str) -> str:
    """Return the Java home that an executable is of, "" where it is of none."""
    home = os.path.dirname(os.path.dirname(executable))
    # lib/jvm.cfg since JDK 9, before that lib/ARCHITECTURE/jvm.cfg beside `rt.jar`.
    return home if any(os.path.exists(f"{home}/{name}") for name in ("lib/jvm.cfg", "lib/rt.jar", "jre/lib/rt.jar")) else ""


class Watch:
    """Looks for such JVMs until one has been told of."""

    def __init__(self, java_home: str) -> None:
        """Begin to look."""
        self.java_home = java_home
        self._began = time.monotonic()
        self._found: dict[int, Found] = {}
        self._reaped: dict[int, int] = {}
        self.told = False

    def pause(self) -> float | None:
        """Return the seconds to the next look, None where there is none."""
        if self.told:
            return None
        return SOON if time.monotonic() - self._began < _FIRST_SECONDS else LATER

    def look(self, reached: Collection[int]) -> str:
        """Note the JVMs that there are but those of `reached`; return the line about one that stays, "" without."""
        if self.told:
            return ""
        now = time.monotonic()
        for pid in (one for one in below(os.getpid()) if one not in reached):
            executable = _java(pid)
            if pid not in self._found and executable:
                try:
                    self._found[pid] = Found(pid, os.pidfd_open(pid), now, executable)
                except OSError:
                    continue  # it has ended meanwhile
            elif pid in self._found and executable == "":
                os.close(self._found.pop(pid).pidfd)  # seen in the middle of its exec
        for found in self._found.values():
            if now - found.seen > _LIVES and found.pid not in reached and _java(found.pid):
                self.told = True
                return found.text(self.java_home)
        return ""

    def reaped(self, pid: int, status: int) -> None:
        """Note how a process ended, as waitpid(2) has it."""
        if pid in self._found:
            self._reaped[pid] = status

    def failure(self, reached: Collection[int]) -> tuple[str, bool]:
        """Return at the end the line about a JVM that lives or has failed ("" if it was told), and whether there is one."""
        for found in self._found.values():
            if found.pid in reached:
                continue
            status = self._reaped.get(found.pid, exit_status(found.pidfd))
            if status != 0:
                text = "" if self.told else found.text(self.java_home)
                self.told = True
                # None: it lives, or this kernel does not tell how it has ended.
                return text, status is not None or bool(_java(found.pid))
        return "", False


def below(top: int) -> list[int]:
    """Return the processes below `top`."""
    found = [top]
    for parent in found:
        found += [child for child in children(parent) if child not in found]
        del found[_LOOKED_AT:]
    return found[1:]


def _java(pid: int) -> str | None:
    """Return the executable of a process that is a JVM and was not started on purpose by `jvmbind java`, else "".

    None where nothing is known: it ends, is in the middle of an exec, or is closed to this process.
    """
    try:
        link = os.readlink(f"/proc/{pid}/exe")
        executable = link.removesuffix(" (deleted)")
        home = home_of(executable)
        if home and os.path.basename(executable) not in {"java", *facade.SERVERS}:
            return ""  # keytool and its like
        if not home:
            # Launchers of other names, such as jsvc. Python is `jvmbind java` on its way, or its responder.
            if os.path.basename(executable).startswith("python"):
                return ""
            with open(f"/proc/{pid}/maps", "rb") as maps:
                if b"/libjvm.so" not in maps.read():
                    return ""
        with open(f"/proc/{pid}/environ", "rb") as file:
            environ = file.read()
        if os.readlink(f"/proc/{pid}/exe") != link:
            return None  # the libraries are the JVM's, the name is still that of the shell that has become it
    except OSError:
        return None
    return "" if f"{facade.PLAIN}={pid}".encode() in environ.split(b"\0") else executable
