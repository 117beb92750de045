"""What a reload or a restart leaves behind where the kernel refuses something at its end."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from jvmbind.config.schema import build, read_value
from jvmbind.lifecycle import Change
from jvmbind.plan.service import at_start
from jvmbind.spec import ServiceSpec, parse_listen
from jvmbind.supervisor.actions import Actions
from jvmbind.supervisor.starting import Starter

if TYPE_CHECKING:
    from jvmbind.supervisor.changes import Changes

NOW, NEXT = ServiceSpec("x", "/java", ("old",), ()), ServiceSpec("x", "/java", ("new",), ())


def no_descriptor(*_: object) -> Any:
    """Fail as most calls do where no descriptor is left."""
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def begun(told: list[tuple[str, dict[str, Any]]], fd: int) -> Changes:
    """Return a reload on its way, to a version with one more listener."""
    changes = Actions(NOW, (), Starter()).changes
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


def test_a_key_that_counts_at_the_start_alone() -> None:
    """Whoever reloads or restarts is told, each time, which changed keys of the file have no effect before the next start."""
    before, after = read(user="a", env=["X=1"]), read(user="b", env=["X=1"])
    changes = Actions(NOW._replace(at_start=before), (), Starter()).changes
    told: list[dict[str, Any]] = []
    changes.tell = lambda _, answer: told.append(answer)

    for _ in range(2):
        assert changes.take(Change.RESTART, ("", NEXT._replace(at_start=after), {})) == ""
        changes.report(2, "")

    words = "user: changed in the file; takes effect when the service is stopped and started"
    assert [answer["notes"] for answer in told] == [[words], [words]]
    assert changes.last is not None
    assert changes.last["notes"] == [words]
    changes.take(Change.RESTART, ("", NEXT._replace(at_start=before), {}))
    assert changes.notes == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "b"),
        ("user", "b"),
        ("direct", True),
        ("quiet", True),
        ("log_format", "json"),
        ("control.socket", "/b"),
        ("control.group", "b"),
        ("env", ["B"]),
        ("preserve_env", True),
        ("security.limits", {"core": 0}),
        ("security.umask", "0027"),
    ],
)
def test_each_key_that_counts_at_the_start_alone(key: str, value: object) -> None:
    """Each of them is noticed, by the name of its table for [control]."""
    changed = [name for (name, was), (_, now) in zip(read(), read(**{key: value}), strict=True) if was != now]

    assert changed == ["control" if key.startswith("control") else key]


def test_a_refused_restart_has_stopped_nothing() -> None:
    """A restart that is refused for what it would run says that nothing was stopped; a reload, or a bad moment, does not."""
    changes = Actions(NOW, (), Starter()).changes

    assert changes.refuse(Change.RESTART, "no jar") == "no jar; nothing was stopped"
    assert changes.last is not None
    assert changes.last["error"] == "no jar; nothing was stopped"
    assert changes.refuse(Change.RELOAD, "no jar") == "no jar"
    assert changes.refuse(Change.RESTART, "the service is stopping", busy=True) == "the service is stopping"


def read(**keys: object) -> tuple[tuple[str, str], ...]:
    """Return what a start remembers of a file with these keys."""
    values = {key: read_value(key, value, "x.toml", key) for key, value in {"java.jar": "x.jar", **keys}.items()}
    return at_start(build(values, "x.toml", "/x.toml"))
