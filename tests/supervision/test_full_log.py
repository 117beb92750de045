"""A service whose log nobody reads any more. Run by pytest as root; must not import jvmbind."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING

from support.runner import as_user
from support.users import SERVICE_USER

if TYPE_CHECKING:
    from supervision.conftest import Supervised


DUP2 = [sys.executable, "-I", "-c", "import os, sys; os.dup2(int(sys.argv[1]), 2); os.execv(sys.argv[2], sys.argv[2:])"]


def test_nobody_reads_the_log(supervised: Supervised) -> None:
    """With stderr a pipe that is full a killed JVM is started again, and the service answers, reloads and stops."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    supervised.configure("http=8080")
    command = [*as_user(SERVICE_USER), *DUP2, str(writer), *supervised.jvmbind]
    service = supervised.runner.start([*command, "run", "-n", "app", "-c", str(supervised.config)], pass_fds=[writer])
    supervised.service = service
    os.close(writer)
    try:
        service.expect("READY")
        first = supervised.serving()
        os.kill(first, signal.SIGKILL)

        assert supervised.serving() != first
        assert supervised.version() == "1"
        assert supervised.reload().returncode == 0
        assert service.stop() == 143
        assert b"generation" not in os.read(reader, 1 << 20)
    finally:
        os.close(reader)
