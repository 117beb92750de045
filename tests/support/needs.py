"""What a test cannot do without: a missing tool is a failure with the tool's name, unless asked to be a skip. Run by pytest."""

from __future__ import annotations

import os

import pytest

SKIP = "JVMBIND_TEST_SKIP_MISSING"
"""Set to 1, tests whose tools are missing are skipped instead of failing."""


def need(what: str, *, there: bool) -> None:
    """Fail the test, or skip it where SKIP asks for that, unless `what` is there."""
    if there:
        return
    if os.environ.get(SKIP) == "1":
        pytest.skip(f"missing: {what}")
    pytest.fail(f"missing: {what} (tests/run.sh installs it; {SKIP}=1 skips what cannot be run)", pytrace=False)
