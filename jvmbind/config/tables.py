"""The tables of the configuration file as keyword arguments of `jvmbind.Service` take them. Types alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Java(TypedDict, total=False):
    """The table [java] of the configuration file."""

    arguments: Sequence[str]
    jar: str
    main: str
    module: str
    daemon: str
    script: Sequence[str]
    classpath: str | Sequence[str]
    modulepath: str | Sequence[str]
    options: Sequence[str]
    args: Sequence[str]
    home: str


class Backoff(TypedDict, total=False):
    """The table [supervise.backoff], in seconds."""

    first: float
    max: float
    waiting: float
    reset: float


class Watchdog(TypedDict, total=False):
    """The table [supervise.watchdog], times in seconds."""

    queue: float
    heartbeat: float
    actions: Sequence[str]


class Supervise(TypedDict, total=False):
    """The table [supervise], times in seconds."""

    ready: str
    ready_status: int
    start_timeout: float
    stop_timeout: float
    drain_timeout: float
    reload: str
    stop_drain_timeout: float
    restart: str
    backoff: Backoff
    start_limit: int
    standby: int
    watchdog: Watchdog


class Control(TypedDict, total=False):
    """The table [control]."""

    socket: str
    group: str
    allow: Sequence[str]


class Security(TypedDict, total=False):
    """The table [security]."""

    isolate_network: bool
    strict_binds: bool
    no_new_privs: bool
    limits: Mapping[str, int | str | Sequence[int | str]]
    umask: str
