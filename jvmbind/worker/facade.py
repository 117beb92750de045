"""A Java home in which everything is the real one's, but `bin/java` and the JDK's own servers are `jvmbind java`.

Runs in the worker that runs a wrapper script, and in `jvmbind java`, as the service user. Wrapper scripts find Java in
many ways (JAVA_HOME, JRE_HOME, JAVACMD, PATH, ...) and look around in it (bin/javac, lib/, release): all of them lead
here. The folder is made once for each Java home and used by every service of that user. Must not import jpype.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import stat
import sys
import tempfile

import jvmbind
from jvmbind.errors import SystemFailureError
from jvmbind.posix.process import find_program
from jvmbind.posix.runtime_dir import make_temporary_directory, temporary_directories

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WRAP = "JVMBIND_WRAP"  # names the socket of the worker that runs the script
REAL_HOME = "JVMBIND_JAVA_HOME"  # the Java home behind the facade; set by its bin/java alone
BLOCKED = "JVMBIND_BLOCKED"  # the signals that were blocked in its bin/java (SigBlk of proc(5)), before SIGINT was as well
PLAIN = "JVMBIND_PLAIN"  # the process that is a real `java` on purpose: it prints and ends
SAME_USER = ("su", "runuser", "sudo")  # what the service needs no privilege for where the user is its own
_SHIMS = "shims"  # the folder of those, beside bin
_POINTERS = ("JAVA_HOME", "JRE_HOME")
_LAUNCHERS = ("JAVA", "JAVACMD", "_RUNJAVA")
_MARK = ".jvmbind-java-home"
# Servers of the JDK with launchers of their own, which know no `java`: what the launcher runs. `jstatd` is a client of its own port
# before and after it binds, which no listener that was there before can serve.
SERVERS = {
    "jwebserver": "jdk.httpserver",
    "rmiregistry": "java.rmi/sun.rmi.registry.RegistryImpl",
}

# What prints and ends needs no listener; scripts ask for it often, so no interpreter is started for it.
_STUB = """#!/bin/sh
# Written by jvmbind wrap: every java that the script starts gets the listeners.
if [ $# -eq 1 ]; then
    case $1 in -version|--version|-fullversion) {plain}=$$ exec {java} "$1" ;; esac
fi
{variable}={home}; export {variable}
{exec} {command} java "$@"
"""

# Options of the JVM are those that begin with -J, wherever they stand: they come before the main class.
_SERVER = """#!/bin/sh
# Written by jvmbind wrap: this server of the JDK gets the listeners, as any java does.
left=$#
set -- "$@" {options}
for word do
    case $word in -J?*) set -- "$@" "${{word#-J}}" ;; esac
done
set -- "$@" -m {main}
while [ $left -gt 0 ]; do
    word=$1
    left=$((left - 1))
    shift
    case $word in -J?*) ;; *) set -- "$@" "$word" ;; esac
done
exec "${{0%/*}}/java" "$@"
"""

_SAME_USER = """#!/bin/sh
# Written by jvmbind wrap: the service cannot become another user, and need not become its own.
exec {command} {name} "$0" "$@"
"""

# The interpreter turns a SIGINT during its own start into a traceback: it is blocked until there is somebody to take it.
_BLOCKING = """{blocked}=0
while read -r jvmbind_name jvmbind_value; do
    case $jvmbind_name in SigBlk:) {blocked}=$jvmbind_value ;; esac
done </proc/self/status
export {blocked}
exec {env} --block-signal=INT"""


def facade(java_home: str, environ: Mapping[str, str]) -> str:
    """Return the facade of `java_home`, made or repaired where needed; raises SystemFailureError or OSError."""
    problems = []
    temporary = tempfile.gettempdir()
    known = list(temporary_directories(temporary, os.getuid()))
    for place in (*_bases(environ), *(known or [""])):
        base = place or temporary
        try:
            if not place:
                base = make_temporary_directory(temporary, os.getuid())
            _own_directory(base)
            if os.statvfs(base).f_flag & os.ST_NOEXEC:
                problems.append(f"{base} is mounted noexec")
                continue
            return _make(java_home, base, environ)
        except OSError as error:
            problems.append(f"{base}: {error.strerror}")
    msg = f"no place for the Java home that the script is shown: {'; '.join(problems)}"
    raise SystemFailureError(msg)


def _bases(environ: Mapping[str, str]) -> Iterator[str]:
    for variable in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR", "CACHE_DIRECTORY", "XDG_CACHE_HOME"):
        folder = environ.get(variable, "").partition(":")[0]
        if folder.startswith("/") and os.path.isdir(folder):
            yield f"{folder}/jvmbind"


def _own_directory(path: str) -> None:
    """Make the directory, 0700; raises PermissionError where it is somebody else's, a link, or open to others."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        info = os.lstat(path)
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid() or stat.S_IMODE(info.st_mode) & 0o077:
            raise PermissionError(1, "not a directory of this user alone", path) from None


def _make(java_home: str, base: str, environ: Mapping[str, str]) -> str:
    wanted = _entries(java_home, environ)
    digest = hashlib.sha256("\0".join(f"{name}\0{what}" for name, what in sorted(wanted.items())).encode(errors="surrogateescape"))
    target = f"{base}/java-{digest.hexdigest()[:16]}"
    if _is_as_wanted(target, wanted):
        return target
    made = tempfile.mkdtemp(prefix="new-", dir=base)
    try:
        os.mkdir(f"{made}/bin")
        os.mkdir(f"{made}/{_SHIMS}")
        for name, what in wanted.items():
            if _is_written(name):
                fd = os.open(f"{made}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700)
                with os.fdopen(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
                    file.write(what)
            else:
                os.symlink(what, f"{made}/{name}")
        if os.path.lexists(target):
            os.rename(target, f"{made}/old")  # removed with `made`
        os.rename(made, target)
        made = f"{target}/old"
    except FileExistsError:
        pass  # another service of this user was quicker
    except OSError:
        if not _is_as_wanted(target, wanted):
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return target


def _entries(java_home: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what the facade holds: path -> target of a link; or the text of what `_is_written`."""
    entries = {_MARK: java_home}
    for name in os.listdir(java_home):
        if name not in {"bin", _SHIMS}:
            entries[name] = f"{java_home}/{name}"
    for name in os.listdir(f"{java_home}/bin"):
        server = SERVERS.get(name)
        path = f"{java_home}/bin/{name}"
        entries[f"bin/{name}"] = _SERVER.format(options=_compiled_in(path), main=server) if server else path
    package = os.path.dirname(os.path.abspath(jvmbind.__file__))
    entry = os.path.join(package, "__main__.py")
    command = shlex.join([sys.executable, "-I", os.path.join(package, "worker", "same_user.py")])
    path = outside(environ.get("PATH", os.defpath))
    # A script that looks for one which is not installed is to find none.
    installed = [name for name in SAME_USER if find_program(name, path)]
    entries |= {f"{_SHIMS}/{name}": _SAME_USER.format(command=command, name=name) for name in installed}
    entries["bin/java"] = _STUB.format(
        java=shlex.quote(f"{java_home}/bin/java"),
        variable=REAL_HOME,
        plain=PLAIN,
        home=shlex.quote(java_home),
        command=shlex.join([sys.executable, "-I", entry]),
        exec=_blocking(environ),
    )
    return entries


def _compiled_in(launcher: str) -> str:
    """Return the option that a launcher of the JDK has compiled in: of JDK 18 to 23 rmiregistry ends without it."""
    option = "-Djava.security.manager=allow"
    with open(launcher, "rb") as file:
        return option if f"-J{option}".encode() in file.read() else ""


def _is_written(name: str) -> bool:
    folder, _, program = name.partition("/")
    return folder == _SHIMS or (folder == "bin" and (program == "java" or program in SERVERS))


def _blocking(environ: Mapping[str, str]) -> str:
    """Return how the stub starts the interpreter: with SIGINT blocked, where env(1) can do that (coreutils 8.31)."""
    env = shutil.which("env", path=environ.get("PATH", os.defpath)) or ""
    if env:
        quiet = [(os.POSIX_SPAWN_CLOSE, fd) for fd in (0, 1, 2)]  # a sandbox may have no /dev/null
        pid = os.posix_spawn(env, [env, "--block-signal=INT", env], {}, file_actions=quiet)
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0:
            return _BLOCKING.format(blocked=BLOCKED, env=shlex.quote(os.path.abspath(env)))
    return "exec"


def _is_as_wanted(folder: str, wanted: Mapping[str, str]) -> bool:
    """Whether every entry is there and is what it is to be; only this user can write there (see `_own_directory`)."""
    try:
        for name, what in wanted.items():
            path = f"{folder}/{name}"
            if not _is_written(name):
                if os.readlink(path) != what:
                    return False
                continue
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                if file.read() != what or not os.fstat(file.fileno()).st_mode & stat.S_IXUSR:
                    return False
    except (OSError, UnicodeError):
        return False
    return True


def real_home(home: str) -> str:
    """Return the Java home behind `home` where that is a facade, else `home` itself."""
    try:
        return os.readlink(f"{home}/{_MARK}")
    except OSError:
        return home


def other_home(environ: Mapping[str, str], java_home: str) -> str:
    """Return the Java home that a script chose in place of the facade and that is not `java_home`, "" without one."""
    for name in reversed(_POINTERS):  # scripts that know both prefer JRE_HOME
        home = real_home(environ.get(name, ""))
        if os.access(f"{home}/bin/java", os.X_OK) and os.path.realpath(home) != os.path.realpath(java_home):
            return home
    return ""


def lead_to(folder: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` with every way to find Java leading to the facade `folder`."""
    changed = dict(environ)
    changed |= dict.fromkeys(_POINTERS, folder)
    changed |= dict.fromkeys(_LAUNCHERS, f"{folder}/bin/java")
    changed["PATH"] = f"{folder}/{_SHIMS}:{folder}/bin:{environ.get('PATH', os.defpath)}"
    return changed


def without_traces(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` without the variables of `jvmbind wrap`, but with every way to Java as the script has it."""
    return {name: value for name, value in environ.items() if name not in {WRAP, REAL_HOME, BLOCKED, PLAIN}}


def outside(path: str) -> str:
    """Return a PATH without the folders of facades: also of another one, where a service starts a service."""
    return ":".join(folder for folder in path.split(":") if not os.path.lexists(f"{folder}/../{_MARK}"))


def lead_back(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` as the application is to see it: with the real Java home, and nothing of `jvmbind wrap`.

    A `java` that the application starts is an ordinary one: the filter of its parent would forbid it one of its own.
    """
    changed = {}
    for name, value in without_traces(environ).items():
        if name == "PATH":
            changed[name] = outside(value)
        elif name in _POINTERS:
            changed[name] = real_home(value)
        elif name in _LAUNCHERS and value.endswith("/bin/java"):
            changed[name] = real_home(value[: -len("/bin/java")]) + "/bin/java"
        else:
            changed[name] = value
    return changed
