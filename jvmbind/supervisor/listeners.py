"""What is done to the listeners when a generation has ended, and what is said of those that it did not bind.

Runs in the supervisor as the service user.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from jvmbind.supervisor.log import fields_of

if TYPE_CHECKING:
    import logging
    from collections.abc import Collection

    from jvmbind.spec import ListenSpec
    from jvmbind.supervisor.generation import Generation


def set_back(listeners: Collection[tuple[ListenSpec, int]]) -> None:
    """Undo what former generations did to listeners that nobody has now; raises OSError where one is of no use any more."""
    if not listeners:
        return
    from jvmbind.posix.socket_options import restore_all  # noqa: PLC0415 - dear, and not needed before the first end

    problems = restore_all(list(listeners))
    if problems:
        raise OSError(errno.EBADFD, "; ".join(problems) + "; stop the service and start it")


def end_connections(listeners: Collection[tuple[ListenSpec, int]]) -> None:
    """End the connections of bind-only listeners that a generation has left behind."""
    if any(spec.bind_only for spec, _ in listeners):
        from jvmbind.posix.bind_only import end_orphans  # noqa: PLC0415 - for those who have such listeners

        end_orphans(listeners)


def report_unclaimed(generation: Generation | None, log: logging.Logger) -> None:
    """Say in the log which listeners the application did not bind in time."""
    if generation is None:
        return
    tried = ", ".join(generation.tried) or "none"
    for index, listener in enumerate(generation.spec.listeners):
        if index in generation.claimed or listener.of or listener.bind_only:
            continue
        address = listener.address + (f":{listener.app_port}" if listener.app_port != listener.port else "")
        log.warning(
            "listener %r (%s/%s) was not claimed within %g s; other addresses that the application bound: %s",
            listener.name,
            address,
            listener.protocol,
            generation.spec.start_timeout,
            tried,
            extra=fields_of("unclaimed", generation.number, listener.name),
        )
