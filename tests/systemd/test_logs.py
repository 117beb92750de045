"""`jvmbind logs` of a unit. Run by pytest as root, against a real systemd as PID 1 of its own namespaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from support.units import Unit


def test_logs_of_a_unit(unit: Unit, as_root: Callable[..., None]) -> None:
    """The journal of the unit is shown, Java's lines beside jvmbind's, with --events the latter alone, which name the service."""
    as_root("http=80")
    unit.get()
    unit.lab.run("journalctl", "--sync")

    shown = unit.lab.run(*unit.jvmbind, "logs", unit.name).stdout
    assert "generation 1 is ready" in shown
    assert "READY pid=" in shown
    events = unit.lab.run(*unit.jvmbind, "logs", unit.name, "--events", "--lines", "1").stdout
    assert len(events.splitlines()) == 1
    assert "jvmbind[" in events
    assert unit.lab.journal(unit.file, f"SERVICE={unit.name}", "EVENT=ready") != []
