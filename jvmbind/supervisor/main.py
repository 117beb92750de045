"""Supervises one service.

Runs in the process that the launcher was until the drop, as the service user with no privilege. No other process of that
user can trace it, and no exec may follow that would change it. Must not import jpype.
"""

from __future__ import annotations

import contextlib
import os

import prctl

from jvmbind.errors import JvmbindError, SystemFailureError, in_words
from jvmbind.posix import role
from jvmbind.posix.signals import block_and_open, inherited_mask
from jvmbind.posix.socket_options import with_options
from jvmbind.supervisor.orphans import adopt_orphans
from jvmbind.supervisor.starting import Starter, start_worker
from jvmbind.supervisor.terminal import FORWARDED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import NoReturn

    from jvmbind.spec import ServiceSpec
    from jvmbind.supervisor.starting import Started
    from jvmbind.supervisor.upgrade import Work


def supervise(spec: ServiceSpec, fds: Sequence[int]) -> NoReturn:
    """Run the supervisor on the descriptors of the listeners of `spec`; ends the process with the service's status."""
    found: int | Work = _first(spec, fds)
    while not isinstance(found, int):  # another version goes on; this line and what stands on the stack above it stays
        found = found()
    os._exit(found)


def _first(spec: ServiceSpec, fds: Sequence[int]) -> int | Work:
    try:
        mask = inherited_mask()
        signals = block_and_open(FORWARDED)
        prctl.set_name("jvmbind")
        adopt_orphans()
        spec = with_options(spec, fds)
        first = _start_first(spec, fds, mask)
        from jvmbind.supervisor.loop import Loop  # noqa: PLC0415 - loaded while the worker starts

        loop = Loop(spec, fds, signals, Starter(mask, first))
        found = loop.run()
    except JvmbindError as error:
        _remove_unix_sockets(spec)
        _fail(error)
    except OSError as error:
        _remove_unix_sockets(spec)
        _fail(SystemFailureError(f"supervisor: {in_words(error)}"))
    if loop.never_started:
        _remove_unix_sockets(spec)
    return found


def _start_first(spec: ServiceSpec, fds: Sequence[int], mask: Iterable[int]) -> Started | None:
    """Start the first worker; None where that fails: the loop tries it once more, and says why it cannot be done."""
    try:
        return start_worker(spec, fds, role.worker_environ(os.environ), parked=False, mask=mask)
    except OSError:
        return None


def _remove_unix_sockets(spec: ServiceSpec) -> None:
    """Remove the names of sockets that no JVM has ever had, where this user may: a start that fails leaves nothing."""
    for listener in spec.listeners:
        if listener.protocol == "unix" and not listener.inherited:
            with contextlib.suppress(OSError):
                os.unlink(listener.path)


def _fail(error: JvmbindError) -> NoReturn:
    from jvmbind.posix.writing import Outlet  # noqa: PLC0415

    outlet = Outlet(2)
    outlet.write(f"jvmbind: {error}")
    outlet.close()
    os._exit(error.status)
