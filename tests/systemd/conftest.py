"""One systemd for all tests of this folder, and units of the service that they run.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.jdks import compile_java, tested_jdks
from support.lab import Lab, missing
from support.marks import mark_below
from support.needs import need
from support.runner import PLAIN
from support.units import SHOWN, LabNetwork, Unit
from support.users import SERVICE_USER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder; nothing here has a meaning for plain java."""
    mark_below(
        Path(__file__).parent,
        items,
        pytest.mark.systemd,
        pytest.mark.root,
        pytest.mark.jvm,
        pytest.mark.skipif(PLAIN, reason="java knows no service manager"),
    )


@pytest.fixture(scope="session")
def app_classes(shared_directory: Path) -> Path:
    """The class folder of tests/supervision/java."""
    sources = Path(__file__).parent.parent / "supervision" / "java"
    return compile_java(sorted(sources.glob("*.java")), shared_directory / "app")


@pytest.fixture(scope="session")
def lab(shared_directory: Path, app_classes: Path) -> Iterator[Lab]:
    """A running systemd that sees the interpreter under test, jvmbind, the JDKs and the compiled server."""
    reason = missing()
    need(reason, there=not reason)
    assert app_classes.is_relative_to(shared_directory)
    binds = {shared_directory: SHOWN, Path(sys.prefix): sys.prefix}
    found = importlib.util.find_spec("jvmbind")
    assert found is not None
    assert found.origin is not None
    package = Path(found.origin).parent
    binds[package] = str(package)
    made = Lab(binds)
    yield made
    made.power_off()


@pytest.fixture
def unit(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Unit]:
    """A unit named after the test; stopped at the end, and its journal printed where the test fails."""
    network = LabNetwork(lab)
    name = request.node.originalname.removeprefix("test_").replace("_", "-")
    made = Unit(lab, network, tested_jdks()[-1], name)
    yield made
    print(made.lines())
    lab.run("systemctl", "stop", f"{name}*.socket", made.file, check=False)
    network.close()


@pytest.fixture
def as_root(unit: Unit) -> Callable[..., None]:
    """Write and start a unit that begins as root and drops by itself."""

    def start(*app: str, options: str = "-l 80", more: str = "", wait: bool = True) -> None:
        unit.write(unit.command(f"{options} -u {SERVICE_USER}", *app), more)
        unit.systemctl("start", *([] if wait else ["--no-block"]))

    return start
