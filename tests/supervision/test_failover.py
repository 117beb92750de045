"""Crash, standby, repeated failure and stop: the port is kept, and what cannot work ends with a status.

Run by pytest as root; services run as an ordinary user. Must not import jvmbind.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import TYPE_CHECKING

from support.waiting import wait_until

if TYPE_CHECKING:
    from supervision.conftest import Supervised

LOST = ("refused", "timeout")


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal and wait for the end."""
    os.kill(pid, number)
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), 10, f"the end of {pid}")


def await_standby(supervised: Supervised, other_than: int = 0) -> int:
    """Return the pid of a parked standby generation that is not `other_than`."""

    def parked() -> int:
        found = [g for g in supervised.status()["generations"] if g["role"] == "standby" and g["stage"] == "parked"]
        return next((int(g["pid"]) for g in found if g["pid"] != other_than), 0)

    return wait_until(parked, 30, "a parked standby")


def test_crash_under_load(supervised: Supervised) -> None:
    """Two kill -9 under load refuse nobody: who connects while nobody accepts is served by the next generation."""
    supervised.start("http=8080", more="[supervise.backoff]\nfirst = 0.1")

    with supervised.under_load("--threads", "4", "--mode", "close") as load:
        for number in (2, 3):
            kill(supervised.serving())
            supervised.await_generation(number)

    assert {kind: load[kind] for kind in LOST} == dict.fromkeys(LOST, 0), load
    # Only a request that the dead JVM had already accepted is lost: at most one a thread and kill.
    assert load["reset"] + load["wrong"] <= 8, load
    assert len(supervised.status()["deaths"]) == 2


def test_standby_takes_over(supervised: Supervised) -> None:
    """A parked standby is released when the serving generation is killed, and another one takes its place."""
    supervised.start("http=8080", more="standby = 1")
    standby, serving = await_standby(supervised), supervised.serving()
    assert supervised.network.bound().count("tcp6 [::]:8080") == 1

    kill(serving)
    begun = time.monotonic()
    assert supervised.version() == "1"
    taken = time.monotonic() - begun

    assert supervised.serving() == standby
    assert taken < 1.0, taken  # not a measurement: a cold start would take longer than that here
    assert await_standby(supervised, standby) not in {standby, serving}


def test_standby_and_a_second_port(supervised: Supervised) -> None:
    """A program that first binds a port that is not declared parks there, instead of failing because it is in use."""
    supervised.start("http=9005", "http=8080", more="standby = 1")
    standby, serving = await_standby(supervised), supervised.serving()

    kill(serving)

    assert supervised.version() == "1"
    assert supervised.version(9005) == "1"
    assert supervised.serving() == standby


def test_start_timeout(supervised: Supervised) -> None:
    """A first generation that claims nothing in time is reported with a thread dump, and goes on: it may still come."""
    service = supervised.launch("http=9005", "wait=4000", "http=8080", more="start_timeout = 1.5")

    service.expect(r"listener '8080' \(8080/tcp\) was not claimed within 1\.5 s.*: .*9005/tcp", stream="stderr")
    service.expect("Full thread dump")

    service.expect("generation 1 is ready", stream="stderr")
    assert supervised.version() == "1"


def test_dead_standby_is_replaced(supervised: Supervised) -> None:
    """A standby that dies is replaced, and the serving generation is not disturbed."""
    supervised.start("http=8080", more="standby = 1")
    serving, first = supervised.serving(), await_standby(supervised)

    kill(first)
    second = await_standby(supervised, first)
    begun = time.monotonic()
    kill(second)
    third = await_standby(supervised, second)

    assert len({first, second, third}) == 3
    assert time.monotonic() - begun > 0.2, "no back-off"  # the pause of the second death, and a start
    assert supervised.serving() == serving


def test_reload_with_standby(supervised: Supervised) -> None:
    """A reload with a standby takes the new configuration, and the standby is of that configuration afterwards."""
    supervised.start("http=8080", more="standby = 1")
    old = await_standby(supervised)
    supervised.configure("http=8080", version="2", more="standby = 1")

    assert supervised.reload().returncode == 0
    assert supervised.version() == "2"
    wait_until(lambda: not os.path.exists(f"/proc/{old}"), 8, "the end of the old standby")
    fresh = await_standby(supervised, old)
    kill(supervised.serving())

    assert supervised.version() == "2"
    assert supervised.serving() == fresh


def test_start_failures_end_the_service(supervised: Supervised) -> None:
    """With restart = always, a program that never gets ready is tried `start_limit` times: status 75 and a line."""
    service = supervised.launch("exit=4", more="restart = 'always'\nstart_limit = 3\n[supervise.backoff]\nfirst = 0.05")

    assert service.wait() == 75, service.report()
    assert "3 starts in a row failed; giving up" in service.stderr
    service.assert_nothing_left()


def test_first_start_fails(supervised: Supervised) -> None:
    """What never worked is not repeated: the program's own status ends the service."""
    service = supervised.launch("exit=4")

    assert service.wait() == 4
    service.assert_nothing_left()


def test_stop_waits_for_a_request(supervised: Supervised) -> None:
    """A stop lets the request in work be answered, then the JVM ends with its hooks: status 143."""
    service = supervised.start("hook=10", "http=8080")
    with supervised.network.connect("127.0.0.1", 8080, 30) as client:
        client.sendall(b"GET /sleep/1000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        service.expect("SLEEPS")
        service.process.send_signal(signal.SIGTERM)
        assert client.makefile("rb").read().endswith(b"version=1")

    assert service.wait() == 143
    assert "STOPPED" in service.stdout
    service.assert_nothing_left()


def test_datagram_in_work_at_a_stop(supervised: Supervised) -> None:
    """The answer to a datagram that is being made when the service is stopped is sent, where the JVM lives long enough."""
    service = supervised.start("hook=3000", "udp=8053", listen="'8053/udp'")
    with supervised.network.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        client.connect(("127.0.0.1", 8053))
        client.send(b"sleep 1000")
        service.expect("SLEEPS sleep 1000")

        service.process.send_signal(signal.SIGTERM)
        service.expect("STOPPING")

        assert client.recv(100).endswith(b" sleep 1000"), service.report()
    assert service.wait() == 143


def test_second_sigterm_waits_no_longer(supervised: Supervised) -> None:
    """A second SIGTERM ends the wait for a request in work; hooks still run."""
    service = supervised.start("hook=10", "http=8080")
    with supervised.network.connect("127.0.0.1", 8080, 30) as client:
        client.sendall(b"GET /sleep/60000 HTTP/1.1\r\nHost: a\r\n\r\n")
        service.expect("SLEEPS")
        service.process.send_signal(signal.SIGTERM)
        wait_until(lambda: supervised.status()["phase"] == "stopping", 10, "the stop")
        begun = time.monotonic()
        assert service.stop() == 143

    assert time.monotonic() - begun < 5
    assert "STOPPED" in service.stdout


def test_restart_by_command(supervised: Supervised) -> None:
    """`jvmbind restart` starts a new generation in the place of the old one, and refuses nobody meanwhile."""
    supervised.start("http=8080")
    before = supervised.serving()
    supervised.config.write_text(f"user = 'nobody'\n{supervised.config.read_text()}")

    with supervised.under_load("--threads", "3", "--mode", "close") as load:
        done = supervised.ask("restart")
        supervised.await_generation(2)

    note = "user: changed in the file; takes effect when the service is stopped and started"
    assert (done.returncode, done.stdout) == (0, f"restart: done\n{note}\n"), done.stderr
    assert f"jvmbind: restart: {note}\n" in supervised.service.stderr
    (death,) = supervised.status()["deaths"]
    assert (death["generation"], death["asked"]) == (1, True)

    assert load["refused"] == load["timeout"] == 0, load
    assert supervised.serving() != before


def test_killed_supervisor(supervised: Supervised) -> None:
    """SIGKILL of the supervisor takes the serving, the parked and the draining generation with it."""
    service = supervised.start("http=8080", more="standby = 1")
    await_standby(supervised)
    with supervised.network.connect("127.0.0.1", 8080, 30) as client:
        client.sendall(b"GET /sleep/60000 HTTP/1.1\r\nHost: a\r\n\r\n")
        service.expect("SLEEPS")
        assert supervised.reload().returncode == 0
        assert "draining" in supervised.roles()

        os.kill(service.pid, signal.SIGKILL)
        service.wait()

    service.assert_nothing_left()
