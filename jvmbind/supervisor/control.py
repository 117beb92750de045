"""The control socket: who may ask, and for what. A request is one word and can never change what runs.

Runs in the supervisor as the service user. The kernel says who asks (SO_PEERCRED, unix(7)). Requests and answers are
packets of a SOCK_SEQPACKET socket; an answer is JSON.
"""

from __future__ import annotations

import array
import contextlib
import errno
import json
import os
import select
import socket
import stat
import struct
import time

from jvmbind.posix.overflow import overflow_id
from jvmbind.posix.passed_files import reading
from jvmbind.record import NamedTuple
from jvmbind.supervisor.fields import CONTROL, give, take, take_over
from jvmbind.supervisor.quota import Quota
from jvmbind.supervisor.requests import ClientReply
from jvmbind.supervisor.root_socket import RootSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterable
    from typing import Any

COMMANDS = ("status", "reload", "restart", "stop", "dump", "upgrade")
_CREDENTIALS = struct.Struct("=iII")  # struct ucred: pid, uid, gid
_SO_PEERGROUPS = 59  # asm-generic/socket.h, since Linux 4.13: the supplementary groups of who connected
_GROUPS_BYTES = 1024  # the most that Python's getsockopt takes: 256 groups
_REQUEST_MAX = 64
_ROOT, _GROUP, _OWNER, _STRANGER = range(4)  # who asks, in the order in which they are answered
_PLACES = {_ROOT: 32, _GROUP: 16, _OWNER: 16, _STRANGER: 8}
_BACKLOG = 128
_ACCEPTED_AT_ONCE = 16
_ANSWERED_AT_ONCE = 1  # requests of others than root between two looks whether root asks
_ACCEPTS = 512, 3000  # at once, then a second: about a tenth of a processor
_REQUESTS = 40, 20  # of each user but root
_PAUSE = 0.01  # seconds
_UIDS_MAX = 64


class Peer(NamedTuple):
    """Who has connected."""

    uid: int
    groups: set[int]
    kind: int  # _ROOT and so on: each kind has places of its own


class Control:
    """The socket and its clients."""

    def __init__(
        self,
        path: str,
        log: logging.Logger,
        delegated: Callable[[], tuple[int, tuple[str, ...]]],
        carried: dict[str, Any] | None = None,
    ) -> None:
        """Listen at `path`; where that fails the service runs without, and says so.

        `delegated` returns the group whose members may ask too (-1: none), and for which commands. `carried` is what another
        version in this process has carried on: its sockets are taken over.
        """
        self._log = log
        self._delegated = delegated
        self._path = path
        self._nobody = overflow_id()
        self._owner = os.geteuid() if os.geteuid() != self._nobody else -2
        self._clients: dict[int, socket.socket] = {}
        self._peers: dict[int, Peer] = {}
        self._next_refusal, self._refusals = 0.0, 0
        self._next_shortage = 0.0
        self._accepts = Quota(*_ACCEPTS)
        self._requests: dict[int, Quota] = {}  # by uid
        self.paused_until = 0.0  # nobody but root is let in before that
        self.root_paused_until = 0.0  # and root is not before that
        self._socket: socket.socket | None = None
        self._root: RootSocket | None = None
        if carried is None:
            self._listen(path)
        else:
            self._resume(carried)

    def _listen(self, path: str) -> None:
        log = self._log
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            remove_stale(path)
            # SO_PEERCRED decides; the mode only lets everybody ask, to be told no by name.
            before = os.umask(0o111)
            try:
                sock.bind(path)
            finally:
                os.umask(before)
            sock.listen(_BACKLOG)
            self._socket = sock
        except OSError as error:
            sock.close()
            text = (
                "no control socket at %s: %s%s; status, reload, restart, stop, dump and upgrade cannot reach the service; "
                "to stop it: kill %d"
            )
            log.warning(text, path, error.strerror, _expected(error), os.getpid())
            return
        try:
            self._root = RootSocket(path)
        except OSError as error:
            log.warning("root has no control socket of its own beside %s: %s", path, error.strerror)

    def carried(self) -> dict[str, Any]:
        """Return what another version in this process needs to go on with the same sockets."""
        return {
            "fields": take(self, CONTROL),
            "socket": -1 if self._socket is None else self._socket.fileno(),
            "root": None if self._root is None else self._root.carried(),
        }

    def _resume(self, carried: dict[str, Any]) -> None:
        give(self, CONTROL, carried["fields"])
        self._clients = {fd: take_over(fd) for fd in self._peers}
        self._socket = take_over(carried["socket"]) if carried["socket"] >= 0 else None
        self._root = RootSocket(self._path, carried["root"]) if carried["root"] else None

    def sockets(self) -> list[int]:
        """Return the descriptors of all sockets."""
        found = [*self._clients, *([self._socket.fileno()] if self._socket is not None else [])]
        return [*found, *([self._root.socket.fileno()] if self._root is not None else [])]

    def let_go(self) -> None:
        """Close nothing: another object in this process has the same sockets."""
        for sock in (*self._clients.values(), *([self._socket] if self._socket else [])):
            sock.detach()
        self._clients.clear()
        if self._root is not None:
            self._root.socket.detach()

    def fds(self) -> list[int]:
        """Return the descriptors to wait for."""
        now = time.monotonic()
        listening = [self._root.socket] if self._root is not None and now >= self.root_paused_until else []
        if now < self.paused_until:
            return [*(fd for fd, peer in self._peers.items() if peer.kind == _ROOT), *(sock.fileno() for sock in listening)]
        if self._socket is not None:
            listening.append(self._socket)
        return [*self._clients, *(sock.fileno() for sock in listening)]

    def requests(self, ready: Iterable[int]) -> list[tuple[int, str]]:
        """Accept who has come, and return (client, command) of what is permitted, root's first; the rest is answered here.

        Of others than root a few requests are read at once: the rest stays readable, and root's next is not behind it.
        """
        with reading() as cost:
            found = self._take_requests(set(ready))
        if cost.pause:
            self.paused_until = time.monotonic() + cost.pause
        return found

    def _take_requests(self, ready: set[int]) -> list[tuple[int, str]]:
        if self._root is not None and self._root.socket.fileno() in ready:
            ready |= self._accept_root(self._root.socket)
        if self._socket is not None and self._socket.fileno() in ready:
            ready |= self._accept_all(self._socket)
        found: list[tuple[int, str]] = []
        others = 0
        for fd in sorted(ready & self._clients.keys(), key=lambda fd: self._peers[fd].kind):
            is_root = self._peers[fd].kind == _ROOT
            if not is_root and others >= _ANSWERED_AT_ONCE:
                break
            command = self._read(fd)
            if command:
                found.append((fd, command))
                others += not is_root
        return found

    def _accept_all(self, listening: socket.socket) -> set[int]:
        """Let in who waits. A user who connects without end costs a bounded share of the processor, and no one his place."""
        new: set[int] = set()
        for _ in range(_ACCEPTED_AT_ONCE):
            if not self._accepts.take():
                self.paused_until = time.monotonic() + _PAUSE
                break
            try:
                client = listening.accept()[0]
            except BlockingIOError:
                break
            except OSError:  # EMFILE, ENFILE, ENOMEM: the queue stays readable
                self.paused_until = time.monotonic() + _PAUSE
                break
            new.add(self._take(client))
        return new

    def _accept_root(self, listening: socket.socket) -> set[int]:
        """Let in who waits at root's own socket; whoever else got hold of it is turned away without a word."""
        new: set[int] = set()
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                client = listening.accept()[0]
            except BlockingIOError:
                break
            except OSError as error:  # EMFILE, which comes before a look whether anybody waits; somebody else makes room
                if not _somebody_waits(listening):
                    break
                if not self._make_room():  # the queue stays readable
                    self._pause_root(error)
                    break
                continue
            if _who(client)[0] == 0:
                new.add(self._take(client))
            else:
                client.close()
        return new

    def _pause_root(self, error: OSError) -> None:
        now = time.monotonic()
        self.root_paused_until = now + _PAUSE
        if now >= self._next_shortage:
            self._next_shortage = now + 1
            self._log.error("control: root asks and cannot be let in yet: %s", error.strerror)

    def _take(self, client: socket.socket) -> int:
        client.setblocking(False)
        uid, groups = _who(client)
        kind = self._kind(uid, groups)
        # Each kind has room of its own. Of the user who has most of it the oldest makes place: nobody keeps another out.
        same = [fd for fd, peer in self._peers.items() if peer.kind == kind]
        if len(same) >= _PLACES[kind]:
            uids = [self._peers[fd].uid for fd in same]
            self._forget(same[uids.index(max(uids, key=uids.count))])
        fd = client.fileno()
        self._clients[fd], self._peers[fd] = client, Peer(uid, groups, kind)
        return fd

    def _make_room(self) -> bool:
        """Close a connection of who matters least, but none of root's; return whether there was one."""
        last = max(self._peers, key=lambda fd: self._peers[fd].kind, default=-1)
        if last < 0 or self._peers[last].kind == _ROOT:
            return False
        self._forget(last)
        return True

    def _kind(self, uid: int, groups: set[int]) -> int:
        if uid in {0, self._owner}:
            return _OWNER if uid else _ROOT
        gid, allowed = self._delegated()
        return _GROUP if allowed and gid in groups and gid != self._nobody else _STRANGER

    def _is_too_much(self, uid: int) -> bool:
        if uid == 0:
            return False
        if uid not in self._requests and len(self._requests) >= _UIDS_MAX:
            self._requests.clear()
        return not self._requests.setdefault(uid, Quota(*_REQUESTS)).take()

    def _read(self, fd: int) -> str:
        client = self._clients[fd]
        uid, groups = self._peers[fd].uid, self._peers[fd].groups
        try:
            request = client.recv(_REQUEST_MAX + 1)
        except BlockingIOError:
            return ""
        except OSError:
            request = b""
        word = request.decode("ascii", "replace")
        if not request or self._is_too_much(uid):
            self._forget(fd)
        elif not self._may(uid, groups, word):
            self._log_refusal(uid, word[:_REQUEST_MAX])
            self.answer(
                fd,
                {
                    "ok": False,
                    "error": f"not permitted: uid {uid} is neither root nor the service's owner, and none of its groups may ask",
                    "status": 77,
                },
            )
        elif word not in COMMANDS:
            self.answer(
                fd,
                {
                    "ok": False,
                    "error": f"{word[:_REQUEST_MAX]!r} is not a request; expected one of {', '.join(COMMANDS)}",
                    "status": 64,
                },
            )
        else:
            return word
        return ""

    def _log_refusal(self, uid: int, word: str) -> None:
        """Log who was refused, at most once a second: nobody fills the log."""
        now = time.monotonic()
        self._refusals += 1
        if now < self._next_refusal:
            return
        more = f" ({self._refusals - 1} more requests were refused before)" if self._refusals > 1 else ""
        self._log.warning("control: uid %d asked for %r and was refused%s", uid, word, more)
        self._next_refusal, self._refusals = now + 1, 0

    def _may(self, uid: int, groups: set[int], word: str) -> bool:
        return (kind := self._kind(uid, groups)) in {_ROOT, _OWNER} or (kind == _GROUP and word in self._delegated()[1])

    def knows(self, fd: int) -> bool:
        """Whether that client is still there."""
        return fd in self._clients

    def reply(self, fd: int) -> ClientReply:
        """Return what answers a client for as long as it waits; its number may become that of another."""
        return ClientReply(self, fd, self._clients[fd], self._peers[fd].uid)

    def answer(self, fd: int, answer: dict[str, Any], asked_by: socket.socket | None = None) -> None:
        """Answer a client, if it still waits (and is still `asked_by`)."""
        client = self._clients.get(fd)
        if client is None or (asked_by is not None and client is not asked_by):
            return
        try:
            client.send(json.dumps(answer).encode(), socket.MSG_NOSIGNAL)
        except OSError:
            self._forget(fd)

    def _forget(self, fd: int) -> None:
        self._peers.pop(fd)
        with reading():
            self._clients.pop(fd).close()

    def close(self) -> None:
        """Stop listening and remove the socket; who waits sees the end of its connection with that of this process."""
        if self._root is not None:
            self._root.close()
        if self._socket is not None:
            self._socket.close()
            with contextlib.suppress(OSError):
                os.unlink(self._path)


def _somebody_waits(listening: socket.socket) -> bool:
    poll = select.poll()
    poll.register(listening, select.POLLIN)
    return bool(poll.poll(0))


def _who(client: socket.socket) -> tuple[int, set[int]]:
    _, uid, gid = _CREDENTIALS.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return uid, {gid, *_supplementary_groups(client)}


def _supplementary_groups(client: socket.socket) -> Iterable[int]:
    """Return the groups of who connected besides its first; none where they are too many for one question."""
    try:
        return array.array("I", client.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES))
    except OSError:
        return ()


def _expected(error: OSError) -> str:
    """Return what was expected of a directory in which no socket can be made."""
    if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EROFS}:
        return ""
    import pwd  # noqa: PLC0415 - seldom needed

    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        name = str(os.geteuid())
    return f"; expected a directory that user {name} can write"


def remove_stale(path: str) -> None:
    """Remove what is in the place of the socket and is none on which anybody listens; follows nothing. Raises OSError.

    A socket that somebody listens on stays, and bind(2) says that the address is in use. All else in a directory of the
    service was left by the last life of its JVM, to keep the next one from being asked: links and pipes are removed, and what
    may hold something of the user's is moved aside.
    """
    try:
        kind = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISSOCK(kind):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(path)
            except (TimeoutError, BlockingIOError):
                return  # its queue is full
            except OSError:  # ECONNREFUSED; or EPROTOTYPE, of a kind that is none of ours
                os.unlink(path)
            return
    if stat.S_ISREG(kind) or stat.S_ISDIR(kind):
        os.rename(path, f"{path}.left-{time.time_ns()}")
    else:
        os.unlink(path)
