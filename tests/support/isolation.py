"""Namespaces of its own for each process of a parallel test run. Run by pytest as root; must not import jvmbind.

What one test process makes the others must not meet: ports (a network namespace), and the run-time folders of services
(a mount namespace with an empty /run/jvmbind). Sources: unshare(2), mount_namespaces(7).
"""

from __future__ import annotations

import ctypes
import os

from .network import CLONE_NEWNET, set_loopback_up

_CLONE_NEWNS = 0x00020000
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
_RUN = "/run/jvmbind"

_libc = ctypes.CDLL(None, use_errno=True)


def isolate() -> None:
    """Put the calling thread, and all that it starts, into a network and a mount namespace of its own.

    Raises OSError. Other threads of the process stay where they are: a test runner has one that only reads a pipe.
    """
    _check(_libc.unshare(CLONE_NEWNET | _CLONE_NEWNS), "unshare")
    set_loopback_up()
    _check(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "mount --make-rprivate /")
    os.makedirs(_RUN, exist_ok=True)
    _check(_libc.mount(b"tmpfs", _RUN.encode(), b"tmpfs", 0, b"mode=755"), f"mount {_RUN}")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
