"""What a handle on a service raises.

Runs in the program. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jvmbind.errors import EX_TEMPFAIL, JvmbindError

if TYPE_CHECKING:
    from jvmbind.service.asynchronous import AsyncOperation
    from jvmbind.service.running import Operation
    from jvmbind.service.values import ChangeResult, Death, State


class ServiceEndedError(JvmbindError):
    """The service has ended; `status` is its exit status, as a shell shows it (128 plus the signal), -1 where it is not known."""

    def __init__(self, message: str, status: int, death: Death | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.death = death
        """How the last generation died; None where none did."""
        self.last_lines = death.last_lines if death is not None else ()


class ServiceTimeoutError(JvmbindError, TimeoutError):
    """The time is over. What was waited for may still happen: nothing was cancelled by it."""

    status = EX_TEMPFAIL

    def __init__(self, message: str, state: State, reason: str = "", operation: Operation | AsyncOperation | None = None) -> None:
        super().__init__(message)
        self.state = state
        """How the service was then."""
        self.reason = reason
        """What it waits for, or lacks, in words."""
        self.operation = operation
        """The reload, restart or dump that was waited for, None where it was none; its outcome can be asked for later."""


class OperationFailedError(JvmbindError):
    """The service did not do what it was asked for."""

    status = EX_TEMPFAIL


class ReloadFailedError(OperationFailedError):
    """A reload has failed, or could not begin; the generation that served before serves on, or is started again."""

    result: ChangeResult | None = None
    """How it ended; None where it did not begin."""


class RestartFailedError(OperationFailedError):
    """A restart has failed, or could not begin; what was running before is kept, or is started again."""

    result: ChangeResult | None = None
    """How it ended; None where it did not begin."""


class BusyError(OperationFailedError):
    """Another reload or restart is on its way, or the service ends; that one is not touched."""


class ForeignHandleError(JvmbindError):
    """The handle belongs to another process, which started the service: a forked child may not use it."""
