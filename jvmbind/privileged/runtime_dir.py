"""The directory of a service's control socket.

Runs with whatever privilege the caller has, before the drop: root makes /run/jvmbind/NAME for the service user, another
user has one below XDG_RUNTIME_DIR or /tmp. Sources: hier(7), file-hierarchy(7), XDG Base Directory Specification.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from typing import TYPE_CHECKING

from jvmbind.errors import PortUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jvmbind.spec import UserSpec

SYSTEM = "/run/jvmbind"
SOCKET = "control"


def user_directories(environ: Mapping[str, str], uid: int) -> Iterator[str]:
    """Yield the places of a user's services, best first."""
    for base in (environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{uid}"):
        if base.startswith("/"):
            yield f"{base}/jvmbind"
    yield f"/tmp/jvmbind-{uid}"  # noqa: S108 - owner and mode are checked


def name_service(name: str, user: UserSpec, environ: Mapping[str, str], *, changes_user: bool, chosen: bool) -> tuple[str, str]:
    """Return the service's name and the path of its control socket ("" where there is no place for one).

    A name that was `chosen` must be free: PortUnavailableError. One that was made from the jar gets a number behind it.
    """
    for directory in environ.get("RUNTIME_DIRECTORY", "").split(":"):
        # systemd.exec(5): a unit's RuntimeDirectory=jvmbind/NAME is where `jvmbind status NAME` looks.
        if not changes_user and os.path.dirname(directory) == SYSTEM:
            return (name if chosen else os.path.basename(directory)), f"{directory}/{SOCKET}"
    place = _place(user, environ, changes_user=changes_user)
    if not place:
        return name, ""
    number, wanted = 1, name
    while _is_alive(f"{place}/{wanted}/{SOCKET}"):
        if chosen:
            msg = f"a service named {name!r} is running already ({place}/{name}/{SOCKET}); expected another --name"
            raise PortUnavailableError(msg)
        number += 1
        wanted = f"{name}-{number}"
    directory = f"{place}/{wanted}"
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, 0o755)
        if changes_user:
            # /run/jvmbind is root's alone, so nobody can put a link in this place: only root renames there.
            os.chown(directory, user.uid, user.gid, follow_symlinks=False)
    except OSError:
        return wanted, ""
    path = f"{directory}/{SOCKET}"
    return wanted, path if len(path.encode()) <= 107 else ""  # sun_path: unix(7)


def _place(user: UserSpec, environ: Mapping[str, str], *, changes_user: bool) -> str:
    candidates = [SYSTEM] if changes_user else list(user_directories(environ, user.uid))
    for place in candidates:
        if not os.path.isdir(os.path.dirname(place)):
            continue
        with contextlib.suppress(OSError):
            with contextlib.suppress(FileExistsError):
                os.mkdir(place, 0o755 if changes_user else 0o700)
            info = os.lstat(place)
            owned = info.st_uid == (0 if changes_user else user.uid)
            if stat.S_ISDIR(info.st_mode) and owned and not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return place
    return ""


def _is_alive(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            return False
        except OSError:
            return True
        return True
