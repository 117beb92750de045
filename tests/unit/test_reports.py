"""What the log has of the end of a service whose first start has failed."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from jvmbind.lifecycle import Phase
from jvmbind.lifecycle.actions import Notice, Report
from jvmbind.spec import ServiceSpec, parse_listen
from jvmbind.supervisor.crash import Death
from jvmbind.supervisor.reports import report, report_end, was_told

SPEC = ServiceSpec("x", "/java", (), (parse_listen("80"),))
SCRIPT = SPEC._replace(script=("x.sh",), not_passed=("SHOP_BASE", "SHOP_HOME"))
DEATH = Death(0.0, 1, 9, 1, "", core=False, uptime=1.0, during_start=True, hs_err="", oom=False)
ENDED = "generation 1 ended with status 1 before it served; not started again"
LACKED = "environment variables that the service does not get: SHOP_BASE, SHOP_HOME; --env NAME passes one"
NAMED = (
    "generation 2 serves, but is not ready without listener 'web'; where the application need not bind it, declare it ',optional'"
)
ALONE = "generation 1 ended with status 1; not started again"


@pytest.mark.parametrize(
    ("spec", "number", "death", "said"),
    [
        (SPEC, 1, DEATH, [ENDED]),
        (SCRIPT, 1, DEATH, [ENDED, LACKED]),
        (SCRIPT, 1, DEATH._replace(uptime=3600.0), [ENDED]),
        (SPEC._replace(listeners=()), 1, DEATH, [f"{ALONE}; no listener is declared: a port below 1024 needs one, as -l 80"]),
        (SPEC._replace(listeners=()), 1, DEATH._replace(uptime=3600.0), [ALONE]),
        (SPEC, 1, DEATH._replace(status=0), []),
        (SPEC, 1, DEATH._replace(status=143), []),
        (SPEC, 1, DEATH._replace(signal="SIGKILL"), []),
        (SPEC, 2, DEATH, []),
        (SPEC, 1, None, []),
    ],
)
def test_a_first_start_that_fails(
    spec: ServiceSpec, number: int, death: Death | None, said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A first start that fails has a last line, with the variables that its script did not get, or the listener that it lacks."""
    caplog.set_level(logging.INFO)
    end = (SimpleNamespace(number=number, spec=spec), death) if death is not None else None
    world: Any = SimpleNamespace(log=logging.getLogger("x"), silent_end=end)

    report_end(world)

    assert caplog.messages == said


@pytest.mark.parametrize(
    ("claimed", "said"),
    [
        (
            set(),
            NAMED,
        ),
        ({0}, "generation 2 serves, but is not ready: http://127.0.0.1/health has not answered with status 200 to 399"),
    ],
)
def test_one_that_serves_and_is_not_ready(claimed: set[int], said: str, caplog: pytest.LogCaptureFixture) -> None:
    """What a generation that serves lacks is a listener by its name, or else what the probe has not been answered with."""
    spec = SPEC._replace(ready="http://127.0.0.1/health", listeners=(parse_listen("web=80"),))
    one = SimpleNamespace(
        number=2, spec=spec, claimed=claimed, listening=claimed, main_runs=True, would_accept=True, notified=False
    )
    world: Any = SimpleNamespace(
        log=logging.getLogger("x"), generations={2: one}, probed=2, notifier=SimpleNamespace(status=print), status_line=str
    )

    report(world, Report(Notice.PARTLY, 2))

    assert caplog.messages == [said]


@pytest.mark.parametrize(
    ("phase", "number", "told"),
    [
        (Phase.UP, 1, True),  # the old one of a reload
        (Phase.UP, 2, False),
        (Phase.RESTARTING, 1, True),
        (Phase.RESTARTING, 2, True),
        (Phase.RESTARTING, 3, False),
        (Phase.RELOADING, 3, False),
        (Phase.STARTING, 3, False),
        (Phase.STOPPING, 3, True),
    ],
)
def test_who_is_told_to_end(phase: Phase, number: int, told: bool) -> None:
    """Those that generation 2 has replaced are told to end, itself by a restart, and all by a stop."""
    world: Any = SimpleNamespace(phase=phase, last_serving=2)

    assert was_told(world, number) is told
