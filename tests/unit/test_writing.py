"""Lines of the supervisor whose reader has stopped."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from pathlib import Path

import pytest

from jvmbind.posix.writing import Outlet
from jvmbind.supervisor.log import journal_entry


def channel(kind: str) -> tuple[int, int]:
    """Return a reader that does not wait, and a writer."""
    if kind == "terminal":
        reader, writer = os.openpty()
    elif kind == "socket":
        reader, writer = (one.detach() for one in socket.socketpair())
    else:
        reader, writer = os.pipe()
    os.set_blocking(reader, False)
    return reader, writer


def heard(reader: int) -> str:
    """Return all that can be read."""
    found = b""
    while True:
        try:
            piece = os.read(reader, 65536)
        except BlockingIOError:
            return found.decode().replace("\r", "")
        if not piece:
            return found.decode().replace("\r", "")
        found += piece


@pytest.mark.parametrize("kind", ["pipe", "socket", "terminal"])
def test_a_reader_that_has_stopped_is_not_waited_for(kind: str) -> None:
    """The writer goes on while nothing is read; afterwards its lines are there in order, and how many are missing."""
    reader, writer = channel(kind)
    outlet = Outlet(writer, most=2000)
    count = 20_000
    for number in range(count):
        outlet.write(f"line {number:09}")
    assert outlet.waits()

    text = heard(reader)
    while outlet.waits():
        text += heard(reader)
        outlet.flush()
    outlet.write("the end")
    text += heard(reader)

    *lines, lost, end = text.splitlines()
    assert end == "the end"
    assert lines == [f"line {number:09}" for number in range(len(lines))]
    assert lost == f"jvmbind: {count - len(lines)} lines from jvmbind were dropped: nobody read them"


def test_a_pipe_that_others_fill() -> None:
    """No more is written than there is room for in the moment of writing, whoever else writes, and the pipe stays as it was."""
    reader, writer = channel("pipe")
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    outlet = Outlet(writer)
    outlet.write("y" * 10_000)
    assert outlet.waits()
    assert fcntl.fcntl(writer, fcntl.F_GETFL) & os.O_NONBLOCK == 0
    heard(reader)
    outlet.close()
    assert heard(reader) == "y" * 10_000 + "\n"


def test_nobody_reads_any_more() -> None:
    """A pipe without a reader, and a closed descriptor, cost the lines and nothing else."""
    reader, writer = channel("pipe")
    os.close(reader)
    outlet = Outlet(writer)
    outlet.write("lost")
    assert not outlet.waits()
    os.close(writer)
    closed = Outlet(writer)
    closed.write("lost")
    closed.close()
    assert not closed.waits()


def test_a_file_gets_everything(workspace: Path) -> None:
    """A regular file never has its reader behind it."""
    path = workspace / "log"
    with path.open("wb") as file:
        outlet = Outlet(file.fileno(), most=10)
        outlet.write("a line that is longer than what is kept")
    assert path.read_text() == "a line that is longer than what is kept\n"


def test_journal_entry() -> None:
    """Each value has its length in front, so that none can begin another field."""
    entry = journal_entry({"MESSAGE": "a\nPRIORITY=0", "GENERATION": 3})
    assert entry == b"MESSAGE\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\nGENERATION\n\x01\0\0\0\0\0\0\x003\n"
