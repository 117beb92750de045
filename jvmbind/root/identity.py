"""Who the service runs as, and the environment of that user.

Runs with privilege, before anything is bound. Sources: getpwnam(3), getgrouplist(3), environ(7), initgroups(3).
"""

from __future__ import annotations

import grp
import os
import pwd
from typing import TYPE_CHECKING

from jvmbind.errors import ConfigurationError, NotPermittedError, UsageError
from jvmbind.spec import UserSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ID_MAX = 2**32 - 2  # (uid_t) -1 means "unchanged" to setresuid(2)
_NO_SHELL = "/usr/sbin/nologin"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# What a service of another user gets from root's environment without being asked for: how text and time look, where
# programs are, and what the `java` launcher itself reads.
_KEPT = frozenset({"PATH", "LANG", "LANGUAGE", "TZ", "TERM", "COLUMNS", "LINES", "JAVA_HOME", "CLASSPATH"}) | frozenset(
    {"JDK_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JOURNAL_STREAM", "INVOCATION_ID"}
)
_NEVER = ("LD_", "PYTHON", "LISTEN_", "JVMBIND_", "SUDO_", "GCONV_PATH", "GLIBC_TUNABLES", "MALLOC_")


def resolve_user(text: str | None) -> UserSpec:
    """Resolve `USER`, `UID`, `USER:GROUP` or `:GROUP`; None is the caller.

    With a user name the supplementary groups are those of the group database, as systemd's User= and Group= have it;
    a number without a name has only the group that was given. Raises UsageError, ConfigurationError, NotPermittedError.
    """
    if text is None:
        if os.geteuid() == 0:
            msg = "started as root without --user: expected --user USER[:GROUP], or user = in the file: who the service runs as"
            raise UsageError(msg)
        return _caller(os.getegid())
    name, colon, group = text.partition(":")
    if (not name and not group) or (colon and not group) or ":" in group:
        msg = f"--user {text!r}: expected USER, USER:GROUP or :GROUP"
        raise UsageError(msg)
    gid = _group(group) if group else None
    user = _caller(os.getegid() if gid is None else gid) if not name else _user(name, gid)
    return _permitted(text, user)


def _caller(gid: int) -> UserSpec:
    uid = os.geteuid()
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return UserSpec(uid, gid, tuple(os.getgroups()), str(uid), "/", _NO_SHELL)
    return UserSpec(uid, gid, tuple(os.getgroups()), entry.pw_name, entry.pw_dir, entry.pw_shell)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None


def _group(text: str) -> int:
    try:
        return grp.getgrnam(text).gr_gid
    except (KeyError, ValueError):  # ValueError: a NUL in the name
        number = _number(text)
    if number is None or number > _ID_MAX:
        msg = f"no group {text!r} on this machine: expected the name or the number of a group"
        raise ConfigurationError(msg)
    return number


def _user(name: str, gid: int | None) -> UserSpec:
    number = _number(name)
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, ValueError):  # ValueError: a NUL in the name
        if number is None or number > _ID_MAX:
            msg = f"no user {name!r} on this machine: expected the name or the number of a user"
            raise ConfigurationError(msg) from None
        try:
            entry = pwd.getpwuid(number)
        except KeyError:
            if gid is None:
                msg = f"user {name} has no entry in the user database, so no group either: expected --user {name}:GROUP"
                raise ConfigurationError(msg) from None
            return UserSpec(number, gid, (gid,), name, "/", _NO_SHELL)
    if gid is None:
        gid = entry.pw_gid
    groups = tuple(os.getgrouplist(entry.pw_name, gid))
    return UserSpec(entry.pw_uid, gid, groups, entry.pw_name, entry.pw_dir, entry.pw_shell)


def _permitted(text: str, user: UserSpec) -> UserSpec:
    if user.uid == 0:
        msg = f"--user {text}: that is root, and nothing of root may be left; expected an ordinary user"
        raise ConfigurationError(msg)
    if os.geteuid() == 0:
        if 0 in {user.gid, *user.groups}:
            msg = f"--user {text}: group 0 is root's, and nothing of root may be left; expected another group"
            raise ConfigurationError(msg)
        return user
    if user.uid != os.geteuid() or user.gid != os.getegid():
        msg = f"--user {text}: only root can become another user; expected {os.geteuid()}:{os.getegid()} or a start as root"
        raise NotPermittedError(msg)
    return user._replace(groups=tuple(os.getgroups()))


def service_environment(
    caller: Mapping[str, str], user: UserSpec, wanted: Sequence[str] = (), *, changes_user: bool, preserve: bool = False
) -> dict[str, str]:
    """Return the environment of the service.

    For another user it is rebuilt: HOME, USER, LOGNAME and SHELL of that user, a short list of harmless variables, and
    what `wanted` names (`NAME` from the caller, `NAME=VALUE`). `preserve` keeps the rest too, but never what steers the
    loader or the interpreter. For the caller itself all is kept but the descriptors announced to this process.
    """
    if changes_user:
        kept = {
            name: value
            for name, value in caller.items()
            if not name.startswith(_NEVER) and (preserve or name in _KEPT or name.startswith("LC_"))
        }
        kept.setdefault("PATH", DEFAULT_PATH)
        kept |= {"HOME": user.home, "USER": user.name, "LOGNAME": user.name, "SHELL": user.shell or _NO_SHELL}
    else:
        kept = {name: value for name, value in caller.items() if not name.startswith(("LISTEN_", "JVMBIND_"))}
    for item in wanted:
        name, equals, value = item.partition("=")
        if not name or "\0" in item:
            msg = f"--env {item!r}: expected NAME or NAME=VALUE"
            raise UsageError(msg)
        if equals:
            kept[name] = value
        elif name in caller:
            kept[name] = caller[name]
    return kept
