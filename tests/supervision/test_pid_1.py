"""jvmbind as PID 1 of a namespace, as a container runs it.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import jdks
from support.clients import http_get_when_served
from support.runner import QUICK_JVM
from support.users import SERVICE_USER
from support.waiting import wait_until

if TYPE_CHECKING:
    from supervision.conftest import Supervised

    from support.service import Service


def contained(supervised: Supervised, *app: str, options: str = "") -> tuple[Service, int]:
    """Start `jvmbind run` as PID 1 of its own namespace; return unshare's service and the pid of jvmbind outside."""
    run = [*supervised.jvmbind, "run", "--java-home", str(jdks.tested_jdks()[-1].home), "-n", "app", "-l", "80", "-u", SERVICE_USER]
    java = [*QUICK_JVM, "-jar", str(supervised.jar), *app]
    namespace = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    service = supervised.runner.start([*namespace, *run, *options.split(), "--", *java])
    children = Path(f"/proc/{service.pid}/task/{service.pid}/children")
    pid = wait_until(lambda: children.read_text().split(), 20, "PID 1")[0]
    return service, int(pid)


def zombies(init: int) -> list[str]:
    """Return the children of `init` that have ended and were not collected."""
    found = []
    for pid in Path(f"/proc/{init}/task/{init}/children").read_text().split():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if fields[0] == "Z":
            found.append(pid)
    return found


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_and_status(supervised: Supervised, number: int, status: int) -> None:
    """A signal to PID 1 stops the JVM with its hooks, and its status comes out of the namespace."""
    service, init = contained(supervised, "hook=100", "http=80")
    http_get_when_served(supervised.network, 80)

    os.kill(init, number)

    assert service.wait() == status, service.report()
    assert "STOPPED" in service.stdout
    service.assert_nothing_left()


def test_exit_status(supervised: Supervised) -> None:
    """A program's own exit status comes out of the namespace."""
    service, _ = contained(supervised, "exit=7", options="--restart never")

    assert service.wait() == 7


def test_reaps_strangers(supervised: Supervised) -> None:
    """An orphan of the namespace, whose parent has gone, is collected by PID 1 when it ends; a worker's death still is."""
    service, init = contained(supervised, "http=80")
    http_get_when_served(supervised.network, 80)
    orphan = "(sleep 0.2 & sleep 0.3 & exit 0)"
    entered = supervised.runner.start(["nsenter", f"--target={init}", "--pid", "--mount", "sh", "-c", orphan])
    assert entered.wait() == 0

    wait_until(lambda: len(Path(f"/proc/{init}/task/{init}/children").read_text().split()) == 1, 10, "the end of the orphans")
    assert zombies(init) == []
    os.kill(service_worker(init), signal.SIGKILL)
    service.expect("generation 2 is ready", stream="stderr")
    assert zombies(init) == []
    os.kill(init, signal.SIGTERM)
    assert service.wait() == 143


def service_worker(init: int) -> int:
    """Return the one child of `init`."""
    (pid,) = Path(f"/proc/{init}/task/{init}/children").read_text().split()
    return int(pid)


def test_killed_pid_1(supervised: Supervised) -> None:
    """SIGKILL of PID 1 ends everything in the namespace."""
    service, init = contained(supervised, "http=80")
    http_get_when_served(supervised.network, 80)

    os.kill(init, signal.SIGKILL)

    assert service.wait() != 0  # 137, or 1 from an unshare that knows no SIGKILL to unblock (util-linux 2.38)
    service.assert_nothing_left()
