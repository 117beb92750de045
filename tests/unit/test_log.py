"""The three forms of a line of the log, and which unit's journal `jvmbind logs` shows. Reads the source."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest

from jvmbind.cli import logs
from jvmbind.cli.logs import unit_of
from jvmbind.config.values import WATCHDOG_WORDS
from jvmbind.errors import SystemFailureError
from jvmbind.lifecycle import Notice
from jvmbind.supervisor.log import _Formatter, fields_of

ROOT = Path(__file__).resolve().parents[2]


def line(form: str, text: str = "generation %d died\n\x1b[31m") -> str:
    """Return a record in one of the forms."""
    record = logging.makeLogRecord({"msg": text, "args": (3,), "levelname": "ERROR", **fields_of("died", 3, "http")})
    return _Formatter(form, "shop").format(record)


def test_plain() -> None:
    """A plain line has the program's name in front, and nothing that commands a terminal."""
    assert line("plain") == "jvmbind: generation 3 died??[31m"


def test_time() -> None:
    """Before it stands the time of RFC 3339, with milliseconds and the zone."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d jvmbind: generation 3 died\?\?\[31m", line("time"))


def test_json() -> None:
    """As JSON it is one object with the fields that the journal gets, and the same time."""
    found = json.loads(line("json"))

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+[+-]\d\d:\d\d", found.pop("time"))
    expected = {"level": "error", "service": "shop", "message": "generation 3 died??[31m"}
    assert found == {**expected, "event": "died", "generation": 3, "listener": "http"}


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("/system.slice/shop.service", ("shop.service", False)),
        ("/system.slice/system-jvmbind.slice/jvmbind@shop.service", ("jvmbind@shop.service", False)),
        ("/user.slice/user-7.slice/user@7.service/app.slice/shop.service", ("shop.service", True)),
        ("/user.slice/user-7.slice/user@7.service/session.slice", ("", True)),
        ("/user.slice/user-7.slice/session-2.scope", ("", False)),
        ("/system.slice/shop.service/payload", ("shop.service", False)),
        ("", ("", False)),
    ],
)
def test_unit_of_a_group(cgroup: str, unit: tuple[str, bool]) -> None:
    """A process belongs to the service unit whose group it is in, or a group below; not to the manager of a user."""
    assert unit_of(cgroup) == unit


def test_every_event_is_in_the_documentation() -> None:
    """Each word that the field EVENT can have is in docs/logs.md, and no other is."""
    page = (ROOT / "docs" / "logs.md").read_text("utf-8").split("## Events")[1]
    told = set(re.findall(r"`([a-z-]+)`", "".join(line.split(" | ")[0] for line in page.splitlines() if line.startswith("| `"))))
    source = "".join(path.read_text("utf-8") for path in sorted((ROOT / "jvmbind").rglob("*.py")))
    said = set(re.findall(r'(?:fields_of\(|"EVENT": )"([a-z-]+)"', source)) | {"bind-refused", "bind-undeclared"}
    said |= {notice.value for notice in Notice}
    said |= {f"{asked}-{end}" for asked in ("reload", "restart") for end in ("done", "failed", "refused")}
    said |= {f"liveness-{action}" for action in WATCHDOG_WORDS} | {"reload", "restart", "stop", "dump"}

    assert told == said


@pytest.mark.parametrize("pid", ["../../etc/passwd", None, True, -1, 1.5, [1]])
def test_a_hostile_answer(monkeypatch: pytest.MonkeyPatch, pid: object) -> None:
    """An answer that names no process is one line, whatever stands there."""
    monkeypatch.setattr(logs, "find", lambda _: "/run/jvmbind/evil/control")
    monkeypatch.setattr(logs, "ask", lambda *_, **__: {"name": "evil", "pid": pid})
    with pytest.raises(SystemFailureError, match="names no process"):
        logs.main(["evil"])
