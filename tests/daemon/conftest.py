"""The compiled daemons of this folder's tests, and their marks. Run by pytest as root; must not import jvmbind."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.artifacts import artifact
from support.jdks import JAVA_SOURCES, compile_java
from support.marks import mark_below
from support.runner import PLAIN


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder."""
    mark_below(
        Path(__file__).parent,
        items,
        pytest.mark.root,
        pytest.mark.jvm,
        pytest.mark.servers,
        pytest.mark.timeout(120),
        pytest.mark.skipif(PLAIN, reason="plain java runs no daemons"),
    )


@pytest.fixture(scope="session")
def library() -> str:
    """The class path of commons-daemon itself."""
    return f"{artifact('commons-daemon')}/*"


@pytest.fixture(scope="session")
def daemons(shared_directory: Path, library: str) -> str:
    """The class folder of tests/java/daemon."""
    return str(compile_java(sorted((JAVA_SOURCES / "daemon").glob("*.java")), shared_directory / "daemons", library))
