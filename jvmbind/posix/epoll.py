"""Which epoll instances watch a descriptor, and the calls to move such a registration to another open file.

Runs in the worker. An epoll instance knows a registration by descriptor number and open file (epoll(7), Q1 and Q6), so
replacing the file behind a number loses its events without a word. Source: proc(5), "tfd:" lines of /proc/PID/fdinfo.
"""

from __future__ import annotations

import ctypes
import os
import struct

from jvmbind.posix.shortage import gone_meanwhile
from jvmbind.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from collections.abc import Set as AbstractSet

_CTL_ADD = 1
_CTL_DEL = 2
_IN, _ONESHOT = 1, 1 << 30
# struct epoll_event is packed on x86-64 alone: linux/eventpoll.h
_EVENT = struct.Struct("=IQ" if os.uname().machine == "x86_64" else "=I4xQ")


class Registration(NamedTuple):
    """One line of an epoll instance: the instance, the descriptor that it watches, the events, the user's data.

    `inode` is that of the watched file, -1 where the kernel does not say.
    """

    epoll: int
    fd: int
    events: int
    data: int
    inode: int = -1


def registrations(fds: Collection[int], skip: AbstractSet[str] = frozenset()) -> list[Registration]:
    """Return every registration of one of `fds` in the epoll instances of this process.

    `skip` holds names in /proc/self/fd that are known to be none. The listing costs about a microsecond a descriptor.
    Raises OSError for a shortage: what was not seen would be lost.
    """
    found = []
    for name in set(os.listdir("/proc/self/fd")) - skip:
        with gone_meanwhile:
            if os.readlink(f"/proc/self/fd/{name}") == "anon_inode:[eventpoll]":
                found += [reg for reg in _of_instance(int(name)) if reg.fd in fds]
    return found


def parse_line(epoll: int, line: str) -> Registration | None:
    """Parse one line of an epoll instance's fdinfo: `tfd: N events: HEX data: HEX pos:N ino:HEX sdev:HEX`."""
    words = line.split()
    if len(words) < 6 or words[0] != "tfd:":
        return None
    inode = next((int(word[4:], 16) for word in words[6:] if word.startswith("ino:")), -1)
    return Registration(epoll, int(words[1]), int(words[3], 16), int(words[5], 16), inode)


def again(registration: Registration) -> Registration | None:
    """Return a registration as it is now, None where it is gone; raises OSError for a shortage."""
    key = (registration.fd, registration.inode)
    with gone_meanwhile:
        return next((reg for reg in _of_instance(registration.epoll) if (reg.fd, reg.inode) == key), None)
    return None


def _of_instance(epoll: int) -> list[Registration]:
    """Return all registrations of one epoll instance; raises OSError."""
    with open(f"/proc/self/fdinfo/{epoll}", encoding="ascii") as lines:
        return [reg for line in lines if (reg := parse_line(epoll, line))]


def remove(libc: ctypes.CDLL, registration: Registration) -> None:
    """Take the registration out; it may be gone already."""
    libc.epoll_ctl(registration.epoll, _CTL_DEL, registration.fd, None)


def add(libc: ctypes.CDLL, registration: Registration) -> None:
    """Register the descriptor again, for the open file that it names now; raises OSError.

    One that was disarmed after its event (EPOLLONESHOT) may have been armed anew since it was read, so it is armed: at
    worst its owner finds nothing to accept.
    """
    events = registration.events
    if events & _ONESHOT:
        events |= _IN
    event = ctypes.create_string_buffer(_EVENT.pack(events, registration.data), _EVENT.size)
    if libc.epoll_ctl(registration.epoll, _CTL_ADD, registration.fd, event) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
