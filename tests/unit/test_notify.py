"""What is told to a program that started a service, and what an application may tell the supervisor."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

from jvmbind.posix.notify import Notifier
from jvmbind.spec import parse_listen
from jvmbind.wire import Notified, Status
from jvmbind.worker.lifecycle_pipes import LifecyclePipes

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def heard(sock: socket.socket) -> list[str]:
    """Return all that waits in a socket."""
    found = []
    while True:
        try:
            found.append(sock.recv(65536).decode())
        except BlockingIOError:
            return found


def test_a_program_that_reads_nothing_is_not_waited_for() -> None:
    """10.5: a program that is stopped does not hold the supervisor up; it then learns of each change, and the last status."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        theirs.setblocking(False)
        notifier = Notifier({"NOTIFY_SOCKET": f"fd:{ours.detach()}"})
        for number in range(5000):
            notifier.status(f"busy {number}")
        notifier.reloading()
        notifier.reloaded("", 7)
        notifier.ready("served")
        notifier.status("the last")
        said = heard(theirs)
        assert len(said) < 5000
        assert notifier.deadlines()
        while notifier._unsent:
            notifier._send_again = 0.0
            notifier.keep_alive(starting=False)
            said += heard(theirs)

    notifier._program.close()  # type: ignore[union-attr]
    changes = [line for text in said for line in text.splitlines() if not line.startswith(("STATUS", "MONOTONIC"))]
    assert changes == ["RELOADING=1", "X_JVMBIND_RELOAD=7 done", "READY=1"]
    assert said[-1] == "STATUS=the last"


def test_a_program_that_has_gone() -> None:
    """The service goes on where the program that started it has ended, and tries nothing again."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.close()
    notifier = Notifier({"NOTIFY_SOCKET": f"fd:{ours.detach()}"})

    notifier.ready("x")
    notifier.stopping()
    assert notifier._unsent == []
    notifier._program.close()  # type: ignore[union-attr]


def test_names_in_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each socket is stored once under a name of its own and taken out by that, whatever its listener is called meanwhile."""
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, contextlib.ExitStack() as stack:
        manager.bind(address)
        manager.setblocking(False)
        first, second, third = (stack.enter_context(socket.socket()) for _ in range(3))
        inodes = [os.fstat(sock.fileno()).st_ino for sock in (first, second, third)]
        notifier = Notifier({"NOTIFY_SOCKET": address, "LISTEN_FDNAMES": f"web:old@7:a+ipv4@{inodes[2]}"})
        web, other = parse_listen("web=80"), parse_listen("other=80")

        notifier.forget_others([first.fileno(), third.fileno()])
        notifier.store_listeners([(web, first.fileno()), (web, second.fileno()), (other, first.fileno()), (other, third.fileno())])
        for sock in (first, third, first):
            notifier.forget_listener(sock.fileno())

        stored = [f"FDSTORE=1\nFDNAME=web@{inode}\nFDPOLL=0" for inode in inodes[:2]]
        taken_out = [f"FDSTOREREMOVE=1\nFDNAME={name}" for name in ("old@7", f"web@{inodes[0]}", f"a+ipv4@{inodes[2]}")]
        assert heard(manager) == [taken_out[0], *stored, *taken_out[1:]]
    assert "LISTEN_FDNAMES" not in notifier.environ_for_worker({"LISTEN_FDNAMES": "web"})


def test_an_application_that_says_much() -> None:
    """10.5: of all that an application has written since the last look its readiness and its last status are passed on."""
    pipes = LifecyclePipes()
    os.write(pipes.java_out, b"STATUS one\n" * 2000 + b"READY\n" * 100 + b"nonsense\n" + b"STATUS last\nSTATUS unfini")

    assert sorted(pipes.read(), key=repr) == [Notified(), Status("last")]
    assert pipes.read() == []
    os.write(pipes.java_out, b"shed\n")
    assert pipes.read() == [Status("unfinished")]
    os.close(pipes.java_in)
    pipes.tell("DRAIN")  # nobody reads that any more
    for fd in (pipes.from_java, pipes.java_out, pipes._to_java):
        os.close(fd)
