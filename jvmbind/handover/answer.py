"""The answer to one system call of the application. Pure."""

from __future__ import annotations

from jvmbind.record import NamedTuple


class Answer(NamedTuple):
    """What the waiting thread gets: `value`, or errno `error`, or the kernel's own answer (`proceed`)."""

    value: int = 0
    error: int = 0
    proceed: bool = False


PROCEED = Answer(proceed=True)
DONE = Answer()
