"""A second control socket, which root alone can reach, however many others connect to the first.

Runs in the supervisor as the service user. Connections that wait to be accepted stand in one queue a listening socket, and a
place in it goes to whoever is quickest, so root has a queue of its own. A file of the service's user would not do: every
process of that user could connect to it, whatever its mode. So this socket has no name. It is bound, opened with O_PATH,
unlinked, and only then listens; a link leads to that descriptor below /proc/PID/fd, where a process that is not dumpable lets
nobody in but who may trace it. Sources: unix(7), proc_pid_fd(5), ptrace(2) on access mode checking, open(2) on O_PATH.
"""

from __future__ import annotations

import contextlib
import os
import socket

from jvmbind.supervisor.fields import take_over

SUFFIX = ".root"  # behind the path of the control socket
_BACKLOG = 16


class RootSocket:
    """The listening socket and the link that leads to it."""

    def __init__(self, control: str, carried: tuple[int, int] | None = None) -> None:
        """Listen, and put the link beside the control socket at `control`; raises OSError.

        `carried` are the descriptors of another version in this process, which are taken over: the link leads to one of them.
        """
        self.link = control + SUFFIX
        if carried is not None:
            self.socket, self._path_fd = take_over(carried[0]), carried[1]
            return
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._path_fd = -1
        try:
            self._bind()
            self.socket.listen(_BACKLOG)
            _put_link(f"/proc/{os.getpid()}/fd/{self._path_fd}", self.link)
        except OSError:
            self.close()
            raise

    def _bind(self) -> None:
        directory = os.open(os.path.dirname(self.link), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            name = f"root-{os.urandom(8).hex()}"
            # By the descriptor, for a path of the full length that unix(7) allows has no room for a longer name.
            self.socket.bind(f"/proc/self/fd/{directory}/{name}")
            try:
                self._path_fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            finally:
                os.unlink(name, dir_fd=directory)
        finally:
            os.close(directory)

    def carried(self) -> tuple[int, int]:
        """Return the descriptors of the socket and of its name."""
        return self.socket.fileno(), self._path_fd

    def close(self) -> None:
        """Stop listening and remove the link, where it is this socket's still."""
        self.socket.close()
        if self._path_fd >= 0:
            with contextlib.suppress(OSError):
                if os.readlink(self.link) == f"/proc/{os.getpid()}/fd/{self._path_fd}":
                    os.unlink(self.link)
            os.close(self._path_fd)
            self._path_fd = -1


def _put_link(target: str, link: str) -> None:
    """Make a link in the place of whatever an earlier life of the service has left there; raises OSError."""
    fresh = f"{link}-{os.urandom(8).hex()}"
    os.symlink(target, fresh)
    try:
        try:
            os.rename(fresh, link)
        except (IsADirectoryError, NotADirectoryError):
            os.rename(link, f"{fresh}.left")
            os.rename(fresh, link)
    except OSError:
        os.unlink(fresh)
        raise
