"""`jvmbind status|reload|restart|stop|dump|upgrade [NAME]`: asks a running service over its control socket.

Runs as any user; the supervisor decides by the kernel's word who asks.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

from jvmbind.cli.view import View
from jvmbind.errors import (
    EX_TEMPFAIL,
    JvmbindError,
    NotPermittedError,
    PortUnavailableError,
    SystemFailureError,
    UsageError,
    printable,
)
from jvmbind.posix.runtime_dir import user_directories
from jvmbind.root.control_dir import SOCKET, SYSTEM, is_trusted
from jvmbind.supervisor.root_socket import SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PATIENCE = 30.0  # seconds for a place in the queue, and between two words of a supervisor that has something to do
_LEFT = re.compile(r", (\d+) s left")
_ANSWER_MAX = 1 << 20
_HELP = {
    "status": "show generations, listeners, privileges, deaths",
    "reload": "start a new generation beside the old one, or in its place where two would harm the data, and let it take over",
    "restart": "check what is to run, end the serving generation and start it anew; clients wait meanwhile",
    "stop": "drain and stop the service",
    "dump": "write a thread dump of the JVM to its log",
    "upgrade": "let the installed version of jvmbind take the place of the one that supervises the service; its JVMs go on",
}


class RefusedError(JvmbindError):
    """The service did not do what it was asked for."""

    status = EX_TEMPFAIL


class BusyRefusedError(RefusedError):
    """Another reload or restart is on its way."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Report wrong usage in one line, with status 64."""
        msg = f"{self.prog.removeprefix('jvmbind ')}: {message} ({self.prog} --help)"
        raise UsageError(msg)


def services() -> dict[str, str]:
    """Return the control sockets that this user can see, by name; the caller's own before the system's."""
    found: dict[str, str] = {}
    for place in (*user_directories(os.environ, os.geteuid()), SYSTEM):
        try:
            names = sorted(os.listdir(place))
        except OSError:
            continue
        if not is_trusted(place, 0 if place == SYSTEM else os.geteuid()):
            continue  # somebody else could have put any socket there
        for name in names:
            if os.path.exists(f"{place}/{name}/{SOCKET}"):
                found.setdefault(name, f"{place}/{name}/{SOCKET}")
    return found


def find(name: str | None) -> str:
    """Return the control socket of a service: by name, by path, or the only one. Raises PortUnavailableError."""
    if name is not None and ("/" in name or name.endswith(".toml")) and os.path.isfile(name):
        raise UsageError(_not_a_name(name))
    if name is not None and "/" in name:
        return name
    found = {known: path for known, path in services().items() if name is None or known == name}
    alive = {known: path for known, path in found.items() if _answers(path)}
    if len(alive) == 1:
        return next(iter(alive.values()))
    if not alive:
        what = "no service is running" if name is None else f"no service named {name!r} is running"
        others = ", ".join(known for known, path in services().items() if _answers(path))
        msg = f"{what}; expected one of {others}" if others else what
        raise PortUnavailableError(msg)
    msg = f"several services are running; expected one of their names: {', '.join(alive)}"
    raise UsageError(msg)


def _not_a_name(path: str) -> str:
    """Return what to say to somebody who gives a configuration in the place of a service."""
    from jvmbind.plan.reading import read_configuration, read_name  # noqa: PLC0415 - tomllib, which these load, takes 14 ms

    here = ""
    with contextlib.suppress(JvmbindError, OSError):
        here = f", here {read_name(read_configuration(path))!r}"
    return f"{path}: that is a configuration; expected the service's name{here}"


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(path)
        except BlockingIOError:
            return True  # its queue is full
        except OSError:
            return False
        return True


def ask(
    path: str,
    command: str,
    timeout: float | None = None,
    *,
    found_by_name: bool = False,
    wait: bool = True,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Return a service's answer once what was asked for has happened, or without `wait` has begun.

    `progress` is called with what is waited for. A supervisor that says nothing at all for `timeout` seconds has stopped, or
    hangs: meanwhile it says every two seconds that it works. Raises PortUnavailableError, NotPermittedError, RefusedError,
    SystemFailureError.
    """
    patience = timeout or _PATIENCE
    with _roots_connection(path) or socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        try:
            if not _is_connected(sock):
                _connect(sock, path, patience)
            sock.settimeout(patience)
            if found_by_name:
                _check_server(sock, path)
            _check_ancestors(sock, path)
            sock.send(command.encode())
            # A status is there at once: nothing that a service says puts off the end of the wait for it.
            until = time.monotonic() + patience if command == "status" else None
            answer = _receive(sock, path, wait=wait, progress=progress, until=until)
            if command == "stop" and "begun" not in answer and answer["ok"]:
                sock.recv(1)  # the end of the connection is that of the supervisor, and of its listeners
        except (TimeoutError, BlockingIOError) as error:
            msg = f"{path}: no answer for {patience:g} s; the supervisor is stopped or hangs"
            raise SystemFailureError(msg) from error
        except OSError as error:
            msg = f"{path}: {error.strerror}; the service is not running"
            raise PortUnavailableError(msg) from error
    if answer.get("begun"):
        return answer
    if not answer.pop("ok"):
        kind: type[JvmbindError] = BusyRefusedError if answer.get("busy") else RefusedError
        if answer.get("status") == NotPermittedError.status:
            kind = NotPermittedError
        raise kind(f"{command}: {answer.get('error')}")
    return answer


def _connect(sock: socket.socket, path: str, patience: float) -> None:
    """Connect, and wait for a place in the queue where it is full; raises OSError."""
    # A socket with a time-out of Python's would not wait: unix(7), EAGAIN.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", int(patience), int(patience % 1 * 1e6)))
    sock.connect(path)


def _is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def _roots_connection(path: str) -> socket.socket | None:
    """Return a connection to the socket that a supervisor has for root alone, None where there is none to be had.

    It lies behind a link to a descriptor of the supervisor (see supervisor.root_socket). The link could be changed by the
    service's user: only the process that it names is spoken to. In another PID namespace it leads nowhere, and without
    CAP_SYS_PTRACE too: then root asks as everybody does.
    """
    if os.geteuid() != 0:
        return None
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        target = os.readlink(path + SUFFIX)
        empty, proc, pid, fd, number = target.split("/")
        if (empty, proc, fd) == ("", "proc", "fd") and pid.isdigit() and number.isdigit():
            _connect(sock, target, 1)
            if str(_peer(sock)[0]) == pid:
                return sock
    except (OSError, ValueError):
        pass
    sock.close()
    return None


def _peer(sock: socket.socket) -> tuple[int, int]:
    """Return the process that listens, and its uid: SO_PEERCRED, unix(7)."""
    pid, uid, _ = struct.unpack("=iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid


def _receive(sock: socket.socket, path: str, *, wait: bool, progress: Callable[[str], None], until: float | None) -> dict[str, Any]:
    while True:
        if until is not None:
            sock.settimeout(max(0.001, until - time.monotonic()))
        data = sock.recv(_ANSWER_MAX)
        if not data:
            msg = f"{path}: the service ended before it answered"
            raise RefusedError(msg)
        try:
            answer = _printable(json.loads(data, parse_constant=_no_constant))
        except (ValueError, RecursionError) as error:
            msg = f"{path}: the answer is not JSON; expected the control socket of a service"
            raise SystemFailureError(msg) from error
        if not isinstance(answer, dict):
            msg = f"{path}: the answer is not a JSON object; expected the control socket of a service"
            raise SystemFailureError(msg)
        if "ok" in answer or (answer.get("begun") and not wait):
            return answer
        if answer.get("waits_for"):
            progress(answer["waits_for"])


def _no_constant(name: str) -> None:
    msg = f"{name} is not a JSON number"
    raise ValueError(msg)


def _check_server(sock: socket.socket, path: str) -> None:
    """Check that whoever answers owns the directory of the socket."""
    uid = _peer(sock)[1]
    owner = os.stat(os.path.dirname(os.path.abspath(path))).st_uid
    if uid != owner and os.geteuid() != uid:
        msg = f"{path}: uid {uid} answers there, but the directory belongs to uid {owner}; nothing was asked"
        raise NotPermittedError(msg)


def _check_ancestors(sock: socket.socket, path: str) -> None:
    """Refuse an answer of a process below a supervisor: a hijacked JVM can put a socket of its own in the place of its.

    All that a JVM starts stays below its supervisor, the parent of orphans; and no process can change another's name.
    """
    uid = _peer(sock)[1]
    # Who asks from below a supervisor has its rights, and asks services beside itself there.
    shared = set(_ancestors(os.getpid()))
    for pid in _ancestors(_peer(sock)[0]):
        above = _status_of(pid) if pid not in shared else {}
        # The supervisor is not dumpable, so that its files in /proc are root's: proc(5).
        if above.get("Name") == "jvmbind" and above["Uid"].split()[0] == str(uid) and os.stat(f"/proc/{pid}/status").st_uid != uid:
            msg = f"{path}: answered by a process of the service, below its supervisor (process {pid}); nothing was asked"
            raise NotPermittedError(msg)


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        pid = int(_status_of(pid).get("PPid", "0"))
        if pid:
            yield pid


def _status_of(pid: int) -> dict[str, str]:
    """Return the fields of /proc/PID/status, none where it cannot be read."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            return {key: value.strip() for key, _, value in (line.partition(":") for line in file)}
    except OSError:
        return {}


def _printable(value: Any) -> Any:  # noqa: ANN401 - any value of JSON
    """Return an answer with every text printable: a service owns what it says, but not the terminal of who asks."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [_printable(item) for item in value]
    return {printable(key): _printable(item) for key, item in value.items()} if isinstance(value, dict) else value


def main(command: str, argv: list[str]) -> None:
    """Run one of the commands; raises JvmbindError."""
    parser = _Parser(prog=f"jvmbind {command}", description=_HELP[command].capitalize() + ".", allow_abbrev=False)
    parser.add_argument(
        "name", metavar="NAME", nargs="?", help="the service, by name or by the path of its control socket; default the only one"
    )
    parser.add_argument("--json", action="store_true", help="the answer as JSON, that of a failure too")
    if command == "status":
        parser.add_argument("--watch", action="store_true", help="again every second")
        parser.add_argument(
            "--field", metavar="KEY", help="one value of the JSON, as ready or generations.0.pid; false ends with 1"
        )
    else:
        parser.add_argument("--no-wait", action="store_true", help="return once it has begun; default: once it has happened")
    options = parser.parse_args(argv)
    if command == "status" and options.field is not None and (options.json or options.watch):
        parser.error("--field prints one value, once; expected neither --json nor --watch")
    try:
        _run(command, options)
    except JvmbindError as error:
        if options.json:
            sys.stdout.write(json.dumps({"ok": False, "error": str(error), "status": error.status}) + "\n")
        raise


def _run(command: str, options: argparse.Namespace) -> None:
    path = find(options.name)
    progress = _Progress(command)
    while True:
        answer = ask(
            path,
            command,
            found_by_name=options.name is None or "/" not in options.name,
            wait=command == "status" or not options.no_wait,
            progress=progress.say,
        )
        watch = command == "status" and options.watch
        sys.stdout.write(("\033[H\033[2J" if watch and sys.stdout.isatty() else "") + _shown(command, options, answer) + "\n")
        sys.stdout.flush()
        if not watch:
            break
        time.sleep(1)
    if command == "status" and options.field is not None and field(answer, options.field) is False:
        sys.exit(1)


def _shown(command: str, options: argparse.Namespace, answer: dict[str, Any]) -> str:
    if options.json:
        return json.dumps(answer)
    if command != "status":
        return "\n".join([f"{command}: {_outcome(answer)}", *answer.get("notes", ())])
    if options.field is not None:
        value = field(answer, options.field)
        return value if isinstance(value, str) else json.dumps(value)
    try:
        return View(answer, time.time(), colour=_has_colour()).text()
    except (TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
        msg = f"status: the answer has another form than that of this version of jvmbind ({type(error).__name__}: {error})"
        raise SystemFailureError(msg) from error


def field(answer: dict[str, Any], key: str) -> Any:  # noqa: ANN401 - any value of JSON
    """Return one value by the path of its key, with numbers for places in lists; raises UsageError."""
    value: Any = answer
    for word in key.split("."):
        if isinstance(value, list) and word.isdecimal() and int(word) < len(value):
            value = value[int(word)]
        elif isinstance(value, dict) and word in value:
            value = value[word]
        else:
            there = (
                list(value) if isinstance(value, dict) else [f"0 to {len(value) - 1}"] if isinstance(value, list) and value else []
            )
            expected = f"one of {', '.join(there)}" if there else "a shorter key"
            msg = f"status: --field {key}: no {word!r} there; expected {expected}"
            raise UsageError(msg)
    return value


def _has_colour() -> bool:
    """Whether standard output is a terminal that shows colour, and nobody has asked for none (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


class _Progress:
    """What is waited for, on standard error: in words when it is another thing than before, else the seconds alone."""

    def __init__(self, command: str) -> None:
        self._command, self._before = command, ""

    def say(self, text: str) -> None:
        what, left = _LEFT.sub("", text), _LEFT.search(text)
        shown = text if what != self._before else f"still, {left[1]} s left" if left else "still"
        self._before = what
        sys.stderr.write(f"{self._command}: waits {shown}\n")
        sys.stderr.flush()


def _outcome(answer: dict[str, Any]) -> str:
    if answer.get("begun"):
        return "begun"
    if answer.get("version"):
        return f"done: version {answer['version']} goes on in the place of {answer['before']}"
    return f"done, by a restart with the listeners kept: {answer['alone']}" if answer.get("alone") else "done"
