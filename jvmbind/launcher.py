"""What becomes of the process that has bound and dropped: the supervisor, or with --direct the worker itself.

Runs as the service user with no privilege, after `jvmbind.root.start`. The process becomes the supervisor without an exec. A
process that has changed its user is closed to the other processes of that user, but execve(2) opens it again, and until the
new image closed itself any of them could take a listener (pidfd_getfd(2)), or write into its memory so that it looks untouched
later (process_vm_writev(2)).
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from jvmbind.errors import SystemFailureError, printable
from jvmbind.posix import role
from jvmbind.posix.fds import LISTEN_FDS_START, arrange_for_exec, clear_standard_fds, passed_fd, sealed_memory
from jvmbind.posix.forgotten import forget_start
from jvmbind.spec import ServiceSpec

if TYPE_CHECKING:
    from jvmbind.root.start import Started


def become(started: Started) -> NoReturn:
    """Be the supervisor, or the worker. The listeners are on 3, 4, 5, ... from then on. Raises JvmbindError, OSError."""
    rest = json.loads(started.rest)
    spec = ServiceSpec.from_json(rest["spec"].encode())
    listeners = tuple(listener for listener, _ in started.listeners)
    spec = spec._replace(name=started.name, control=started.control or spec.control, listeners=listeners)
    environ: dict[str, str] = rest["environ"]
    if rest["umask"] is not None:
        os.umask(rest["umask"])
    if started.why:
        _say(started.why)
    fds = [sock.detach() for _, sock in started.listeners]
    if started.on_standard_input:
        clear_standard_fds(os.fstat(fds[0]).st_ino)
    if spec.direct:
        _exec_worker(spec, fds, environ)
    notify = passed_fd(environ)
    passed = [*fds, *([notify] if notify >= 0 else [])]
    arrange_for_exec(passed)
    for fd in range(LISTEN_FDS_START, LISTEN_FDS_START + len(passed)):
        os.set_inheritable(fd, False)
    fds = list(range(LISTEN_FDS_START, LISTEN_FDS_START + len(fds)))
    if notify >= 0:
        environ["NOTIFY_SOCKET"] = f"fd:{LISTEN_FDS_START + len(fds)}"  # behind the listeners
    os.environ.clear()
    os.environ.update(environ)
    forget_start(f"jvmbind supervisor {spec.name}", environment=started.changed_user)
    from jvmbind.supervisor.main import supervise  # noqa: PLC0415 - a worker needs nothing of it

    supervise(spec, fds)


def _say(why: str) -> None:
    from jvmbind.plan.service import without_control  # noqa: PLC0415 - hardly ever needed

    with contextlib.suppress(OSError):  # nobody reads it: no reason not to start
        sys.stderr.write(f"jvmbind: {printable(without_control(why, str(os.getpid())))}\n")
        sys.stderr.flush()


def _exec_worker(spec: ServiceSpec, fds: list[int], environ: dict[str, str]) -> NoReturn:
    """Exec: the same pid, a fresh address space. The specification is on the descriptor behind the listeners."""
    memory = sealed_memory("jvmbind-spec", spec.packed())
    arrange_for_exec([*fds, memory])
    command = role.command("worker", spec.java_arguments)
    try:
        os.execve(command[0], command, environ | role.announce(LISTEN_FDS_START + len(fds)))
    except OSError as error:
        msg = f"{command[0]}: {error.strerror}"
        raise SystemFailureError(msg) from error
