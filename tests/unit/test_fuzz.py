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


def test_fuzz_of_the_broker() -> None:
    """Thousands of random requests and policies give a result or a refusal with its place, and each kind has both."""
    command = [sys.executable, "-I", "-W", "error", str(PROGRAM.with_name("fuzz_broker.py")), "4000", "7"]

    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    rows = ended.stdout.splitlines()
    assert rows[-1].startswith("8000 inputs, seed 7, ")
    assert len(rows) == 3
    assert all("accepted" in row and "refused" in row for row in rows[:-1]), ended.stdout


def test_fuzz_of_configurations() -> None:
    """Thousands of random configuration files give a request or one line with the file's name, and there are both."""
    command = [sys.executable, "-I", "-W", "error", str(PROGRAM.with_name("fuzz_configs.py")), "3000", "7"]

    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert re.match(r"accepted \d{3,}, refused \d{3,}\n3000 inputs, seed 7, ", ended.stdout), ended.stdout


def test_fuzz_of_messages() -> None:
    """Thousands of random notifications, commands and requests are read as what was written or refused, and there are both."""
    command = [sys.executable, "-I", "-W", "error", str(PROGRAM.with_name("fuzz_messages.py")), "3000", "7"]

    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    rows = ended.stdout.splitlines()
    assert rows[-1].startswith("9000 inputs, seed 7, ")
    assert all("accepted" in row and "refused" in row for row in rows[:-1]), ended.stdout
