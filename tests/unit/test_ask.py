"""What a command does with a supervisor that says nothing, or only that it works."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from pathlib import Path

import pytest

from jvmbind.cli import control
from jvmbind.errors import SystemFailureError


@pytest.mark.parametrize("queue", ["answers nothing", "full"])
def test_a_supervisor_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, queue: str) -> None:
    """A command ends with a line and a status where the supervisor accepts nobody, or says nothing; it does not hang with it."""
    monkeypatch.setattr(control, "_PATIENCE", 0.3)
    path = str(tmp_path / "control")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as first,
    ):
        server.bind(path)
        server.listen(0)
        if queue == "full":
            first.connect(path)
        with pytest.raises(SystemFailureError, match=r"no answer for 0\.3 s; the supervisor is stopped or hangs"):
            control.ask(path, "status")


def test_a_supervisor_that_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long something takes, a word of the supervisor, an empty one too, is a sign that it comes."""
    monkeypatch.setattr(control, "_PATIENCE", 5.0)
    path = str(tmp_path / "control")
    said: list[str] = []

    def serve(server: socket.socket) -> None:
        client, _ = server.accept()
        with client:
            client.recv(100)
            for answer in ({"begun": True}, {"waits_for": ""}, {"waits_for": "for it"}, {"ok": True, "error": ""}):
                client.send(json.dumps(answer).encode())

    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.bind(path)
        server.listen()
        thread = threading.Thread(target=serve, args=[server])
        thread.start()
        assert control.ask(path, "reload", progress=said.append)["error"] == ""
        thread.join()
    assert said == ["for it"]


def test_a_service_that_puts_its_status_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that says for ever what it waits for does not hold who asks for its status, all services' metrics say."""
    monkeypatch.setattr(control, "_PATIENCE", 0.3)
    path = str(tmp_path / "control")

    def serve(server: socket.socket) -> None:
        client, _ = server.accept()
        with client, contextlib.suppress(OSError):
            while not ended.wait(0.05):
                client.send(b'{"waits_for": "you"}')

    ended = threading.Event()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.bind(path)
        server.listen()
        thread = threading.Thread(target=serve, args=[server])
        thread.start()
        try:
            with pytest.raises(SystemFailureError, match=r"no answer for 0\.3 s"):
                control.ask(path, "status")
        finally:
            ended.set()
            thread.join()
