"""What the program that started a service is told, and in which order."""

from __future__ import annotations

import json
import os
import socket
from types import SimpleNamespace
from typing import cast

import pytest

from jvmbind.lifecycle import State
from jvmbind.posix.notify import Notifier
from jvmbind.supervisor import program
from jvmbind.supervisor.actions import Actions
from jvmbind.supervisor.program import Program


class Told:
    """Stands where the notifier is: the other end of a pair of sockets, and what went there, in order."""

    def __init__(self) -> None:
        """Nothing was told yet."""
        self.program, self.other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.unread = 0
        self.packets: list[str] = []

    def event(self, values: str) -> None:
        """Note an event by its phase."""
        self.packets.append(json.loads(values)["phase"])

    def answer(self, values: str) -> None:
        """Note an answer by its number."""
        self.packets.append(str(json.loads(values)["number"]))


def test_an_answer_comes_behind_the_state_that_it_tells_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that reads the state right after its reload was answered does not see the state of before."""
    monkeypatch.setattr(program, "not_ready", lambda *_: "")
    monkeypatch.setattr(program, "waits_for", lambda *_: "")
    told = Told()
    with told.program, told.other:
        end = Program(cast("Notifier", told))
        world = SimpleNamespace(
            deaths=[],
            last_death=None,
            changes=SimpleNamespace(last=None),
            spec=SimpleNamespace(name="x"),
            left=lambda *_: 0.0,
            serving=1,
        )
        for number, phase in enumerate(("reloading", "up")):
            end.reply(number)({"ok": True})
            state = SimpleNamespace(phase=SimpleNamespace(value=phase), members=[])
            end.tell(cast("Actions", world), cast("State", state))
        assert told.packets == ["reloading", "0", "up", "1"]


@pytest.mark.parametrize("request_", [b"", b"x", b"1 status", b"1 no-such-word", b"die-with"])
def test_descriptors_that_nobody_asked_for(request_: bytes) -> None:
    """What comes with a request that needs no descriptor is closed, also with an empty one, which stands for the end."""
    told = Told()
    reader, writer = os.pipe()
    with told.program, told.other:
        end = Program(cast("Notifier", told))
        socket.send_fds(told.other, [request_], [writer])
        os.close(writer)

        end.requests({told.program.fileno()})

        assert os.read(reader, 1) == b"", "nobody has the pipe's other end"
    os.close(reader)
