"""A pytest plugin: `pytest_plugins = ["jvmbind.testing"]` in a conftest.py gives the fixture `jvm_service`.

Runs in pytest, which is no dependency of this package. Each test has its own services, in processes and with ports of their
own, so that tests may run side by side (pytest-xdist).
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
from typing import TYPE_CHECKING, Any

import pytest

from jvmbind.service.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from jvmbind.config.tables import Java, Listen
    from jvmbind.service.running import RunningService

_STARTED = pytest.StashKey[list[tuple["RunningService", str]]]()
_OUTPUT_MAX = 20000  # characters of a service's output that a failed test shows


def free_port() -> int:
    """Return a TCP port of this machine that is free now; the kernel seldom gives the same one twice in a row."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
def jvm_service(request: pytest.FixtureRequest) -> Iterator[Callable[..., RunningService]]:
    """Start services that end with the test: `jvm_service(java={...}, listen={...})` returns one that is ready.

    It takes the arguments of `jvmbind.Service`. What the services print is added to the report of a failed test.
    """
    with contextlib.ExitStack() as stack:

        def start(*, java: Java, listen: Listen = (), **more: Any) -> RunningService:  # noqa: ANN401 - those of Service
            output = stack.enter_context(tempfile.NamedTemporaryFile("w+", encoding="utf-8", errors="replace"))
            running = stack.enter_context(
                Service(java=java, listen=listen, **more).start(stdout=output, stderr=output, die_with_parent=True)
            )
            request.node.stash.setdefault(_STARTED, []).append((running, output.name))
            running.wait_ready()
            return running

        yield start


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what the services of a failed test have printed."""
    report = yield
    if report.failed:
        for running, path in item.stash.get(_STARTED, []):
            # After the teardown the file is gone; its end was shown with the report of the call.
            with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8", errors="replace") as file:
                report.sections.append((f"output of {running!r}", file.read()[-_OUTPUT_MAX:]))
    return report


__all__ = ["free_port", "jvm_service", "pytest_runtest_makereport"]
