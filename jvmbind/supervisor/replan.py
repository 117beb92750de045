"""Works out what a reload runs: the configuration read again, the same listeners as far as nobody has a privilege any more.

Runs in the supervisor as the service user, for each reload.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jvmbind.spec import ListenSpec, ServiceSpec

Plan = tuple[str, "ServiceSpec", dict[str, tuple["ListenSpec", int]]]


def replan(spec: ServiceSpec, listeners: Mapping[str, tuple[ListenSpec, int]]) -> Plan:
    """Return (why not, the next specification, listeners opened for it)."""
    del listeners
    return "", spec, {}
