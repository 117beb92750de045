"""What `jvmbind metrics` makes of a service's answer, and that alert rules and dashboard ask for nothing else. As anybody."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from jvmbind.cli import control, metrics
from jvmbind.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "packaging" / "prometheus"
LISTENER = {"name": "http", "queue": 3, "queue_limit": 4096, "overflows": 7}
ANSWER: dict[str, Any] = {
    "name": "shop",
    "ready": True,
    "supervisor": {"memory": {"rss": 9, "pss": 8}},
    "generations": [
        {"number": 3, "role": "serving", "memory": {"rss": 300, "pss": 200}, "connections": [0, 0]},
        {"number": 1, "role": "draining", "memory": {}, "connections": [5, 2]},
        {"number": 2, "role": "draining", "memory": {}, "connections": [1, 1]},
    ],
    "listeners": [LISTENER, {"name": "dns", "queue": None, "queue_limit": None, "overflows": None}],
    "counts": {
        "since": 1700000000.5,
        "restarts": {"crash": 2},
        "changes": [{"kind": "reload", "result": "failed", "number": 1}],
        "deaths": [{"cause": "SIGSEGV", "asked": False, "number": 2}, {"cause": "exit", "asked": True, "number": 1}],
        "ready": {"number": 3, "seconds": 4.5, "last": 1.25},
    },
}


def samples(answers: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Return what the official parser reads in the text that the official library makes: the sample and its value."""

    class Answers:
        def collect(self) -> Any:
            return metrics.families(answers)

        def describe(self) -> list[Any]:
            return []

    registry = CollectorRegistry()
    registry.register(Answers())
    text = generate_latest(registry).decode()  # type: ignore[no-untyped-call]
    read = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    found = [sample for family in read for sample in family.samples]
    return {f"{one.name}{{{','.join(f'{key}={value}' for key, value in sorted(one.labels.items()))}}}": one.value for one in found}


def test_every_number_of_an_answer() -> None:
    """Each metric has the value that the service's answer has for it, generations of one role together."""
    found = samples({"shop": ANSWER, "gone": {}})

    expected = {
        "up{service=gone}": 0,
        "up{service=shop}": 1,
        "ready{service=shop}": 1,
        "generation{service=shop}": 3,
        "start_time_seconds{service=shop}": 1700000000.5,
        "deaths_total{asked=false,cause=SIGSEGV,service=shop}": 2,
        "deaths_total{asked=true,cause=exit,service=shop}": 1,
        "time_to_ready_seconds_count{service=shop}": 3,
        "time_to_ready_seconds_sum{service=shop}": 4.5,
        "last_time_to_ready_seconds{service=shop}": 1.25,
        "accept_queue_length{listener=http,service=shop}": 3,
        "accept_queue_limit{listener=http,service=shop}": 4096,
        "accept_queue_overflows_total{listener=http,service=shop}": 7,
        "draining_connections{service=shop}": 6,
        "draining_connections_in_work{service=shop}": 3,
        "memory_rss_bytes{role=serving,service=shop}": 300 * 1024,
        "memory_rss_bytes{role=supervisor,service=shop}": 9 * 1024,
        "memory_pss_bytes{role=serving,service=shop}": 200 * 1024,
        "memory_pss_bytes{role=supervisor,service=shop}": 8 * 1024,
    }
    for name, values in {
        "restarts_total{reason=": {"crash": 2, "exit": 0, "reload": 0, "restart": 0},
        "reloads_total{result=": {"done": 0, "failed": 1, "refused": 0},
        "restart_requests_total{result=": {"done": 0, "failed": 0, "refused": 0},
    }.items():
        expected |= {f"{name}{label},service=shop}}": value for label, value in values.items()}
    assert found == {f"jvmbind_{name}": value for name, value in expected.items()}


def test_an_answer_of_another_version() -> None:
    """A supervisor that does not count is up, and its other metrics are there."""
    found = samples({"shop": {key: value for key, value in ANSWER.items() if key != "counts"}})

    assert found["jvmbind_up{service=shop}"] == 1
    assert found["jvmbind_accept_queue_length{listener=http,service=shop}"] == 3
    assert not [name for name in found if "restarts" in name]


@pytest.mark.parametrize("counts", [None, 5, {"ready": 5}, {"ready": {"number": 1e999, "seconds": 1, "last": 10**400}}])
def test_an_answer_that_is_hostile(counts: object) -> None:
    """What one service answers, whose user may send anything, takes the numbers of no other service away."""
    found = samples({"evil": {**ANSWER, "counts": counts}, "shop": ANSWER})

    assert found["jvmbind_time_to_ready_seconds_count{service=shop}"] == 3
    assert found["jvmbind_last_time_to_ready_seconds{service=shop}"] == 1.25


@pytest.mark.parametrize("text", ["x", "0", "65536", "127.0.0.1:", "127.0.0.1:http", ":²"])
def test_an_address_that_is_none(text: str) -> None:
    """What --serve cannot understand is refused with the form that it expects."""
    with pytest.raises(UsageError, match=re.escape(f"--serve {text}: expected [HOST:]PORT")):
        metrics.main(["--serve", text])


def test_an_answer_without_a_reason(tmp_path: Path) -> None:
    """A service that refuses and does not say why is an error of that one, and no end of the command."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        theirs.send(b'{"ok": false}')
        with patch.object(control, "_roots_connection", lambda _: ours), pytest.raises(control.RefusedError, match="status: "):
            control.ask(str(tmp_path / "control"), "status", 1.0)


def test_without_the_library() -> None:
    """Without the optional library the command says in one line what is missing, and ends with 71."""
    program = (
        "import sys; sys.modules['prometheus_client'] = None; sys.argv[1:] = ['metrics']; from jvmbind.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout) == (71, "")
    assert re.fullmatch(r"jvmbind: metrics: the Python package prometheus_client is missing; expected .*\n", done.stderr)


def test_rules_and_dashboard_ask_for_what_there_is() -> None:
    """Each metric that an alert rule or a panel of the dashboard asks for exists, by name and label; the dashboard is JSON."""
    known = {name.partition("{")[0] for name in samples({"shop": ANSWER})}
    labels = {label for name in samples({"shop": ANSWER}) for label in re.findall(r"[{,]([a-z]+)=", name)}
    dashboard = json.loads((PROMETHEUS / "dashboard.json").read_text("utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    queries += re.findall(r"expr: (.+)", (PROMETHEUS / "jvmbind.rules.yml").read_text("utf-8"))
    queries += [one["query"]["query"] for one in dashboard["templating"]["list"] if one["type"] == "query"]

    assert len(queries) > 15
    for query in queries:
        names = set(re.findall(r"\bjvmbind_\w+", query))
        assert names, query
        assert names <= known, query
        grouped = re.findall(r"(?:by|without|on) ?\(([a-z, ]+)\)", query)
        assert {label.strip() for group in grouped for label in group.split(",")} <= labels, query
        assert set(re.findall(r"[{,]\s*([a-z]+)=~?\"", query)) <= labels, query
