"""Supervises one service.

Runs in the process that the launcher was until the drop, as the service user with no privilege. No other process of that
user can trace it, and no exec may follow that would change it. Must not import jpype.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

import prctl

from jvmbind.errors import JvmbindError, SystemFailureError
from jvmbind.posix.signals import block_and_open, inherited_mask
from jvmbind.posix.socket_options import with_options
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
        status = Loop(with_options(spec, fds), fds, signals, mask).run()
    except JvmbindError as error:
        _fail(error)
    except OSError as error:
        _fail(SystemFailureError(f"supervisor: {error}"))
    os._exit(status)


def _fail(error: JvmbindError) -> NoReturn:
    sys.stderr.write(f"jvmbind: {error}\n")
    sys.stderr.flush()
    os._exit(error.status)
