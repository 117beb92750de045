"""`jvmbind.connect`: a handle on a service that runs already, whoever started it.

Runs in the program, and asks over the control socket as `jvmbind status` and its kin do: the supervisor decides by the
kernel's word who asks. Each question is a connection of its own, so that a handle needs no descriptor but a pidfd.
"""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING, Any, Self

from jvmbind.cli.control import BusyRefusedError, RefusedError, ask, find
from jvmbind.errors import ArgumentTypeError, PortUnavailableError
from jvmbind.service.calls import check_states, seconds
from jvmbind.service.failures import ServiceEndedError, ServiceTimeoutError
from jvmbind.service.operations import Outcome
from jvmbind.service.values import Status

if TYPE_CHECKING:
    from jvmbind.config.tables import Seconds
    from jvmbind.service.operations import OperationKind
    from jvmbind.service.values import ChangeResult, State

_SILENCE = 30.0  # seconds
_PAUSES = 0.05, 0.5  # seconds between two looks, the first and the longest


def connect(name: str | os.PathLike[str] | None = None) -> ConnectedService:
    """Return a handle on a running service: by its name, by the path of its control socket, or on the only one.

    Raises PortUnavailableError where no such service runs, UsageError where several do and no name is given, and
    NotPermittedError where it may not be asked by this user.
    """
    if name is not None and not isinstance(name, str | os.PathLike):
        raise ArgumentTypeError(f"name: expected the name of a service, got {name!r} ({type(name).__name__})", "name")
    given = None if name is None else os.fspath(name)
    return ConnectedService(find(given), found_by_name=given is None or "/" not in given)


class ConnectedService:
    """A service that this handle did not start. As a context manager it only closes the handle: the service runs on."""

    def __init__(self, path: str, *, found_by_name: bool) -> None:
        """`connect` makes it."""
        self._path, self._found_by_name = path, found_by_name
        self._pidfd = -1
        status = self.status()
        self._name, self._pid, self._exit_status = status.name, status.pid, -1
        try:
            self._pidfd = os.pidfd_open(status.pid)
        except OSError as error:
            raise self._ended() from error

    @property
    def name(self) -> str:
        """The service's name."""
        return self._name

    @property
    def pid(self) -> int:
        """The supervisor's process."""
        return self._pid

    @property
    def state(self) -> State:
        """How it is now: asks the supervisor; raises SystemFailureError where that does not answer."""
        return "ended" if self._has_ended() else self.status().state

    def status(self, timeout: Seconds = _SILENCE) -> Status:
        """Return all that `jvmbind status --json` shows; raises ServiceEndedError, NotPermittedError, SystemFailureError."""
        patience = seconds("timeout", timeout, _SILENCE)
        try:
            return Status.from_json(ask(self._path, "status", patience, found_by_name=self._found_by_name))
        except (PortUnavailableError, RefusedError) as error:
            if self._pidfd < 0:
                raise
            raise self._ended() from error

    def wait_for(self, *states: State, timeout: Seconds | None = None) -> State:
        """Wait until a look at the service finds it in one of `states`, and return which.

        It looks twice a second at least, and may miss a state that is over sooner. Raises ServiceTimeoutError after
        `timeout` seconds (default: never), ServiceEndedError unless "ended" is among the states.
        """
        check_states(states)
        patience = seconds("timeout", timeout)
        until, pause = None if patience is None else time.monotonic() + patience, _PAUSES[0]
        while True:
            status = self._look()
            if status.state in states:
                return status.state
            if status.state == "ended":
                raise self._ended()
            if until is not None and time.monotonic() >= until:
                reason = status.not_ready or status.waits_for
                text = f"service {self._name!r} is not {' or '.join(states)} within {patience:g} s; it is {status.state}: {reason}"
                raise ServiceTimeoutError(text, status.state, reason)
            self._wait_for_end(min(pause, max(0.0, until - time.monotonic())) if until is not None else pause)
            pause = min(2 * pause, _PAUSES[1])

    def wait_ready(self, timeout: Seconds = 60.0) -> None:
        """Wait until clients are served; raises ServiceTimeoutError, ServiceEndedError."""
        self.wait_for("ready", "reloading", timeout=timeout)

    def wait(self, timeout: Seconds | None = None) -> None:
        """Wait for the end of the service; its exit status is known to who started it. Raises ServiceTimeoutError."""
        patience = seconds("timeout", timeout)
        if not self._wait_for_end(patience):
            text = f"service {self._name!r} has not ended within {patience:g} s"
            raise ServiceTimeoutError(text, self._look().state)

    def reload(self, timeout: Seconds | None = None) -> ChangeResult:
        """Start a new generation beside the old one, and wait until it serves or has failed.

        A time-out is looked at every two seconds. Raises BusyError, ReloadFailedError, ServiceTimeoutError,
        ServiceEndedError, NotPermittedError, SystemFailureError.
        """
        return self._change("reload", timeout)

    def restart(self, timeout: Seconds | None = None) -> ChangeResult:
        """Check what is to run, end the serving generation, and wait until the next one serves: see `reload`."""
        return self._change("restart", timeout)

    def dump(self, timeout: Seconds | None = None) -> None:
        """Have the JVM write a thread dump to the service's output, and wait until it is there: see `reload`."""
        self._change("dump", timeout)

    def stop(self, timeout: Seconds | None = None) -> int:
        """Stop the service, wait for its end and return its exit status; one that has ended is -1.

        Raises ServiceTimeoutError, NotPermittedError, SystemFailureError.
        """
        seconds("timeout", timeout)
        if self._has_ended():
            return self._exit_status
        try:
            answer = self._ask("stop", timeout)
        except (PortUnavailableError, RefusedError):
            if not self._wait_for_end(_SILENCE):
                raise
            return self._exit_status
        self._exit_status = int(answer["status"])
        self._wait_for_end(_SILENCE)
        return self._exit_status

    def fileno(self) -> int:
        """Return a pidfd, which is readable once the service has ended; raises ValueError when the handle is closed."""
        if self._pidfd < 0:
            msg = "the handle is closed"
            raise ValueError(msg)
        return self._pidfd

    def close(self) -> None:
        """Close the handle; the service runs on."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def __repr__(self) -> str:
        """Return what it is."""
        return f"<{type(self).__name__} {self._name!r}, pid={self._pid}>"

    def _look(self) -> Status:
        if not self._has_ended():
            try:
                return self.status()
            except ServiceEndedError:
                self._wait_for_end(_SILENCE)
        return Status(self._name, self._pid, "ended")

    def _has_ended(self) -> bool:
        return self._wait_for_end(0)

    def _wait_for_end(self, seconds: float | None) -> bool:
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        return bool(poll.poll(None if seconds is None else seconds * 1000))

    def _ask(self, word: str, timeout: Seconds | None) -> dict[str, Any]:
        patience = seconds("timeout", timeout)
        until = None if patience is None else time.monotonic() + patience

        def progress(reason: str) -> None:
            if until is not None and time.monotonic() >= until:
                text = f"service {self._name!r} has not finished the {word} within {patience:g} s: it waits {reason}"
                raise ServiceTimeoutError(text, self.status().state, reason)

        return ask(self._path, word, found_by_name=self._found_by_name, progress=progress)

    def _change(self, kind: OperationKind, timeout: Seconds | None) -> ChangeResult:
        outcome = Outcome(0, kind)
        try:
            outcome.take({"ok": True, **self._ask(kind, timeout)})
        except RefusedError as error:
            if self._wait_for_end(0):
                raise self._ended() from error
            text = str(error).removeprefix(f"{kind}: ")
            outcome.take({"ok": False, "error": text, "busy": isinstance(error, BusyRefusedError)})
        except PortUnavailableError as error:
            raise self._ended() from error
        return outcome.change()

    def _ended(self) -> ServiceEndedError:
        return ServiceEndedError(f"service {getattr(self, '_name', self._path)!r} has ended", -1)
