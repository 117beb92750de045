"""The responder's start, apart from what it answers: runs in a process of its own, as conftest.py has it."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import NoReturn

import prctl
import pytest

from jvmbind.handover.responder import Responder
from jvmbind.posix import seccomp

_NUMBER = struct.Struct("=i")


class Recorder:
    """Stands where the attendant does, and says which descriptor it was given."""

    def __init__(self, out: int) -> None:
        """Remember where to say it."""
        self._out = out

    def run(self, notify: int, told: int) -> NoReturn:  # noqa: ARG002 - as the attendant's
        """Say the number and end."""
        os.write(self._out, _NUMBER.pack(notify))
        os._exit(0)


def test_a_responder_that_runs_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that gets a processor only when the JVM is up already still reads the right descriptor of the notifications."""
    go, begin = os.pipe()
    said, say = os.pipe()
    # Only the new process calls this, before it reads anything.
    monkeypatch.setattr(prctl, "set_pdeathsig", lambda _signal: os.read(go, 1))
    responder = Responder(
        lambda: Recorder(say),  # type: ignore[arg-type,return-value]
        ctypes.CDLL(None, use_errno=True),
        lambda _: os.abort(),  # nothing is to be reported
        obeys=True,
    )
    prctl.set_no_new_privs(1)

    responder.start(seccomp.filter_program(seccomp.this_machine(), strict=False))
    responder.jvm_is_up()
    os.write(begin, b"x")

    assert _NUMBER.unpack(os.read(said, _NUMBER.size)) == (responder.notify,)
