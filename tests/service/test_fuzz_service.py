"""The fuzz program of the Python API with a smaller number of sequences, as its users run it. Run by pytest as root."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.jdks import Jdk

PROGRAM = Path(__file__).parent.parent / "fuzz" / "fuzz_service.py"

pytestmark = [pytest.mark.root, pytest.mark.jvm]


@pytest.mark.jdks(at_least=18)
def test_fuzz_of_the_python_api(jdk: Jdk) -> None:
    """Random calls of threads, tasks and a signal handler, with crashes between: each answer as documented, nothing left."""
    command = [sys.executable, "-I", "-W", "error", str(PROGRAM), "72", "7"]
    environ = {**os.environ, "FUZZ_JAVA_HOME": str(jdk.home)}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.splitlines()[-1].startswith("72 sequences, seed 7, ")
    assert "compared with the control socket" in ended.stdout
