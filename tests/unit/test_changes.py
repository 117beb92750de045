"""What a reload or a restart leaves behind where the kernel refuses something at its end."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from jvmbind.lifecycle import Change
from jvmbind.spec import ServiceSpec, parse_listen
from jvmbind.supervisor.actions import Actions

if TYPE_CHECKING:
    from jvmbind.supervisor.changes import Changes

NOW, NEXT = ServiceSpec("x", "/java", ("old",), ()), ServiceSpec("x", "/java", ("new",), ())


def no_descriptor(*_: object) -> Any:
    """Fail as most calls do where no descriptor is left."""
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def begun(told: list[tuple[str, dict[str, Any]]], fd: int) -> Changes:
    """Return a reload on its way, to a version with one more listener."""
    changes = Actions(NOW, ()).changes
    changes.tell = lambda word, answer: told.append((word, answer))
    assert changes.take(Change.RELOAD, ("", NEXT, {"web": (parse_listen("web=80"), fd)})) == ""
    return changes


@pytest.mark.parametrize(("failure", "part"), [("it ended", "_why"), ("", "_keep_to")])
def test_an_end_that_meets_an_error(failure: str, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the end of a reload meets an error, who waits is told all the same, and the next start runs what it should."""
    told: list[tuple[str, dict[str, Any]]] = []
    with socket.socket() as sock:
        fd = os.dup(sock.fileno())
        changes = begun(told, fd)
        monkeypatch.setattr(changes, part, no_descriptor)

        with pytest.raises(OSError, match="Too many open files"):
            changes.report(2, failure)

        assert [(word, answer["ok"]) for word, answer in told] == [("reload", not failure)]
        assert changes.asked is Change.NONE
        planned, listeners = changes.plan(changes._world.spec, changes._world.listeners)
        assert planned is (NOW if failure else NEXT)
        assert list(listeners) == ([] if failure else ["web"])
        if failure:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(fd)
        else:
            os.close(fd)
