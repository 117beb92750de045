"""`jvmbind doctor [NAME] [--json] [--fix-commands]`: what would make a start fail here, or leaves a hole, and how it is mended.

Runs as any user, changes nothing, and says what it could not see. The judgements are in jvmbind.doctor; here is what looks.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import grp
import json
import os
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, NoReturn

from jvmbind.cli.check import Report, examine
from jvmbind.cli.control import ask, services
from jvmbind.config.named import config_path
from jvmbind.doctor import kernel, migration, rights, units
from jvmbind.doctor.finding import Finding, Level, Sight
from jvmbind.errors import JvmbindError, UsageError, printable
from jvmbind.plan.reading import read_configuration
from jvmbind.plan.rights import in_child
from jvmbind.posix import landlock, seccomp
from jvmbind.posix.cgroup import groups
from jvmbind.posix.holder import holder_of
from jvmbind.root.holder import open_holder
from jvmbind.spec import ServiceSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jvmbind.spec import ListenSpec

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # root runs nothing that the caller's PATH names
_UNITS = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system")
_SYSCTLS = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d")
_JVMS = "/usr/lib/jvm"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Report wrong usage in one line, with status 64."""
        msg = f"doctor: {message} (jvmbind doctor --help)"
        raise UsageError(msg)


def main(argv: list[str]) -> None:
    """Run the command; ends with the level of the worst finding."""
    what = "Say what would make a start fail on this machine, or leaves a hole, and how it is mended."
    parser = _Parser(prog="jvmbind doctor", description=what, allow_abbrev=False)
    path = "the service /etc/jvmbind/NAME.toml, or the path of a configuration file; default: the machine alone"
    parser.add_argument("service", metavar="NAME", nargs="?", help=path)
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print JSON")
    shown.add_argument("--fix-commands", action="store_true", help="print nothing but the commands that mend what was found")
    options = parser.parse_args(argv)
    sight = Sight()
    file = config_path(options.service) if options.service else ""
    findings = sorted(find(file, sight), key=lambda one: -one.level)
    if options.json:
        values = [one._asdict() | {"level": one.level.name.lower()} for one in findings]
        sys.stdout.write(json.dumps({"ok": not findings, "findings": values, "unseen": sight.unseen}, indent=2) + "\n")
    elif options.fix_commands:
        # A name that could command a terminal, or begin a line of its own, is for people to look at.
        sys.stdout.write("".join(f"{command}\n" for one in findings for command in one.commands if command.isprintable()))
    else:
        sys.stdout.write(as_text(findings, sight))
    sys.stdout.flush()
    sys.exit(max((one.level for one in findings), default=0))


def find(file: str, sight: Sight) -> Iterator[Finding]:
    """Yield what is wrong with this machine, and with the service of a configuration file."""
    spec, home = ServiceSpec("", "", (), ()), ""
    listeners: tuple[ListenSpec, ...] = ()
    if file:
        yield from rights.writable_by_others(file)
        try:
            report = examine(read_configuration(file))
        except JvmbindError as error:
            yield Finding("configuration", Level.ERROR, str(error), "the file cannot be used", advice="what the message expects")
        else:
            home, listeners = report.java_home, report.listeners
            spec = report.request.template._replace(java_arguments=report.request.java_arguments)
            yield from _service(file, report)
            yield from _ports(report)
            yield from _unit(report.name, spec, sight)
    yield from _kernel(sight, spec, listeners)
    yield from _migration(sight, home)


def _service(file: str, report: Report) -> Iterator[Finding]:
    """Yield what `check` refuses or remarks on, with commands where there are any."""
    mended = set()
    missing = rights.missing_user(report.request.user)
    if missing is not None:
        yield missing
        mended |= {str(problem) for problem in report.problems if "no user" in str(problem)}
    if report.user is not None:
        yield from rights.strong_groups(report.user, {entry.gr_gid: entry.gr_name for entry in grp.getgrall()})
        for one in report.files:
            found = rights.unreadable(report.user, one.what, one.path, one.mode) if one.problem else None
            if found is not None:
                yield found
                mended.add(one.problem)
        again = rights.unreadable(report.user, "configuration", file, os.R_OK)
        if again is not None:
            yield again._replace(level=Level.WARNING, why="a reload reads it again, as this user")
    for problem in report.problems:
        if str(problem) not in mended:
            yield Finding("start", Level.ERROR, str(problem), "`jvmbind run` would be refused", advice="what the message expects")
    for note in report.notes:
        level = Level.WARNING if "no control socket" in note else Level.NOTE
        yield Finding("note", level, note, "`jvmbind run` says so, and goes on")


def _ports(report: Report) -> Iterator[Finding]:
    """Yield a finding for each port that somebody else has; a service that runs has its own."""
    path = services().get(report.name)
    if path is not None:
        with contextlib.suppress(JvmbindError):
            ask(path, "status", 3, found_by_name=True)
            return
    for one in report.listeners:
        holder = "" if one.reuseport or one.protocol == "unix" else holder_of(one, open_holder).removeprefix(" by ")
        if not holder:
            continue
        number = holder.rpartition("(pid ")[2].rstrip(")")  # the last one: what stands before is the process's own word
        unit = _unit_of(number) if number.isdigit() else ""
        yield Finding(
            "port",
            Level.ERROR,
            f"listener {one.name!r} ({one.address}/{one.protocol}): {holder} has it{f', unit {unit}' if unit else ''}",
            "a port can be bound by one service only",
            (f"systemctl disable --now {shlex.quote(unit)}",) if unit else (f"kill {number}",) if number.isdigit() else (),
            "" if number.isdigit() else "as root, jvmbind doctor says which process it is",
        )


def _unit_of(pid: str) -> str:
    """Return the system's unit that a process belongs to, "" for none or this user's session."""
    for _, path in groups(pid):
        name = path.rpartition("/")[2]
        if "/system.slice/" in path and name.endswith(".service"):
            return name
    return ""


def _kernel(sight: Sight, spec: ServiceSpec, listeners: tuple[ListenSpec, ...]) -> Iterator[Finding]:
    libc = ctypes.CDLL(None, use_errno=True)
    settings = {f"{folder}/{name}": sight.read(f"{folder}/{name}") or "" for folder in _SYSCTLS for name in sight.names(folder)}
    settings["/etc/sysctl.conf"] = sight.read("/etc/sysctl.conf") or ""
    found = [
        kernel.user_notification(_try_notification()),
        kernel.landlock(landlock.abi(libc)),
        kernel.yama(sight.read("/proc/sys/kernel/yama/ptrace_scope"), spec.ready),
        kernel.port_start(sight.read("/proc/sys/net/ipv4/ip_unprivileged_port_start"), settings),
        kernel.ipv6(
            sight.read("/proc/sys/net/ipv6/conf/all/disable_ipv6"),
            available=os.path.isdir("/proc/sys/net/ipv6"),
            listeners=listeners,
        ),
        kernel.memory(_limit("memory", "memory.max", "memory.limit_in_bytes"), spec.java_arguments),
        kernel.processes(_limit("pids", "pids.max", "pids.max")),
        kernel.confinement(
            sight.read("/proc/self/attr/current") if os.path.isdir("/sys/kernel/security/apparmor") else None,
            sight.read("/sys/fs/selinux/enforce"),
            (_output(sight, "the kernel's log", "dmesg") or "").splitlines(),
        ),
        units.version(_output(sight, "systemctl --version", "systemctl", "--version") or ""),
    ]
    yield from (one for one in found if one is not None)


def _try_notification() -> str:
    """Return why a filter with notifications cannot be installed, "" where it can; tried by a child that ends with it."""

    def question() -> str:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
        program = seccomp.filter_program(seccomp.this_machine(), strict=False)
        os.close(seccomp.install(program, libc))
        return ""

    try:
        return in_child(question, "the try of a filter")
    except JvmbindError as error:
        return str(error)


def _limit(controller: str, name: str, name_of_1: str) -> str | None:
    """Return the least limit of the control groups that this process is in, None for no limit: cgroups(7), versions 1 and 2."""
    found = []
    for group in groups("self"):
        base, path = group.folder(controller), group.path
        limit = name_of_1 if group.controllers else name
        while base:
            with contextlib.suppress(OSError, ValueError), open(f"{base}{path.rstrip('/')}/{limit}", encoding="ascii") as file:
                found.append(int(file.read()))
            if path in {"/", ""}:
                break
            path = os.path.dirname(path)
    return str(min(found)) if found else None


def _migration(sight: Sight, home: str) -> Iterator[Finding]:
    rules = migration.authbind({folder: sight.names(f"/etc/authbind/{folder}") for folder in ("byport", "byaddr", "byuid")})
    if rules is not None:
        yield rules
    homes = [f"{_JVMS}/{name}" for name in sight.names(_JVMS)] + [home, os.environ.get("JAVA_HOME", "")]
    javas = {os.path.realpath(f"{home}/bin/java") for home in homes if home}
    on_path = shutil.which("java", path=_PATH)
    javas |= {os.path.realpath(on_path)} if on_path else set()
    yield from (migration.capable_java(java) for java in sorted(javas) if _has_capability(java))
    texts = {name: sight.read(f"{folder}/{name}") or "" for folder in reversed(_UNITS) for name in sight.names(folder)}
    yield from migration.jsvc({name: text for name, text in texts.items() if name.endswith(".service")})
    for family in ("iptables", "ip6tables"):
        # Without a table: naming one would load the kernel's module for it.
        yield from migration.redirects(_output(sight, f"rules of {family}", f"{family}-save") or "", "", family)
    yield from migration.redirects("", _output(sight, "rules of nftables", "nft", "list", "ruleset") or "")


def _has_capability(path: str) -> bool:
    try:
        return bool(os.getxattr(path, "security.capability"))
    except OSError:
        return False


def _unit(name: str, spec: ServiceSpec, sight: Sight) -> Iterator[Finding]:
    """Yield the traps of the unit that starts this service, the first that is found: NAME.service, then the template."""
    for unit, file in ((f"{name}.service", f"{name}.service"), (f"jvmbind@{name}.service", "jvmbind@.service")):
        text = next((text for folder in _UNITS if (text := sight.read(f"{folder}/{file}"))), None)
        if text is None:
            continue
        places = [f"{folder}/{drop}.d" for folder in reversed(_UNITS) for drop in dict.fromkeys((file, unit))]
        parts = [sight.read(f"{place}/{part}") or "" for place in places for part in sight.names(place) if part.endswith(".conf")]
        yield from units.traps(unit, "\n".join([text, *parts]), spec)
        return


def _output(sight: Sight, what: str, *command: str) -> str | None:
    """Return what a program prints, None where it is not installed, or may not be run to an end."""
    program = shutil.which(command[0], path=_PATH)
    if program is None:
        return None
    environ = {"PATH": _PATH, "LC_ALL": "C.UTF-8"}
    words = [program, *command[1:]]
    try:
        done = subprocess.run(
            words, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=20, check=False
        )
    except (OSError, subprocess.SubprocessError):
        sight.cannot(what)
        return None
    if done.returncode:
        sight.cannot(f"{what} ({' '.join(done.stderr.split()) or f'status {done.returncode}'})")
        return None
    return done.stdout


def as_text(findings: list[Finding], sight: Sight) -> str:
    """Return the findings for people, the worst first."""
    lines = []
    for one in findings:
        lines += [f"{one.level.name.lower():<8} {one.key}: {one.found}", f"  why      {one.why}"]
        lines += [f"  mend     {command}" for command in one.commands]
        lines += [f"  mend     {one.advice}"] if one.advice else []
        lines += [f"  {'instead' if not number else '':<8} {line}" for number, line in enumerate(one.config.splitlines())]
        lines.append("")
    lines += [f"not seen by this user: {what}" for what in sight.unseen]
    if not findings:
        lines.append("nothing was found")
    return "".join(f"{printable(line)}\n" for line in lines)
