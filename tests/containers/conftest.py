"""The image of packaging/containers, and containers made from it. Run by pytest as root. Must not import jvmbind."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.jdks import compile_java
from support.marks import mark_below
from support.needs import need
from support.oci import RUNTIMES, Container, make_image
from support.runner import PLAIN, Runner

APP = Path(__file__).resolve().parents[1] / "supervision" / "java"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder; nothing here has a meaning for plain java."""
    mark_below(
        Path(__file__).parent,
        items,
        pytest.mark.root,
        pytest.mark.jvm,
        pytest.mark.servers,
        pytest.mark.skipif(PLAIN, reason="java has no image"),
    )


@pytest.fixture(scope="session")
def image() -> Path:
    """The root file system of the image, made once."""
    return make_image()


@pytest.fixture(scope="session")
def app(shared_directory: Path) -> Path:
    """The classes of the server of tests/supervision."""
    return compile_java(sorted(APP.glob("*.java")), shared_directory / "contained")


@pytest.fixture
def container(runner: Runner, image: Path, app: Path) -> Callable[..., Container]:
    """Make a container, not yet started."""
    for name in RUNTIMES:
        need(name, there=shutil.which(name) is not None)

    def make(**what: Any) -> Container:
        return Container(runner, image, app, **what)

    return make
