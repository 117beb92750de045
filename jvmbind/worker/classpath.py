"""Class path wildcards, and the launcher's own look into the jar of `-jar`.

Runs in the worker, as the service user; reads directories and the end of one jar. Must not import jpype. Follows
libjli's wildcard.c and parse_manifest.c.
"""

from __future__ import annotations

import os

from jvmbind.errors import JavaLaunchError

_MANIFEST = b"META-INF/MANIFEST.MF"
_END_SIGNATURE = b"PK\x05\x06"
_END_SIZE = 22
_ENTRY_SIGNATURE = b"PK\x01\x02"
_ENTRY_SIZE = 46
_LOCAL_SIGNATURE = b"PK\x03\x04"
_LOCAL_SIZE = 30
_MAX_COMMENT = 0xFFFF
_ZIP64 = 0xFFFFFFFF


def expand_class_path(class_path: str) -> str:
    """Replace each element `dir/*` (or `*`) by the jars in that directory, in directory order.

    Only names ending in .jar or .JAR count; an element without any, or one that exists as a file, stays as it is.
    """
    if "*" not in class_path:
        return class_path
    elements: list[str] = []
    for element in class_path.split(":"):
        elements.extend(_jars(element) or [element])
    return ":".join(elements)


def _jars(element: str) -> list[str]:
    if element != "*" and not element.endswith("/*"):
        return []
    directory = element[:-1]
    try:
        if os.access(element, os.F_OK):
            return []
        # readdir order, without a sort: the same order as `java` gives the class path.
        with os.scandir(directory or ".") as entries:
            return [directory + entry.name for entry in entries if _is_jar_name(entry.name)]
    except (OSError, ValueError):
        return []


def _is_jar_name(name: str) -> bool:
    return name.endswith((".jar", ".JAR")) and ":" not in name


def check_jar(path: str) -> None:
    """Raise JavaLaunchError where the launcher refuses a jar before it starts the JVM.

    It wants a readable file with a manifest. Where this reader is not sure (ZIP64) it accepts and leaves the
    judgement to the JVM's own check, which has other words.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe without a writer is not waited for
    except (OSError, ValueError) as error:
        raise JavaLaunchError(f"Error: Unable to access jarfile {path}") from error
    try:
        if not _has_manifest(fd):
            raise JavaLaunchError(f"Error: Invalid or corrupt jarfile {path}")
    finally:
        os.close(fd)


def _number(data: bytes, offset: int, size: int) -> int:
    return int.from_bytes(data[offset : offset + size], "little")


def _has_manifest(fd: int) -> bool:
    try:
        length = os.lseek(fd, 0, os.SEEK_END)
        tail_size = min(length, _END_SIZE + _MAX_COMMENT)
        tail = os.pread(fd, tail_size, length - tail_size)
        here = tail.rfind(_END_SIGNATURE)
        while here >= 0 and here + _END_SIZE + _number(tail, here + 20, 2) != len(tail):
            here = tail.rfind(_END_SIGNATURE, 0, here)
        if here < 0 or here + _END_SIZE > len(tail):
            return False
        size, offset = _number(tail, here + 12, 4), _number(tail, here + 16, 4)
        end_at = length - tail_size + here
        if _ZIP64 in (size, offset) or _number(tail, here + 10, 2) == 0xFFFF:
            return True
        directory_at = end_at - size
        # Something may have been put before the archive; offsets then count from where it begins.
        base = directory_at - offset
        if directory_at < 0:
            return False
        return _manifest_in(fd, os.pread(fd, size, directory_at), base)
    except (OSError, ValueError, OverflowError):
        return False


def _manifest_in(fd: int, directory: bytes, base: int) -> bool:
    here = 0
    while directory.startswith(_ENTRY_SIGNATURE, here) and here + _ENTRY_SIZE <= len(directory):
        name_size = _number(directory, here + 28, 2)
        local_at = _number(directory, here + 42, 4)
        name = directory[here + _ENTRY_SIZE : here + _ENTRY_SIZE + name_size]
        if name == _MANIFEST:
            if local_at == _ZIP64:
                return True
            local = os.pread(fd, _LOCAL_SIZE, max(base + local_at, 0))
            return local.startswith(_LOCAL_SIGNATURE)
        here += _ENTRY_SIZE + name_size + _number(directory, here + 30, 2) + _number(directory, here + 32, 2)
    return False
