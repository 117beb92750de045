"""Who the service runs as, what that user may read, and who else may change what runs.

Looks at files, by owners and modes. Used by `jvmbind doctor`, as any user. Sources: path_resolution(7), inode(7), group(5).
"""

from __future__ import annotations

import os
import pwd
import shlex
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from jvmbind.doctor.finding import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jvmbind.spec import UserSpec

# Groups of Debian and others whose members can become root, or read what is root's.
_STRONG = ("root", "sudo", "wheel", "admin", "docker", "lxd", "libvirt", "disk", "shadow", "kmem")


def missing_user(text: str | None) -> Finding | None:
    """Judge a user who is not there."""
    name = (text or "").partition(":")[0]
    if not name or name.isdigit():
        return None
    try:
        pwd.getpwnam(name)
    except KeyError:
        return Finding(
            "user",
            Level.ERROR,
            f"there is no user {name!r}",
            "the service is to run as this user",
            (f"useradd --system --no-create-home --shell /usr/sbin/nologin {shlex.quote(name)}",),
        )
    return None


def strong_groups(user: UserSpec, names: Mapping[int, str]) -> Iterator[Finding]:
    """Yield a finding for each group of the service's user that gives more than a service needs; `names` by gid."""
    for gid in dict.fromkeys((user.gid, *user.groups)):
        name = names.get(gid, "")
        if name in _STRONG:
            yield Finding(
                "group",
                Level.ERROR if gid == 0 else Level.WARNING,
                f"user {user.name} is in group {name}",
                "its members can become root, or read what is root's: nothing would be gained by the drop",
                (f"gpasswd -d {shlex.quote(user.name)} {name}",) if gid != user.gid else (),
                "" if gid != user.gid else f"another user, or usermod -g another group: {name} is the user's first one",
            )


def unreadable(user: UserSpec, what: str, path: str, mode: int) -> Finding | None:
    """Judge a file that the service's user must be able to read or execute, by owners and modes."""
    above = [str(parent) for parent in reversed(Path(path).parents)]
    for place, wanted in [*((parent, os.X_OK) for parent in above), (path, mode)]:
        try:
            info = os.stat(place)
        except OSError:
            return None  # `check` says so
        shift = 6 if info.st_uid == user.uid else 3 if info.st_gid in {user.gid, *user.groups} else 0
        lacks = wanted & ~(info.st_mode >> shift)
        if lacks:
            verb = "enter" if place != path else "read or execute"
            mode_text = f"mode {stat.S_IMODE(info.st_mode):04o}"
            commands = () if _is_private(place) else _opened(user, place, lacks, shift, last=place == path)
            return Finding(
                "unreadable",
                Level.ERROR,
                f"{what} {path}: user {user.name} may not {verb} {place} ({mode_text})",
                "the service needs it",
                commands,
                "" if commands else f"another place for it: {place} is somebody's own",
            )
    return None


def _is_private(place: str) -> bool:
    """Whether a directory is the home of root or of a person, which is not to be opened for a service."""
    return place == "/root" or os.path.dirname(place) == "/home"


def _opened(user: UserSpec, place: str, lacks: int, shift: int, *, last: bool) -> tuple[str, ...]:
    """Return the commands that let the user in: a file is given to the user's group, as it may hold what others must not read."""
    letters = "".join(letter for letter, bit in (("r", os.R_OK), ("x", os.X_OK)) if lacks & bit)
    quoted = shlex.quote(place)
    if last and shift == 0:
        return f"chgrp {user.gid} {quoted}", f"chmod g-w,g+{letters} {quoted}"
    return (f"chmod {({6: 'u', 3: 'g', 0: 'o'})[shift]}+{letters} {quoted}",)


def writable_by_others(path: str, owner: int = 0) -> Iterator[Finding]:
    """Yield a finding for the file or a directory above it that others than root and `owner` may change.

    Root refuses such a configuration: who may change it decides what root starts.
    """
    why = "who may change it decides what is started, and as whom: a start as root or with a capability refuses it"
    for place in [path, *map(str, Path(os.path.abspath(path)).parents)]:
        try:
            info = os.stat(place)
        except OSError:
            continue
        sticky = stat.S_ISDIR(info.st_mode) and info.st_mode & stat.S_ISVTX
        quoted = shlex.quote(place)
        if info.st_uid not in {0, owner}:
            yield Finding("owner", Level.ERROR, f"{place} belongs to uid {info.st_uid}", why, (f"chown root:root {quoted}",))
        if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not sticky:
            mode = f"{place} has mode {stat.S_IMODE(info.st_mode):04o}"
            yield Finding("writable", Level.ERROR, mode, why, (f"chmod go-w {quoted}",))
