"""What was asked for, before anything of it is resolved or checked against this machine.

Made by the configuration file, the command line and the Python API alike; read by the launcher. Pure values.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from jvmbind.spec import ListenSpec, ServiceSpec

CONTROL_REQUESTS = ("status", "reload", "restart", "stop", "dump", "upgrade")
UNLIMITED = -1  # RLIM_INFINITY: getrlimit(2)


class Limit(NamedTuple):
    """One resource limit: its name without RLIMIT_, in lower case, and both values; UNLIMITED is no limit."""

    name: str
    soft: int
    hard: int


class Request(NamedTuple):
    """One service as it was asked for. Where a user, a name or a Java home is None, the launcher finds it."""

    java_arguments: tuple[str, ...]
    listeners: tuple[ListenSpec, ...] = ()
    user: str | None = None
    name: str | None = None
    java_home: str | None = None
    environ: tuple[str, ...] = ()  # NAME, or NAME=VALUE
    preserve_environ: bool = False
    verbose: bool = False
    umask: int | None = None
    limits: tuple[Limit, ...] = ()
    control_group: str = ""
    control_allow: tuple[str, ...] = ()
    template: ServiceSpec = ServiceSpec("", "", (), ())

    def to_json(self) -> bytes:
        """Return this request as JSON, for a process that starts the service."""
        values = self._asdict()
        values["listeners"] = [listener._asdict() for listener in self.listeners]
        values["limits"] = [list(limit) for limit in self.limits]
        values["template"] = self.template.to_json().decode()
        return json.dumps(values).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Request:
        """Rebuild what `to_json` wrote; raises ValueError or TypeError on anything else."""
        values = json.loads(data)
        for listener in values["listeners"]:
            listener["options"] = tuple((name, value) for name, value in listener["options"])
        values["listeners"] = tuple(ListenSpec(**listener) for listener in values["listeners"])
        values["limits"] = tuple(Limit(*limit) for limit in values["limits"])
        values["template"] = ServiceSpec.from_json(values["template"].encode())
        for name in ("java_arguments", "environ", "control_allow"):
            values[name] = tuple(values[name])
        return cls(**values)
