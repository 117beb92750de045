"""The directory of a service's control socket, where it is the caller's own: below XDG_RUNTIME_DIR, or of a random name in /tmp.

Runs as that user, with no privilege; root's are made by `jvmbind.root.control_dir`. The worker of a wrapper script keeps its
Java home by the same rules. Sources: hier(7), file-hierarchy(7), XDG Base Directory Specification.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from jvmbind.root.control_dir import SOCKET, SYSTEM, free_name, is_trusted, untrusted
from jvmbind.spec import NAME_MAX, UNIX_PATH_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jvmbind.spec import UserSpec

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


def name_service(name: str, user: UserSpec, environ: Mapping[str, str], *, chosen: bool) -> tuple[str, str, str]:
    """Return the service's name, the path of its control socket ("" where there is no place for one), and why there is none.

    A name that was `chosen` must be free: PortUnavailableError. One that was made from the jar gets a number behind it.
    """
    for directory in environ.get("RUNTIME_DIRECTORY", "").split(":"):
        # systemd.exec(5): a unit's RuntimeDirectory=jvmbind/NAME is where `jvmbind status NAME` looks.
        if os.path.dirname(directory) == SYSTEM:
            return (name if chosen else os.path.basename(directory)), f"{directory}/{SOCKET}", ""
    name = safe_name(name)
    place, why = _place(user, environ)
    if not place:
        return name, "", why
    name = free_name(place, name, chosen=chosen)
    path = f"{place}/{name}/{SOCKET}"
    why = _make_directory(place, name)
    if not why and len(path.encode()) > UNIX_PATH_MAX:
        why = f"{path} is longer than {UNIX_PATH_MAX} bytes"
    return name, "" if why else path, why


def safe_name(text: str) -> str:
    """Return `text` as a service may be named: it becomes a directory that root makes, and comes from files of the service's."""
    kept = "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "_" for char in text)[:NAME_MAX]
    return kept if kept[:1].isalnum() else "java"


def _make_directory(place: str, name: str) -> str:
    """Make the directory of a service; nothing is followed. Returns why it could not be made, or ""."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(f"{place}/{name}", 0o755)
        made = os.open(f"{place}/{name}", flags)
        try:
            os.fchmod(made, 0o755)  # whatever the umask is
        finally:
            os.close(made)
    except OSError as error:
        return f"{place}/{name}: {error.strerror}"
    return ""


def _place(user: UserSpec, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the directory of this user's services, or "" and why there is none."""
    why = ""
    for place in user_directories(environ, user.uid):
        if not os.path.isdir(os.path.dirname(place)):
            why = why or f"{os.path.dirname(place)} is not a directory"
            continue
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(place, 0o700)
                os.chmod(place, 0o700)  # whatever the umask is
        except OSError as error:
            why = f"{place}: {error.strerror}"
            continue
        if is_trusted(place, user.uid):
            return place, ""
        why = untrusted(place)
    if user.uid != 0:
        try:
            return make_temporary_directory(_TEMPORARY, user.uid), ""
        except OSError as error:
            why = f"{_TEMPORARY}: {error.strerror}"
    return "", why


def _candidates(user: UserSpec, environ: Mapping[str, str], *, changes_user: bool) -> list[str]:
    return [SYSTEM] if changes_user else list(user_directories(environ, user.uid))


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
            why = untrusted(place)
    return why


def _why_not(directory: str) -> str:
    """Return the kernel's word on why nothing can be made in a directory: access(2) tells a read-only file system."""
    read_only = os.statvfs(directory).f_flag & os.ST_RDONLY
    return os.strerror(errno.EROFS if read_only else errno.EACCES)
