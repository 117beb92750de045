"""A unit whose supervisor is replaced by the installed version, for which the service manager needs to know nothing.

Run by pytest as root, against a real systemd as PID 1 of its own namespaces. Must not import jvmbind.
"""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.units import Unit


def test_unit(unit: Unit, as_root: Callable[..., None]) -> None:
    """After an upgrade the main process is the same, the watchdog is fed, the store keeps the ports; reload and stop work."""
    as_root("http=80", more="FileDescriptorStoreMax=16\nRestart=always\nRestartSec=500ms\nWatchdogSec=2")
    main, served = unit.lab.main_pid(unit.file), unit.served_by()
    shown = unit.property("MainPID"), unit.property("NFileDescriptorStore")

    for _ in range(2):
        done = unit.lab.run(*unit.jvmbind, "upgrade", unit.name, check=False)
        assert done.returncode == 0, done.stdout + done.stderr + unit.lines()
    assert (unit.property("MainPID"), unit.property("NFileDescriptorStore")) == shown
    assert unit.served_by() == served
    fed = unit.property("WatchdogTimestampMonotonic")
    wait_until(lambda: unit.property("WatchdogTimestampMonotonic") != fed, 20, "a word for the watchdog")
    unit.systemctl("reload")
    assert json.loads(unit.status())["generations"][-1]["number"] == 2
    assert unit.property("NRestarts") == "0"

    os.kill(main, signal.SIGKILL)
    wait_until(lambda: not os.path.exists(f"/proc/{main}"), 10, "the end of the supervisor")
    assert unit.get(timeout=30).status == 200
    unit.await_property("ActiveState", "active")
    assert unit.lab.run(*unit.jvmbind, "upgrade", unit.name).stdout.startswith("upgrade: done")
    unit.systemctl("stop")
    assert unit.property("ExecMainStatus") == "143"
