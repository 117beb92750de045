"""`su`, `runuser` and `sudo` for a script that `jvmbind wrap` runs: they run the command where the user is that of the service.

Run by the shims of those names, as `python -I .../worker/same_user.py NAME SHIM ARGUMENTS`, as the service user. The
real ones need privilege even where nothing changes, and no_new_privs keeps it from them. Must not import jpype.
Sources: su(1) and runuser(1) of util-linux, sudo(8).
"""

from __future__ import annotations

import getopt
import os
import pwd
import re
import shlex
import sys

from jvmbind.errors import EX_NOPERM
from jvmbind.posix.process import find_program
from jvmbind.record import NamedTuple
from jvmbind.worker import facade

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

NAMES = facade.SAME_USER

_SU = "c:fg:G:lmpPTs:u:w:"
_SU_LONG = (
    *("command=", "session-command=", "fast", "group=", "supp-group=", "login", "preserve-environment", "pty", "no-pty"),
    *("shell=", "user=", "whitelist-environment="),
)
_SUDO = "AbBC:D:EHg:iknNPp:R:r:SsT:t:u:"
_SUDO_LONG = (
    *("askpass", "background", "bell", "close-from=", "chdir=", "set-home", "group=", "login", "reset-timestamp"),
    *("non-interactive", "no-update", "preserve-groups", "prompt=", "stdin", "shell", "command-timeout=", "user="),
)
_POSIX_SHELL = re.compile(r"(|ba|da|k|mk|z|a|ya)sh[0-9.]*")
_LOGIN_PATH = "/usr/local/bin:/usr/bin:/bin"
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)


class Asked(NamedTuple):
    """What one of the three was asked for. `command`: words to run; or with `shell` ("" = the user's own) that one's arguments."""

    user: str
    command: tuple[str, ...]
    shell: str | None = None
    groups: tuple[str, ...] = ()
    login: bool = False
    preserve: bool = False
    background: bool = False
    folder: str = ""
    variables: tuple[str, ...] = ()


class NotOursError(Exception):
    """The real one is to answer: a question about itself, or what is no use of it that runs a command."""


def read(name: str, words: Sequence[str]) -> Asked:
    """Return what `name` is asked for by the arguments `words`; raises NotOursError."""
    try:
        return _read_sudo(words) if name == "sudo" else _read_su(name, words)
    except getopt.GetoptError as error:
        raise NotOursError from error


def _read_su(name: str, words: Sequence[str]) -> Asked:
    options, rest = getopt.getopt(list(words), _SU, list(_SU_LONG)) if name == "runuser" else ([], [])
    if not {"-u", "--user"} & {option for option, _ in options}:
        options, rest = getopt.gnu_getopt(list(words), _SU, list(_SU_LONG))
    found = dict(options)
    groups = tuple(value for option, value in options if option in {"-g", "--group", "-G", "--supp-group"})
    preserve = bool({"-m", "-p", "--preserve-environment"} & found.keys())
    user = found.get("-u", found.get("--user"))
    if user is not None:
        if not rest:
            raise NotOursError
        return Asked(user, tuple(rest), groups=groups, preserve=preserve)
    login = bool({"-l", "--login"} & found.keys())
    if rest[:1] == ["-"]:
        login, rest = True, rest[1:]
    user, *rest = rest or ["root"]
    command = next((value for option, value in options if option in {"-c", "--command", "--session-command"}), None)
    if command is not None:
        rest = ["-c", command, *rest]
    shell = found.get("-s", found.get("--shell", os.environ.get("SHELL", "") if preserve else ""))
    return Asked(user, tuple(rest), shell, groups, login=login, preserve=preserve and not login)


def _read_sudo(words: Sequence[str]) -> Asked:
    # With and without a value, which getopt does not know.
    options, rest = getopt.getopt([word for word in words if not word.startswith("--preserve-env")], _SUDO, list(_SUDO_LONG))
    found = dict(options)
    count = next((at for at, word in enumerate(rest) if not _ASSIGNMENT.fullmatch(word)), len(rest))
    variables, command = tuple(rest[:count]), tuple(rest[count:])
    login = bool({"-i", "--login"} & found.keys())
    shell = None
    if login or {"-s", "--shell"} & found.keys():
        shell = "" if login else os.environ.get("SHELL", "")
        command = ("-c", shlex.join(command)) if command else ()
    elif not command:
        raise NotOursError
    return Asked(
        found.get("-u", found.get("--user", "root")),
        command,
        shell,
        tuple(value for option, value in options if option in {"-g", "--group"}),
        login=login,
        preserve=True,
        background=bool({"-b", "--background"} & found.keys()),
        folder=found.get("-D", found.get("--chdir", "")),
        variables=variables,
    )


def refusal(name: str, asked: Asked) -> str:
    """Return why not, where another user or group is asked for; "" where it is the one that there is."""
    own = _name(os.getuid())
    try:
        uid = pwd.getpwnam(asked.user).pw_uid
    except KeyError:
        number = asked.user.removeprefix("#")
        if not number.isdigit():
            return f"{name}: there is no user {asked.user}"
        uid = int(number)
    why = "nothing that jvmbind wrap runs can become another one (no_new_privs)"
    if uid != os.getuid():
        return f"{name}: this service runs as user {own}, and {why}; to run it as {asked.user}: jvmbind wrap --user {asked.user}"
    import grp  # noqa: PLC0415 - seldom needed

    for group in asked.groups:
        try:
            gid = int(group.removeprefix("#")) if group.removeprefix("#").isdigit() else grp.getgrnam(group).gr_gid
        except KeyError:
            return f"{name}: there is no group {group}"
        if gid not in {os.getgid(), *os.getgroups()}:
            return f"{name}: this service runs as user {own} without group {group}, and {why}: jvmbind wrap --user {own}:{group}"
    return ""


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def command_of(asked: Asked, environ: Mapping[str, str], home: str) -> tuple[list[str], dict[str, str]]:
    """Return the command line to run and its environment; `home` is the Java home that the script is shown."""
    try:
        entry = pwd.getpwuid(os.getuid())
        own = {"HOME": entry.pw_dir, "SHELL": entry.pw_shell or "/bin/sh", "USER": entry.pw_name, "LOGNAME": entry.pw_name}
    except KeyError:
        own = {"HOME": "/", "SHELL": "/bin/sh"}
    shell = asked.shell or own["SHELL"]
    changed = dict(environ)
    if asked.login:
        kept = {name: environ[name] for name in ("TERM", facade.WRAP) if name in environ}
        changed = kept | own | {"SHELL": shell, "PATH": _LOGIN_PATH}
    elif not asked.preserve:
        changed |= own | {"SHELL": shell}
    changed |= dict(word.split("=", 1) for word in asked.variables)
    words = list(asked.command) if asked.shell is None else [shell, *asked.command]
    if not asked.login:
        return words, changed
    if not _POSIX_SHELL.fullmatch(os.path.basename(shell)):
        return words, facade.lead_to(home, changed)
    # The profile is read first: what it says of Java and PATH would lead past the service's.
    shown = facade.lead_to(home, {"PATH": ""})
    path = shlex.quote(shown.pop("PATH"))
    again = " ".join(f"{name}={shlex.quote(value)}" for name, value in shown.items())
    return [shell, "-l", "-c", f'export {again} PATH={path}"$PATH"; exec "$@"', shell, *words], changed


def main(name: str, shim: str, words: list[str]) -> NoReturn:
    """Become the command, or the real su, runuser or sudo."""
    folder = os.path.dirname(os.path.abspath(shim))
    try:
        asked = read(name, words)
    except NotOursError:
        real = find_program(name, facade.outside(os.environ.get("PATH", os.defpath)))
        if not real:  # its name alone would lead back to here, again and again
            sys.stderr.write(f"{name}: not found\n")
            sys.exit(127)
        _run(name, [real, *words], dict(os.environ))
    problem = refusal(name, asked)
    if problem:
        sys.stderr.write(f"{problem}\n")
        sys.exit(EX_NOPERM)
    command, environ = command_of(asked, os.environ, os.path.dirname(folder))
    if asked.login or asked.folder:
        try:
            os.chdir(asked.folder or environ["HOME"])
        except OSError as error:
            sys.stderr.write(f"{name}: {error.filename}: {error.strerror}\n")
            if asked.folder:
                sys.exit(1)
    if asked.background and os.fork():
        os._exit(0)
    _run(name, command, environ)


def _run(name: str, command: list[str], environ: dict[str, str]) -> NoReturn:
    try:
        os.execvpe(command[0], command, environ)
    except OSError as error:
        sys.stderr.write(f"{name}: {command[0]}: {error.strerror}\n")
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
