"""Runs a wrapper script as one generation, and gives the listeners to every `java` that it starts.

Runs in the worker as the service user: towards the supervisor this process is the worker. The script knows nothing of
listeners: inherited descriptors would not survive scripts that close or reuse them. A `jvmbind java` that the script
starts asks for them over the socket that JVMBIND_WRAP names (abstract, a random name, same user only), and the same
connection is its control socket, passed on to the supervisor. Must not import jpype.
Sources: unix(7), prctl(2) on PR_SET_CHILD_SUBREAPER, fcntl(2) on F_SETSIG.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import socket
import struct
import time
from functools import partial

import prctl

from jvmbind import wire
from jvmbind.errors import EX_TEMPFAIL
from jvmbind.posix.fds import sealed_memory
from jvmbind.posix.passed_files import reading
from jvmbind.posix.process import find_program
from jvmbind.posix.signals import ORDINARY, Disposition, block_and_open, disposition, inherited_mask, read_signals
from jvmbind.wire import MAX_SIZE, Claimed, Connections, Main, Message, Note, Parked, Release, decode, decode_command, encode
from jvmbind.worker import facade
from jvmbind.worker.own_clients import OwnClients
from jvmbind.worker.own_stop import OwnStop
from jvmbind.worker.script_jvm import Java
from jvmbind.worker.script_start import FATAL, end_as, start
from jvmbind.worker.unreached import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

    from jvmbind.posix.role import Role

FDS_PER_PACKET = 128  # SCM_MAX_FD is 253: unix(7)
_LEFT_SECONDS = 2.0  # for processes that the script left behind, from SIGTERM to SIGKILL
_CREDENTIALS = struct.Struct("=3i")  # struct ucred: pid, uid, gid
_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_ENDED_WELL = {0, *(128 + number for number in _STOPS)}


class Script:
    """The script, and every JVM below it, from start to end."""

    def __init__(self, role: Role, fds: Sequence[int]) -> None:
        """Prepare for the listeners `fds`; raises OSError."""
        self._spec = role.spec
        self._fds = fds
        self._control = socket.socket(fileno=role.control)
        self._mask = inherited_mask()
        self._signals = block_and_open((*_STOPS, *ORDINARY, signal.SIGCHLD))
        prctl.set_child_subreaper(1)  # a JVM that the script leaves in the background stays below this process
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        name = f"jvmbind-wrap-{secrets.token_hex(16)}"
        self._server.bind(f"\0{name}")
        self._server.listen()
        self._javas: list[Java] = []
        self._statuses: dict[int, int] = {}  # pid -> status of each JVM that was reaped here
        self._reached: set[int] = set()  # every process that has asked for the listeners
        self._watch = Watch(self._spec.java_home)
        self._own_clients = OwnClients(self._spec.listeners, fds)
        self._notes: set[str] = set()
        self._parked = role.parked
        self._commands: list[bytes] = []  # what the supervisor has said, for JVMs that come later
        self._status: int | None = None  # of the script, as waitpid(2) has it
        self._left: set[int] = set()  # JVMs that have outlived the script
        self._stopping = 0
        self._dump_waits = False  # SIGQUIT came while there was no JVM
        shown = facade.facade(self._spec.java_home, os.environ)
        self._environ = facade.lead_to(shown, os.environ) | {facade.WRAP: name}
        path = find_program(self._spec.script[0], self._environ["PATH"])
        self._own_stop = OwnStop(self._spec.script, path)
        self._asked = ""  # the script's own stop command that has ended its JVM
        self._pid = start(self._spec.script, self._environ, self._mask)

    def run(self) -> int:
        """Return the status of the generation, as waitpid(2) has it, once the script and its JVMs have ended."""
        deadline = 0.0
        while True:
            if self._status is not None and all(java.ended for java in self._javas):
                # A JVM that the script left in the background may not have come so far yet as to ask for listeners.
                deadline = deadline or time.monotonic() + self._spec.start_timeout
                waits = self._status == 0 and not self._served() and not self._stopping and time.monotonic() < deadline
                if not waits or not self._has_children():
                    unreached = self._has_unreached()
                    self._end_what_is_left()
                    return self._as_asked(self._final_status(self._status, unreached=unreached))
            pause = None if self._served() else self._watch.pause()
            self._wait(0.2 if deadline and pause is None else pause)
            if pause is not None:
                self._tell(self._watch.look(self._reached))
                with contextlib.suppress(OSError):  # a shortage: the script does not depend on this look
                    self._tell("" if self._is_starting_one() else self._own_clients.look())

    def _is_starting_one(self) -> bool:
        return any(not java.ended for java in self._javas)

    def _served(self) -> bool:
        return any(java.serves for java in self._javas)

    def _has_unreached(self) -> bool:
        """Whether nothing was served because the script's JVM is out of reach, which is said."""
        if self._served() or self._stopping or not self._spec.listeners:
            return False
        line, unreached = self._watch.failure(self._reached)
        self._tell(line)
        return unreached

    def _tell(self, line: str) -> None:
        if line:
            self._report(Note(line))

    def _has_children(self) -> bool:
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return True

    def _wait(self, seconds: float | None) -> None:
        poll = select.poll()
        poll.register(self._signals, select.POLLIN)
        poll.register(self._server, select.POLLIN)
        if self._control.fileno() >= 0:
            poll.register(self._control, select.POLLIN)
        by_fd: dict[int, Java] = {}
        for fd in self._own_stop.fds():
            poll.register(fd, select.POLLIN)
        for java in self._javas:
            for fd in () if java.ended else (java.connection.fileno(), java.pidfd):
                if fd >= 0:
                    by_fd[fd] = java
                    poll.register(fd, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(None if seconds is None else seconds * 1000)}
        if self._server.fileno() in ready:
            self._accept()
        for fd in ready & by_fd.keys():
            self._serve(by_fd[fd], fd)
        if self._control.fileno() in ready:
            while self._take_command():  # all of them: what was said before a signal was sent is passed on before it
                pass
        if self._signals in ready:
            self._take_signals()
        if ready.intersection(self._own_stop.fds()):
            with contextlib.suppress(OSError):  # a shortage, as above
                self._own_stop.look()

    def _accept(self) -> None:
        """Give the listeners to a process of this user, and to no other."""
        try:
            connection, _ = self._server.accept()
        except OSError:
            return
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(credentials)
        if uid != os.getuid():
            with reading():
                connection.close()
            return
        alive, lifeline = os.pipe()
        memory = sealed_memory("jvmbind-spec", self._spec._replace(script=()).to_json())
        try:
            fds = [memory, alive, *self._fds]
            for start in range(0, len(fds), FDS_PER_PACKET):
                socket.send_fds(connection, [b"%d %d" % (len(fds), self._parked)], fds[start : start + FDS_PER_PACKET])
            java = Java(connection, pid, lifeline)
        except OSError:
            connection.close()
            os.close(lifeline)
            return
        finally:
            os.close(memory)
            os.close(alive)
        connection.setblocking(False)
        self._own_stop.forget()
        self._javas.append(java)
        self._reached.add(pid)
        if self._stopping:
            self._send_stop(pid, java.kill, self._stopping, sent=False)
        elif self._dump_waits:
            self._dump_waits = False
            java.pass_on(signal.SIGQUIT)

    def _serve(self, java: Java, fd: int) -> None:
        if java.ended:
            return
        self._read(java)
        if fd == java.pidfd:
            java.end()
            java.connections = Connections(0, 0, 0, 0)
            if java.serves:
                if self._status is not None:
                    self._left.add(java.pid)
                self._asked = "" if self._stopping else self._own_stop.asked()
                self._report_crash(java)
            else:  # a helper of the script, of which there may be many
                os.close(java.pidfd)
                self._javas.remove(java)

    def _read(self, java: Java) -> None:
        """Pass on what a JVM says; the supervisor checks it as it would that of any worker."""
        while java.connection.fileno() >= 0:
            try:
                with reading():
                    packet = java.connection.recv(MAX_SIZE + 1)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            try:
                message = decode(packet)
            except ValueError:
                with reading():
                    java.connection.close()  # its end, or what no worker of ours says
                return
            if isinstance(message, Claimed | Parked) and not java.serves:
                java.serves = True
                for command in self._commands:
                    java.tell(command)
            if isinstance(message, Main):
                java.begin_main()
            if isinstance(message, Note):
                if message.text in self._notes:
                    continue  # each JVM of the script says it
                self._notes.add(message.text)
            if isinstance(message, Connections):
                # To the supervisor all JVMs of a script are one worker.
                java.connections = message
                message = Connections(*map(sum, zip(*(each.connections for each in self._javas), strict=True)))
            self._report(message)

    def _report(self, message: Message) -> None:
        try:
            self._control.send(encode(message), socket.MSG_NOSIGNAL)
        except OSError:
            return  # the supervisor is gone; PR_SET_PDEATHSIG ends this process in a moment

    def _take_command(self) -> bool:
        """Pass on what the supervisor says to every JVM that serves, also to those that come later; return whether it spoke."""
        try:
            packet = self._control.recv(MAX_SIZE + 1, socket.MSG_DONTWAIT)
            command = decode_command(packet)
        except BlockingIOError:
            return False
        except (OSError, ValueError):
            self._control.close()
            return False
        if isinstance(command, Release):
            self._parked = False
        elif not isinstance(command, wire.Reloading):
            self._commands.append(packet)
        for java in self._javas:
            if java.serves or isinstance(command, Release):
                java.tell(packet)
        has_listener = any(java.serves and not java.ended for java in self._javas)
        if isinstance(command, wire.Drain) and not command.datagrams_only and not has_listener:
            self._report(wire.LetGo())
        return True

    def _take_signals(self) -> None:
        for received in read_signals(self._signals):
            if received.number == signal.SIGCHLD:
                self._reap()
            elif received.number in _STOPS:
                if received.sender != os.getpid():
                    self._stop(received.number)
            elif not received.from_kernel:
                self._pass_on(received.number)

    def _stop(self, number: int) -> None:
        """Signal the script and every JVM, as a service manager signals a control group: shells pass nothing on.

        One that ignores SIGINT or SIGHUP gets SIGTERM: a shell starts `java &` so, and nohup(1) does.
        """
        self._stopping = number
        group = number == signal.SIGINT
        if group:
            # Also to what the script runs in the foreground, as a terminal sends it: a shell waits for that first.
            os.killpg(0, number)
        pids = {java.pid for java in self._javas}
        for java in self._javas:
            self._send_stop(java.pid, java.kill, number, sent=group)
        if self._status is None and self._pid not in pids:
            self._send_stop(self._pid, partial(os.kill, self._pid), number, sent=group)

    def _send_stop(self, pid: int, kill: Callable[[int], None], number: int, *, sent: bool) -> None:
        if number != signal.SIGTERM and disposition(pid, number) == Disposition.IGNORED:
            kill(signal.SIGTERM)
        elif not sent or not _is_in_this_group(pid):
            kill(number)

    def _pass_on(self, number: int) -> None:
        """Pass on what is the application's business: to the script where it has a trap for it, else to every JVM.

        Where there is no JVM the script gets it; SIGQUIT, by which a shell would end, waits for the JVM.
        """
        running = [java for java in self._javas if not java.ended]
        alone = not running and number != signal.SIGQUIT
        if self._status is None and (alone or disposition(self._pid, number) == Disposition.CAUGHT):
            os.kill(self._pid, number)
            return
        for java in running:
            java.pass_on(number)
        self._dump_waits |= number == signal.SIGQUIT and not running

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._watch.reaped(pid, status)
            if pid == self._pid:
                self._status = status
            elif any(java.pid == pid for java in self._javas):
                self._statuses[pid] = status
                if self._script_has_ended():  # and has not waited for it, which then is this process's child
                    self._left.add(pid)

    def _script_has_ended(self) -> bool:
        return self._status is not None or os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _end_what_is_left(self) -> None:
        """End what the script left behind, so that nothing of a generation outlives it; JVMs have ended already."""
        deadline = time.monotonic() + _LEFT_SECONDS
        number = signal.SIGTERM
        for _ in range(1000):
            if not self._has_children():
                return
            for pid in _children_of(os.getpid()):
                os.kill(pid, number)
            select.select([self._signals], [], [], 0.05)
            read_signals(self._signals)
            self._reap()
            if time.monotonic() > deadline:
                number = signal.SIGKILL

    def _final_status(self, script: int, *, unreached: bool) -> int:
        """Return how the generation ended: as the script, whose status is its own.

        But as the last JVM that served where that crashed, which scripts hide, or where it has outlived the script, which
        had said nothing but that the start went well.
        """
        served = [java for java in self._javas if java.serves]
        if served:
            pid = served[-1].pid
            status = self._statuses.get(pid, served[-1].status())
            crashed = status is not None and os.WIFSIGNALED(status) and os.WTERMSIG(status) in FATAL
            if status is not None and (crashed or (script == 0 and pid in self._left)):
                return status
        return EX_TEMPFAIL << 8 if unreached and script == 0 else script

    def _as_asked(self, status: int) -> int:
        """Return `status`, but that of a stop where the script's own command has ended the JVM in a way that looks like a crash."""
        if not self._asked or (os.WIFEXITED(status) and os.WEXITSTATUS(status) in _ENDED_WELL):
            return status
        self._report(Note(f"the stop was requested by the script's own stop command: {self._asked}"))
        return (128 + signal.SIGTERM) << 8

    def _report_crash(self, java: Java) -> None:
        for folder in (java.folder, "/tmp"):  # noqa: S108 - HotSpot's own default, only looked at
            path = f"{folder}/hs_err_pid{java.pid}.log"
            if os.path.isfile(path):
                self._report(Note(f"the JVM (pid {java.pid}) that the script started crashed; its report is {path}"))
                return


def _is_in_this_group(pid: int) -> bool:
    try:
        return os.getpgid(pid) == os.getpgrp()
    except ProcessLookupError:
        return True


def _children_of(parent: int) -> list[int]:
    with open(f"/proc/self/task/{parent}/children", encoding="ascii") as file:
        return [int(pid) for pid in file.read().split()]


def run_script(role: Role) -> NoReturn:
    """Run the script of `role.spec` to its end, and end this process as it ended; raises JvmbindError or OSError."""
    fds = range(role.first, role.first + len(role.spec.listeners))
    for fd in fds:
        os.set_inheritable(fd, False)
    end_as(Script(role, fds).run())
