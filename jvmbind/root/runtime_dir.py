"""The directory of a service's control socket.

Runs with whatever privilege the caller has, before the drop: root makes /run/jvmbind/NAME for the service user, another
user has one below XDG_RUNTIME_DIR, or one of a random name in /tmp. The worker of a wrapper script keeps its Java home by
the same rules. Sources: hier(7), file-hierarchy(7), XDG Base Directory Specification.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from typing import TYPE_CHECKING

from jvmbind.errors import PortUnavailableError
from jvmbind.spec import NAME_MAX, UNIX_PATH_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jvmbind.spec import UserSpec

SYSTEM = "/run/jvmbind"
SOCKET = "control"
_TEMPORARY = "/tmp"  # noqa: S108 - see make_temporary_directory


def user_directories(environ: Mapping[str, str], uid: int) -> Iterator[str]:
    """Yield the places of a user's services, best first."""
    if uid == 0:
        return  # root's are in SYSTEM, which nobody else can write to
    for base in (environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{uid}"):
        if base.startswith("/"):
            yield f"{base}/jvmbind"
    yield from temporary_directories(_TEMPORARY, uid)


def temporary_directories(base: str, uid: int) -> Iterator[str]:
    """Yield the directories that `make_temporary_directory` has made in `base` for this user."""
    with contextlib.suppress(OSError):
        if not _keeps_names(base, uid):
            return
        for name in sorted(os.listdir(base)):
            if name.startswith(f"jvmbind-{uid}-") and is_trusted(f"{base}/{name}", uid):
                yield f"{base}/{name}"


def make_temporary_directory(base: str, uid: int) -> str:
    """Make a directory, 0700, of this user (who must be the caller) and return its path; raises OSError.

    Its name cannot be foreseen: a known one could be taken by anybody, who would keep this user out for good.
    """
    if not _keeps_names(base, uid):
        raise PermissionError(errno.EPERM, "others may replace what this user has there", base)
    path = f"{base}/jvmbind-{uid}-{os.urandom(8).hex()}"
    os.mkdir(path, 0o700)
    os.chmod(path, 0o700)  # whatever the umask is
    return path


def _keeps_names(base: str, uid: int) -> bool:
    """Whether only root and this user can remove or rename what this user makes in `base`: inode(7), the sticky bit."""
    info = os.stat(base)
    return info.st_uid in {0, uid} and bool(info.st_mode & stat.S_ISVTX or not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def is_trusted(directory: str, uid: int) -> bool:
    """Whether a directory is `uid`'s and nobody else can write to it; a link is not."""
    try:
        info = os.lstat(directory)
    except OSError:
        return False
    return stat.S_ISDIR(info.st_mode) and info.st_uid == uid and not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def name_service(
    name: str, user: UserSpec, environ: Mapping[str, str], *, changes_user: bool, chosen: bool
) -> tuple[str, str, str]:
    """Return the service's name, the path of its control socket ("" where there is no place for one), and why there is none.

    A name that was `chosen` must be free: PortUnavailableError. One that was made from the jar gets a number behind it.
    """
    for directory in environ.get("RUNTIME_DIRECTORY", "").split(":"):
        # systemd.exec(5): a unit's RuntimeDirectory=jvmbind/NAME is where `jvmbind status NAME` looks.
        if not changes_user and os.path.dirname(directory) == SYSTEM:
            return (name if chosen else os.path.basename(directory)), f"{directory}/{SOCKET}", ""
    name = safe_name(name)
    place, why = _place(user, environ, changes_user=changes_user)
    if not place:
        return name, "", why
    number, wanted = 1, name
    while _is_alive(f"{place}/{wanted}/{SOCKET}"):
        if chosen:
            msg = (
                f"a service named {name!r} is running already ({place}/{name}/{SOCKET}); "
                f"expected jvmbind restart {name} to restart it, or another --name"
            )
            raise PortUnavailableError(msg)
        number += 1
        wanted = f"{name}-{number}"
    path = f"{place}/{wanted}/{SOCKET}"
    why = _make_directory(place, wanted, user, changes_user=changes_user)
    if not why and len(path.encode()) > UNIX_PATH_MAX:
        why = f"{path} is longer than {UNIX_PATH_MAX} bytes"
    return wanted, "" if why else path, why


def leave(control: str) -> None:
    """Remove the directory of a service that has not come to life; one that is in use, or not ours, stays."""
    if os.path.basename(control) == SOCKET:
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(control))


def safe_name(text: str) -> str:
    """Return `text` as a service may be named: it becomes a directory that root makes, and comes from files of the service's."""
    kept = "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "_" for char in text)[:NAME_MAX]
    return kept if kept[:1].isalnum() else "java"


def _make_directory(place: str, name: str, user: UserSpec, *, changes_user: bool) -> str:
    """Make the directory of a service for its user; nothing is followed, and its mode is not the umask's affair.

    Returns why it could not be made, or "".
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    opened = []
    try:
        opened.append(os.open(place, flags))
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=opened[0])
        opened.append(os.open(name, flags, dir_fd=opened[0]))
        if changes_user:
            os.fchown(opened[1], 0, 0)  # the mode of another's would take CAP_FOWNER; its user may have changed that
        os.fchmod(opened[1], 0o755)
        if changes_user:
            os.fchown(opened[1], user.uid, user.gid)
    except OSError as error:
        return f"{place}/{name}: {error.strerror}"
    finally:
        for fd in opened:
            os.close(fd)
    return ""


def _place(user: UserSpec, environ: Mapping[str, str], *, changes_user: bool) -> tuple[str, str]:
    """Return the directory of this user's services, or "" and why there is none."""
    why = ""
    for place in _candidates(user, environ, changes_user=changes_user):
        if not os.path.isdir(os.path.dirname(place)):
            why = why or f"{os.path.dirname(place)} is not a directory"
            continue
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(place, 0o700)
                os.chmod(place, 0o755 if changes_user else 0o700)  # whatever the umask is
        except OSError as error:
            why = f"{place}: {error.strerror}"
            continue
        if is_trusted(place, 0 if changes_user else user.uid):
            return place, ""
        why = _untrusted(place)
    if not changes_user and user.uid != 0:
        try:
            return make_temporary_directory(_TEMPORARY, user.uid), ""
        except OSError as error:
            why = f"{_TEMPORARY}: {error.strerror}"
    return "", why


def _candidates(user: UserSpec, environ: Mapping[str, str], *, changes_user: bool) -> list[str]:
    return [SYSTEM] if changes_user else list(user_directories(environ, user.uid))


def _untrusted(place: str) -> str:
    return f"{place} belongs to another user, may be written by others, or is not a directory"


def lacks_place(user: UserSpec, environ: Mapping[str, str], *, changes_user: bool) -> str:
    """Return why `name_service` would find no place, or "" where it would; makes nothing."""
    why = ""
    for place in [*_candidates(user, environ, changes_user=changes_user), *([] if changes_user else [_TEMPORARY])]:
        there = place if os.path.lexists(place) else os.path.dirname(place)
        if not os.path.isdir(there):
            why = why or f"{there} is not a directory"
        elif place not in {there, _TEMPORARY} or place == _TEMPORARY or is_trusted(place, 0 if changes_user else user.uid):
            try:
                if os.access(there, os.W_OK | os.X_OK, effective_ids=True):
                    return ""
                why = f"{place}: {_why_not(there)}"
            except OSError as error:
                why = f"{place}: {error.strerror}"
        else:
            why = _untrusted(place)
    return why


def _why_not(directory: str) -> str:
    """Return the kernel's word on why nothing can be made in a directory: access(2) tells a read-only file system."""
    read_only = os.statvfs(directory).f_flag & os.ST_RDONLY
    return os.strerror(errno.EROFS if read_only else errno.EACCES)


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
