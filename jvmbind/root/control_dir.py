"""The directory of a service's control socket, /run/jvmbind/NAME, which root makes for the service's user.

Runs with privilege, before the drop. Nothing that this user may have left there is followed. Sources: hier(7), unix(7).
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from typing import TYPE_CHECKING

from jvmbind.errors import PortUnavailableError

if TYPE_CHECKING:
    from jvmbind.spec import UserSpec

SYSTEM = "/run/jvmbind"
SOCKET = "control"


def make(name: str, user: UserSpec, *, chosen: bool) -> tuple[str, str, str]:
    """Return the service's name, the path of its control socket ("" where there is no place for one), and why there is none.

    A name that was `chosen` must be free: PortUnavailableError. One that was made from the jar gets a number behind it.
    """
    path = SYSTEM
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.ExitStack() as opened:
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(SYSTEM, 0o700)
                os.chmod(SYSTEM, 0o755)  # noqa: S103 - whatever the umask is
            if not is_trusted(SYSTEM, 0):
                return name, "", untrusted(SYSTEM)
            name = free_name(SYSTEM, name, chosen=chosen)
            path = f"{SYSTEM}/{name}"
            place = os.open(SYSTEM, flags)
            opened.callback(os.close, place)
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=place)
            made = os.open(name, flags, dir_fd=place)
            opened.callback(os.close, made)
            os.fchown(made, 0, 0)  # the mode of another's would take CAP_FOWNER; its user may have changed that
            os.fchmod(made, 0o755)
            os.fchown(made, user.uid, user.gid)
        except OSError as error:
            run = os.path.dirname(SYSTEM)
            return name, "", f"{path}: {error.strerror}" if os.path.isdir(run) else f"{run} is not a directory"
    return name, f"{path}/{SOCKET}", ""


def leave(control: str) -> None:
    """Remove the directory of a service that has not come to life; one that is in use, or not ours, stays."""
    if os.path.basename(control) == SOCKET:
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(control))


def free_name(place: str, wanted: str, *, chosen: bool) -> str:
    """Return the name, or one with a number behind it, that no living service in `place` has; raises PortUnavailableError."""
    number, name = 1, wanted
    while _is_alive(f"{place}/{name}/{SOCKET}"):
        if chosen:
            msg = (
                f"a service named {name!r} is running already ({place}/{name}/{SOCKET}); "
                f"expected jvmbind restart {name} to restart it, or another --name"
            )
            raise PortUnavailableError(msg)
        number += 1
        name = f"{wanted}-{number}"
    return name


def is_trusted(directory: str, uid: int) -> bool:
    """Whether a directory is `uid`'s and nobody else can write to it; a link is not."""
    try:
        info = os.lstat(directory)
    except OSError:
        return False
    return stat.S_ISDIR(info.st_mode) and info.st_uid == uid and not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def untrusted(place: str) -> str:
    """Return why a place that `is_trusted` does not like is none."""
    return f"{place} belongs to another user, may be written by others, or is not a directory"


def _is_alive(path: str) -> bool:
    """Whether a supervisor listens at `path`. Whatever else the last life of a service has left there is no living one."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
            probe.settimeout(1.0)
            probe.connect(path)
    except (BlockingIOError, TimeoutError):
        return True  # its queue is full
    except OSError:
        return False
    return True
