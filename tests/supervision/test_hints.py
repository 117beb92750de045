"""Hints where people go wrong: what to declare, said once at the bind, in `status` and by a start that is not ready.

Run by pytest as root; services run as an ordinary user. Must not import jvmbind.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from support.waiting import wait_until

if TYPE_CHECKING:
    from supervision.conftest import Supervised

TLS = 'declare it as -l 443, in the file [listen] tcp443 = "443"'
# What the application does, and what is said of it.
HINTS = {
    "try=443": f"[::]:443/tcp: refused by the kernel: it is not declared; {TLS}",
    "try=9005": "[::]:9005/tcp: not declared; if listener 'web' (8080/tcp) is meant, declare it as -l 8080:9005, in the file "
    '[listen] web = "8080:9005"',
    "at=127.0.0.1:9006": "127.0.0.1:9006/tcp: not declared; if listener 'web' (8080/tcp) is meant, declare it as "
    '-l 127.0.0.1:8080:9006, in the file [listen] web = "127.0.0.1:8080:9006"',
    "at=127.0.0.1:8080": "127.0.0.1:8080/tcp: refused, listener 'web' (8080/tcp) is wider than the address asked for; declare it "
    'as -l 127.0.0.1:8080, in the file [listen] web = "127.0.0.1:8080", or let the server listen on every address '
    "(-Djboss.bind.address=0.0.0.0)",
    "try=5300": "[::]:5300/tcp: not declared, listener 'dns' (5300/udp) is for UDP; for TCP declare -l 5300, "
    'in the file [listen] tcp5300 = "5300" as well',
    "udp=8080": "[::]:8080/udp: not declared, listener 'web' (8080/tcp) is for TCP; for UDP declare -l 8080/udp, "
    'in the file [listen] udp8080 = "8080/udp" as well',
}
LACKS = "the application has not bound listener 'web' (8080/tcp), 'dns' (5300/udp); it bound [::]:9005/tcp (not declared; if "
ASKED = f"; it asked for [::]:443/tcp (refused by the kernel: it is not declared; {TLS})"


def test_hints(supervised: Supervised) -> None:
    """Each bind that misses its listener is answered once with the option to declare, a slow start and `status` say the same."""
    later = supervised.folder / "later"
    service = supervised.launch(
        *HINTS, *list(HINTS)[:-1], "try=9008", f"await={later}", "http=8080", "udp=5300", "try=9007",
        listen="'web=8080', 'dns=5300/udp'", jvm=("-Djboss-modules=1",),
    )  # fmt: skip

    service.expect("AWAITS")
    service.expect(r"generation 1 is not ready after 5 s", stream="stderr")
    said = service.stderr.splitlines()
    for bind, hint in HINTS.items():
        assert sum(line.endswith(f" jvmbind: generation 1: bind of {hint}") for line in said) == 1, (bind, service.report())
    assert len([line for line in said if "bind of" in line]) == len(HINTS), service.report()
    (slow,) = [line for line in said if "is not ready after" in line]
    status = supervised.status()
    for text in (slow, status["not_ready"], status["generations"][0]["not_ready"]):
        assert LACKS in text
        assert ASKED in text
    assert status["ready"] is False
    shown = supervised.ask("status").stdout
    assert f"  because {status['not_ready']}" in shown.splitlines()
    assert all(f"  bind of {hint}\n" in shown for hint in HINTS.values()), shown

    later.touch()
    service.expect("generation 1 is ready", stream="stderr")
    status = supervised.status()
    assert (status["ready"], status["not_ready"], status["generations"][0]["not_ready"]) == (True, "", "")
    # What it asked for of 'web' is known by then, so no other port is meant to be that one.
    assert "bind of [::]:9008" not in service.stderr
    assert "9007" not in service.stderr  # a second port beside those that are declared is nobody's mistake


def test_why_not_ready(supervised: Supervised) -> None:
    """In no moment of a start, a pause, a restart or a stop is a service not ready without a reason."""
    service = supervised.launch("hook=1500", "wait=500", "http=8080", more="drain_timeout = 1\n[supervise.backoff]\nfirst = 1")
    seen: dict[str, set[str]] = {}

    def look(phase: str, number: int) -> bool:
        status = supervised.status()
        assert status["ready"] is (not status["not_ready"]), status
        seen.setdefault(status["phase"], set()).add(status["not_ready"])
        return status["phase"] == phase and number in {one["number"] for one in status["generations"]}

    wait_until(supervised.socket.exists, 20, "the control socket")
    wait_until(lambda: look("up", 1), 40, "the first generation")
    for number in (2, 3):
        os.kill(supervised.serving(), signal.SIGKILL)
        wait_until(lambda number=number: look("up", number), 40, "the next generation")  # type: ignore[misc]
    assert supervised.ask("restart", "--no-wait").returncode == 0
    wait_until(lambda: look("up", 4), 40, "the generation of the restart")
    assert supervised.ask("stop", "--no-wait").returncode == 0
    assert look("stopping", 4)
    assert service.wait() == 143

    assert {"starting", "up", "backing off", "restarting", "stopping"} <= seen.keys(), seen
    assert seen["up"] == {""}, seen
    assert any("has not bound listener '8080' (8080/tcp)" in text for text in seen["starting"]), seen
    assert any("for the pause before the next start" in text for text in seen["backing off"]), seen
    assert all("for generation 4" in text for text in seen["stopping"]), seen
