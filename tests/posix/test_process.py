"""Starting, signalling and reaping by pidfd, with a census of descriptors before and after. Run in child processes."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys

import pytest

from jvmbind.posix.fds import open_fds
from jvmbind.posix.process import Ended, Process

REPORT = """
import json, os, signal, sys
fds = {}
for name in os.listdir("/proc/self/fd"):
    try:
        fds[name] = os.readlink("/proc/self/fd/" + name)
    except FileNotFoundError:
        pass
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
json.dump({"fds": fds, "environ": dict(os.environ), "blocked": status["SigBlk"].strip(), "ignored": status["SigIgn"].strip()},
          os.fdopen(int(sys.argv[1]), "w"))
"""


def wait(process: Process, seconds: float = 20.0) -> Ended:
    """Wait for the end as the loop does, by the pidfd."""
    assert select.select([process.pidfd], [], [], seconds)[0], "no end"
    ended = process.reap()
    assert ended is not None
    return ended


def shell(text: str, fds: dict[int, int] | None = None) -> Process:
    """Start a shell."""
    return Process(["/bin/sh", "-c", text], {"PATH": os.defpath}, fds or {})


def test_exactly_what_is_passed() -> None:
    """The process gets the environment and descriptors named and no other, an empty signal mask, SIGPIPE's default."""
    other = os.open("/dev/zero", os.O_RDONLY)
    reader, writer = os.pipe()
    listener = socket.socket(socket.AF_UNIX)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})
    before = open_fds()

    command = [sys.executable, "-I", "-c", REPORT, "5"]
    process = Process(command, {"A": "1"}, {3: listener.fileno(), 5: writer})

    os.close(writer)
    with os.fdopen(reader) as stream:
        report = json.load(stream)
    assert wait(process) == Ended(0, 0, core=False)
    assert report["environ"].pop("LC_CTYPE", None) in {None, "C.UTF-8"}  # PEP 538
    assert report["environ"] == {"A": "1"}
    fds = {int(fd): target for fd, target in report["fds"].items() if "/proc/" not in target}
    assert set(fds) == {0, 1, 2, 3, 5}
    assert fds[3] == f"socket:[{os.fstat(listener.fileno()).st_ino}]"
    assert int(report["blocked"], 16) == 0
    # Python itself ignores SIGPIPE and SIGXFSZ again: the shell below tells what it was given.
    assert set(open_fds()) == set(before) - {reader, writer}
    os.close(other)


def test_signal_dispositions() -> None:
    """SIGPIPE and SIGXFSZ, which the interpreter ignores, have their default in the process: java finds them so."""
    reader, writer = os.pipe()
    process = shell("grep ^SigIgn /proc/self/status >&3", {3: writer})
    os.close(writer)
    with os.fdopen(reader) as stream:
        ignored = int(stream.read().split()[1], 16)

    assert wait(process).status == 0
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        assert not ignored >> (number - 1) & 1


@pytest.mark.parametrize(
    ("text", "ended"),
    [
        ("exit 0", Ended(0, 0, core=False)),
        ("exit 7", Ended(7, 0, core=False)),
        ("exit 255", Ended(255, 0, core=False)),
        ("kill -KILL $$", Ended(0, signal.SIGKILL, core=False)),
        ("kill -TERM $$", Ended(0, signal.SIGTERM, core=False)),
        ("ulimit -c 0; kill -SEGV $$", Ended(0, signal.SIGSEGV, core=False)),
    ],
)
def test_reap(text: str, ended: Ended) -> None:
    """An exit gives its status, a death its signal, and afterwards neither a zombie nor a descriptor is left."""
    before = open_fds()
    process = shell(text)
    pid = process.pid

    assert wait(process) == ended

    assert open_fds() == before
    assert not os.path.exists(f"/proc/{pid}")
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_kill() -> None:
    """A signal sent reaches the process; before its end there is nothing to reap; after it a signal is no error."""
    before = open_fds()
    reader, writer = os.pipe()
    process = shell("trap 'exit 3' TERM; echo up >&3; while :; do read x <&3 || sleep 0.01; done", {3: writer})
    os.close(writer)
    assert os.read(reader, 100) == b"up\n"
    assert process.reap() is None
    assert not select.select([process.pidfd], [], [], 0)[0]

    process.kill(signal.SIGTERM)

    assert select.select([process.pidfd], [], [], 20)[0]
    process.kill(signal.SIGKILL)  # a zombie: sent, without effect
    assert process.reap() == Ended(3, 0, core=False)
    os.close(reader)
    assert open_fds() == before


def test_kill_after_somebody_else_reaped() -> None:
    """A signal to a process that is gone is not an error and reaches nobody: the pidfd is not a number to be reused."""
    process = shell("exit 0")
    os.waitpid(process.pid, 0)

    process.kill(signal.SIGKILL)


@pytest.mark.parametrize("command", [["/no/such/program"], ["/etc/passwd"], ["/etc"]])
def test_a_program_that_cannot_run(command: list[str]) -> None:
    """A failed start is an OSError, and neither a process nor a descriptor is left of it."""
    before = open_fds()

    with pytest.raises(OSError):
        Process(command, {}, {3: 0})

    assert open_fds() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_one_of_two() -> None:
    """Reaping one process leaves the other alone."""
    one, two = shell("exit 1"), shell("exit 2")

    assert wait(two) == Ended(2, 0, core=False)
    assert wait(one) == Ended(1, 0, core=False)
