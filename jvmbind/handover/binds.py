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

from jvmbind.handover import families, strict
from jvmbind.handover.address import SOCKADDR_MAX, Match, Wanted, by_port, find, parse_sockaddr
from jvmbind.handover.answer import DONE, PROCEED, Answer
from jvmbind.handover.connecting import Connecting
from jvmbind.handover.given import Given, listen_again
from jvmbind.handover.hints import Hints
from jvmbind.handover.idle import reserve_for
from jvmbind.handover.listener import listeners_of
from jvmbind.handover.sockets import is_null, kind_of, same_file
from jvmbind.handover.undeclared import Undeclared
from jvmbind.posix import bind_only
from jvmbind.posix.shortage import for_each, is_shortage
from jvmbind.posix.socket_options import carry_over, disconnect, restore
from jvmbind.wire import Claimed, Hidden, Listening, Message, Note, Parked, TooWide, Tried

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jvmbind.handover.listener import Listener
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
        own_network: bool = False,
        report: Callable[[Message], None],
    ) -> None:
        """Prepare for `specs` with their descriptors `fds`; `memory` reads the worker's memory, `pid` is the worker.

        `as_bound`: nobody has had the listeners since they were bound, or set back to that. `closed`: the worker is not
        dumpable, so that nobody sees which descriptors its threads have; a program that embeds a JVM is, after its drop.
        `every_address` is how the server is told to listen on every address, where that is known. `in_file`: see Hints.
        `own_network`: the worker is in another network than this process, and the next generation in yet another.
        """
        self._specs = specs
        self._listeners = listeners_of(specs, fds, as_bound=as_bound)
        self.given = Given(self._listeners, memory=memory, pid=pid, libc=libc)
        self.reserve = reserve_for(specs)
        self.undeclared = Undeclared(own_network=own_network)
        self.connecting = Connecting()
        self._ports = by_port(specs)
        self._has_unix = any(spec.protocol == "unix" for spec in specs)
        self._machine = machine
        self._memory = memory
        self._pid = pid
        self._closed = closed
        self._every_address = every_address
        self._hints = Hints(specs, pid, report, in_file=in_file)
        self._libc = libc
        self._strict = strict
        self._report = report
        chosen = [spec.name for spec in specs].index(inherit) if inherit else 0
        self._inherited = self._listeners[chosen] if specs else None  # what System.inheritedChannel() gives
        self._channel_given = False
        self._jvm_starts = True
        self._parked = parked
        self._said_parked = False
        self._rehearses = False
        self._to_hide: set[Listener] = set()  # whose place an idle socket is to take

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
        return self._choose(fd, wanted, [self._listeners[number] for number in match.indexes])

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
                declared = self._listeners[match.wider].declared
                self._hints.asked_for.add(declared.spec.name)
                self._report(TooWide(declared.number))
            return Answer(error=errno.EACCES)
        if wanted.protocol == "tcp":
            if self._parked and self.undeclared.is_taken(wanted.port):
                return self._park()  # the serving generation has it
            self.undeclared.bind(fd, wanted.port)
        claimed = {one.spec.of or one.spec.name for one in self._listeners if one.claimed}
        self._hints.say_undeclared(wanted, claimed, of_an_agent=self._jvm_starts)
        return PROCEED

    def _choose(self, fd: int, wanted: Wanted, among: Sequence[Listener]) -> Answer | None:
        inode = os.fstat(fd).st_ino
        if any(inode in one.inodes() for one in among):
            return DONE  # answered already: a signal interrupted the call and repeated it
        if wanted.protocol == "unix" and not os.path.lexists(wanted.path):
            return self._take_over_path(fd, among[0])
        if among[0].spec.bind_only:
            return self._choose_bind_only(fd, wanted, among)
        one = next((one for one in among if not one.fds()), among[0])
        refusal, error = families.in_the_way(fd, one, rehearses=self._rehearses)
        if refusal:
            self._hints.say(f"{wanted}: refused, {refusal}")
            return Answer(error=error)
        self._give(fd, one)
        return DONE

    def _choose_bind_only(self, fd: int, wanted: Wanted, among: Sequence[Listener]) -> Answer | None:
        one = self.connecting.free_socket(fd, among)
        if one is not None:
            self._give(fd, one)
            return DONE
        if self.connecting.may_wait(fd):
            return None
        spec = among[0].spec
        more = f"expected fewer connections at once, or bind-only={2 * spec.bind_only}" if spec.of else "it is one socket"
        self._hints.say(f"{wanted}: refused, all sockets of listener {spec.of or spec.name!r} have a connection; {more}")
        return Answer(error=errno.EADDRINUSE)

    def _take_over_path(self, fd: int, one: Listener) -> Answer:
        """Let the application make the socket file itself, where it has deleted ours first, as programs do with an old one.

        Nothing can give a socket a file for the second time, and clients come through the file. This listener is the
        application's own from now on, and gone with it.
        """
        path = one.spec.path
        self._report(Note(f"listener {one.spec.name!r}: the application deleted {path} and binds it itself; it is not held"))
        one.add_own(fd)
        self._claim(one, fd)
        self._report(Listening(one.number))
        return PROCEED

    def _give(self, fd: int, one: Listener) -> None:
        self._give_real(one)
        listener, spec = one.fd_now(), one.spec
        problems = []
        if listener == one.fd:
            if spec.bind_only:
                disconnect(listener)
            if not one.as_bound:
                problems = restore(listener, spec)
            one.as_bound = False
            if spec.bind_only:
                bind_only.prepare(listener)
            problems += families.prepare_datagrams(one, fd)
        # O_NONBLOCK lives in the open file, which every generation shares: one that blocks in accept(2) after another
        # has taken the connection would stall its event loop. Java copes (JDK 11 or later polls on EAGAIN); an agent in C
        # that listens while the JVM starts does not (the debugger's dt_socket, which binds again for each debugger), so
        # for a listener that was first bound then its own mode counts.
        one.of_an_agent |= self._jvm_starts
        os.set_blocking(listener, one.of_an_agent and os.get_blocking(fd))
        problems += carry_over(fd, listener, spec)
        for problem in problems:
            self._report(Note(f"listener {spec.name!r}: {problem}"))
        self.given.put(one, fd)
        self._claim(one, fd)

    def drain(self, *, datagrams_only: bool, last: bool = False) -> None:
        """Put an idle socket in the place of each listener; with `datagrams_only`, begin to share the rest with the next.

        With `last` none follows, and datagram listeners stay: answers can leave by them alone. Raises OSError, when all
        was done that can be; a second call does the rest.
        """
        moved = [one for one in self._listeners if not one.spec.bind_only]
        self.given.drain([one for one in moved if not (last if one.spec.protocol == "udp" else datagrams_only)])
        if datagrams_only:
            self.undeclared.begin_to_share()

    def undrain(self) -> None:
        """Give the listeners back, all that can be; raises OSError."""
        self._parked = self._rehearses = False
        self._to_hide.clear()
        try:
            self.given.undrain(self._listeners)
        finally:
            for_each(self._listeners, _bring_in)

    @property
    def hides(self) -> bool:
        """Whether `hide` is to be called in a moment."""
        return bool(self._to_hide)

    def hide(self) -> None:
        """Put idle sockets in the place of listeners on which a rehearsing application waits; raises OSError for a shortage.

        Where clients come fast, no thread is ever seen to wait; one that has accepted a connection is as far.
        """
        for one in sorted(self._to_hide, key=lambda one: one.number):
            if self.given.is_awaited(one) or self.given.has_accepted(one):
                try:
                    self.given.drain([one])
                except OSError as error:
                    if is_shortage(error):
                        raise  # and try again
                    self._to_hide.remove(one)
                    self._report(Note(f"listener {one.spec.name!r} is not rehearsed: {error}"))
                    continue
                self._to_hide.remove(one)
                if one.spec.protocol == "tcp" and one.placeholder is not None:
                    self._report(Hidden(one.declared.number, int(one.placeholder.address[1])))

    def _give_real(self, one: Listener) -> None:
        """While it rehearses, give the listener itself at its second bind too: it will be asked for again; raises OSError."""
        if self._rehearses:
            self.given.undrain([one])

    def _now_listening(self, one: Listener) -> None:
        if self._rehearses and one.spec.protocol != "udp":
            # Not before it waits: behind listen Java asks for the local address, and keeps what it is told
            # (sun.nio.ch.ServerSocketChannelImpl); and Netty's native transport registers without an event first, and would
            # find no registration to change in the middle of a move.
            self._to_hide.add(one)
        self._report(Listening(one.declared.number))

    @property
    def any_accepts(self) -> bool:
        """Whether the application has claimed a listener that clients come to."""
        return any(one.claimed and not one.spec.bind_only for one in self._listeners)

    def accepting_fds(self) -> list[list[int]]:
        """Return for each claimed listener that clients come to the descriptors on which the application has it."""
        return [one.fds() for one in self._listeners if one.claimed and not one.spec.bind_only]

    def _claim(self, one: Listener, fd: int) -> None:
        if not one.claimed and not (one.spec.bind_only and one.declared.claimed):
            self._report(Claimed(one.declared.number, fd))
        one.claimed = True
        one.declared.claimed |= bool(one.spec.bind_only)

    def _listen(self, fd: int, backlog: int) -> Answer:
        """Answer listen: passed on, the application's own backlog would shrink that of the shared listener."""
        one = self.given.find(fd)
        if one is None:
            error = strict.listen(self._libc, fd, backlog) if self._strict else 0
            if error is None:
                self._hints.say("any free port, by listen: refused, strict_binds")
                error = errno.EACCES
            return Answer(error=error) if self._strict else PROCEED
        if not one.spec.listens:
            return Answer(error=errno.EOPNOTSUPP if one.spec.protocol == "udp" else errno.EACCES)
        families.bring_in(one)
        listen_again(one.fd, one.spec.backlog)
        self._now_listening(one)
        return DONE

    def _inherited_channel(self) -> Answer | None:
        """Answer dup(0), with which System.inheritedChannel() begins: a duplicate of the chosen listener, once."""
        one = self._inherited
        if one is None or self._channel_given or one.spec.bind_only:
            return PROCEED
        if self._parked:
            return self._park()
        os.set_blocking(one.fd, False)
        self._give_real(one)
        duplicate = os.dup(one.fd_now())
        self._channel_given = True
        one.add(duplicate)
        self._claim(one, duplicate)
        if one.spec.listens:
            self._now_listening(one)
        return Answer(value=duplicate)

    def _standard_fd(self, old: int, new: int) -> Answer:
        """Swallow the dup2 of /dev/null onto 0, 1 and 2 when Java closes the inherited channel: shutdown logs go there."""
        if self._channel_given and new in {0, 1, 2} and is_null(old):
            return Answer(value=new)
        return PROCEED


def _bring_in(one: Listener) -> None:
    if one.placeholder is None and one.fds() and not one.spec.bind_only:
        families.bring_in(one)
