"""`jvmbind metrics` of a real service: what it counts is what has happened. Run by pytest as root. Must not import jvmbind."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from support.clients import http_get_when_served
from support.runner import as_user
from support.users import SERVICE_USER

if TYPE_CHECKING:
    from .conftest import Supervised


def read(text: str) -> dict[str, float]:
    """Return name and one label of each sample, without the service, and its value."""
    found = {}
    for family in text_string_to_metric_families(text):  # type: ignore[no-untyped-call]
        for one in family.samples:
            labels = [value for key, value in sorted(one.labels.items()) if key not in {"service", "asked"}]
            found[" ".join([one.name.removeprefix("jvmbind_"), *labels])] = one.value
    return found


def test_counts_what_has_happened(supervised: Supervised) -> None:
    """A killed JVM, a reload and a refused reload are counted, printed by the command and served over HTTP."""
    supervised.start("http=8080")
    os.kill(supervised.serving(), signal.SIGKILL)
    supervised.service.expect("generation 2 is ready", stream="stderr")
    assert supervised.reload().returncode == 0
    supervised.configure("http=8080", jar="/nowhere.jar")
    assert supervised.reload().returncode == 75

    done = supervised.ask("metrics")
    assert done.returncode == 0, done.stderr
    found = read(done.stdout)
    expected = {
        "up": 1, "ready": 1, "generation": 3, "restarts_total crash": 1, "restarts_total reload": 1, "restarts_total exit": 0,
        "reloads_total done": 1, "reloads_total refused": 1, "reloads_total failed": 0, "deaths_total SIGKILL": 1,
        "time_to_ready_seconds_count": 3, "accept_queue_overflows_total app": 0,
    }  # fmt: skip
    (listener,) = [one["name"] for one in supervised.status()["listeners"]]
    expected = {name.replace(" app", f" {listener}"): value for name, value in expected.items()}
    assert {name: found.get(name) for name in expected} == expected
    assert found["memory_pss_bytes serving"] > found["memory_pss_bytes supervisor"] > 0
    assert 0 < found["last_time_to_ready_seconds"] < found["time_to_ready_seconds_sum"]

    words = ["metrics", str(supervised.socket), "--serve", "127.0.0.1:9100"]
    server = supervised.runner.start([*as_user(SERVICE_USER), *supervised.jvmbind, *words])
    answer = http_get_when_served(supervised.network, 9100, "/metrics")
    assert answer.status == 200
    assert "jvmbind_up{" in answer.body
    assert server.stop() == 143
