"""`jvmbind.Service`: one service from keyword arguments or a file, started as a child of the calling program.

Runs in any program, with any number of threads; the program keeps its privilege, for the service is started by exec as
`jvmbind run` is. The running handle learns of readiness by the notification protocol of sd_notify(3), on a pair of sockets
that have no name, so that nobody else can send there, and of the end by a pidfd. Sources: sd_notify(3), unix(7),
posix_spawn(3), pidfd_open(2).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, NamedTuple, Self

from jvmbind.config.schema import build, read_document
from jvmbind.errors import EX_TEMPFAIL, JvmbindError, SystemFailureError
from jvmbind.posix.fds import sealed_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jvmbind.config.request import Request
    from jvmbind.config.tables import Control, Java, Security, Supervise
    from jvmbind.spec import ListenSpec

_REQUEST_FD, _NOTIFY_FD = 3, 4
_ABOVE = 10  # descriptors are moved above those that they get in the child
_LARGEST = 65536  # bytes of one notification
_AT_ONCE = 64  # notifications between two looks whether the service has ended
_MARGIN = 10.0  # seconds beyond the service's own time-outs


class ServiceEndedError(JvmbindError):
    """The service ended; `status` is its exit status, as a shell shows it (128 plus the signal)."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class ReloadFailedError(JvmbindError):
    """A reload has failed, or could not begin; the generation that served before keeps serving."""

    status = EX_TEMPFAIL


class ServiceStatus(NamedTuple):
    """What is known of a service: `state` is starting, ready, reloading, stopping or ended; `text` its own last words."""

    pid: int
    state: str
    text: str
    exit_status: int | None


class Service:
    """What is to be run. The keyword arguments are the keys and tables of the configuration file, one to one."""

    def __init__(
        self,
        *,
        java: Java,
        listen: Mapping[str, str] | Sequence[str | ListenSpec] = (),
        name: str | None = None,
        user: str | None = None,
        inherit: str | None = None,
        direct: bool = False,
        quiet: bool = False,
        verbose: bool = False,
        env: Sequence[str] = (),
        preserve_env: bool = False,
        supervise: Supervise | None = None,
        control: Control | None = None,
        security: Security | None = None,
    ) -> None:
        """Check everything that can be checked without this machine; raises ConfigurationError naming the argument."""
        document: dict[str, object] = {
            "java": _plain(java),
            "listen": _plain(listen),
            "name": name,
            "user": user,
            "inherit": inherit,
            "direct": direct,
            "quiet": quiet,
            "verbose": verbose,
            "env": env,
            "preserve_env": preserve_env,
            "supervise": _plain(supervise),
            "control": _plain(control),
            "security": _plain(security),
        }
        given = {key: value for key, value in document.items() if value is not None}
        self._request = build(read_document(given, "Service"), "Service")

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """Read a configuration file, as `jvmbind run -c` does; raises ConfigurationError, NotPermittedError."""
        from jvmbind.config.load import load  # noqa: PLC0415 - tomllib takes 14 ms to load

        service = cls.__new__(cls)
        request = load(os.fspath(path))
        spec = request.template._replace(command_line=("-c", request.template.config))  # what a reload reads again
        service._request = request._replace(template=spec)  # noqa: SLF001 - its own class
        return service

    @property
    def request(self) -> Request:
        """The checked values, as the launcher gets them."""
        return self._request

    def start(
        self, *, environ: Mapping[str, str] | None = None, stdout: int | None = None, stderr: int | None = None
    ) -> RunningService:
        """Start the service in a child process with a session of its own, and return at once.

        `environ` is what the service's environment is made of, default that of this process; `stdout` and `stderr` are
        descriptors, default those of this process. Raises OSError where no process can be started; what the launcher
        refuses (a port in use, a user that does not exist) ends the child with the status that the manual names.
        """
        return RunningService(self._request, dict(os.environ if environ is None else environ), stdout, stderr)


def _plain(value: object) -> object:
    """Turn mappings of any kind into dicts, all the way down, as the reader of TOML gives them."""
    if hasattr(value, "items"):
        return {key: _plain(item) for key, item in value.items()}
    return value


class RunningService:
    """A started service. As a context manager it stops the service at the end of the block.

    Nothing is stopped when the object or the calling program goes away: the service does not depend on either.
    """

    def __init__(self, request: Request, environ: dict[str, str], stdout: int | None, stderr: int | None) -> None:
        """Start it: see `Service.start`."""
        self._patience = request.template.stop_timeout + request.template.stop_drain_timeout + _MARGIN
        self._changed = threading.Condition()
        self._state, self._text = "starting", ""
        self._reload = threading.Lock()  # one at a time
        self._reloads, self._reload_failure = 0, ""  # those that this program has asked for
        self._others = 0  # those that somebody else has
        self._ended: int | None = None
        notify, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            notify.setblocking(False)
            self._pid = _spawn(request, {**environ, "NOTIFY_SOCKET": f"fd:{_NOTIFY_FD}"}, stdout, stderr, theirs.fileno())
            self._pidfd = os.pidfd_open(self._pid)
        except OSError:
            notify.close()
            raise
        finally:
            theirs.close()
        # A thread, for the service must never wait for this program to read what it says.
        threading.Thread(target=self._watch, args=(notify,), name="jvmbind-service", daemon=True).start()

    @property
    def pid(self) -> int:
        """The process of the service: the supervisor, or with `direct` the worker."""
        return self._pid

    def status(self) -> ServiceStatus:
        """Return what the service has said of itself so far."""
        with self._changed:
            return ServiceStatus(self._pid, self._state, self._text, self._ended)

    def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until clients are served; raises TimeoutError after `timeout` seconds, ServiceEndedError.

        A service with `direct` says nothing of its readiness: it has no supervisor.
        """
        self._wait(lambda: self._state == "ready", timeout, "ready")

    def reload(self, timeout: float | None = None) -> ServiceStatus:
        """Start a new generation beside the old one (SIGHUP) and wait until it serves; return the status then.

        A call from another thread begins when that has ended. Raises ReloadFailedError, with the reason, where the old
        one serves on, or where somebody else's reload is on its way; TimeoutError, ServiceEndedError.
        """
        until = None if timeout is None else time.monotonic() + timeout
        if not self._reload.acquire(timeout=-1 if timeout is None else timeout):
            msg = f"service {self._pid}: another reload has not ended within {timeout:g} s"
            raise TimeoutError(msg)
        try:
            with self._changed:
                before = self._reloads
            while self._reloads == before:
                others = self._others
                self.send_signal(signal.SIGHUP)
                left = None if until is None else max(0.0, until - time.monotonic())
                # A signal that is sent while the same one waits to be read is lost: signal(7). So the end of what somebody
                # else has asked for is followed by another.
                self._wait(lambda: self._reloads > before or self._others > others, left, "reloaded")  # noqa: B023 - called here
            with self._changed:
                failure = self._reload_failure
        finally:
            self._reload.release()
        if failure:
            raise ReloadFailedError(failure)
        return self.status()

    def stop(self, timeout: float | None = None) -> int:
        """Ask the service to end (SIGTERM), wait for it and return its exit status; one that has ended is no error.

        The default of `timeout` is the service's own drain and stop time-outs and a margin. Raises TimeoutError.
        """
        with contextlib.suppress(ServiceEndedError):
            self.send_signal(signal.SIGTERM)
        return self.wait(self._patience if timeout is None else timeout)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit status (128 plus the signal after a signal); raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._ended is not None, timeout) or self._ended is None:
                msg = f"service {self._pid} has not ended within {timeout:g} s"
                raise TimeoutError(msg)
            return self._ended

    def send_signal(self, number: int) -> None:
        """Send a signal to the service; raises ServiceEndedError."""
        with self._changed:
            if self._ended is not None:
                raise self._ended_error(self._ended)
            signal.pidfd_send_signal(self._pidfd, number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the service; one that does not end in its time is killed, and its JVM with it (PR_SET_PDEATHSIG)."""
        try:
            self.stop()
        except TimeoutError:
            with contextlib.suppress(ServiceEndedError):
                self.send_signal(signal.SIGKILL)
            self.wait()

    def _wait(self, condition: Callable[[], bool], timeout: float | None, what: str) -> None:
        with self._changed:
            self._changed.wait_for(lambda: condition() or self._ended is not None, timeout)
            if self._ended is not None:
                raise self._ended_error(self._ended)
            if not condition():
                msg = f"service {self._pid} is not {what} after {timeout:g} s: {self._state} {self._text}".rstrip()
                raise TimeoutError(msg)

    def _ended_error(self, status: int) -> ServiceEndedError:
        return ServiceEndedError(f"service {self._pid} has ended with status {status}", status)

    def _watch(self, notify: socket.socket) -> None:
        with notify:
            poll = select.poll()
            poll.register(notify, select.POLLIN)
            poll.register(self._pidfd, select.POLLIN)
            alive = True
            while alive:
                alive = self._pidfd not in {fd for fd, _ in poll.poll()}
                if not self._take(notify):
                    poll.unregister(notify)
                    poll.poll()
                    alive = False
        status = self._reap()
        with self._changed:
            os.close(self._pidfd)
            self._ended, self._state = status, "ended"
            self._changed.notify_all()

    def _take(self, notify: socket.socket) -> bool:
        """Understand what the service has said; return whether it may say more."""
        for _ in range(_AT_ONCE):
            try:
                data = notify.recv(_LARGEST)
            except BlockingIOError:
                return True
            except ConnectionResetError:
                return False
            if not data:
                return False
            with self._changed:
                self._understand(data.decode("utf-8", "replace").splitlines())
                self._changed.notify_all()
        return True

    def _understand(self, lines: list[str]) -> None:
        for line in lines:
            name, _, value = line.partition("=")
            if name == "STATUS":
                self._text = value
            elif name == "RELOADING" and value == "1":
                self._state = "reloading"
            elif name in {"X_JVMBIND_RELOAD", "X_JVMBIND_RELOAD_REFUSED"}:
                by, _, result = value.partition(" ")
                if by == str(os.getpid()):
                    self._reloads += 1
                    self._reload_failure = "" if result == "done" else result
                elif name == "X_JVMBIND_RELOAD":
                    self._others += 1
            elif name in {"READY", "STOPPING"} and value == "1":
                self._state = {"READY": "ready", "STOPPING": "stopping"}[name]

    def _reap(self) -> int:
        try:
            result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        except ChildProcessError:
            result = None  # the program ignores SIGCHLD, or has waited for every child itself: wait(2)
        if result is None:
            return 0
        return result.si_status if result.si_code == os.CLD_EXITED else 128 + result.si_status


def _spawn(request: Request, environ: Mapping[str, str], stdout: int | None, stderr: int | None, notify: int) -> int:
    package = os.path.dirname(os.path.abspath(__file__))
    command = [sys.executable, "-I", os.path.join(package, "__main__.py"), "run", "--request-fd", str(_REQUEST_FD)]
    moved: list[int] = []
    try:
        memory = sealed_memory("jvmbind-request", request.to_json())
        moved.append(memory)
        actions = []
        for fd, number in ((stdout, 1), (stderr, 2), (memory, _REQUEST_FD), (notify, _NOTIFY_FD)):
            if fd is not None:
                # Moved above the numbers that they get, so that no move overwrites the next one's source.
                moved.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _ABOVE))
                actions.append((os.POSIX_SPAWN_DUP2, moved[-1], number))
        defaults = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
        return os.posix_spawn(command[0], command, environ, file_actions=actions, setsid=True, setsigmask=[], setsigdef=defaults)
    except ValueError as error:  # a NUL, or '=' in a name, in `environ`
        msg = f"environment of the service: {error}"
        raise SystemFailureError(msg) from error
    finally:
        for fd in moved:
            os.close(fd)
