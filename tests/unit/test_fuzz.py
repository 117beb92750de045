"""The fuzz program of tests/fuzz with a smaller number of rounds, as its users run it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parent.parent / "fuzz" / "fuzz_specs.py"


def test_fuzz() -> None:
    """Thousands of random listeners and command lines give a result or a JvmbindError, and each target has both."""
    command = [sys.executable, "-I", "-W", "error", str(PROGRAM), "8000", "7"]

    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert re.search(r"^8000 inputs, seed 7, ", ended.stdout, re.MULTILINE)
    rows = ended.stdout.splitlines()[:-1]
    assert len(rows) == 4
    assert all("accepted" in row and "Error" in row for row in rows), ended.stdout
