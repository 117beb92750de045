"""The program that started this service by `jvmbind.Service`: what it asks for, and what it is told.

Runs in the supervisor as the service user. They speak on a pair of sockets without a name, which nobody else has: who holds
the other end may ask for everything, as the parent of this process may. A request is `NUMBER WORD`, a word of the control
socket's, or `reload-to`, with which the new version comes in a memory file, and sockets of its listeners behind it; its
answers carry the number. An event carries all that counts of the state, so that one which was lost (a program
that reads nothing is not waited for) leaves nothing wrong once the next has come.
Sources: unix(7) on SCM_RIGHTS, pidfd_open(2).
"""

from __future__ import annotations

import array
import json
import os
import socket
import time

from jvmbind.lifecycle import Timer
from jvmbind.supervisor.control import COMMANDS
from jvmbind.supervisor.waiting import not_ready, waits_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jvmbind.lifecycle import State
    from jvmbind.posix.notify import Notifier
    from jvmbind.supervisor.actions import Actions
    from jvmbind.supervisor.crash import Death

_REQUEST_MAX = 64
_AT_ONCE = 16  # requests between two looks at everything else
_UNREAD = 64  # messages that the program has not read yet, above which no request of it is taken
DIE_WITH = "die-with"  # comes with a pidfd: the service ends with that process
RELOAD_TO = "reload-to"
_FDS_MAX = 253  # of one packet: SCM_MAX_FD, unix(7)


class Program:
    """The other end of the connection, if there is one."""

    def __init__(self, notifier: Notifier) -> None:
        """Nothing was asked for and nothing told."""
        self._notifier = notifier
        self._socket: socket.socket | None = notifier.program
        self._is_there = self._socket is not None
        self._watched = -1  # a pidfd
        self._told: object = None
        self._number = 0  # of the last event
        self._death: Death | None = None  # the last one that was told
        self._change: dict[str, Any] | None = None
        self._answers: list[str] = []

    def resume(self, world: Actions, death: int, *, change_was_told: bool) -> None:
        """Go on where another version has ended: it has told the death of that place (-1: none), and the last change or not."""
        self._death = world.deaths[death] if death >= 0 else None
        self._change = world.changes.last if change_was_told else None

    def fds(self) -> list[int]:
        """Return the descriptors to wait for."""
        found = [self._watched] if self._watched >= 0 else []
        if self._is_there and self._socket is not None and self._notifier.unread < _UNREAD:
            found.append(self._socket.fileno())
        return found

    def has_died(self, ready: set[int]) -> bool:
        """Whether the process with which the service is to end has ended; said once."""
        if self._watched < 0 or self._watched not in ready:
            return False
        os.close(self._watched)
        self._watched = -1
        return True

    def requests(self, ready: set[int]) -> list[tuple[int, str, list[int]]]:
        """Return what is asked for: the number of the request, the word, and the descriptors that it came with."""
        found: list[tuple[int, str, list[int]]] = []
        if self._socket is None or self._socket.fileno() not in ready:
            return found
        for _ in range(_AT_ONCE):
            try:
                data, fds = _receive(self._socket)
            except BlockingIOError:
                break
            except OSError:
                data, fds = b"", []
            if not data:
                self._is_there = False  # its last holder has closed it, or ended
            number, _, word = data.decode("ascii", "replace").partition(" ")
            if word == DIE_WITH and fds and self._watched < 0:
                self._watched = fds.pop()
            elif number.isdecimal() and word == RELOAD_TO:
                found.append((int(number), word, fds))
                continue
            elif number.isdecimal() and word in COMMANDS:
                found.append((int(number), word, []))
            for fd in fds:
                os.close(fd)
            if not data:
                break
        return found

    def reply(self, number: int) -> Reply:
        """Return what answers one request, once the state that the answer tells of has been told."""
        return Reply(self._answers, number)

    def tell(self, world: Actions, state: State) -> None:
        """Tell what has happened since the last call, then give the answers to what was asked meanwhile."""
        answers = self._answers[:]
        self._answers.clear()
        if not self._is_there:
            return
        deaths = world.deaths
        known = next((place for place, one in enumerate(deaths, 1) if one is self._death), 0)
        for death in deaths[known:]:
            self._death = death
            lines = world.last_death[0].output.last_lines() if world.last_death and world.last_death[1] is death else ()
            self._event("death", world, state, death={**death._asdict(), "last_lines": list(lines)})
        if world.changes.last is not self._change:
            self._change = world.changes.last
            self._event("change", world, state, change=self._change)
        told = state.phase, [(one.number, one.role, one.stage) for one in state.members]
        if told != self._told:
            self._told = told
            self._event("state", world, state)
        for answer in answers:
            self._notifier.answer(answer)

    def ended(self, world: Actions, state: State) -> None:
        """Tell how the service has ended: the program may not be able to learn it from the kernel (wait(2) on SIGCHLD)."""
        self.tell(world, state)
        self._event("ended", world, state, exit_status=world.status)

    def _event(self, kind: str, world: Actions, state: State, **more: object) -> None:
        self._number += 1
        why = not_ready(world, state)
        event = {
            "event": self._number,
            "kind": kind,
            "time": time.time(),
            "name": world.spec.name,
            "phase": state.phase.value,
            "ready": not why,
            "not_ready": why,
            "waits_for": waits_for(world, state),
            "back_off": world.left(Timer.BACK_OFF, 0),
            "generation": world.serving,
            **more,
        }
        self._notifier.event(json.dumps(event))


class Reply:
    """Answers one request."""

    who = "the program that started the service"

    def __init__(self, answers: list[str], number: int) -> None:
        """Put the answer behind those that wait."""
        self._answers, self._number = answers, number

    @property
    def key(self) -> tuple[str, int]:
        """What tells this request from others."""
        return "program", self._number

    def __call__(self, values: dict[str, Any]) -> None:
        """Answer."""
        self._answers.append(json.dumps({"number": self._number, **values}))


def _receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    """Return a packet and the descriptors that came with it; raises OSError."""
    # socket.recv_fds drops its flags in Python 3.11.
    found = array.array("i")
    space = socket.CMSG_SPACE(found.itemsize * _FDS_MAX)
    data, ancillary, _, _ = sock.recvmsg(_REQUEST_MAX, space, socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC)
    for level, kind, values in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(values[: len(values) - len(values) % found.itemsize])
    return data, found.tolist()
