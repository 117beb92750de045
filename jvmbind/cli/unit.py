"""`jvmbind unit NAME|PATH`: systemd units, or with --apparmor, --selinux or --polkit a policy, made for one configuration.

Runs as any user; with --install as one who may write where systemd looks for units. Starts, stops and enables nothing. The text
comes from jvmbind.units; here is what has to look at this machine.
"""

from __future__ import annotations

import argparse
import errno
import itertools
import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, NoReturn

from jvmbind.cli.unit_policy import policy
from jvmbind.config.named import config_path, name_of
from jvmbind.errors import ConfigurationError, NotPermittedError, SystemFailureError, UsageError, printable
from jvmbind.listen import further_sockets, number_names
from jvmbind.plan.reading import read_configuration, read_name
from jvmbind.posix.user import split_user
from jvmbind.root.user import ID_MAX, find_group, find_user, number
from jvmbind.units.service import MARK, service_unit
from jvmbind.units.sockets import lacking, socket_units
from jvmbind.units.wanted import FIRST_UNPRIVILEGED, Wanted, Way

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jvmbind.config.request import Request

_SYSTEM = "/etc/systemd/system"
_PACKAGED = ("/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
_DISTRIBUTION = ("/usr/lib/systemd/system", "/lib/systemd/system")
_TOMCATS = ("tomcat11.service", "tomcat10.service", "tomcat9.service")
_TOMCAT_OF_DEBIAN_12 = "tomcat10.service of Debian 12: 8.7 EXPOSED"  # measured by systemd 252, of tomcat10 10.1
_OVERALL = re.compile(r"Overall exposure level for .*: ([0-9.]+) ([A-Z]+)")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # root runs nothing that the caller's PATH names
# Paths that ProtectHome= hides, wherever in a word of the command line.
_HIDDEN = re.compile(r"(?:^|[:=,@])(/(?:home|root|run/user)/[^:=,]+)")
_WRITTEN = re.compile(
    r"-XX:(?:HeapDumpPath|ErrorFile|LogFile)=(/.+)|-Xlog:.*file=(/[^:,]+).*|-Xloggc:(/.+)|-Djava\.io\.tmpdir=(/.+)"
)
_BASES = ("CATALINA_BASE", "JETTY_BASE", "JBOSS_BASE_DIR")
# Words with a path in them that is taken from the working directory.
_PATH_OPTIONS = frozenset({"-jar", "-cp", "-classpath", "--class-path", "-p", "--module-path"})


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Report wrong usage in one line, with status 64."""
        msg = f"unit: {message} (jvmbind unit --help)"
        raise UsageError(msg)


def main(argv: list[str]) -> None:
    """Run the command; raises JvmbindError."""
    parser = _Parser(
        prog="jvmbind unit", description="Make systemd units for a service from its configuration.", allow_abbrev=False
    )
    path = "the service /etc/jvmbind/NAME.toml, or the path of a configuration file"
    parser.add_argument("service", metavar="NAME", help=path)
    way = parser.add_mutually_exclusive_group()
    way.add_argument(
        "--socket", action="store_true", help="socket units: systemd binds the ports, the service has no privilege at all"
    )
    way.add_argument(
        "--root", action="store_true", help="jvmbind binds the ports as root and drops; default: as the user, with one capability"
    )
    parser.add_argument(
        "--isolate-network", action="store_true", help="with --socket: the service lives in an empty network of its own"
    )
    parser.add_argument(
        "--attach", action="store_true", help="let jcmd and its like attach as the service's user too, not as root alone"
    )
    parser.add_argument(
        "--write", metavar="PATH", action="append", default=[], help="the application writes below PATH; repeatable"
    )
    policies = parser.add_mutually_exclusive_group()
    policies.add_argument("--apparmor", action="store_true", help="print an AppArmor profile for the service, and no units")
    policies.add_argument("--selinux", action="store_true", help="print a SELinux policy module for the service, and no units")
    policies.add_argument(
        "--polkit", action="store_true", help="print a polkit rule for the group that may reload or restart it, and no units"
    )
    parser.add_argument("--user", action="store_true", help="for the caller's own service manager (systemctl --user)")
    parser.add_argument("--install", action="store_true", help=f"write them to {_SYSTEM} or the user's place")
    options = parser.parse_args(argv)
    wanted = read(options)
    for word in (*wanted.command, wanted.run, wanted.request.user or "", *wanted.writable, *wanted.home):
        if not word.isprintable():  # it could end a line, and begin a directive
            msg = f"{word!r} cannot stand in a unit; expected printable characters"
            raise ConfigurationError(msg)
    if options.apparmor or options.selinux or options.polkit:
        sys.stdout.write(policy(options, wanted))
        return
    units = {f"{wanted.name}.service": service_unit(wanted)}
    if wanted.way is Way.SOCKET:
        units |= socket_units(wanted)
    place = _place(of_user=wanted.of_user)
    if options.install:
        install(place, units, wanted)
    else:
        sys.stdout.write("\n".join(f"# {place}/{name}\n{text}" for name, text in units.items()))
    sys.stdout.flush()
    _say([*_notes(wanted), exposures(f"{wanted.name}.service", units[f"{wanted.name}.service"])])


def read(options: argparse.Namespace) -> Wanted:
    """Return what the command line and the configuration ask for; raises JvmbindError."""
    path = config_path(options.service)
    request = read_configuration(path)
    listeners = number_names(list(request.listeners))
    way = Way.SOCKET if options.socket else Way.ROOT if options.root else Way.CAPABILITY
    if way is Way.ROOT and options.user:
        msg = "unit: --root and --user: a user's own service manager starts nothing as root; expected one of the two"
        raise UsageError(msg)
    if way is Way.ROOT and request.user is None:
        msg = f"{path}: user: expected the user who the service runs as; jvmbind started as root becomes that"
        raise ConfigurationError(msg)
    if request.user is not None:
        _check_user(path, request.user)
    isolated = bool(options.isolate_network or getattr(request.template, "isolate_network", False))
    if options.isolate_network and way is not Way.SOCKET:
        msg = "unit: --isolate-network: in an empty network no port can be bound for clients; expected --socket as well"
        raise UsageError(msg)
    if isolated and request.template.ready not in {"accept", "listen", "notify"}:
        msg = (
            f"{path}: supervise.ready = {request.template.ready!r}: nobody can connect from within the empty network of the service"
        )
        raise ConfigurationError(f"{msg}; expected accept, listen or notify")
    if way is Way.SOCKET:
        if not listeners:
            msg = f"{path}: listen: expected the listeners for which socket units are to be made"
            raise ConfigurationError(msg)
        for one in listeners:
            for why in lacking(one):
                msg = f"{path}: listener {one.name!r}: {why}; expected no such option, or a unit without --socket"
                raise ConfigurationError(msg)
    in_place = name_of(path)
    name = read_name(request)
    absolute = os.path.abspath(path)
    command = own_command()
    return Wanted(
        name,
        way,
        command,
        in_place or absolute,
        request,
        listeners,
        len(listeners) + len(further_sockets(listeners)),
        of_user=options.user,
        isolated=isolated and way is Way.SOCKET,
        attach=options.attach,
        writable=tuple(dict.fromkeys([*map(os.path.abspath, options.write), *_written(request), *_unix_places(request, way)])),
        home=tuple(_hidden([*command, absolute, request.java_home or "", *request.java_arguments, *request.template.script])),
    )


def _check_user(path: str, text: str) -> None:
    """Refuse whom a start refuses too; a user who is not there yet is made before that. Raises ConfigurationError, UsageError."""
    name, group = split_user(text)
    gid = find_group(group) if group else None
    user = find_user(name, gid) if name else None
    for one in (name, group):
        if one.lstrip("-").isdigit() and number(one) is None:
            msg = f"{path}: user = {text!r}: {one} is no id; expected a number up to {ID_MAX}"
            raise ConfigurationError(msg)
    ids = {0} & {*((gid,) if gid is not None else ()), *((user.uid, user.gid, *user.groups) if user is not None else ())}
    if ids or "root" in {name, group}:
        msg = f"{path}: user = {text!r}: nothing of root may be left; expected an ordinary user, in no group of root's"
        raise ConfigurationError(msg)
    if not name:
        msg = f"{path}: user = {text!r}: expected a user as well; a unit has no caller whose user could stay"
        raise ConfigurationError(msg)


def own_command() -> tuple[str, ...]:
    """Return the words by which systemd is to start this jvmbind: a link that outlives the next update, where there is one."""
    script = os.path.join(os.path.dirname(sys.executable), "jvmbind")
    if not os.access(script, os.X_OK):
        return (sys.executable, "-I", "-m", "jvmbind")
    known = ("/usr/bin/jvmbind", "/usr/local/bin/jvmbind")
    return (next((link for link in known if os.path.realpath(link) == os.path.realpath(script)), script),)


def _hidden(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(found for word in words for found in _HIDDEN.findall(word)))


def _written(request: Request) -> list[str]:
    """Return the directories of files that options of the JVM name, and the folders that servers' scripts are told to use."""
    found = []
    for word in request.java_arguments:
        match = _WRITTEN.fullmatch(word)
        if match:
            path = next(group for group in match.groups() if group)
            found.append(path if os.path.isdir(path) else os.path.dirname(path))
    variables: Mapping[str, str] = dict(item.split("=", 1) for item in request.environ if "=" in item)
    found += [variables[name] for name in _BASES if variables.get(name, "").startswith("/")]
    return [path for path in found if not path.startswith(("/tmp/", "/var/tmp/"))]  # noqa: S108 - private, and writable, there


def _unix_places(request: Request, way: Way) -> list[str]:
    """Return the directories in which the service itself makes sockets."""
    paths = [one.path for one in request.listeners if one.protocol == "unix" and way is not Way.SOCKET]
    return [os.path.dirname(path) for path in (*paths, request.template.control) if path]


def _notes(wanted: Wanted) -> list[str]:
    """Return what is to be said beside the unit."""
    found = []
    words = wanted.request.java_arguments
    for option, value in itertools.pairwise(words):
        relative = [part for part in value.split(":") if part and not part.startswith(("/", "@"))]
        if option in _PATH_OPTIONS and relative and wanted.way is not Way.ROOT:
            found.append(f"{option} {value}: taken from /var/lib/jvmbind/{wanted.name} under this unit; expected an absolute path")
    if wanted.of_user:
        found += [
            f"listener {one.name!r}: port {one.port}: a user's own service manager has no right to bind ports below 1024"
            for one in wanted.listeners
            if one.protocol != "unix" and one.port < FIRST_UNPRIVILEGED
        ]
    if not wanted.writable and wanted.way is Way.ROOT:
        found.append("the file system is read-only for this service, but for /tmp; --write PATH opens more")
    return found


def exposures(name: str, text: str) -> str:
    """Return one line: the exposure of a unit as systemd-analyze(1) rates it, beside that of the distribution's Tomcat."""
    try:
        with tempfile.TemporaryDirectory(prefix="jvmbind-unit-") as folder:
            path = os.path.join(folder, name)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            own = _exposure(path)
        tomcats = [f"{place}/{unit}" for place in _DISTRIBUTION for unit in _TOMCATS if os.path.exists(f"{place}/{unit}")]
        other = f"{os.path.basename(tomcats[0])} of this machine: {_exposure(tomcats[0])}" if tomcats else ""
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return f"exposure not known: {error}; expected systemd-analyze of systemd 250 or later"
    return f"exposure {own} of 10 (systemd-analyze security); {other or _TOMCAT_OF_DEBIAN_12}"


def _exposure(path: str) -> str:
    program = shutil.which("systemd-analyze", path=_PATH)
    if program is None:
        msg = "there is no systemd-analyze here"
        raise ValueError(msg)
    environ = {"PATH": _PATH, "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}
    command = [program, "security", "--offline=true", "--no-pager", path]
    done = subprocess.run(
        command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=60, check=False
    )
    found = _OVERALL.search(done.stdout)
    if found is None:
        msg = f"systemd-analyze: {' '.join(done.stderr.split()) or 'no rating'}"
        raise ValueError(msg)
    return f"{found[1]} {found[2]}"


def _place(*, of_user: bool) -> str:
    if not of_user:
        return _SYSTEM
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return f"{base if base.startswith('/') else os.path.expanduser('~/.config')}/systemd/user"


def install(place: str, units: Mapping[str, str], wanted: Wanted) -> None:
    """Write the units and let systemd read them; none is written where one of the files is not ours. Raises JvmbindError."""
    if wanted.of_user:
        _check_place(place)
    for name in units:
        _check_ours(f"{place}/{name}")
        shadowed = next((f"{other}/{name}" for other in _PACKAGED if os.path.lexists(f"{other}/{name}")), "")
        if shadowed and not wanted.of_user:
            msg = f"{place}/{name} would stand in the place of {shadowed}; expected another name for the service"
            raise ConfigurationError(msg)
    try:
        os.makedirs(place, mode=0o755, exist_ok=True)
        for name, text in units.items():
            _write(f"{place}/{name}", text)
            sys.stdout.write(f"wrote {place}/{name}\n")
        left = [name for name in sorted(os.listdir(place)) if name not in units and _is_left(f"{place}/{name}", wanted)]
    except OSError as error:
        msg = f"{error.filename or place}: {error.strerror}; expected the right to write there"
        raise SystemFailureError(msg) from error
    systemctl = "systemctl --user" if wanted.of_user else "systemctl"
    _say(
        f"{place}/{name}: of an earlier configuration of this service; {systemctl} disable --now {name}, then remove it"
        for name in left
    )
    program = shutil.which("systemctl", path=_PATH)
    if program is None or not os.path.isdir("/run/systemd/system"):  # sd_booted(3)
        _say(["systemd does not run here, so it was not told of the units"])
        return
    done = subprocess.run(
        [program, *systemctl.split()[1:], "daemon-reload"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        msg = f"{systemctl} daemon-reload: {' '.join(done.stderr.split())}"
        raise SystemFailureError(msg)
    sys.stdout.write(f"start it: {systemctl} enable --now {' '.join(units)}\n")


def _check_place(place: str) -> None:
    """Check that the caller's own place is the caller's all the way: root may have the HOME of somebody else."""
    if os.geteuid() != 0:
        return
    way = place
    while not os.path.lexists(way):
        way = os.path.dirname(way)
    own = os.path.expanduser("~") == pwd.getpwuid(0).pw_dir and os.path.realpath(way) == way and os.stat(way).st_uid == 0
    if not own:
        msg = f"{place}: is another user's, or behind another user's link; expected root's own HOME, or a start as that user"
        raise NotPermittedError(msg)


def _check_ours(path: str) -> None:
    try:
        # Whatever is there instead of a file: a pipe is not waited for, and a link not followed.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, encoding="utf-8", errors="replace") as file:
            ours = stat.S_ISREG(os.fstat(fd).st_mode) and file.readline(len(MARK) + 1).startswith(MARK)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno == errno.ELOOP:
            msg = f"{path}: is a symbolic link, so it is not replaced; expected it to be moved away first"
            raise ConfigurationError(msg) from error
        msg = f"{path}: {error.strerror}"
        raise SystemFailureError(msg) from error
    if not ours:
        msg = f"{path}: was not made by jvmbind unit, so it is not replaced; expected it to be moved away first"
        raise ConfigurationError(msg)


def _is_left(path: str, wanted: Wanted) -> bool:
    """Whether a file is a socket unit that this command has made for the same service before."""
    if not path.endswith(".socket"):
        return False
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(1 << 16)
    except OSError:
        return False  # a link to a unit that is gone
    return text.startswith(MARK) and f"\nService={wanted.name}.service\n" in text


def _write(path: str, text: str) -> None:
    """Put a file in its place at once, so that systemd never reads half of one."""
    fd, temporary = tempfile.mkstemp(prefix=".jvmbind-", dir=os.path.dirname(path))
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _say(notes: Iterable[str]) -> None:
    sys.stderr.write("".join(f"jvmbind: {printable(note)}\n" for note in notes))
    sys.stderr.flush()
