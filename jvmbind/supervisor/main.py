"""Supervises one service.

Runs in the process that the launcher was until the drop, as the service user with no privilege. No other process of that
user can trace it, and no exec may follow that would change it. Must not import jpype.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NoReturn

import prctl

from jvmbind.errors import JvmbindError, SystemFailureError, in_words
from jvmbind.posix.signals import block_and_open, inherited_mask
from jvmbind.posix.socket_options import with_options
from jvmbind.posix.writing import Outlet
from jvmbind.supervisor.loop import FORWARDED, Loop
from jvmbind.supervisor.orphans import adopt_orphans

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jvmbind.spec import ServiceSpec


def supervise(spec: ServiceSpec, fds: Sequence[int]) -> NoReturn:
    """Run the supervisor on the descriptors of the listeners of `spec`; ends the process with the service's status."""
    try:
        mask = inherited_mask()
        signals = block_and_open(FORWARDED)
        prctl.set_name("jvmbind")
        adopt_orphans()
        loop = Loop(with_options(spec, fds), fds, signals, mask)
        status = loop.run()
    except JvmbindError as error:
        _remove_unix_sockets(spec)
        _fail(error)
    except OSError as error:
        _remove_unix_sockets(spec)
        _fail(SystemFailureError(f"supervisor: {in_words(error)}"))
    if loop.never_started:
        _remove_unix_sockets(spec)
    os._exit(status)


def _remove_unix_sockets(spec: ServiceSpec) -> None:
    """Remove the names of sockets that no JVM has ever had, where this user may: a start that fails leaves nothing."""
    for listener in spec.listeners:
        if listener.protocol == "unix" and not listener.inherited:
            with contextlib.suppress(OSError):
                os.unlink(listener.path)


def _fail(error: JvmbindError) -> NoReturn:
    outlet = Outlet(2)
    outlet.write(f"jvmbind: {error}")
    outlet.close()
    os._exit(error.status)
