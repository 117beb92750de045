"""What is said where there is no control socket."""

from __future__ import annotations

import getpass
import logging
import os
import re
from pathlib import Path

import pytest

from jvmbind.plan.service import without_control
from jvmbind.supervisor.control import Control

KILL = f"; to stop it: kill {os.getpid()}"


def test_a_directory_that_is_missing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A control socket in no directory is a warning that says what was expected there, of whom, and how to stop the service."""
    Control(str(tmp_path / "none" / "control"), logging.getLogger("x"), lambda: (-1, ()))

    (line,) = caplog.messages
    expected = f"expected a directory that user {getpass.getuser()} can write"
    assert re.fullmatch(f"no control socket at .*: No such file or directory; {expected}; .* reach the service{KILL}", line)


def test_no_place_at_all() -> None:
    """Where no directory is to be had, the line names the process that ends the service."""
    assert without_control("", "1") == ""
    assert without_control("x", str(os.getpid())).endswith(f"--control-socket PATH{KILL}")
