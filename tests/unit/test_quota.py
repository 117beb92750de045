"""How much a user or a worker may ask of the supervisor."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest

from jvmbind import wire
from jvmbind.spec import ListenSpec, ServiceSpec
from jvmbind.supervisor import quota
from jvmbind.supervisor.generation import Generation
from jvmbind.supervisor.quota import Quota


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands until the test moves it."""
    now = [100.0]
    monkeypatch.setattr(quota, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_quota(clock: list[float]) -> None:
    """A bucket gives its burst at once, then its rate, and never more than the burst after a long rest."""
    bucket = Quota(3, 2)

    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    clock[0] += 0.5
    assert [bucket.take() for _ in range(2)] == [True, False]
    clock[0] += 1000
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]


def test_a_worker_that_never_stops_talking(clock: list[float]) -> None:
    """10.5: of a flood of messages a fixed number is read, then the worker waits; few of them lead to a line of the log."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    spec = ServiceSpec("x", "", (), (ListenSpec("a", "tcp", port=80),))
    generation: Any = Generation.__new__(Generation)
    generation.spec, generation.socket, generation.tried, generation.status_text = spec, here, [], ""
    generation._messages, generation._reported, generation.paused_until = Quota(50, 10), Quota(5, 1), 0.0
    with here, there:
        for _ in range(60):
            there.send(wire.encode(wire.Status("busy")))

        assert len(generation.messages()) == 5
        assert generation.status_text == "busy"
        assert generation.paused_until > 0
        for _ in range(10):  # what is beyond the quota waits in the socket, and the worker behind it
            here.recv(wire.MAX_SIZE)
        with pytest.raises(BlockingIOError):
            here.recv(wire.MAX_SIZE)
    assert clock == [100.0]
