"""Descriptors over exec: what is passed arrives under its number, and nothing else does. Run in child processes."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from jvmbind.posix.fds import arrange_for_exec, open_fds, read_memory, sealed_memory
from jvmbind.root.process import fill_standard_fds

# Prints each open descriptor with what it is, but for the one that lists them.
CENSUS = """
import os
for name in sorted(os.listdir("/proc/self/fd"), key=int):
    try:
        print(name, os.readlink("/proc/self/fd/" + name))
    except FileNotFoundError:
        pass
"""


def inode(fd: int) -> int:
    """Return what identifies an open socket or file."""
    return os.fstat(fd).st_ino


def after_exec() -> dict[int, str]:
    """Return the census of a program that inherits all that is inheritable."""
    command = [sys.executable, "-I", "-c", CENSUS]
    ended = subprocess.run(command, close_fds=False, stdout=subprocess.PIPE, text=True, check=True)
    return {int(line.split()[0]): line.split(maxsplit=1)[1] for line in ended.stdout.splitlines()}


@pytest.mark.parametrize("count", [0, 1, 2, 7, 100])
@pytest.mark.parametrize("turned", [False, True])
def test_arrange_for_exec(count: int, turned: bool) -> None:
    """Descriptors are put on 3, 4, 5, ... in the order given, whatever numbers they had, and all others are closed."""
    sockets = [socket.socket(socket.AF_UNIX) for _ in range(count)]
    fds = [sock.fileno() for sock in sockets]
    fds = fds[::-1] if turned else fds
    inodes = [inode(fd) for fd in fds]
    left = os.open("/dev/zero", os.O_RDONLY)
    os.set_inheritable(left, True)
    high = fcntl.fcntl(left, fcntl.F_DUPFD, 500)
    assert high >= 500

    arrange_for_exec(fds)

    assert open_fds() == list(range(3 + count))
    assert [inode(fd) for fd in range(3, 3 + count)] == inodes
    assert all(os.get_inheritable(fd) for fd in range(3, 3 + count))
    seen = after_exec()
    assert [seen[3 + i] for i in range(count)] == [f"socket:[{number}]" for number in inodes]
    assert "/dev/zero" not in seen.values()
    for sock in sockets:
        sock.detach()


def test_arrange_for_exec_of_one_twice() -> None:
    """One descriptor given twice arrives twice."""
    sock = socket.socket(socket.AF_UNIX)
    number = inode(sock.fileno())
    arrange_for_exec([sock.detach()] * 2)

    assert open_fds() == [0, 1, 2, 3, 4]
    assert inode(3) == inode(4) == number


def test_arrange_for_exec_refuses_a_closed_descriptor() -> None:
    """A descriptor that is not open is an OSError before anything was moved."""
    before = open_fds()

    with pytest.raises(OSError) as failure:
        arrange_for_exec([0, 900])

    assert failure.value.errno == errno.EBADF
    assert open_fds()[: len(before)] == before


@pytest.mark.parametrize("closed", [[0], [1], [2], [0, 2], [0, 1, 2], []])
def test_fill_standard_fds(closed: list[int]) -> None:
    """Each closed one of 0, 1 and 2 becomes /dev/null, kept over exec, and the open ones stay what they were."""
    saved = os.dup(2)
    before = {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in range(3)}
    for fd in closed:
        os.close(fd)

    fill_standard_fds()

    after = {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in range(3)}
    inheritable = [os.get_inheritable(fd) for fd in range(3)]
    os.dup2(saved, 2)
    assert after == {fd: "/dev/null" if fd in closed else before[fd] for fd in range(3)}
    assert inheritable == [True] * 3
    assert socket.socket(socket.AF_UNIX).detach() > 2


@pytest.mark.parametrize("size", [0, 1, 65536, 5_000_000])
def test_sealed_memory(size: int) -> None:
    """The memory file holds the data, is close-on-exec, and nobody can write, grow, shrink or map it for writing any more."""
    data = os.urandom(size)
    fd = sealed_memory("a-name", data)

    assert os.pread(fd, size + 1, 0) == data
    assert not os.get_inheritable(fd)
    assert "a-name" in os.readlink(f"/proc/self/fd/{fd}")
    for attempt in (
        lambda: os.pwrite(fd, b"x", 0),
        lambda: os.ftruncate(fd, size + 1),
        lambda: os.ftruncate(fd, max(0, size - 1)) if size else os.ftruncate(fd, 1),
        lambda: fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 0x10),
    ):
        with pytest.raises(PermissionError):
            attempt()
    if size:
        with pytest.raises(PermissionError):
            mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    # Opened anew through /proc, for writing, it is sealed all the same.
    again = os.open(f"/proc/self/fd/{fd}", os.O_RDWR)
    with pytest.raises(PermissionError):
        os.write(again, b"x")
    os.close(again)


def test_read_memory_closes() -> None:
    """What was passed is read whole, from its beginning, and closed, also where it cannot be read."""
    fd = sealed_memory("x", b"abc" * 1_000_000)
    before = set(open_fds())
    assert read_memory(fd) == b"abc" * 1_000_000
    assert set(open_fds()) == before - {fd}

    reader, writer = os.pipe()
    with pytest.raises(OSError):
        read_memory(reader)
    assert reader not in open_fds()
    os.close(writer)


def test_open_fds_of_another_process() -> None:
    """The descriptors of another process are counted as they are."""
    command = [sys.executable, "-I", "-c", "import sys; print('up', flush=True); sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        assert open_fds(child.pid) == [0, 1, 2]
        child.communicate()
    assert not Path(f"/proc/{child.pid}").exists()
