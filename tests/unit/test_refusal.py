"""Clients of a listener that nobody serves are reset, and a listener that blocks holds up no supervisor."""

from __future__ import annotations

import socket

import pytest

from jvmbind.supervisor.refusal import Refusal


@pytest.fixture
def listener() -> socket.socket:
    """A listening socket on the loopback address, in non-blocking mode."""
    found = socket.create_server(("127.0.0.1", 0))
    found.setblocking(False)
    return found


def connect(listener: socket.socket) -> socket.socket:
    """Return a client."""
    return socket.create_connection(listener.getsockname(), 20)


def test_the_first_in_the_queue_is_reset(listener: socket.socket) -> None:
    """Each call resets one client, the first, and leaves the others; without any it does nothing."""
    refusal = Refusal()
    with listener, connect(listener) as first, connect(listener) as second:
        assert refusal.refuse(listener.fileno())
        with pytest.raises(ConnectionResetError):
            first.recv(1)
        accepted, _ = listener.accept()
        with accepted:
            accepted.send(b"x")
            assert second.recv(1) == b"x"
        assert refusal.refuse(listener.fileno())


def test_a_listener_that_blocks(listener: socket.socket) -> None:
    """Where a worker has made the shared listener block, the caller goes on; the next client ends the wait."""
    refusal = Refusal()
    with listener:
        listener.setblocking(True)
        assert not refusal.refuse(listener.fileno())
        assert not refusal.refuse(listener.fileno())
        with pytest.raises(ConnectionResetError), connect(listener) as client:  # in connect(2) already, where that is slow
            client.recv(1)
        listener.setblocking(False)
        with connect(listener) as client:
            while not refusal.refuse(listener.fileno()):
                pass  # the thread has reset the first client, and says so in a moment
            with pytest.raises(ConnectionResetError):
                client.recv(1)


def test_no_listener(listener: socket.socket) -> None:
    """A socket that does not listen any more is said to be none, each time."""
    refusal = Refusal()
    with listener:
        listener.shutdown(socket.SHUT_RD)
        assert [refusal.refuse(listener.fileno()) for _ in range(3)] == [False] * 3
