"""The service: one request of each connection, compared with the policy, bound and handed over.

Started as root, or with CAP_NET_BIND_SERVICE alone, by an isolated interpreter (python -I); from `Broker.turn` on it has that one
capability, a user of its own and no_new_privs. Imports the standard library, python-prctl, `root`, `spec`, `errors` and two
mechanisms of `posix`. Nothing is kept for a peer but a place in a table of a fixed size, and nobody is waited for.
Sources: unix(7) on SO_PEERCRED and SCM_RIGHTS, socket(7) on SO_PEERGROUPS, user_namespaces(7), sd_listen_fds(3).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import math
import os
import resource
import select
import signal
import socket
import struct
import time
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from jvmbind.broker import files, message
from jvmbind.broker.message import Reply
from jvmbind.broker.policy import Peer, decide, wanted_by
from jvmbind.errors import ConfigurationError, JvmbindError, NotPermittedError, printable
from jvmbind.listen import further_sockets
from jvmbind.posix.cgroup import groups
from jvmbind.posix.inherited import inherited_fds
from jvmbind.posix.overflow import overflow_id
from jvmbind.posix.passed_files import reading
from jvmbind.posix.user import resolve_user
from jvmbind.posix.writing import Outlet
from jvmbind.root.drop import CAP_NET_BIND_SERVICE, drop_permanently, effective_capabilities
from jvmbind.root.listeners import bind_listeners
from jvmbind.root.owned import check_own_code
from jvmbind.root.process import check_proc, close_to_others, fill_standard_fds
from jvmbind.root.unix_socket import open_unix
from jvmbind.spec import ListenSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jvmbind.broker.policy import Rule

USER = "jvmbind-broker"

_PLACES = 128  # connections at once
_PLACES_OF_ONE = 8  # of one user
_SHARE = 8  # a user may have so much less than may be in flight, unless it is the first grant
_PATIENCE = 2.0  # seconds for a request to come
_RATE = 50  # connections of one user in a second
_BURST = 32  # connections that are taken before those that are there are looked at again
_SIOCOUTQ = 0x5411  # bytes that the peer has not taken: unix_outq_len() in net/unix/af_unix.c
_SO_PEERGROUPS = 59  # asm-generic/socket.h
_NGROUPS_MAX = 65536  # limits.h; Python's own getsockopt takes 256 at most

_libc = ctypes.CDLL(None, use_errno=True)
_groups = (ctypes.c_uint32 * _NGROUPS_MAX)()


class _Client(NamedTuple):
    sock: socket.socket
    pid: int
    uid: int
    gid: int
    deadline: float  # infinite once it has sockets that it may not have taken yet
    sockets: int = 0  # how many those are


class Broker:
    """What serves; `turn` never waits but in poll(2)."""

    def __init__(self, listening: socket.socket, directory: str, rules: list[Rule], outlet: Outlet) -> None:
        """Take over a listening SOCK_SEQPACKET socket and the rules of a directory."""
        self._listening, self._directory, self._rules, self._outlet = listening, directory, rules, outlet
        self._clients: dict[int, _Client] = {}
        self._poll = select.poll()
        self._poll.register(listening, select.POLLIN)
        self._second, self._asked = 0, dict[int, int]()  # connections of each user in this second
        self._priority = "<%d>" if "JOURNAL_STREAM" in os.environ else ""
        self._nobody = overflow_id()

    def say(self, text: str, priority: int = 5) -> None:
        """Write a line to the log, without waiting for who reads it."""
        self._outlet.write((self._priority % priority if self._priority else "") + printable(f"jvmbind broker: {text}"))

    def reload(self) -> None:
        """Read the policy again; all of it takes effect, or nothing."""
        try:
            self._rules = files.load(self._directory)
        except JvmbindError as error:
            self.say(f"policy not read again, the one of before stays: {error}", 3)
        else:
            self.say(f"policy read again: {len(self._rules)} rules")

    def turn(self) -> None:
        """Wait for something to do, at most until the next deadline, and do it."""
        now = time.monotonic()
        for client in [client for client in self._clients.values() if client.deadline <= now]:
            self._close(client)
        next_deadline = min((client.deadline for client in self._clients.values()), default=math.inf)
        self._outlet.flush()
        wait = min(next_deadline - now, 0.1 if self._outlet.waits() else math.inf)
        for fd, _ in self._poll.poll(None if wait == math.inf else math.ceil(wait * 1000)):
            if fd == self._listening.fileno():
                self._accept()
            elif fd in self._clients:
                self._look_at(self._clients[fd])

    def add_wakeup(self, fd: int) -> None:
        """Wake up when `fd` is readable, for signals."""
        self._poll.register(fd, select.POLLIN)

    def _accept(self) -> None:
        for client in [client for client in self._clients.values() if client.deadline == math.inf and _has_taken(client.sock)]:
            self._close(client)
        for _ in range(_BURST):
            try:
                sock, _ = self._listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                self.say(f"no connection can be taken: {error.strerror}", 3)
                time.sleep(0.05)  # the kernel lacks something, and poll(2) would return at once
                return
            pid, uid, gid = struct.unpack("=iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            client = _Client(sock, pid, uid, gid, time.monotonic() + _PATIENCE)
            if self._is_too_much(uid) or not self._make_room(uid):
                self._close(client)
                continue
            sock.setblocking(False)
            self._clients[sock.fileno()] = client
            self._poll.register(sock, select.POLLIN)
            self._look_at(client)

    def _is_too_much(self, uid: int, weight: int = 1) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            for other, count in self._asked.items():
                if count > _RATE:
                    self.say(f"too much of uid {other}: beyond {_RATE} connections in a second it was not heard", 4)
            self._second, self._asked = second, {}
        self._asked[uid] = self._asked.get(uid, 0) + weight
        return self._asked[uid] > _RATE

    def _make_room(self, uid: int) -> bool:
        """Have a place for a connection of this user: it takes its own oldest, or that of who has most; False without any."""
        own = [client for client in self._clients.values() if client.uid == uid]
        candidates = own if len(own) >= _PLACES_OF_ONE else []
        if not candidates and len(self._clients) >= _PLACES:
            users = [client.uid for client in self._clients.values()]
            most = max(users, key=users.count)
            candidates = [client for client in self._clients.values() if client.uid == most]
        elif not candidates:
            return True
        # Who has not taken the sockets that were sent keeps its place: they are in flight, of which the kernel limits the number.
        waiting = [client for client in candidates if client.deadline != math.inf]
        if waiting:
            self._close(waiting[0])
        return bool(waiting)

    def _is_full(self, uid: int, more: int) -> bool:
        """Whether a user must take what was granted before; half of the places and most of what may be in flight is for others.

        Beyond RLIMIT_NOFILE descriptors in flight the kernel lets nobody be sent any: unix(7), ETOOMANYREFS.
        """
        untaken = [client for client in self._clients.values() if client.deadline == math.inf and not _has_taken(client.sock)]
        own = [client.sockets for client in untaken if client.uid == uid]
        if not own:
            return False
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // _SHARE
        return len(untaken) >= _PLACES // 2 or sum(own) + more > most

    def _look_at(self, client: _Client) -> None:
        with reading() as cost:
            try:
                data = client.sock.recv(message.REQUEST.size + 1)  # files that come along are closed by the kernel
            except BlockingIOError:
                return
            except OSError:
                data = b""
        if cost.pause:
            self._is_too_much(client.uid, _RATE)
        if not data or not self._answer(client, data):
            self._close(client)

    def _answer(self, client: _Client, data: bytes) -> bool:
        """Answer a request; return whether sockets were sent."""
        who = f"uid {client.uid}, pid {client.pid}{_unit(client.pid)}"
        try:
            spec, ask = message.decode(data)
            peer = self._peer(client)
        except (ValueError, OSError) as error:
            self.say(f"malformed request of {who}: {error}", 4)
            self._send(client, Reply(message.MALFORMED))
            return False
        what = f"{spec.address}/{spec.protocol}"
        rule = decide(self._rules, peer, wanted_by(spec))
        where = rule.where if rule else ""
        if rule is None or not rule.allow:
            self.say(f"refused {what} to {who}: {where or 'no rule'}", 4)
            self._send(client, Reply(message.REFUSED, rule=where))
            return False
        if ask:
            self._send(client, Reply(message.GRANTED, rule=where))
            return False
        wanted = [spec, *further_sockets([spec])]
        if self._is_full(client.uid, len(wanted)):
            self.say(f"failed {what} for {who}: too many sockets that were granted are not taken yet ({where})", 4)
            self._send(client, Reply(message.FAILED, errno=errno.ETOOMANYREFS, rule=where))
            return False
        try:
            opened = bind_listeners(wanted, refused=_as_it_is)
        except (OSError, OverflowError) as error:
            self.say(f"failed {what} for {who}: {error} ({where})", 4)
            self._send(client, Reply(message.FAILED, errno=getattr(error, "errno", 0) or 0, rule=where))
            return False
        sockets = [sock for _, sock in opened]
        sent = self._send(client, Reply(message.GRANTED, len(sockets), rule=where), sockets)
        for sock in sockets:
            sock.close()
        if not sent:  # it is gone, or too much is in flight
            self._send(client, Reply(message.FAILED, errno=errno.ETOOMANYREFS, rule=where))
        self.say(f"{'granted' if sent else 'not taken:'} {what} to {who}: {where}")
        if sent:
            self._clients[client.sock.fileno()] = client._replace(deadline=math.inf, sockets=len(sockets))
            self._poll.unregister(client.sock)
        return sent

    def _peer(self, client: _Client) -> Peer:
        size = ctypes.c_uint32(ctypes.sizeof(_groups))
        if _libc.getsockopt(client.sock.fileno(), socket.SOL_SOCKET, _SO_PEERGROUPS, _groups, ctypes.byref(size)) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        uid = client.uid if client.uid != self._nobody else -2
        return Peer(uid, frozenset((client.gid, *_groups[: size.value // 4])) - {self._nobody})

    def _send(self, client: _Client, reply: Reply, sockets: list[socket.socket] | None = None) -> bool:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, b"".join(struct.pack("=i", sock.fileno()) for sock in sockets or ()))]
        try:
            client.sock.sendmsg([message.encode_reply(reply)], rights if sockets else [], socket.MSG_NOSIGNAL)
        except OSError:
            return False
        return True

    def _close(self, client: _Client) -> None:
        if self._clients.pop(client.sock.fileno(), None) and client.deadline != math.inf:
            self._poll.unregister(client.sock)
        with reading() as cost:
            client.sock.close()  # and files that lie unread in its queue
        if cost.pause:
            self._is_too_much(client.uid, _RATE)


def _has_taken(sock: socket.socket) -> bool:
    """Whether the peer has taken, or thrown away, all that was sent. That it shut its end down says nothing of that."""
    return fcntl.ioctl(sock, _SIOCOUTQ, b"\0" * 4) == b"\0" * 4


def _as_it_is(_: ListenSpec, error: OSError | OverflowError) -> Exception:
    return error


def _unit(pid: int) -> str:
    """Return `, unit NAME` of the process that has the number now, "" where that is not known.

    Of several the outermost: the names of those below it may be its user's own to choose.
    """
    words = [word for group in groups(pid) for word in group.path.split("/") if word.endswith((".service", ".scope"))]
    return f", unit {words[0][:128]}" if words else ""


def _take_listening(path: str, environ: Mapping[str, str]) -> socket.socket:
    """Return the socket that a service manager passes, else one at `path`; raises ConfigurationError."""
    passed = inherited_fds(environ)
    if passed:
        sock = socket.socket(fileno=passed[0][1])
        fits = (sock.family, sock.type) == (socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if len(passed) != 1 or not fits or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            msg = "the sockets that were passed: expected one that listens, of ListenSequentialPacket= in the socket unit"
            raise ConfigurationError(msg)
        sock.setblocking(False)
        sock.set_inheritable(False)
        return sock
    try:
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        sock = open_unix(ListenSpec("", "unix", path=path), None, socket.SOCK_SEQPACKET)
        sock.listen(socket.SOMAXCONN)
    except OSError as error:
        msg = f"broker socket {path}: {error.strerror}; expected a place where a socket can be made, and no other broker there"
        raise ConfigurationError(msg) from error
    return sock


def serve(directory: str, path: str, user: str | None, environ: Mapping[str, str]) -> NoReturn:
    """Be the broker. Raises JvmbindError, with no request answered, where it cannot be."""
    fill_standard_fds()
    check_proc()
    check_own_code()
    if not effective_capabilities() >> CAP_NET_BIND_SERVICE & 1:
        msg = "broker: it binds ports for others and lacks CAP_NET_BIND_SERVICE; expected a start as root, or by its socket unit"
        raise NotPermittedError(msg)
    who = resolve_user(user or (USER if os.geteuid() == 0 else None))
    rules = files.load(directory)
    listening = _take_listening(path, environ)
    os.chdir("/")
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))  # it starts nothing
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the soft one limits what may be in flight
    close_to_others()
    drop_permanently(who.uid, who.gid, (who.gid,), 1 << CAP_NET_BIND_SERVICE)
    broker = Broker(listening, directory, rules, Outlet(2))
    asked = []
    woken, waker = socket.socketpair()
    for end in (woken, waker):
        end.setblocking(False)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGHUP, lambda *_: asked.append(True))
    broker.add_wakeup(woken.fileno())
    broker.say(f"ready: {len(rules)} rules of {directory}, as uid {who.uid}")
    while True:
        broker.turn()
        with contextlib.suppress(BlockingIOError):
            woken.recv(4096)
        if asked:
            asked.clear()
            broker.reload()
