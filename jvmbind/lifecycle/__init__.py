"""What happens to a service and what is done about it, as pure values: states, events, actions and the table of them.

Used by the supervisor. `table` decides; `start`, `death`, `reload`, `stop`, `timers` and `steps` hold its entries.
"""

from __future__ import annotations

from jvmbind.lifecycle.actions import (
    Action,
    ClearTimer,
    Drain,
    Exit,
    HalfClose,
    Kill,
    Probe,
    Release,
    Report,
    ReportChange,
    SetTimer,
    Spawn,
    Undrain,
)
from jvmbind.lifecycle.events import (
    Accepting,
    Died,
    Drained,
    Event,
    Left,
    Parked,
    Ready,
    Reload,
    Restart,
    Serves,
    SpawnFailed,
    StandbyDue,
    Stop,
    Timeout,
    Wanted,
)
from jvmbind.lifecycle.state import Change, Member, Phase, Role, Stage, State

__all__ = [
    "Accepting",
    "Action",
    "Change",
    "ClearTimer",
    "Died",
    "Drain",
    "Drained",
    "Event",
    "Exit",
    "HalfClose",
    "Kill",
    "Left",
    "Member",
    "Parked",
    "Phase",
    "Probe",
    "Ready",
    "Release",
    "Reload",
    "Report",
    "ReportChange",
    "Restart",
    "Role",
    "Serves",
    "SetTimer",
    "Spawn",
    "SpawnFailed",
    "Stage",
    "StandbyDue",
    "State",
    "Stop",
    "Timeout",
    "Undrain",
    "Wanted",
]
