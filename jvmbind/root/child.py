"""Puts a question to a child that has given every privilege up; what comes back is bytes, and is not believed.

Runs with privilege. What the child refuses it says itself, and this process ends with its status. Sources: memfd_create(2),
fcntl(2) on seals, unix(7) on SCM_RIGHTS, fork(2).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

import prctl

from jvmbind import errors
from jvmbind.errors import NotPermittedError
from jvmbind.root.drop import drop_permanently
from jvmbind.root.plan import PLAN_MAX
from jvmbind.root.process import end_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from jvmbind.spec import UserSpec

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_PATIENCE = 60.0  # seconds; the longest that a child does without a word is to ask `java` about its options
_END = 10_000  # milliseconds for a child to end that has closed its end of the socket, or finds ours closed
_STATUSES = {0, 1, 130, errors.EX_USAGE, errors.EX_UNAVAILABLE, errors.EX_OSERR, errors.EX_NOPERM, errors.EX_CONFIG}


class Channel:
    """What a child has to reach root by: it asks for files, and passes sockets that it was given by others."""

    def __init__(self, sock: socket.socket) -> None:
        """Take over the child's end."""
        self._sock = sock

    def open(self, path: str) -> int:
        """Return a descriptor for a path; does not return where root refuses, and says why."""
        self._sock.send(os.fsencode(path)[:4096])
        fds = socket.recv_fds(self._sock, 1, 1)[1]
        return fds[0] if fds else os._exit(errors.EX_OSERR)

    def send(self, fd: int) -> None:
        """Pass a socket to root, which numbers them from 0."""
        socket.send_fds(self._sock, [b"."], [fd])


def ask(
    user: UserSpec, question: Callable[[Channel], bytes], what: str, give: Callable[[str], int]
) -> tuple[bytes, tuple[int, ...]]:
    """Return what `question` answers in a child that has become `user` for good, and the descriptors that it has passed.

    The child may ask for files by their paths: `give` returns the descriptor, or raises. Raises SystemExit with the status
    of a child that has said why it refuses (0: it had nothing to refuse), NotPermittedError for one that ends otherwise.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    answer = os.memfd_create("jvmbind-plan", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    child = os.fork()  # one thread only so far: drop_permanently would refuse more
    if child == 0:
        ours.close()
        _answer(user, question, theirs, answer)
    theirs.close()
    status, patience, sent = -1, _END, list[int]()
    try:
        ours.settimeout(_PATIENCE)
        while (message := socket.recv_fds(ours, 4096, 1, socket.MSG_CMSG_CLOEXEC))[0]:
            if message[1]:
                sent += message[1]
                continue
            fd = give(os.fsdecode(message[0]))
            socket.send_fds(ours, [b"."], [fd])
            os.close(fd)
    except TimeoutError as error:  # another process of its user may have stopped it
        msg, patience = f"{what} has said nothing for {_PATIENCE:g} s", 0
        raise (error if error.errno else NotPermittedError(msg)) from None
    finally:
        ours.close()
        status = end_of(child, patience)
    try:
        fcntl.fcntl(answer, fcntl.F_ADD_SEALS, _SEALS)  # refused where anybody could still write: a mapping of the child's
        data = os.pread(answer, PLAN_MAX + 1, 0)
    finally:
        os.close(answer)
    if status not in _STATUSES:
        msg = f"{what} ended with status {status}"
        raise NotPermittedError(msg)
    if status or not data:
        sys.exit(status)
    return data, tuple(sent)


def _answer(user: UserSpec, question: Callable[[Channel], bytes], theirs: socket.socket, answer: int) -> None:
    """Be the child; never returns."""
    code = -1
    try:
        drop_permanently(user.uid, user.gid, user.groups)
        prctl.set_pdeathsig(signal.SIGKILL)  # after the drop, which takes it back: PR_SET_PDEATHSIG(2const)
        data = memoryview(question(Channel(theirs)))
        while data:
            data = data[os.write(answer, data) :]
        code = 0
    except ImportError as error:
        place = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        msg = f"{place}: user {user.name} cannot load what is there ({error}); expected a place that every user may read"
        code = errors.say(errors.ConfigurationError(msg))
    except SystemExit as end:  # the help of a command
        code = end.code if isinstance(end.code, int) else 0
    except (errors.JvmbindError, OSError, MemoryError) as error:
        from jvmbind.posix.notify_socket import tell_refusal  # noqa: PLC0415 - it has dropped

        code = errors.say(error)
        if not isinstance(error, MemoryError):
            tell_refusal(os.environ, error)
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code & 0xFF)
