"""A broker in the test's namespace. Run by pytest as root. Must not import jvmbind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.broker_process import Broker
from support.marks import mark_below
from support.runner import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.runner import Runner


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder; java has no broker."""
    mark_below(Path(__file__).parent, items, pytest.mark.root, pytest.mark.skipif(PLAIN, reason="java has no broker"))


@pytest.fixture
def broker(runner: Runner) -> Broker:
    """A broker that is not started yet; ended with the test."""
    return Broker(runner)


@pytest.fixture
def started(broker: Broker) -> Callable[..., Broker]:
    """Start the broker with these rules."""

    def start(*rules: str) -> Broker:
        broker.start(*rules)
        return broker

    return start
