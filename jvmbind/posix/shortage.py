"""Descriptors and memory that have run out: an answer of the kernel that says nothing about what was asked for.

Runs in the responder and in the supervisor. Whoever looks at descriptors of the application finds some closed, which is
no failure; but a look for which there was no descriptor has seen nothing, and must not be taken for one that found nothing.
Sources: dup(2), open(2), socket(2), getrlimit(2) on RLIMIT_NOFILE.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import TypeVar

    T = TypeVar("T")

SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ENOSPC})  # the last: epoll_ctl(2)


def is_shortage(error: OSError) -> bool:
    """Whether the kernel lacked something, so that trying again may have another result."""
    return error.errno in SHORTAGE


class _GoneMeanwhile:
    def __enter__(self) -> None:
        """Nothing to be done."""

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _where: TracebackType | None) -> bool:
        return isinstance(error, OSError) and not is_shortage(error)


gone_meanwhile = _GoneMeanwhile()
"""Passes over what is not there any more, or is not of the kind, but not over a shortage."""


def for_each(indexes: Iterable[T], work: Callable[[T], None]) -> None:
    """Do `work` for each, all that can be; raises the first OSError when all have had their turn."""
    failures: list[OSError] = []
    for index in indexes:
        try:
            work(index)
        except OSError as error:
            failures.append(error)
    if failures:
        raise failures[0]


def raise_own_limit() -> None:
    """Let this process have as many descriptors as it may: the soft limit of RLIMIT_NOFILE becomes the hard one.

    A JVM does so with its own (-XX:+MaxFDLimit), and the limit of a process that shares its descriptors counts from the
    same numbers.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Reserve:
    """Descriptors that are kept for the moment at which the application has used up all others."""

    def __init__(self, size: int) -> None:
        """Keep `size` descriptors, from the first `fill` on."""
        self._size = size
        self._fds: list[int] = []

    def fill(self) -> None:
        """Take what is missing, as far as there is any."""
        with contextlib.suppress(OSError):
            while len(self._fds) < self._size:
                self._fds.append(os.eventfd(0, os.EFD_CLOEXEC))

    def use(self, work: Callable[[], T]) -> T:
        """Do `work`, and once more with the reserve set free where there was a shortage; raises what that raises."""
        try:
            return work()
        except OSError as error:
            if not is_shortage(error) or not self._fds:
                raise
        fds, self._fds = self._fds, []
        for fd in fds:
            os.close(fd)
        try:
            return work()
        finally:
            self.fill()
