"""The tables of the configuration file as keyword arguments of `jvmbind.Service` take them. Types alone."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, Protocol, SupportsIndex, TypedDict, TypeVar

from jvmbind.spec import ListenSpec

T_co = TypeVar("T_co", covariant=True)

Text = str | os.PathLike[str]
"""A path, or words that may be one."""
Seconds = float | dt.timedelta
"""A time in seconds, or a timedelta."""


class Words(Protocol[T_co]):
    """A sequence of them and no single str, which is a sequence of str to a type checker: a str holds nothing but a str."""

    def __contains__(self, item: object, /) -> bool:
        """Whether it holds an object of any type."""
        ...

    def __getitem__(self, place: SupportsIndex, /) -> T_co:
        """Return one of them."""
        ...

    def __iter__(self) -> Iterator[T_co]:
        """Return one after the other."""
        ...

    def __len__(self) -> int:
        """Return how many there are."""
        ...


class Held(Protocol):
    """What has the descriptor of a bound socket, such as a socket.socket."""

    def fileno(self) -> int:
        """Return the descriptor."""
        ...


Listen = Mapping[str, str | int | ListenSpec | Held] | Sequence[str | int | ListenSpec | Held]
"""Listeners by name, or one after the other: a number is a port, 0 any free one, a socket one that the program has bound."""
ReadyMode = Literal["accept", "listen", "connect", "notify"]
RestartPolicy = Literal["never", "on-crash", "on-failure", "always"]
ReloadMode = Literal["auto", "overlap", "restart"]
WatchdogAction = Literal["log", "dump", "restart"]
Request = Literal["status", "reload", "restart", "stop", "dump", "upgrade"]


class Java(TypedDict, total=False):
    """What is run: one of `jar`, `main`, `module`, `script`, `daemon`, `arguments`, and what belongs to it."""

    arguments: Words[Text]
    """All that stands after `java`."""
    jar: Text
    main: str
    """A main class; with `classpath`."""
    module: str
    """MODULE or MODULE/CLASS; with `modulepath`."""
    daemon: str
    """A class written for commons-daemon (jsvc)."""
    script: Words[Text]
    """A start script and its arguments, as `jvmbind wrap` runs it."""
    classpath: Text | Words[Text]
    modulepath: Text | Words[Text]
    options: Words[Text]
    """Options of the JVM, such as "-Xmx1g"."""
    args: Words[Text]
    """Arguments of the application."""
    home: Text
    """The directory of a Java runtime; default: JAVA_HOME, then `java` in PATH."""


class Backoff(TypedDict, total=False):
    """The pauses between starts."""

    first: Seconds
    max: Seconds
    waiting: Seconds
    """The longest pause while a client waits."""
    reset: Seconds
    """A life this long makes the next crash count as the first again."""


class Watchdog(TypedDict, total=False):
    """How a hung JVM is found, and what is done about it."""

    queue: Seconds
    """An accept queue that does not drain for so long; 0 is off."""
    heartbeat: Seconds
    """A JVM that does not answer for so long; 0 is off."""
    actions: Words[WatchdogAction]


class Supervise(TypedDict, total=False):
    """How the service is started, watched and ended."""

    ready: ReadyMode | str
    """When it counts as ready: a word, or the http(s) address of a probe."""
    ready_status: int
    """The HTTP status that the probe expects; 0 for any from 200 to 399."""
    start_timeout: Seconds
    stop_timeout: Seconds
    drain_timeout: Seconds
    """For the connections of a generation that a reload has replaced."""
    reload: ReloadMode
    stop_drain_timeout: Seconds
    """For the answers that are being made when the service is stopped."""
    restart: RestartPolicy
    backoff: Backoff
    start_limit: int
    standby: int
    """Generations that are started and wait at their first bind."""
    watchdog: Watchdog


class Control(TypedDict, total=False):
    """Who else may ask the service, and where."""

    socket: Text
    group: str
    allow: Words[Request]


class Security(TypedDict, total=False):
    """What the service is refused."""

    isolate_network: bool
    strict_binds: bool
    """Whether every bind and listen that is not declared is refused."""
    connect_ports: Sequence[int]
    """The TCP ports that the JVM may connect to, on any address; none where it is empty."""
    no_new_privs: bool
    limits: Mapping[str, int | str | Sequence[int | str]]
    umask: str
    """In octal digits."""
