"""`jvmbind java JAVA-ARGUMENTS`: what `java` is for a script that `jvmbind wrap` runs.

Runs as the service user. Below `wrap` it asks for the listeners and becomes a worker, in this very process; outside it,
and for what needs no listener (`java -version`), it becomes the real `java`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import stat
import struct
from pathlib import Path
from typing import NoReturn

from jvmbind.errors import JavaLaunchError, SystemFailureError
from jvmbind.posix.fds import open_fds, read_memory
from jvmbind.posix.role import Role, without_coercion
from jvmbind.spec import ServiceSpec
from jvmbind.wire import Note, encode
from jvmbind.worker import arguments, facade
from jvmbind.worker.java_home import find_java_home
from jvmbind.worker.script import FDS_PER_PACKET
from jvmbind.worker.unreached import another

_F_SETSIG = 10  # linux/fcntl.h; not in Python's fcntl before 3.13


def main(argv: list[str]) -> NoReturn:
    """Become a worker or the real `java`; raises JvmbindError."""
    _unblock(os.environ.pop(facade.BLOCKED, ""))
    name = os.environ.get(facade.WRAP)
    java_home = os.environ.get(facade.REAL_HOME) or facade.real_home(find_java_home(None, os.environ))
    environ = without_coercion(facade.lead_back(os.environ))
    connection = _connect(name) if name and _may_serve(argv, environ, java_home) else None
    if connection is not None and _is_read_by_the_script(connection):
        # It may be a launcher, which prints the command line of the server for the script to run: with the Java of JAVA_HOME.
        environ = without_coercion(facade.without_traces(os.environ))
    if connection is None:
        # Not lead_back: this `java` may be the front of another one (a start script's helper), which is to find the facade.
        outside = {key: value for key, value in without_coercion(dict(os.environ)).items() if key != facade.REAL_HOME}
        outside[facade.PLAIN] = str(os.getpid())
        _become_java(java_home, argv, outside)
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text("java", encoding="ascii")  # by which scripts (Spark's) find out whether it lives
    other = facade.other_home(os.environ, java_home)
    role = _take(connection, argv, another(other, java_home) if other else "")
    os.environ.clear()
    os.environ.update(environ)
    from jvmbind.worker.main import main as work  # noqa: PLC0415 - `java -version` is to be quick

    work(role)


def _unblock(blocked: str) -> None:
    """Take SIGINT again, which the stub has blocked; `blocked` is what was blocked before, "" where the stub has not."""
    try:
        mask = int(blocked, 16)
    except ValueError:
        return
    if not mask >> (signal.SIGINT - 1) & 1:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _may_serve(argv: list[str], environ: dict[str, str], java_home: str) -> bool:
    """Whether this command line runs a program; what is wrong with it is for the real `java` to say."""
    home = Path(java_home)
    try:
        command = arguments.parse(argv, environ, jdk_feature=arguments.jdk_feature(home), java_home=home)
    except JavaLaunchError:
        return False
    return command.delegate is None and command.what is not None


def _become_java(java_home: str, argv: list[str], environ: dict[str, str]) -> NoReturn:
    java = os.path.join(java_home, "bin", "java")
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execve(java, [java, *argv], environ)
    except OSError as error:
        msg = f"{java}: {error.strerror}"
        raise SystemFailureError(msg) from error


def _connect(name: str) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(f"\0{name}")
        _, uid, _ = struct.unpack("=iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    except OSError:
        uid = -1  # the service that the script belonged to has ended
    # Once it has, anybody may take the abstract name: unix(7).
    if uid != os.geteuid():
        connection.close()
        return None
    return connection


def _is_read_by_the_script(connection: socket.socket) -> bool:
    """Whether the standard output is a pipe, and not the one that the script was started with."""
    worker, _, _ = struct.unpack("=iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    try:
        own, given = os.fstat(1), os.stat(f"/proc/{worker}/fd/1")
    except OSError:
        return False
    return stat.S_ISFIFO(own.st_mode) and (own.st_dev, own.st_ino) != (given.st_dev, given.st_ino)


def _take(connection: socket.socket, argv: list[str], note: str) -> Role:
    """Receive the specification and the listeners, and arrange for this process to end with the one that sent them.

    The one that sent them gets the `note`, for the log.
    The listeners get numbers behind every descriptor that the script has passed on, which keep theirs.
    """
    fds: list[int] = []
    wanted, parked = 2, 0
    while len(fds) < wanted:
        data, more, _, _ = socket.recv_fds(connection, 64, FDS_PER_PACKET, socket.MSG_CMSG_CLOEXEC)
        if not data:
            msg = "java: the service that this script belongs to has ended"
            raise SystemFailureError(msg)
        fds += more
        wanted, parked = map(int, data.split())
    memory, alive, *listeners = fds
    spec = ServiceSpec.from_json(read_memory(memory))._replace(java_arguments=tuple(argv))
    _die_with(alive)
    if note:
        connection.send(encode(Note(note)), socket.MSG_NOSIGNAL)
    first = max(open_fds()) + 1
    for number, fd in enumerate(listeners, first):
        fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, number)
        os.close(fd)
    return Role(spec, connection.detach(), parent=0, parked=bool(parked), first=first)


def _die_with(alive: int) -> None:
    """Have the kernel kill this process when the other end of the pipe `alive` goes, whose only holder runs the script.

    PR_SET_PDEATHSIG is for parents, and the parent of this process is the script, which may leave it in the background.
    Source: fcntl(2) on F_SETOWN and F_SETSIG; a pipe's hang-up is an event for its reader.
    """
    fcntl.fcntl(alive, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(alive, _F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(alive, fcntl.F_SETFL, fcntl.fcntl(alive, fcntl.F_GETFL) | os.O_ASYNC)
