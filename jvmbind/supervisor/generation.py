"""One generation: the life of one worker, as its supervisor sees it.

Runs in the supervisor as the service user. What a worker says is checked (jvmbind.wire) and changes no decision but
how far this generation has come.
"""

from __future__ import annotations

import contextlib
import os
import select
import time

from jvmbind import wire
from jvmbind.bare import signal, socket
from jvmbind.errors import printable
from jvmbind.posix.passed_files import reading
from jvmbind.posix.signals import Disposition, disposition
from jvmbind.supervisor.output import Output
from jvmbind.supervisor.quota import Quota

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from jvmbind.spec import ServiceSpec
    from jvmbind.supervisor.starting import Started

_TRIED_MAX = 20
_OF_A_LISTENER = wire.Claimed | wire.Listening | wire.TooWide | wire.Hidden
_RESPONDERS_MAX = 16  # below a script there may be several JVMs
_RESPONDERS_PATIENCE = 1.0  # seconds; the kernel kills a responder with its worker
_TRIES = 3
_MESSAGES = 4096, 500  # at once, then a second
_REPORTED = 100, 1  # of those that lead to a line of the log or to the service manager
_PAUSE = 0.05  # seconds
_MESSAGES_MAX = 256  # in one turn: a worker that never stops talking must not keep the supervisor from the rest


def excusing(spec: ServiceSpec, names: Collection[str]) -> ServiceSpec:
    """Return `spec` with these listeners optional: the generation before serves without them, and so may this one."""
    return spec._replace(listeners=tuple(one._replace(optional=one.optional or one.name in names) for one in spec.listeners))


class Generation:
    """A started worker: its process, its socket, and how far it has come."""

    def __init__(self, number: int, spec: ServiceSpec, started: Started, excused: Collection[str] = ()) -> None:
        """Follow a worker that was started with `excusing(spec, excused)`."""
        self.number = number
        self.excused = {one.name for one in spec.listeners if one.required and one.name in excused}
        self.spec = excusing(spec, excused)
        self.process = started.process
        self.socket = started.socket
        self.started = started.at
        self.main_runs = False
        self.notified = False
        self.waiting = False
        self.claimed: set[int] = set()
        self.listening: set[int] = set()
        self.hidden: dict[int, int] = {}  # listener -> the port of the idle socket in its place
        self.tried: list[str] = []
        self.too_wide: dict[int, float] = {}  # listener -> when a narrower address than its own was refused
        self.unnoted: list[int] = []  # listeners that it has claimed since somebody last asked
        self.binds = False  # its main has bound a port, of a listener or another TCP port
        self.status_text = ""
        self.connections = 0, 0  # while it is drained: how many, and on how many a request is in work
        self.callbacks = 0  # while it is drained: in how many JVMs those of the Java API have not returned yet
        self.output = Output()
        self.last_heartbeat = 0.0
        self._messages = Quota(*_MESSAGES)
        self._reported = Quota(*_REPORTED)
        self.paused_until = 0.0  # its messages wait, and so does it
        self._responders: dict[int, int] = {}  # pid -> pidfd

    @property
    def has_claimed_all(self) -> bool:
        """Whether every listener that is not optional is in the application's hands, and main runs."""
        return self.main_runs and all(i in self.claimed for i, listener in enumerate(self.spec.listeners) if listener.required)

    @property
    def listens_on_all(self) -> bool:
        """Whether the application listens on each listener that takes connections, besides having claimed all."""
        return self.has_claimed_all and all(
            i in self.listening for i, listener in enumerate(self.spec.listeners) if listener.listens and listener.required
        )

    @property
    def would_accept(self) -> bool:
        """Whether a client would be accepted, by what the specification's way of being ready goes by."""
        if self.spec.ready == "notify":
            return self.main_runs and self.notified
        if self.spec.ready == "listen" or all(listener.bind_only for listener in self.spec.listeners):
            return self.listens_on_all
        return self.listens_on_all and self.waiting

    @property
    def cannot_say_drained(self) -> bool:
        """Whether nobody is there to say that it is drained: no JVM yet, or a script without a listener to ask for."""
        return not self.main_runs or bool(self.spec.script and not self.spec.listeners)

    @property
    def serves(self) -> bool:
        """Whether clients can come to it on at least one listener."""
        listeners = enumerate(self.spec.listeners)
        return self.main_runs and any(
            i in (self.listening if one.listens else self.claimed) for i, one in listeners if not one.bind_only
        )

    def messages(self) -> list[wire.Message]:
        """Return what the worker has said since the last call; raises ValueError on what no worker of ours says."""
        found: list[wire.Message] = []
        dear = False  # it passes files along, which take long to close
        for _ in range(_MESSAGES_MAX):
            if dear:
                return found
            if not self._messages.take():
                self.paused_until = time.monotonic() + _PAUSE
                return found
            try:
                with reading() as cost:
                    packet = self.socket.recv(wire.MAX_SIZE + 1)
                if cost.pause:
                    self.paused_until, dear = time.monotonic() + cost.pause, True
            except BlockingIOError:
                return found
            except ConnectionResetError:
                packet = b""
            except OSError:
                if found:
                    return found  # what was read is not lost, and the rest stays readable
                raise
            if not packet:
                self.close()
                return found
            message = wire.decode(packet)
            if isinstance(message, wire.Tried | wire.Note | wire.Status):
                # A worker may be hijacked, and its text reaches logs, terminals and the service manager.
                message = message._replace(text=printable(message.text))
            if isinstance(message, _OF_A_LISTENER) and message.listener >= len(self.spec.listeners):
                msg = f"a message about listener {message.listener} of {len(self.spec.listeners)}"
                raise ValueError(msg)
            self._remember(message)
            if isinstance(message, wire.Claimed | wire.Tried | wire.Note | wire.Status) and not self._reported.take():
                continue  # remembered, but a worker does not fill the log
            found.append(message)
        return found

    def _remember(self, message: wire.Message) -> None:
        if isinstance(message, wire.Main):
            self.main_runs = True
        elif isinstance(message, wire.ResponderStarted):
            self._note_responder(message.pid)
        elif isinstance(message, wire.Claimed):
            self.claimed.add(message.listener)
            self.binds = self.binds or self.main_runs
            self.unnoted.append(message.listener)
        elif isinstance(message, wire.Listening):
            self.listening.add(message.listener)
        elif isinstance(message, wire.TooWide):
            self.too_wide.setdefault(message.listener, time.monotonic())
        elif isinstance(message, wire.Hidden):
            self.hidden[message.listener] = message.port
        elif isinstance(message, wire.Waiting):
            self.waiting = True
        elif isinstance(message, wire.Notified):
            self.notified = True
        elif isinstance(message, wire.Connections):
            self.connections = message.total, min(message.busy, message.total)
            self.callbacks = message.callbacks
        elif isinstance(message, wire.Heartbeat):
            self.last_heartbeat = time.monotonic()
        elif isinstance(message, wire.Status):
            self.status_text = message.text
        elif isinstance(message, wire.Tried):
            address, _, what = message.text.partition(": ")
            self.binds = self.binds or (self.main_runs and address.endswith("/tcp") and "refused" not in what)
            if message.text not in self.tried and len(self.tried) < _TRIED_MAX:
                self.tried.append(message.text)

    def say(self, command: wire.Command) -> None:
        """Send a command; a worker that has ended or reads nothing is not waited for.

        A command that is lost would leave a generation parked or drained for ever: it is sent again where the kernel
        refuses it for a reason of its own, and a worker that cannot be told is ended.
        """
        if self.socket.fileno() < 0:
            return
        for _ in range(_TRIES):
            try:
                self.socket.send(wire.encode(command), socket.MSG_NOSIGNAL)
            except (BrokenPipeError, ConnectionResetError, BlockingIOError):
                return
            except OSError:
                continue
            else:
                return
        self.process.kill(signal.SIGKILL)

    @property
    def responders(self) -> Collection[int]:
        """The processes that answer for this generation's JVMs, and hold no file that these do not hold."""
        return self._responders.keys()

    def _note_responder(self, pid: int) -> None:
        poll = select.poll()
        for pidfd in self._responders.values():
            poll.register(pidfd, select.POLLIN)
        ended = {pidfd for pidfd, _ in poll.poll(0)}  # that of a helper of a script
        for known, pidfd in list(self._responders.items()):
            if pidfd in ended:
                del self._responders[known]
                os.close(pidfd)
        if len(self._responders) < _RESPONDERS_MAX and pid not in self._responders:
            with contextlib.suppress(OSError):  # no such process: it has ended
                self._responders[pid] = os.pidfd_open(pid)

    def wait_until_released(self) -> None:
        """Wait until all is closed that a worker, which has ended, had open: its responder shares its descriptors.

        The next generation may bind the ports, and lock the files, that the worker had. A worker is not believed: for
        one that named another process this does not wait any longer either.
        """
        deadline = time.monotonic() + _RESPONDERS_PATIENCE
        for pidfd in self._responders.values():
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
            os.close(pidfd)
        self._responders.clear()

    def kill(self, number: int, *, by_key: bool = False) -> None:
        """Send a signal to the worker, which is told first of one that lets the application end.

        What a key of the terminal sends reaches the children of a JVM too, as under `java`. The worker of a wrapper script
        passes it on by itself.
        """
        if number in {signal.SIGTERM, signal.SIGINT}:
            self.say(wire.Ending())
        if by_key and not self.spec.script:
            self.process.kill_group(number)
        else:
            self.process.kill(number)

    def ask_for_dump(self) -> str:
        """Send the signal for a thread dump, unless the JVM would end by it; return why not, or "".

        One that is not up yet has no handler, and one with -Xrs never has. Below a script each JVM is looked at there.
        """
        if not self.main_runs:
            return f"no thread dump of generation {self.number}: its JVM is not up yet"
        if not self.spec.script and disposition(self.process.pid, signal.SIGQUIT) != Disposition.CAUGHT:
            return f"no thread dump of generation {self.number}: its JVM does not handle SIGQUIT (-Xrs)"
        self.process.kill(signal.SIGQUIT)
        return ""

    def close(self) -> None:
        """Close the socket to the worker."""
        with reading():
            self.socket.close()
