"""Makes descriptors of the application name other open files, with the epoll registrations that they had.

Runs in the responder. An epoll instance knows a registration by descriptor number and open file (epoll(7), Q1 and Q6), so
whoever replaces the file behind a number moves its registrations as well. To find them costs a look at every descriptor of
the process, and there may be many thousands: several moves share it. Sources: dup(2), epoll(7).
"""

from __future__ import annotations

import contextlib
import os

from jvmbind.handover.sockets import inode_of
from jvmbind.posix import epoll
from jvmbind.posix.shortage import gone_meanwhile
from jvmbind.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
    from collections.abc import Callable, Iterable, Sequence
    from collections.abc import Set as AbstractSet

AT_ONCE = 16
"""Moves that share a search; each keeps one descriptor for that time."""

_ROUNDS = 5  # should the application make new registrations all the time


class Move(NamedTuple):
    """A descriptor that is to name what `by` names, where it is one of the `expected` inodes.

    The application may have closed it meanwhile, and got its number for another file: nothing is done then.
    """

    fd: int
    by: int
    expected: AbstractSet[int]


def move(moves: Sequence[Move], libc: ctypes.CDLL, listeners: Callable[[], AbstractSet[str]]) -> dict[int, OSError]:
    """Make all moves that can be made; return what the kernel said of the others, by descriptor.

    `listeners` returns the names in /proc/self/fd that are known to be no epoll instances.
    """
    failures: dict[int, OSError] = {}
    for begin in range(0, len(moves), AT_ONCE):
        _move(moves[begin : begin + AT_ONCE], libc, listeners, failures)
    return failures


def _move(
    moves: Sequence[Move], libc: ctypes.CDLL, listeners: Callable[[], AbstractSet[str]], failures: dict[int, OSError]
) -> None:
    """Move registrations and descriptors.

    A registration lives on as long as any process holds the open file that it was made for, so it is deleted first. One
    that the application makes for the former file meanwhile would be lost: it is looked for, and moved as well.
    """
    formers: dict[int, int] = {}
    try:
        for one in moves:
            try:
                with gone_meanwhile:
                    formers[one.fd] = os.dup(one.fd)
            except OSError as error:
                failures[one.fd] = error
        left = [one for one in moves if one.fd in formers and inode_of(formers[one.fd]) in one.expected]
        for last in [False] * _ROUNDS + [True]:
            try:
                watched = epoll.registrations({one.fd for one in left}, listeners()) if left else []
            except OSError as error:
                failures |= dict.fromkeys((one.fd for one in left), error)
                return
            left = [one for one in left if _exchange(one, [reg for reg in watched if reg.fd == one.fd], libc, failures)]
            if last or not left:
                return
            late: set[int] = set()
            with contextlib.suppress(OSError):  # done; a shortage since the first search is not to undo it
                inodes = {one.fd: inode_of(one.by) for one in left}
                found = epoll.registrations(inodes, listeners())
                late = {reg.fd for reg in found if reg.inode not in {inodes[reg.fd], -1}}
            left = [one for one in left if one.fd in late and inode_of(one.fd) == inode_of(one.by)]
            for one in left:
                os.dup2(formers[one.fd], one.fd, inheritable=False)  # what is registered for `by` stays so, by its number
    finally:
        for former in formers.values():
            os.close(former)


def _exchange(one: Move, watched: Iterable[epoll.Registration], libc: ctypes.CDLL, failures: dict[int, OSError]) -> bool:
    """Make one move; return whether the descriptor names the other file now."""
    removed: list[epoll.Registration] = []
    try:
        try:
            for found in watched:
                registration = epoll.again(found)
                if registration is not None:
                    epoll.remove(libc, registration)
                    removed.append(registration)
            if inode_of(one.fd) not in one.expected:
                return False
            os.dup2(one.by, one.fd, inheritable=False)
        except OSError:
            register(removed, libc)  # `fd` names what it named
            raise
        register(removed, libc)
    except OSError as error:
        failures[one.fd] = error
        return False
    return True


def register(registrations: Iterable[epoll.Registration], libc: ctypes.CDLL) -> None:
    """Register descriptors again, all that can be; raises OSError for a shortage."""
    failure: OSError | None = None
    for registration in registrations:
        try:
            with gone_meanwhile:  # or the application has registered it itself meanwhile
                epoll.add(libc, registration)
        except OSError as error:
            failure = error
    if failure is not None:
        raise failure
