"""Threads that sleep on a listener whose place an idle socket has taken, with the real kernel; see stage.py.

Run in child processes (see conftest.py). A Python thread plays the JVM's: with a handler for the JDK's signal, its
poll(2) is made again after that, as the JDK's own is.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import threading
from pathlib import Path

import pytest

from jvmbind.posix.listening import accept_queue
from support.stage import Stage
from support.waiting import wait_until

pytestmark = pytest.mark.root

_POLLS = {"7", "73", "271"}


def as_java() -> None:
    """Catch the signal by which the JDK interrupts a call."""
    signal.signal(signal.SIGRTMAX - 2, lambda *_: None)


class Acceptor:
    """A thread that waits in poll(2) on a listener and then accepts once."""

    def __init__(self, sock: socket.socket) -> None:
        """Start it, and return once it sleeps."""
        self.accepted = threading.Event()
        self._sock = sock
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        self._task = Path(f"/proc/self/task/{thread.native_id}/syscall")
        wait_until(self.sleeps, 10, "poll(2)")

    def sleeps(self) -> bool:
        """Whether it is in the call."""
        return self._task.read_text().split()[0] in _POLLS

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        while True:
            poll.poll()
            try:
                os.close(self._sock._accept()[0])  # type: ignore[attr-defined]
            except BlockingIOError:
                continue
            self.accepted.set()
            return


def listening(stage: Stage, *, port: int = 80) -> socket.socket:
    """Return the application's socket on a listener."""
    sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    sock.bind(("::", port))
    sock.listen(50)
    assert stage.is_listener(sock.fileno())
    return sock


def test_sleepers_are_moved_without_a_connection() -> None:
    """A thread that slept before an exchange follows it, there and back, without a connection of ours to the listener."""
    as_java()
    stage = Stage("80")

    def application() -> None:
        sock = listening(stage)
        acceptor = Acceptor(sock)
        stage.handover.drain(datagrams_only=False)
        stage.handover.given.knock()
        assert acceptor.accepted.wait(10)
        queue = accept_queue(stage.sockets[0].fileno())
        assert queue is not None
        assert queue.length == 0

        acceptor = Acceptor(sock)
        stage.handover.undrain()
        queue = accept_queue(stage.sockets[0].fileno())
        assert queue is not None
        assert queue.length == 0
        assert not acceptor.accepted.is_set()
        with socket.create_connection(("::1", 80), 10):
            assert acceptor.accepted.wait(10)

    stage.play(application)


@pytest.mark.parametrize("way", ["open", "closed", "reset"])
def test_application_that_wakes_itself(way: str) -> None:
    """A connection that an ending application makes to its own port is told of, and wakes its thread on the idle socket."""
    as_java()
    stage = Stage("80")

    def application() -> None:
        acceptor = Acceptor(listening(stage))
        stage.handover.drain(datagrams_only=False)
        called = stage.handover.given.watch_own_connections()
        stage.handover.given.wake_who_is_called()
        assert not acceptor.accepted.wait(0.1)
        assert not select.select([called], [], [], 0)[0]
        with socket.create_connection(("::1", 80), 10) as peer:
            if way == "reset":
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if way != "open":
                peer.close()
            assert select.select([called], [], [], 10)[0]
            stage.handover.given.wake_who_is_called()
            assert acceptor.accepted.wait(10)
            assert not select.select([called], [], [], 0)[0]

    stage.play(application)


def test_client_does_not_wake_an_ending_application() -> None:
    """A client of another process that waits in the queue is no reason to connect to the application."""
    as_java()
    stage = Stage("80")

    def application() -> None:
        acceptor = Acceptor(listening(stage))
        stage.handover.drain(datagrams_only=False)
        done, hold = os.pipe(), os.pipe()
        if (child := os.fork()) == 0:
            peer = socket.create_connection(("::1", 80), 10)
            os.write(done[1], b"x")
            os.close(hold[1])
            os.read(hold[0], 1)
            os._exit(int(peer.fileno() < 0))
        os.read(done[0], 1)
        stage.handover.given.wake_who_is_called()
        assert not acceptor.accepted.wait(0.2)
        os.close(hold[1])
        os.waitpid(child, 0)

    stage.play(application)
