"""The log of a service that no systemd has started. Run by pytest as root for the namespaces. Must not import jvmbind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conftest import Supervised


def test_json_and_where_it_is(supervised: Supervised) -> None:
    """Each line of jvmbind's is one object with its event; root is told into which file they go, others that root can see it."""
    supervised.configure("http=8080")
    supervised.config.write_text('log_format = "json"\n' + supervised.config.read_text())
    service = supervised.start_as_written()
    os.kill(supervised.serving(), signal.SIGKILL)
    service.expect("generation 2 is ready", stream="stderr")

    lines = [json.loads(line) for line in service.stderr.splitlines() if line.startswith("{")]
    (died,) = [line for line in lines if line["event"] == "died"]
    assert (died["level"], died["service"], died["generation"]) == ("error", "app", 1)
    assert "killed by SIGKILL" in died["message"]
    assert [line["generation"] for line in lines if line["event"] == "ready"] == [1, 2]
    assert not [line for line in service.stderr.splitlines() if "jvmbind: generation" in line]

    as_root = subprocess.run([*supervised.jvmbind, "logs", str(supervised.socket)], capture_output=True, text=True, check=True)
    assert as_root.stdout == f"app: not in the journal; the log goes to {service.stderr_path}\n"
    assert f"(process {service.pid}; root can see it)" in supervised.ask("logs").stdout
