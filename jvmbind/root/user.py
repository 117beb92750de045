"""Looks up who the service runs as: ids come from here and not from the plan, which only names them.

Runs with privilege, as root. Sources: getpwnam(3), getgrnam(3), getgrouplist(3).
"""

from __future__ import annotations

import grp
import os
import pwd

from jvmbind.errors import NotPermittedError
from jvmbind.spec import UserSpec

NO_SHELL = "/usr/sbin/nologin"
ID_MAX = 2**32 - 2  # (uid_t) -1 means "unchanged" to setresuid(2)
NOBODY = UserSpec(65534, 65534, (), "nobody", "/", NO_SHELL)


def number(text: str) -> int | None:
    """Return the id that a text is, None where it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= ID_MAX else None


def find_group(text: str) -> int | None:
    """Return the id of a group by its name, else its number; None without one."""
    try:
        return grp.getgrnam(text).gr_gid
    except (KeyError, ValueError):  # ValueError: a NUL in the name
        return number(text)


def find_user(name: str, gid: int | None) -> UserSpec | None:
    """Return a user by its name, else its number, with its groups; None where there is no such user, or no group for it.

    With an entry the supplementary groups are those of the group database, as systemd's User= and Group= have it; a
    number without an entry has only the group that was given.
    """
    uid = number(name)
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, ValueError):
        try:
            entry = pwd.getpwuid(-1 if uid is None else uid)
        except (KeyError, OverflowError):
            return None if gid is None or uid is None else UserSpec(uid, gid, (gid,), name, "/", NO_SHELL)
    gid = entry.pw_gid if gid is None else gid
    groups = tuple(os.getgrouplist(entry.pw_name, gid))
    return UserSpec(entry.pw_uid, gid, groups, entry.pw_name, entry.pw_dir, entry.pw_shell)


def look_up(name: str, group: str) -> UserSpec:
    """Return the user of a service; raises NotPermittedError for root, in any of its ids, and where there is none."""
    gid = find_group(group) if group else None
    user = None if group and gid is None else find_user(name, gid)
    if user is None or 0 in {user.uid, user.gid, *user.groups}:
        msg = f"the plan of the service names no user that root may become: {name!r}, {group!r}"
        raise NotPermittedError(msg)
    return user
