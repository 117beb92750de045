"""Hands a listener over at the moment at which the application binds its address.

Runs in the responder as the service user: the process that shares the worker's descriptors (see `responder`). The
application's own descriptor becomes the listener (dup2), and bind reports success. An exception becomes an errno.
Sources: seccomp_unotify(2), dup(2), socket(7), JDK sun.nio.ch.InheritedChannel.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket

from jvmbind.handover import strict
from jvmbind.handover.address import SOCKADDR_MAX, Match, Wanted, by_port, find, parse_sockaddr
from jvmbind.handover.answer import DONE, PROCEED, Answer
from jvmbind.handover.connecting import Connecting
from jvmbind.handover.families import Families
from jvmbind.handover.given import Given, listen_again
from jvmbind.handover.hints import Hints
from jvmbind.handover.idle import reserve_for
from jvmbind.handover.sockets import is_null, kind_of, same_file
from jvmbind.handover.undeclared import Undeclared
from jvmbind.posix import bind_only
from jvmbind.posix.shortage import for_each, is_shortage
from jvmbind.posix.socket_options import carry_over, disconnect, restore
from jvmbind.wire import Claimed, Hidden, Listening, Message, Note, Parked, TooWide, Tried

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jvmbind.posix.seccomp import Machine, Notification
    from jvmbind.spec import ListenSpec


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
        as_bound: bool = False,
        closed: bool = False,
        every_address: str = "",
        in_file: bool = False,
        report: Callable[[Message], None],
    ) -> None:
        """Prepare for `specs` with their descriptors `fds`; `memory` reads the worker's memory, `pid` is the worker.

        `as_bound`: nobody has had the listeners since they were bound, or set back to that. `closed`: the worker is not
        dumpable, so that nobody sees which descriptors its threads have; a program that embeds a JVM is, after its drop.
        `every_address` is how the server is told to listen on every address, where that is known. `in_file`: see Hints.
        """
        self._specs = specs
        self._fds = fds
        self.given = Given(specs, fds, memory=memory, pid=pid, libc=libc)
        self.reserve = reserve_for(specs)
        self.undeclared = Undeclared()
        self.connecting = Connecting(specs, fds, self.given)
        self._families = Families(specs, fds, self.given)
        self._as_bound = set(range(len(specs))) if as_bound else set()
        self._ports = by_port(specs)
        self._has_unix = any(spec.protocol == "unix" for spec in specs)
        self._machine = machine
        self._memory = memory
        self._pid = pid
        self._closed = closed
        self._every_address = every_address
        self._hints = Hints(specs, pid, report, in_file=in_file)
        self._of_agents: set[int] = set()  # listeners that were first bound while the JVM started
        self._libc = libc
        self._strict = strict
        self._report = report
        self._inherited = [spec.name for spec in specs].index(inherit) if inherit else (0 if specs else -1)
        self._claimed = [False] * len(specs)
        self._channel_given = False
        self._jvm_starts = True
        self._parked = parked
        self._said_parked = False
        self._rehearses = False
        self._to_hide: set[int] = set()  # listeners whose place an idle socket is to take

    def jvm_is_up(self) -> None:
        """From now on listeners are handed over in non-blocking mode, see `_give`."""
        self._jvm_starts = False

    def answer(self, call: Notification) -> Answer | None:
        """Answer one system call; None while it must wait, parked, until `release` was called.

        Never raises: a failure here becomes an errno for the application and a line in the log.
        """
        try:
            return self.reserve.use(lambda: self._answer(call))
        except Exception as error:  # noqa: BLE001 - a thread of the application waits for an answer, whatever happened
            self._report(Note(f"hand-over failed: {type(error).__name__}: {error}"))
            lacked = error.errno if isinstance(error, OSError) and is_shortage(error) else None
            return Answer(error=lacked or errno.EIO)

    def _answer(self, call: Notification) -> Answer | None:
        own = os.path.exists(f"/proc/{self._pid}/task/{call.tid}")
        fd = ctypes.c_int(call.args[0] & 0xFFFFFFFF).value
        if call.number in {self._machine.bind, self._machine.listen}:
            if not own or not (self._closed or same_file(self._pid, call.tid, fd)):
                return self._foreign(call)
            if call.number == self._machine.listen:
                return self._listen(fd, call.args[1] & 0xFFFFFFFF)
            return self._bind(fd, call.args[1], call.args[2] & 0xFFFFFFFF)
        if not own:
            return PROCEED
        if call.number == self._machine.dup:
            return self._inherited_channel()
        return self._standard_fd(fd, call.args[1] & 0xFFFFFFFF)

    def _foreign(self, call: Notification) -> Answer:
        """A process that the JVM started, or a thread with descriptors of its own: they are not ours to change."""
        if not self._strict:
            return PROCEED
        self._report(Tried(f"a child process, or one with other descriptors (thread {call.tid}): refused, strict_binds"))
        return Answer(error=errno.EACCES)

    def _bind(self, fd: int, pointer: int, length: int) -> Answer | None:
        if not 2 <= length <= SOCKADDR_MAX:
            return PROCEED  # the kernel says EINVAL
        try:
            raw = os.pread(self._memory, length, pointer)
        except (OSError, OverflowError):
            return PROCEED  # the kernel says EFAULT
        answer = self._bind_address(fd, raw)
        return Answer(error=strict.bind(self._libc, fd, raw)) if self._strict and answer is PROCEED else answer

    def _bind_address(self, fd: int, raw: bytes) -> Answer | None:
        protocol, v6only, ipv4 = kind_of(fd)
        family, host, port, path = parse_sockaddr(raw, unspecified_is_ipv4=ipv4)
        if family == socket.AF_UNIX and path and self._has_unix:
            wanted = Wanted("unix", path=path)
            match = find(self._specs, wanted)
        elif family in {socket.AF_INET, socket.AF_INET6} and protocol and port:
            wanted = Wanted(protocol, host, port, v6only=v6only, ipv4=ipv4)
            match = find(self._specs, wanted, self._ports, self._every_address, in_file=self._hints.in_file)
        else:
            return self._no_address_of_a_listener(fd, protocol, family, host, port)
        if not match.indexes:
            return PROCEED if wanted.protocol == "unix" else self._unmatched(fd, wanted, match)
        if self._parked:
            return self._park()
        return self._choose(fd, wanted, match.indexes)

    def _no_address_of_a_listener(self, fd: int, protocol: str, family: int, host: str, port: int) -> Answer:
        """Answer a bind that no listener can have: of another kind of socket, or of a port that the kernel picks."""
        if not self._strict:
            return PROCEED
        if family not in {socket.AF_INET, socket.AF_INET6}:
            refused, what = strict.refuses_family(fd, family), f"a socket of address family {family}"
        else:
            refused = bool(port) or strict.refuses_any_port(protocol, host)
            what = str(Wanted(protocol or "other", host, port))
        if not refused:
            return PROCEED
        self._hints.say(f"{what}: refused, strict_binds")
        return Answer(error=errno.EACCES)

    def _park(self) -> Answer | None:
        if not self._said_parked:
            self._said_parked = True
            self._report(Parked())
        return None

    def release(self, *, rehearse: bool) -> None:
        """Answer from now on; what waits must be put to `answer` again.

        With `rehearse`, an idle socket takes the place of each listener once the application waits on it: another
        generation serves meanwhile, and what this one accepts would be lost if it then failed. `undrain` ends that.
        """
        if not self._parked:
            return
        self._parked, self._rehearses = False, rehearse
        if rehearse:
            self.undeclared.begin_to_share()

    def _unmatched(self, fd: int, wanted: Wanted, match: Match) -> Answer | None:
        if match.refusal or self._strict:
            why = match.refusal or f"strict_binds and no listener has that address; declare it as {self._hints.option_for(wanted)}"
            self._hints.say(f"{wanted}: refused, {why}")
            if match.wider >= 0:
                self._hints.asked_for.add(self._specs[self._declared(match.wider)].name)
                self._report(TooWide(self._declared(match.wider)))
            return Answer(error=errno.EACCES)
        if wanted.protocol == "tcp":
            if self._parked and self.undeclared.is_taken(wanted.port):
                return self._park()  # the serving generation has it
            self.undeclared.bind(fd, wanted.port)
        claimed = {spec.of or spec.name for spec, had in zip(self._specs, self._claimed, strict=True) if had}
        self._hints.say_undeclared(wanted, claimed, of_an_agent=self._jvm_starts)
        return PROCEED

    def _choose(self, fd: int, wanted: Wanted, indexes: Sequence[int]) -> Answer | None:
        inode = os.fstat(fd).st_ino
        if any(self.given.is_given(index, inode) for index in indexes):
            return DONE  # answered already: a signal interrupted the call and repeated it
        if wanted.protocol == "unix" and not os.path.lexists(wanted.path):
            return self._take_over_path(fd, indexes[0])
        if self._specs[indexes[0]].bind_only:
            return self._choose_bind_only(fd, wanted, indexes)
        index = next((index for index in indexes if not self.given.of(index)), indexes[0])
        refusal, error = self._families.in_the_way(fd, index, rehearses=self._rehearses)
        if refusal:
            self._hints.say(f"{wanted}: refused, {refusal}")
            return Answer(error=error)
        self._give(fd, index)
        return DONE

    def _choose_bind_only(self, fd: int, wanted: Wanted, indexes: Sequence[int]) -> Answer | None:
        index = self.connecting.free_socket(fd, indexes)
        if index >= 0:
            self._give(fd, index)
            return DONE
        if self.connecting.may_wait(fd):
            return None
        spec = self._specs[indexes[0]]
        more = f"expected fewer connections at once, or bind-only={2 * spec.bind_only}" if spec.of else "it is one socket"
        self._hints.say(f"{wanted}: refused, all sockets of listener {spec.of or spec.name!r} have a connection; {more}")
        return Answer(error=errno.EADDRINUSE)

    def _take_over_path(self, fd: int, index: int) -> Answer:
        """Let the application make the socket file itself, where it has deleted ours first, as programs do with an old one.

        Nothing can give a socket a file for the second time, and clients come through the file. This listener is the
        application's own from now on, and gone with it.
        """
        spec = self._specs[index]
        self._report(Note(f"listener {spec.name!r}: the application deleted {spec.path} and binds it itself; it is not held"))
        self.given.add_own(index, fd)
        self._claim(index, fd)
        self._report(Listening(index))
        return PROCEED

    def _give(self, fd: int, index: int) -> None:
        self._give_real(index)
        listener, spec = self.given.now(index), self._specs[index]
        problems = []
        if listener == self._fds[index]:
            if spec.bind_only:
                disconnect(listener)
            if index not in self._as_bound:
                problems = restore(listener, spec)
            self._as_bound.discard(index)
            if spec.bind_only:
                bind_only.prepare(listener)
            problems += self._families.prepare_datagrams(index, fd)
        # O_NONBLOCK lives in the open file, which every generation shares: one that blocks in accept(2) after another
        # has taken the connection would stall its event loop. Java copes (JDK 11 or later polls on EAGAIN); an agent in C
        # that listens while the JVM starts does not (the debugger's dt_socket, which binds again for each debugger), so
        # for a listener that was first bound then its own mode counts.
        if self._jvm_starts:
            self._of_agents.add(index)
        os.set_blocking(listener, index in self._of_agents and os.get_blocking(fd))
        problems += carry_over(fd, listener, spec)
        for problem in problems:
            self._report(Note(f"listener {spec.name!r}: {problem}"))
        self.given.put(index, fd)
        self._claim(index, fd)

    def drain(self, *, datagrams_only: bool, last: bool = False) -> None:
        """Put an idle socket in the place of each listener; with `datagrams_only`, begin to share the rest with the next.

        With `last` none follows, and datagram listeners stay: answers can leave by them alone. Raises OSError, when all
        was done that can be; a second call does the rest.
        """
        specs = enumerate(self._specs)
        self.given.drain([i for i, s in specs if not s.bind_only and not (last if s.protocol == "udp" else datagrams_only)])
        if datagrams_only:
            self.undeclared.begin_to_share()

    def undrain(self) -> None:
        """Give the listeners back, all that can be; raises OSError."""
        self._parked = self._rehearses = False
        self._to_hide.clear()
        indexes = range(len(self._specs))
        try:
            self.given.undrain(indexes)
        finally:
            for_each(indexes, self._bring_in)

    def _bring_in(self, index: int) -> None:
        is_back = self.given.now(index) == self._fds[index]
        if is_back and self.given.of(index) and not self._specs[index].bind_only:
            self._families.bring_in(index)

    @property
    def hides(self) -> bool:
        """Whether `hide` is to be called in a moment."""
        return bool(self._to_hide)

    def hide(self) -> None:
        """Put idle sockets in the place of listeners on which a rehearsing application waits; raises OSError for a shortage.

        Where clients come fast, no thread is ever seen to wait; one that has accepted a connection is as far.
        """
        for index in sorted(self._to_hide):
            if self.given.is_awaited(index) or self.given.has_accepted(index):
                try:
                    self.given.drain([index])
                except OSError as error:
                    if is_shortage(error):
                        raise  # and try again
                    self._to_hide.remove(index)
                    self._report(Note(f"listener {self._specs[index].name!r} is not rehearsed: {error}"))
                    continue
                self._to_hide.remove(index)
                if self._specs[index].protocol == "tcp":
                    self._report(Hidden(self._declared(index), self.given.port(index)))

    def _give_real(self, index: int) -> None:
        """While it rehearses, give the listener itself at its second bind too: it will be asked for again; raises OSError."""
        if self._rehearses:
            self.given.undrain([index])

    def _now_listening(self, index: int) -> None:
        if self._rehearses and self._specs[index].protocol != "udp":
            # Not before it waits: behind listen Java asks for the local address, and keeps what it is told
            # (sun.nio.ch.ServerSocketChannelImpl); and Netty's native transport registers without an event first, and would
            # find no registration to change in the middle of a move.
            self._to_hide.add(index)
        self._report(Listening(self._declared(index)))

    def _declared(self, index: int) -> int:
        """Return the declared listener to which a socket belongs."""
        of = self._specs[index].of
        return next((i for i, spec in enumerate(self._specs) if spec.name == of), index) if of else index

    @property
    def any_accepts(self) -> bool:
        """Whether the application has claimed a listener that clients come to."""
        return any(claimed and not spec.bind_only for claimed, spec in zip(self._claimed, self._specs, strict=True))

    def accepting_fds(self) -> list[list[int]]:
        """Return for each claimed listener that clients come to the descriptors on which the application has it."""
        return [self.given.of(i) for i, spec in enumerate(self._specs) if self._claimed[i] and not spec.bind_only]

    def _claim(self, index: int, fd: int) -> None:
        declared = self._declared(index)
        if not self._claimed[index] and not (self._specs[index].bind_only and self._claimed[declared]):
            self._report(Claimed(declared, fd))
        self._claimed[index] = True
        self._claimed[declared] |= bool(self._specs[index].bind_only)

    def _listen(self, fd: int, backlog: int) -> Answer:
        """Answer listen: passed on, the application's own backlog would shrink that of the shared listener."""
        index = self.given.index_of(fd)
        if index < 0:
            error = strict.listen(self._libc, fd, backlog) if self._strict else 0
            if error is None:
                self._hints.say("any free port, by listen: refused, strict_binds")
                error = errno.EACCES
            return Answer(error=error) if self._strict else PROCEED
        spec = self._specs[index]
        if not spec.listens:
            return Answer(error=errno.EOPNOTSUPP if spec.protocol == "udp" else errno.EACCES)
        self._families.bring_in(index)
        listen_again(self._fds[index], spec.backlog)
        self._now_listening(index)
        return DONE

    def _inherited_channel(self) -> Answer | None:
        """Answer dup(0), with which System.inheritedChannel() begins: a duplicate of the chosen listener, once."""
        index = self._inherited
        if index < 0 or self._channel_given or self._specs[index].bind_only:
            return PROCEED
        if self._parked:
            return self._park()
        os.set_blocking(self._fds[index], False)
        self._give_real(index)
        duplicate = os.dup(self.given.now(index))
        self._channel_given = True
        self.given.add(index, duplicate)
        self._claim(index, duplicate)
        if self._specs[index].listens:
            self._now_listening(index)
        return Answer(value=duplicate)

    def _standard_fd(self, old: int, new: int) -> Answer:
        """Swallow the dup2 of /dev/null onto 0, 1 and 2 when Java closes the inherited channel: shutdown logs go there."""
        if self._channel_given and new in {0, 1, 2} and is_null(old):
            return Answer(value=new)
        return PROCEED
