"""What a child process can do after it has entered something for good. Run by pytest; the child is a fork of it."""

from __future__ import annotations

import ctypes
import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LIBC = ctypes.CDLL(None, use_errno=True)


def in_child(enter: Callable[[], None], attempts: dict[str, Callable[[], object]]) -> dict[str, int]:
    """Return, from a child that has entered, the errno of each attempt, 0 for one that succeeded."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        found = {}
        try:
            LIBC.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
            enter()
            for name, attempt in attempts.items():
                try:
                    attempt()
                    found[name] = 0
                except OSError as error:
                    found[name] = error.errno or -1
            os.write(writer, json.dumps(found).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as answer:
        text = answer.read()
    os.waitpid(child, 0)
    found = json.loads(text)
    assert isinstance(found, dict)
    return found
