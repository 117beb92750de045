"""Commands whose standard output cannot be written. Runs the command as an isolated interpreter starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

WORDS = [["--help"], ["check", "--help"], ["doctor"], ["list"], ["doctor", "--json"]]


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_nobody_reads(words: list[str]) -> None:
    """Whoever has stopped reading, as `head` does, gets no line about it, and the status of a program that SIGPIPE has ended."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as out:
        done = subprocess.run(
            [sys.executable, "-I", "-m", "jvmbind", *words], stdout=out, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert done.stderr == ""
    if words[0] != "list":  # it writes nothing where no service runs
        assert done.returncode in {128 + signal.SIGPIPE, 1, 2}, done  # what doctor has found counts more


@pytest.mark.parametrize("words", WORDS[:2], ids=" ".join)
def test_a_full_disk(words: list[str]) -> None:
    """What cannot be written is one line and status 71, not the interpreter's own words and status."""
    with open("/dev/full", "wb") as out:
        done = subprocess.run(
            [sys.executable, "-I", "-m", "jvmbind", *words], stdout=out, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert (done.returncode, done.stderr) == (71, "jvmbind: standard output: No space left on device\n")
