"""Who the service runs as, said in words where that cannot be, and the environment of that user.

Runs in a child that has dropped, before anything is bound: root looks the ids up again (`jvmbind.root.user`). Sources:
getpwnam(3), getgrouplist(3), environ(7), initgroups(3).
"""

from __future__ import annotations

import os
import pwd

from jvmbind.errors import ConfigurationError, NotPermittedError, UsageError
from jvmbind.record import NamedTuple
from jvmbind.root.user import NO_SHELL, find_group, find_user, number
from jvmbind.spec import UserSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# What a service of another user gets from root's environment without being asked for: how text and time look, where
# programs are, and what the `java` launcher itself reads.
_KEPT = frozenset({"PATH", "LANG", "LANGUAGE", "TZ", "TERM", "COLUMNS", "LINES", "JAVA_HOME", "CLASSPATH"}) | frozenset(
    {"JDK_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JOURNAL_STREAM", "INVOCATION_ID"}
)
_NEVER = ("LD_", "PYTHON", "LISTEN_", "JVMBIND_", "SUDO_", "GCONV_PATH", "GLIBC_TUNABLES", "MALLOC_")


class Caller(NamedTuple):
    """Who has started jvmbind, as it was before a child dropped its privilege to read the plan."""

    uid: int
    gid: int
    groups: tuple[int, ...]


def this_process() -> Caller:
    """Return the ids of this process."""
    return Caller(os.geteuid(), os.getegid(), tuple(os.getgroups()))


def resolve_user(text: str | None, caller: Caller | None = None) -> UserSpec:
    """Resolve `USER`, `UID`, `USER:GROUP` or `:GROUP`; None is the caller, this process if no other is given.

    Raises UsageError, ConfigurationError, NotPermittedError.
    """
    caller = caller or this_process()
    if text is None:
        if caller.uid == 0:
            msg = "started as root without --user: expected --user USER[:GROUP], or user = in the file: who the service runs as"
            raise UsageError(msg).about(key="user")
        return itself(caller)
    name, group = split_user(text)
    gid = find_group(group) if group else None
    if group and gid is None:
        msg = f"no group {group!r} on this machine: expected the name or the number of a group"
        raise ConfigurationError(msg).about(key="user")
    user = find_user(name, gid) if name else itself(caller, gid)
    if user is None and number(name) is None:
        msg = f"no user {name!r} on this machine: expected the name or the number of a user"
        raise ConfigurationError(msg).about(key="user")
    if user is None:
        msg = f"user {name} has no entry in the user database, so no group either: expected --user {name}:GROUP"
        raise ConfigurationError(msg).about(key="user")
    return _permitted(text, user, caller)


def split_user(text: str) -> tuple[str, str]:
    """Return the user and the group of `USER:GROUP`, "" for what is not there; raises UsageError."""
    name, colon, group = text.partition(":")
    if (not name and not group) or (colon and not group) or ":" in group:
        msg = f"--user {text!r}: expected USER, USER:GROUP or :GROUP"
        raise UsageError(msg).about(key="user")
    return name, group


def itself(caller: Caller, gid: int | None = None) -> UserSpec:
    """Return the caller as a user."""
    gid = caller.gid if gid is None else gid
    try:
        entry = pwd.getpwuid(caller.uid)
    except KeyError:
        return UserSpec(caller.uid, gid, caller.groups, str(caller.uid), "/", NO_SHELL)
    return UserSpec(caller.uid, gid, caller.groups, entry.pw_name, entry.pw_dir, entry.pw_shell)


def _permitted(text: str, user: UserSpec, caller: Caller) -> UserSpec:
    if user.uid == 0:
        msg = f"--user {text}: that is root, and nothing of root may be left; expected an ordinary user"
        raise ConfigurationError(msg).about(key="user")
    if caller.uid == 0:
        if 0 in {user.gid, *user.groups}:
            msg = f"--user {text}: group 0 is root's, and nothing of root may be left; expected another group"
            raise ConfigurationError(msg).about(key="user")
        return user
    if user.uid != caller.uid or user.gid != caller.gid:
        msg = f"--user {text}: only root can become another user; expected {caller.uid}:{caller.gid} or a start as root"
        raise NotPermittedError(msg).about(key="user")
    return user._replace(groups=caller.groups)


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
        kept |= {"HOME": user.home, "USER": user.name, "LOGNAME": user.name, "SHELL": user.shell or NO_SHELL}
    else:
        kept = {name: value for name, value in caller.items() if not name.startswith(("LISTEN_", "JVMBIND_"))}
    for item in wanted:
        name, equals, value = item.partition("=")
        if not name or "\0" in item:
            msg = f"--env {item!r}: expected NAME or NAME=VALUE"
            raise UsageError(msg).about(key="env")
        if equals:
            kept[name] = value
        elif name in caller:
            kept[name] = caller[name]
    return kept
