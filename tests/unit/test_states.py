"""The page with the states of a service is what the table says."""

from __future__ import annotations

from jvmbind.lifecycle import Phase
from support import states


def test_the_page_is_what_the_table_says() -> None:
    """docs/states.md has every step from one phase to another that the lives of services show, and no other."""
    how = "write the page anew by `python tests/support/states.py`"
    assert states.PAGE.read_text("utf-8") == states.page(), how
    assert all(f"| {phase.value} |" in states.PAGE.read_text("utf-8") for phase in Phase)
