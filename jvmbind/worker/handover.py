"""Hands a listener over at the moment at which the application binds its address.

Runs in the worker as the service user: in a thread that no filter covers, and while the JVM starts in a process that
shares the descriptors (see `answering`). The application's own descriptor becomes the listener (dup2), and bind
reports success. Nothing here may call bind, or hold a lock that a Java thread waits for; an exception becomes an errno.
Sources: seccomp_unotify(2), dup(2), socket(7), JDK sun.nio.ch.InheritedChannel.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from jvmbind.posix import epoll
from jvmbind.spec import is_wildcard
from jvmbind.wire import Claimed, Listening, Message, Note, Parked, Tried
from jvmbind.worker.address import SOCKADDR_MAX, Wanted, by_port, find, parse_sockaddr
from jvmbind.worker.connections import waits_now
from jvmbind.worker.idle import idle_like, wake
from jvmbind.worker.options import carry_over, disconnect
from jvmbind.worker.sockets import borrowed, family_of, inode_of, is_null, kind_of, shares

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jvmbind.posix.seccomp import Machine, Notification
    from jvmbind.spec import ListenSpec


_PAUSE_PATIENCE = 0.1  # seconds


class Answer(NamedTuple):
    """What the waiting thread gets: `value`, or errno `error`, or the kernel's own answer (`proceed`)."""

    value: int = 0
    error: int = 0
    proceed: bool = False


PROCEED = Answer(proceed=True)
DONE = Answer()


class HandOver:
    """The listeners of a worker and what became of them. Knows nothing of threads or of how answers are sent."""

    def __init__(
        self,
        specs: Sequence[ListenSpec],
        fds: Sequence[int],
        machine: Machine,
        *,
        memory: int,
        pid: int,
        libc: ctypes.CDLL,
        strict: bool,
        inherit: str,
        parked: bool,
        report: Callable[[Message], None],
    ) -> None:
        """Prepare for `specs` with their descriptors `fds`; `memory` reads this worker's memory, `pid` is the worker."""
        self._specs = specs
        self._fds = fds
        self._inodes = [os.fstat(fd).st_ino for fd in fds]
        self._by_inode = {inode: index for index, inode in enumerate(self._inodes)}
        self._ports = by_port(specs)
        self._has_unix = any(spec.protocol == "unix" for spec in specs)
        self._machine = machine
        self._memory = memory
        self._pid = pid
        self._libc = libc
        self._strict = strict
        self._report = report
        names = [spec.name for spec in specs]
        self._inherited = names.index(inherit) if inherit else (0 if specs else -1)
        self._given: list[list[int]] = [[] for _ in specs]  # the application's descriptors, by listener
        self._claimed = [False] * len(specs)
        self._channel_given = False
        self._jvm_starts = True
        self._parked = parked
        self._said_parked = False
        self._own: dict[int, int] = {}  # listener -> the inode of the application's own Unix socket in its place
        self._unsettled: dict[int, tuple[int, int]] = {}  # fd -> its former open file, the inode that it has now
        self._idle: dict[int, int] = {}  # listener -> the idle socket that stands in for it while drained

    def state(self) -> dict[str, Any]:
        """Return what has been handed over, as JSON values, for `restore` in another process."""
        return {
            "given": self._given,
            "claimed": self._claimed,
            "channel": self._channel_given,
            "parked": self._parked,
            "said_parked": self._said_parked,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what another process that shares the descriptors has answered while the JVM started."""
        self._given, self._claimed, self._channel_given = state["given"], state["claimed"], state["channel"]
        self._parked, self._said_parked = state["parked"], state["said_parked"]
        self._jvm_starts = False

    def answer(self, call: Notification) -> Answer | None:
        """Answer one system call; None while it must wait, parked, until `release` was called.

        Never raises: a failure here becomes EIO for the application and a line in the log.
        """
        try:
            return self._answer(call)
        except Exception as error:  # noqa: BLE001 - a thread of the application waits for an answer, whatever happened
            self._report(Note(f"hand-over failed: {type(error).__name__}: {error}"))
            return Answer(error=errno.EIO)

    def _answer(self, call: Notification) -> Answer | None:
        own = os.path.exists(f"/proc/{self._pid}/task/{call.tid}")
        fd = ctypes.c_int(call.args[0] & 0xFFFFFFFF).value
        if call.number == self._machine.bind:
            if own:
                return self._bind(fd, call.args[1], call.args[2] & 0xFFFFFFFF)
            return self._foreign(call)
        if call.number == self._machine.listen:
            return self._listen(fd) if own else self._foreign(call)
        if not own:
            return PROCEED
        if call.number == self._machine.dup:
            return self._inherited_channel()
        return self._standard_fd(fd, call.args[1] & 0xFFFFFFFF)

    def _foreign(self, call: Notification) -> Answer:
        """A process that the JVM started and that inherited the filter: its descriptors are not ours to change."""
        if not self._strict:
            return PROCEED
        self._report(Tried(f"a child process (thread {call.tid}): refused, strict_binds"))
        return Answer(error=errno.EACCES)

    def _bind(self, fd: int, pointer: int, length: int) -> Answer | None:
        if not 2 <= length <= SOCKADDR_MAX:
            return PROCEED  # the kernel says EINVAL
        try:
            raw = os.pread(self._memory, length, pointer)
        except (OSError, OverflowError):
            return PROCEED  # the kernel says EFAULT
        family, host, port, path = parse_sockaddr(raw)
        if family == socket.AF_UNIX:
            wanted = Wanted("unix", path=path)
            if not path or not self._has_unix:
                return PROCEED
            match = find(self._specs, wanted)
            if not match.indexes:
                return PROCEED
        elif family in {socket.AF_INET, socket.AF_INET6}:
            protocol, v6only = kind_of(fd)
            if port == 0:
                return self._any_port(protocol, host)
            if not protocol:
                return self._other_kind(family)
            wanted = Wanted(protocol, host, port, v6only=v6only)
            match = find(self._specs, wanted, self._ports)
        else:
            return self._other_kind(family)
        if not match.indexes:
            return self._unmatched(wanted, match.refusal)
        if self._parked:
            return self._park()
        return self._choose(fd, wanted, match.indexes)

    def _any_port(self, protocol: str, host: str) -> Answer:
        """A port that the kernel picks: a client's. Datagrams come in on it all the same, and from anywhere on a wildcard."""
        if not self._strict or protocol == "tcp" or not is_wildcard(host):
            return PROCEED  # a TCP socket still needs listen(), which strict_binds refuses
        self._report(Tried(f"{Wanted(protocol or 'other', host, 0)}: refused, strict_binds"))
        return Answer(error=errno.EACCES)

    def _other_kind(self, family: int) -> Answer:
        """A protocol that no listener can have. Netlink is no network: getifaddrs(3) binds such a socket."""
        if not self._strict or family in {socket.AF_NETLINK, socket.AF_UNSPEC}:
            return PROCEED
        self._report(Tried(f"a socket of address family {family}: refused, strict_binds"))
        return Answer(error=errno.EACCES)

    def _park(self) -> Answer | None:
        if not self._said_parked:
            self._said_parked = True
            self._report(Parked())
        return None

    def release(self) -> None:
        """Answer from now on; what waits must be put to `answer` again."""
        self._parked = False

    def _unmatched(self, wanted: Wanted, refusal: str) -> Answer:
        if refusal or self._strict:
            self._report(Tried(f"{wanted}: refused, {refusal or 'strict_binds and no listener has that address'}"))
            return Answer(error=errno.EACCES)
        self._report(Tried(str(wanted)))
        return PROCEED

    def _choose(self, fd: int, wanted: Wanted, indexes: Sequence[int]) -> Answer:
        inode = os.fstat(fd).st_ino
        for index in indexes:
            if inode in self._inodes_of(index):
                return DONE  # answered already: a signal interrupted the call and repeated it
            self._given[index] = self._still_given(index)
        if wanted.protocol == "unix" and not os.path.lexists(wanted.path):
            return self._take_over_path(fd, indexes[0])
        free = [index for index in indexes if not self._given[index]]
        if not free and not shares(fd, wanted.protocol):
            self._report(Tried(f"{wanted}: refused, bound already by this application"))
            return Answer(error=errno.EADDRINUSE)
        self._give(fd, (free or list(indexes))[0])
        return DONE

    def _take_over_path(self, fd: int, index: int) -> Answer:
        """Let the application make the socket file itself, where it has deleted ours first, as programs do with an old one.

        Nothing can give a socket a file for the second time, and clients come through the file. This listener is the
        application's own from now on, and gone with it.
        """
        spec = self._specs[index]
        self._report(Note(f"listener {spec.name!r}: the application deleted {spec.path} and binds it itself; it is not held"))
        self._own[index] = inode_of(fd)
        self._given[index].append(fd)
        self._claim(index, fd)
        self._report(Listening(index))
        return PROCEED

    def _inodes_of(self, index: int) -> set[int]:
        found = {self._inodes[index], self._own.get(index, self._inodes[index])}
        return {*found, inode_of(self._idle[index])} if index in self._idle else found

    def _still_given(self, index: int) -> list[int]:
        """Return the application's descriptors of a listener that it has not closed."""
        inodes = self._inodes_of(index)
        return [fd for fd in self._given[index] if inode_of(fd) in inodes]

    def _give(self, fd: int, index: int) -> None:
        listener, spec = self._idle.get(index, self._fds[index]), self._specs[index]
        # O_NONBLOCK lives in the open file, which every generation shares: one that blocks in accept(2) after another
        # has taken the connection would stall its event loop. Java copes (JDK 11 or later polls on EAGAIN); an agent in C
        # that listens while the JVM starts does not (the debugger's dt_socket), so until then its own mode counts.
        os.set_blocking(listener, self._jvm_starts and os.get_blocking(fd))
        if spec.protocol == "udp" or spec.bind_only:
            disconnect(self._libc, listener)
        for problem in carry_over(fd, listener, spec):
            self._report(Note(f"listener {spec.name!r}: {problem}"))
        if os.get_blocking(fd) and fd not in self._unsettled:
            self._unsettled[fd] = os.dup(fd), inode_of(listener)
            os.dup2(listener, fd, inheritable=False)
        else:
            self._replace(fd, listener)
        self._given[index].append(fd)
        self._claim(index, fd)

    def _replace(self, fd: int, by: int) -> None:
        """Make the application's `fd` another open file, with the epoll registrations that it had.

        They are deleted first: one lives on as long as any process holds the open file that it was made for.
        """
        watched = epoll.registrations((fd,), self._names())
        for registration in watched:
            epoll.remove(self._libc, registration)
        os.dup2(by, fd, inheritable=False)
        for registration in watched:
            epoll.add(self._libc, registration)

    @property
    def unsettled(self) -> bool:
        """Whether `settle` has something to do; it may wait until no call does."""
        return bool(self._unsettled)

    def settle(self) -> None:
        """Move the epoll registrations of sockets that blocked when they were bound.

        A selector never watches a socket that blocks, and hardly any C code does: such a bind is answered before the
        search. The open file was kept for it, so its registrations are still listed under the number.
        """
        unsettled, self._unsettled = self._unsettled, {}
        watched = epoll.registrations(unsettled, self._names()) if unsettled else []
        for kept, _ in unsettled.values():
            os.close(kept)  # the last descriptor of that file: the kernel takes its registrations out
        for registration in watched:
            if inode_of(registration.fd) == unsettled[registration.fd][1]:
                with contextlib.suppress(FileExistsError):  # the application has registered it itself meanwhile
                    epoll.add(self._libc, registration)

    def known_fds(self) -> set[int]:
        """Return the descriptors that are listeners or stand in for one."""
        return {*self._fds, *self._idle.values(), *(given for fds in self._given for given in fds)}

    def _names(self) -> set[str]:
        """Return the names in /proc/self/fd that are listeners, so no epoll instances: the search stays short."""
        given = [fd for index in range(len(self._specs)) for fd in self._still_given(index)]
        return {str(fd) for fd in (*self._fds, *self._idle.values(), *given)}

    def drain(self, *, datagrams_only: bool) -> None:
        """Put an idle socket in the place of each listener: the application sees a quiet socket and keeps what it has."""
        for index, spec in enumerate(self._specs):
            if index in self._idle or (datagrams_only and spec.protocol != "udp" and not spec.bind_only):
                continue
            given = self._still_given(index)
            self._idle[index] = idle_like(self._fds[index])
            if spec.protocol == "udp" and given:
                self._await_pause(given)
            for fd in given:
                self._replace(fd, self._idle[index])

    def _await_pause(self, fds: Sequence[int]) -> None:
        """Wait until a thread waits on one of `fds`, so that the answer to a datagram in work still leaves by the listener.

        Not for long: a program that never waits is one that never pauses.
        """
        end = time.monotonic() + _PAUSE_PATIENCE
        while time.monotonic() < end and not waits_now(fds, self._memory):
            time.sleep(0.0005)

    def undrain(self) -> None:
        """Give the listeners back."""
        for index, idle in list(self._idle.items()):
            for fd in self._still_given(index):
                self._replace(fd, self._fds[index])
            wake(idle)
            del self._idle[index]
            os.close(idle)

    @property
    def any_accepts(self) -> bool:
        """Whether the application has claimed a listener that takes connections."""
        return any(claimed and spec.listens for claimed, spec in zip(self._claimed, self._specs, strict=True))

    def accepting_fds(self) -> list[list[int]]:
        """Return for each claimed listener that takes connections the descriptors on which the application has it."""
        return [self._still_given(i) for i, spec in enumerate(self._specs) if self._claimed[i] and spec.listens]

    def _claim(self, index: int, fd: int) -> None:
        if not self._claimed[index]:
            self._claimed[index] = True
            self._report(Claimed(index, fd))

    def _listen(self, fd: int) -> Answer:
        """Answer listen: passed on, the application's own backlog would shrink that of the shared listener."""
        inode = inode_of(fd)
        index = self._by_inode.get(inode, -1)
        if index < 0 and any(inode == inode_of(idle) for idle in self._idle.values()):
            return DONE
        if index < 0:
            if self._strict and family_of(fd) != socket.AF_UNIX:
                self._report(Tried("listen on a socket that is no listener: refused, strict_binds"))
                return Answer(error=errno.EACCES)
            return PROCEED
        spec = self._specs[index]
        if not spec.listens:
            return Answer(error=errno.EOPNOTSUPP if spec.protocol == "udp" else errno.EACCES)
        with borrowed(self._fds[index]) as sock:
            # shutdown(2) by the application takes a shared listener out of the listening state, its port stays bound.
            if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                sock.listen(spec.backlog)
        self._report(Listening(index))
        return DONE

    def _inherited_channel(self) -> Answer | None:
        """Answer dup(0), with which System.inheritedChannel() begins: a duplicate of the chosen listener, once."""
        index = self._inherited
        if index < 0 or self._channel_given:
            return PROCEED
        if self._parked:
            return self._park()
        os.set_blocking(self._fds[index], False)
        duplicate = os.dup(self._idle.get(index, self._fds[index]))
        self._channel_given = True
        self._given[index].append(duplicate)
        self._claim(index, duplicate)
        if self._specs[index].listens:
            self._report(Listening(index))
        return Answer(value=duplicate)

    def _standard_fd(self, old: int, new: int) -> Answer:
        """Swallow the dup2 of /dev/null onto 0, 1 and 2 when Java closes the inherited channel: shutdown logs go there."""
        if self._channel_given and new in {0, 1, 2} and is_null(old):
            return Answer(value=new)
        return PROCEED
