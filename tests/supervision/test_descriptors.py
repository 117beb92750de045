"""A JVM with more open files than the soft limit of RLIMIT_NOFILE, which it raises for itself alone.

Run by pytest as root; services run as an ordinary user. Must not import jvmbind.
"""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from support.runner import as_user
from support.users import SERVICE_USER

if TYPE_CHECKING:
    from supervision.conftest import Supervised

    from support.service import Service

LIMITS = "\n[security]\nlimits = { nofile = [256, 4096] }"


def responders(service: Service) -> list[int]:
    """Return the processes that answer binds."""
    found = []
    for pid in service.processes():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text() == "jvmbind-respond\n":
                found.append(pid)
    return found


def limit(pid: int, soft: int) -> None:
    """Set the soft limit of a process of the service, as its user may."""
    subprocess.run([*as_user(SERVICE_USER), "prlimit", f"--pid={pid}", f"--nofile={soft}:"], check=True)


def test_more_files_than_the_soft_limit(supervised: Supervised) -> None:
    """Such a JVM is handed its listener; a reload moves the clients, or fails with the reason where it cannot, and says so."""
    service = supervised.start("files=300", "http=8080", "files=100", more=LIMITS)
    first = supervised.serving()
    (responder,) = responders(service)
    limit(responder, 3)

    refused = supervised.reload()

    assert refused.returncode != 0
    assert "could not give up its listeners: [Errno 24] Too many open files; the old generation keeps serving" in refused.stderr
    supervised.await_only()
    assert supervised.serving() == first
    assert supervised.version() == "1"

    limit(responder, 4096)
    supervised.configure("files=300", "http=8080", "files=100", version="2", more=LIMITS)
    done = supervised.reload()

    assert done.returncode == 0, done.stderr
    assert [supervised.version() for _ in range(8)] == ["2"] * 8
    supervised.await_only()
    assert supervised.serving() != first
    assert service.stop() == 143
