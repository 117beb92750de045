"""Signals as events, and who sent them: a process or the kernel (the terminal's keys). Run in child processes."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys

import pytest

from jvmbind.posix.fds import open_fds
from jvmbind.posix.signals import Disposition, Received, block_and_open, disposition, read_signals

ALL = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2]


def next_signals(fd: int) -> list[Received]:
    """Wait until there is one."""
    assert select.select([fd], [], [], 20)[0], "no signal"
    return read_signals(fd)


@pytest.mark.parametrize("number", ALL)
def test_sent_by_a_process(number: int) -> None:
    """A signal of kill(2) is read as one that did not come from the kernel, and nothing else happens."""
    fd = block_and_open(ALL)

    os.kill(os.getpid(), number)

    assert next_signals(fd) == [Received(number, from_kernel=False, sender=os.getpid())]
    assert read_signals(fd) == []


def test_several_at_once() -> None:
    """Several pending signals are read in one go, each once."""
    fd = block_and_open(ALL)
    for number in ALL * 2:
        os.kill(os.getpid(), number)

    assert {received.number for received in next_signals(fd)} == set(ALL)
    assert read_signals(fd) == []


def test_sent_by_a_child() -> None:
    """A signal that another process sends did not come from the kernel either."""
    fd = block_and_open(ALL)

    child = subprocess.Popen(["/bin/sh", "-c", "kill -TERM $PPID"])
    child.wait()

    assert next_signals(fd) == [Received(signal.SIGTERM, from_kernel=False, sender=child.pid)]


@pytest.mark.parametrize(("key", "number"), [(b"\x03", signal.SIGINT), (b"\x1c", signal.SIGQUIT)])
def test_key_of_the_terminal(key: bytes, number: int) -> None:
    """Ctrl-C and Ctrl-backslash at the terminal are signals of the kernel's own."""
    pid, terminal = pty.fork()
    if pid == 0:
        fd = block_and_open(ALL)
        os.write(1, b"up\n")
        os._exit(0 if next_signals(fd) == [Received(number, from_kernel=True)] else 1)
    assert b"up" in os.read(terminal, 100)

    os.write(terminal, key)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_hang_up() -> None:
    """A terminal that goes away sends SIGHUP from the kernel."""
    reader, writer = os.pipe()
    pid, terminal = pty.fork()
    if pid == 0:
        fd = block_and_open(ALL)
        os.write(writer, b"up")
        os.write(writer, repr([(int(n), k) for n, k, _ in next_signals(fd)]).encode())
        os._exit(0)
    os.close(writer)
    assert os.read(reader, 2) == b"up"

    os.close(terminal)

    assert os.read(reader, 100) == repr([(int(signal.SIGHUP), True)]).encode()
    os.waitpid(pid, 0)


def test_no_descriptor_is_inherited() -> None:
    """The signalfd is close-on-exec, and the signals stay blocked."""
    before = open_fds()
    fd = block_and_open([signal.SIGTERM])

    assert set(open_fds()) - set(before) == {fd}
    assert not os.get_inheritable(fd)
    assert signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, set())
    text = f"import os, sys; sys.exit(os.path.exists('/proc/self/fd/{fd}'))"
    assert subprocess.run([sys.executable, "-I", "-c", text], close_fds=False, check=False).returncode == 0


def test_blocked_signals_are_seen_though_ignored() -> None:
    """An ignored signal that is blocked reaches the signalfd: what a JVM handles always (SIGQUIT) can be passed on."""
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    fd = block_and_open([signal.SIGQUIT])

    os.kill(os.getpid(), signal.SIGQUIT)

    assert [received.number for received in next_signals(fd)] == [signal.SIGQUIT]


def test_dispositions() -> None:
    """What a process does with a signal is read from outside: default, ignored or caught; nothing is known of one that is gone."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, lambda *_: None)

    found = [disposition(os.getpid(), number) for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)]

    assert found == [Disposition.IGNORED, Disposition.CAUGHT, Disposition.DEFAULT]
    assert disposition(2**22 - 1, signal.SIGUSR1) == Disposition.DEFAULT
