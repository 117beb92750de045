"""A JVM below a wrapper script, as the worker that runs the script sees it.

Runs in that worker, as the service user. Must not import jpype. Sources: pidfd_open(2), linux/pidfd.h.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys

from jvmbind.posix.signals import Disposition, disposition
from jvmbind.wire import Connections

_PIDFD_GET_INFO = 0xC040FF0B  # _IOWR(0xFF, 11, struct pidfd_info), 64 bytes: linux/pidfd.h
_PIDFD_INFO_EXIT = 8  # since Linux 6.15: the status of a process that its parent has reaped
_INFO_SIZE = 64


def exit_status(pidfd: int) -> int | None:
    """Return how a process that its parent has reaped ended, as waitpid(2) has it; None where this kernel does not tell."""
    info = bytearray(_INFO_SIZE)
    info[:8] = _PIDFD_INFO_EXIT.to_bytes(8, sys.byteorder)
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info)
    except OSError:
        return None
    if not int.from_bytes(info[:8], sys.byteorder) & _PIDFD_INFO_EXIT:
        return None
    return int.from_bytes(info[60:64], sys.byteorder)


class Java:
    """One `jvmbind java` that was given the listeners: its process, its connection, and the pipe that it dies with."""

    def __init__(self, connection: socket.socket, pid: int, lifeline: int) -> None:
        """Take over the descriptors; raises ProcessLookupError where the process has ended."""
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.connection = connection
        self.serves = False  # it has bound a declared address, or waits to
        self.main_runs = False
        self._dump_waits = False  # SIGQUIT came before the JVM could answer it
        self.connections = Connections(0, 0, 0, 0)
        self.ended = False
        self._lifeline = lifeline
        self.folder = ""
        try:
            self.folder = os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            return

    def kill(self, number: int) -> None:
        """Send a signal; nothing happens where the process has ended."""
        if not self.ended:
            try:
                signal.pidfd_send_signal(self.pidfd, number)
            except ProcessLookupError:
                return

    def pass_on(self, number: int) -> None:
        """Send a signal that is the application's business.

        A request for a thread dump waits until the JVM can answer it; by any other it ends where nobody handles it.
        """
        if number != signal.SIGQUIT:
            self.kill(number)
        elif self.main_runs:
            self._ask_for_dump()
        else:
            self._dump_waits = True

    def begin_main(self) -> None:
        """Note that the application's main runs."""
        self.main_runs = True
        if self._dump_waits:
            self._dump_waits = False
            self._ask_for_dump()

    def _ask_for_dump(self) -> None:
        """Send SIGQUIT, unless the JVM would end by it: with -Xrs."""
        if disposition(self.pid, signal.SIGQUIT) == Disposition.CAUGHT:
            self.kill(signal.SIGQUIT)

    def status(self) -> int | None:
        """Return how the process ended, as waitpid(2) has it; None where this kernel does not tell.

        It is known once the parent, which is some shell, has reaped it.
        """
        return exit_status(self.pidfd)

    def end(self) -> None:
        """Note the end of the process; the pidfd is kept for `status`."""
        self.ended = True
        self.connection.close()
        os.close(self._lifeline)

    def tell(self, packet: bytes) -> None:
        """Pass on what the supervisor says."""
        try:
            self.connection.send(packet, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            return  # it has ended, or will see the next one
