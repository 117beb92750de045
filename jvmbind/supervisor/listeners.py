"""What is done to the listeners when a generation has ended.

Runs in the supervisor as the service user.
"""

from __future__ import annotations

import errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from jvmbind.spec import ListenSpec


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
