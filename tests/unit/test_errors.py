"""Every failure has one line and the documented exit status."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jvmbind import errors
from jvmbind.errors import JvmbindError

STATUSES = {
    "UsageError": 64,
    "PortUnavailableError": 69,
    "SystemFailureError": 71,
    "NotPermittedError": 77,
    "ConfigurationError": 78,
    "JavaLaunchError": 1,
}


@pytest.mark.parametrize("name", STATUSES)
def test_status(name: str) -> None:
    """Each failure ends a command with the status of sysexits.h, or with the launcher's 1."""
    error = getattr(errors, name)("x")

    assert isinstance(error, JvmbindError)
    assert error.status == STATUSES[name]


@given(st.text())
def test_one_line(text: str) -> None:
    """10.13: whatever is put into a message, it is shown on one line, and no character of it commands a terminal."""
    shown = str(JvmbindError(text))

    assert len(shown.splitlines()) <= 1
    assert shown.isprintable()


def test_words_of_java() -> None:
    """What `java` said is kept for its two streams, but for what commands a terminal; the message is what matters of it."""
    error = errors.JavaRefusedError(
        "a\tb\x1b[2J\n", "Picked up JAVA_TOOL_OPTIONS: x\nBad option\nError: Could not create the Java Virtual Machine.\n"
    )

    assert (error.out, error.err.splitlines()[1]) == ("a\tb?[2J\n", "Bad option")
    assert str(error) == "Bad option; a b?[2J"
    assert str(errors.JavaRefusedError(*error.parts)) == str(error)
    assert str(errors.JavaRefusedError("", "")) == "java does not take this command line"
