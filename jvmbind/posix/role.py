"""How one role of a service starts the next: which process image, and what it is told.

Used by the launcher (for the supervisor, or a worker with --direct), the supervisor (for a worker), and the started
role. The specification travels in a sealed memory file, since a command line of Java may be longer than one
environment string may be (MAX_ARG_STRLEN, execve(2)). Listeners travel on 3, 4, 5, ... in the order of the specification.
"""

from __future__ import annotations

import os
import sys

import jvmbind
from jvmbind.bare import signal
from jvmbind.errors import EX_TEMPFAIL, JvmbindError, SystemFailureError, printable
from jvmbind.posix.fds import LISTEN_FDS_START, read_memory
from jvmbind.record import NamedTuple
from jvmbind.spec import ServiceSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Raised with each change of `announce`, ServiceSpec.packed or jvmbind.wire after which an older worker or supervisor would take
# the other wrongly. What stands first in the variable, and last in its first line, stays where it is.
PROTOCOL = 1
VARIABLE = "JVMBIND_ROLE"  # numbers, then the places of modules, one a line
_OF_SUPERVISOR = frozenset({"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "FDSTORE", "LISTEN_FDNAMES"})


class OtherVersionError(JvmbindError):
    """A supervisor of another version has started this role."""

    status = EX_TEMPFAIL


class Role(NamedTuple):
    """What a started role finds: the specification, its supervisor's socket (-1: none) and that process (0: none).

    `parked`: the application waits at its first bind on a declared listener until the supervisor says otherwise.
    `first`: the descriptor of the first listener.
    """

    spec: ServiceSpec
    control: int
    parent: int
    parked: bool
    first: int = LISTEN_FDS_START


def command(role: str, words: tuple[str, ...]) -> list[str]:
    """Return the command line of "worker". `words` follow for those who read `ps`; they steer nothing.

    The interpreter is isolated and, as that takes a third of its start, does not look for site directories (-S): the role is
    told by `announce` where this process has its modules from. Where this process is not isolated itself, those are places
    that a caller's PYTHONPATH or current directory may have added, and the role looks for its own.
    """
    return [sys.executable, "-IS" if sys.flags.isolated else "-I", os.path.join(_PACKAGE, role, "__main__.py"), *words]


def announce(
    spec_fd: int, control: int = -1, parent: int = 0, *, parked: bool = False, unblock: bool = False, name: str = ""
) -> dict[str, str]:
    """Return the environment variable that tells a role of the service `name` how it was started.

    `unblock`: SIGINT is blocked until the role has found out what it is, so that the interpreter's own start, which turns
    it into a traceback, is not interrupted.
    """
    numbers = f"{PROTOCOL}:{spec_fd}:{control}:{parent}:{int(parked)}:{int(unblock)}:{jvmbind.__version__}:{name}"
    return {VARIABLE: "\n".join([numbers, *sys.path, os.path.dirname(_PACKAGE)] if sys.flags.isolated else [numbers])}


def worker_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return a supervisor's environment without what is its own."""
    return {name: value for name, value in environ.items() if name not in _OF_SUPERVISOR}


def take_role() -> Role:
    """Read and remove what `announce` set; raises SystemFailureError where this process was not started by jvmbind."""
    try:
        protocol, *numbers = os.environ.pop(VARIABLE).partition("\n")[0].split(":")
        if protocol != str(PROTOCOL):
            raise OtherVersionError(_other(numbers))
        spec_fd, control, parent, parked, unblock = map(int, numbers[:5])
        data = read_memory(spec_fd)
        # As JSON it comes from the launcher, and from a wrapper script's worker.
        spec = ServiceSpec.from_json(data) if data.startswith(b'{"') else ServiceSpec.unpacked(data)
    except (KeyError, ValueError, TypeError, EOFError, OSError) as error:
        msg = f"this process is started by jvmbind itself, not by hand ({error})"
        raise SystemFailureError(msg) from error
    if unblock:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if control >= 0:
        os.set_inheritable(control, False)
    given = without_coercion(dict(os.environ))
    os.environ.pop("LC_CTYPE", None)
    if "LC_CTYPE" in given:
        os.environ["LC_CTYPE"] = given["LC_CTYPE"]
    return Role(spec, control, parent, bool(parked))


def _other(numbers: list[str]) -> str:
    """Return what to say where another version has started this role: only the places of its version and name are relied on."""
    version, name = [*numbers, "", "", "", "", "", "", ""][5:7]
    upgrade = f"jvmbind upgrade {name}".rstrip()
    return (
        f"the supervisor is of version {printable(version) or '(unknown)'}, and the installed version {jvmbind.__version__} does "
        f"not speak with it; expected one version for both: {printable(upgrade)}, or stop the service and start it"
    )


def _given_ctype(given: bytes) -> str | None:
    """Return the LC_CTYPE with which a process was started, None without one."""
    found = (item.partition(b"=")[2] for item in given.split(b"\0") if item.startswith(b"LC_CTYPE="))
    return next(map(os.fsdecode, found), None)


def without_coercion(environ: dict[str, str], given: bytes | None = None) -> dict[str, str]:
    """Return `environ` with LC_CTYPE as it was: the interpreter changes it in the C locale, for its children (PEP 538).

    The JVM is to see what the caller said, and nothing else. `given` is /proc/PID/environ of who was started so, default
    this process, as far as it may read its own.
    """
    if environ.get("LC_CTYPE") not in {"C.UTF-8", "C.utf8", "UTF-8"}:
        return environ
    if given is None:
        try:
            with open("/proc/self/environ", "rb") as file:
                given = file.read()
        except OSError:
            return environ
    ctype = _given_ctype(given)
    rest = {name: value for name, value in environ.items() if name != "LC_CTYPE"}
    return rest if ctype is None else {**rest, "LC_CTYPE": ctype}
