"""One listener of a worker: what it is, on which descriptors the application has it, and what stands in its place.

Runs in the responder. Which descriptor is the listener is asked of the kernel each time (its inode): the application may have
closed or reused the number. Sources: fstat(2), dup(2).
"""

from __future__ import annotations

import os

from jvmbind.handover.sockets import inode_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jvmbind.handover.idle import Idle
    from jvmbind.spec import ListenSpec


class Listener:
    """A bound socket with its specification, and what became of it. Two are the same if they are one object."""

    def __init__(self, number: int, spec: ListenSpec, fd: int, *, as_bound: bool = False) -> None:
        """Know of no descriptor of the application's yet. `number` is its place among the worker's, for messages."""
        self.number = number
        self.spec = spec
        self.fd = fd
        self.inode = os.fstat(fd).st_ino
        self.declared = self  # the listener that was declared, where this is a further socket of it
        self.other: Listener | None = None  # the socket of the other IP version
        self.as_bound = as_bound  # nobody has had it since it was bound, or set back to that
        self.claimed = False  # the application has had it
        self.of_an_agent = False  # first bound while the JVM started
        self.placeholder: Idle | None = None  # the idle socket that stands in for it
        self.asleep = False  # a thread may still wait by the open file that was there before the placeholder
        self.unreachable = False  # no connection of our own wakes such a thread
        self._own_inode = self.inode  # of the application's own Unix socket in its place
        self._fds: list[int] = []

    def fds(self) -> list[int]:
        """Return the application's descriptors of it that it has not closed, and forget the others."""
        inodes = self.inodes()
        self._fds = [fd for fd in self._fds if inode_of(fd) in inodes]
        return self._fds

    def last_known_fds(self) -> list[int]:
        """Return the same without a question to the kernel."""
        return self._fds

    def inodes(self) -> set[int]:
        """Return the inodes that count as this listener: itself, and what stands in for it."""
        found = {self.inode, self._own_inode}
        return found if self.placeholder is None else {*found, self.placeholder.inode}

    def fd_now(self) -> int:
        """Return the descriptor to be given at this moment: the listener, or what stands in for it."""
        return self.fd if self.placeholder is None else self.placeholder.fd

    def add(self, fd: int) -> None:
        """Note a descriptor of the application's that is the listener already."""
        self._fds.append(fd)

    def add_own(self, fd: int) -> None:
        """Note the application's own socket, which it has in the place of the listener."""
        self._own_inode = inode_of(fd)
        self._fds.append(fd)


def listeners_of(specs: Sequence[ListenSpec], fds: Sequence[int], *, as_bound: bool = False) -> list[Listener]:
    """Return the listeners of a worker, each of which knows to which it belongs, and its pair of the other IP version."""
    made = [Listener(number, spec, fd, as_bound=as_bound) for number, (spec, fd) in enumerate(zip(specs, fds, strict=True))]
    by_name = {one.spec.name: one for one in reversed(made)}
    for one in made:
        declared = by_name.get(one.spec.of) if one.spec.of else None
        if declared is None:
            continue
        one.declared = declared
        if one.spec.ipv4 and not one.spec.bind_only:
            one.other, declared.other = declared, one
    return made
