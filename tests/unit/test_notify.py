"""What is told to a program that started a service, and what an application may tell the supervisor."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

import pytest

from jvmbind.handover.lifecycle_pipes import LifecyclePipes
from jvmbind.posix.notify import Notifier
from jvmbind.posix.role import worker_environ
from jvmbind.spec import parse_listen
from jvmbind.wire import Notified, Status

if TYPE_CHECKING:
    from pathlib import Path


def heard(sock: socket.socket) -> list[str]:
    """Return all that waits in a socket."""
    found = []
    while True:
        try:
            found.append(sock.recv(65536).decode())
        except BlockingIOError:
            return found


@pytest.mark.parametrize("kind", ["program", "manager"])
def test_who_reads_nothing_is_not_waited_for(kind: str, tmp_path: Path) -> None:
    """10.5: who is stopped does not hold the supervisor up, and learns later of the last changes and the last status."""
    if kind == "manager":
        theirs, address = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), str(tmp_path / "notify")
        theirs.bind(address)
    else:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        address = f"fd:{ours.detach()}"
    with theirs, socket.socket() as listener:
        theirs.setblocking(False)
        notifier = Notifier({"NOTIFY_SOCKET": address})
        for number in range(5000):
            notifier.status(f"busy {number}")
        for number in range(300):
            notifier.event(f"event {number}")
        notifier.store_listeners([(parse_listen("web=80"), listener.fileno())])
        for number in range(300):
            notifier.event(f"event {number}")
        notifier.reloading()
        notifier.answer("7")
        notifier.ready("served")
        notifier.status("the last")
        said = heard(theirs)
        assert len(said) < 5000
        while notifier.deadlines():
            notifier._socket.flush()
            said += heard(theirs)
        notifier._socket.close()

    changes = [line for text in said for line in text.splitlines() if not line.startswith(("STATUS", "MONOTONIC"))]
    stored = [line for line in changes if line == "FDSTORE=1"]
    assert stored == (["FDSTORE=1"] if kind == "manager" else [])
    assert changes[-3:] == ["RELOADING=1", "X_JVMBIND_ANSWER=7", "READY=1"]
    assert said[-1] == "STATUS=the last"


@pytest.mark.parametrize("kind", ["program", "manager", "address of no kind"])
def test_who_has_gone(kind: str, tmp_path: Path) -> None:
    """The service goes on where the program that started it, or its manager, has ended, and tries nothing again."""
    address = {"manager": str(tmp_path / "nobody")}.get(kind, "vsock:2:1")
    if kind == "program":
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        address = f"fd:{ours.detach()}"
        theirs.close()
    with socket.socket() as listener:
        notifier = Notifier({"NOTIFY_SOCKET": address})
        notifier.ready("x")
        notifier.store_listeners([(parse_listen("web=80"), listener.fileno())])
        notifier.stopping()
    assert notifier.deadlines() == []
    notifier._socket.close()


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
        notifier.store_listeners([(other, first.fileno())], again=True)
        for sock in (first, third, first):
            notifier.forget_listener(sock.fileno())

        stored = [f"FDSTORE=1\nFDNAME=web@{inode}\nFDPOLL=0" for inode in inodes[:2]]
        taken_out = [f"FDSTOREREMOVE=1\nFDNAME={name}" for name in ("old@7", f"web@{inodes[0]}", f"a+ipv4@{inodes[2]}")]
        assert heard(manager) == [taken_out[0], *stored, stored[0], *taken_out[1:]]
        notifier._socket.close()
    assert "LISTEN_FDNAMES" not in worker_environ({"LISTEN_FDNAMES": "web"})


def test_an_application_that_says_much() -> None:
    """10.5: of all that an application has written since the last look its readiness and its last status are passed on."""
    pipes = LifecyclePipes()
    os.write(pipes.java_out, b"STATUS one\n" * 2000 + b"READY\n" * 100 + b"nonsense\n" + b"STATUS last\nSTATUS unfini")

    assert sorted(pipes.read(), key=repr) == [Notified(), Status("last")]
    assert pipes.read() == []
    os.write(pipes.java_out, b"shed\n")
    assert pipes.read() == [Status("unfinished")]
    os.close(pipes.java_in)
    pipes.reload()  # nobody reads that any more
    for fd in (pipes.from_java, pipes.java_out, pipes._to_java):
        os.close(fd)
