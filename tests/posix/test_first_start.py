"""A service whose first worker cannot be made. Run in a child process."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

from jvmbind.posix.signals import block_and_open
from jvmbind.spec import ServiceSpec
from jvmbind.supervisor import actions
from jvmbind.supervisor.loop import Loop
from jvmbind.supervisor.starting import Starter
from jvmbind.supervisor.terminal import FORWARDED


def test_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service ends at once, with the status of a system call that failed: no timer and no signal has to come first."""

    def fail(*_: object, **__: object) -> NoReturn:
        raise BlockingIOError(11, os.strerror(11))

    monkeypatch.setattr(actions, "Generation", fail)
    monkeypatch.setattr(Loop, "_wait", lambda _: pytest.fail("it waits"))
    assert Loop(ServiceSpec("x", "/nowhere", (), ()), [], block_and_open(FORWARDED), Starter()).run() == 71
