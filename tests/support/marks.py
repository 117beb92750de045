"""Markers for all tests of a folder, which its conftest.py asks for. Run by pytest. Must not import jvmbind."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def mark_below(folder: Path, items: list[pytest.Item], *marks: pytest.MarkDecorator) -> None:
    """Give the marks to each test in a folder."""
    for item in items:
        if folder in item.path.parents:
            for mark in marks:
                item.add_marker(mark)
