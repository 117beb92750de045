"""What systemd is told and what it does with it: readiness, words, reload, stop, watchdog, a slow start.

Run by pytest as root, against a real systemd as PID 1 of its own namespaces. Must not import jvmbind.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import procfs
from support.users import SERVICE_USER
from support.waiting import wait_until

if TYPE_CHECKING:
    from support.units import Unit

Start = Callable[..., None]
RESTART = "Restart=always\nRestartSec=100ms"


def worker(unit: Unit) -> int:
    """Return the pid of the JVM's process, as this side has it."""
    main = unit.lab.main_pid(unit.file)
    (found,) = wait_until(
        lambda: [pid for pid in unit.network.processes() if procfs.parent(pid) == main and procfs.is_jvm(pid)], 20, "a worker"
    )
    return found


def cpu_ticks(pid: int) -> int:
    """Return the processor time of a process in clock ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_ready_means_served(unit: Unit, as_root: Start) -> None:
    """The unit is activating while the JVM starts and active only when a client is served; the status says it in words."""
    as_root("wait=1500", "http=80", wait=False)
    seen = set()
    while (state := unit.property("ActiveState")) == "activating":
        seen.add(state)
        time.sleep(0.05)

    assert seen == {"activating"}
    assert state == "active", unit.lines()
    assert unit.get(timeout=1).status == 200
    assert unit.property("StatusText") == f"{unit.name}: up, generation 1"
    main = unit.lab.main_pid(unit.file)
    assert procfs.command_line(main)[0] == f"jvmbind supervisor {unit.name}"


@pytest.mark.parametrize("kind", ["capability", "root"])
def test_privileges(unit: Unit, kind: str) -> None:
    """With User= and one ambient capability, and as root with --user: port 80 is served, and no thread has any right."""
    options = f"-l 80 {unit.control}"
    more = f"{unit.as_user}\nAmbientCapabilities=CAP_NET_BIND_SERVICE\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE"
    if kind == "root":
        options = f"-l 80 -u {SERVICE_USER}"
        more = "CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID CAP_SETPCAP CAP_CHOWN"
    unit.write(unit.command(options, "http=80"), more)
    unit.systemctl("start")

    status = json.loads(unit.status())
    for privileges in (status["supervisor"]["privileges"], status["generations"][0]["privileges"]):
        sets = set(privileges["capabilities"]) - ({"CapBnd"} if kind == "capability" else set())
        assert not sets, privileges  # without CAP_SETPCAP nobody can empty the bounding set
        assert privileges["no_new_privs"] is True
    # What leads to the manager stays with the supervisor.
    names = procfs.environment(worker(unit))
    assert [name for name in names if name.startswith(("NOTIFY_", "WATCHDOG_", "LISTEN_", "FDSTORE"))] == []
    assert unit.property("StatusText") == f"{unit.name}: up, generation 1"


def test_reload(unit: Unit, as_root: Start) -> None:
    """`systemctl reload` returns when the next generation serves; the unit is reloading meanwhile, then active again."""
    as_root("wait=500", "http=80")
    first, _ = unit.served_by()

    unit.systemctl("reload", "--no-block")
    unit.await_property("ActiveState", "reloading")
    assert unit.served_by()[0] == first
    unit.await_property("ActiveState", "active")
    second, _ = unit.served_by()
    unit.systemctl("reload")
    third, _ = unit.served_by()

    assert len({first, second, third}) == 3
    assert unit.property("NRestarts") == "0"
    assert unit.property("StatusText").startswith(f"{unit.name}: up, generation ")


def test_failed_reload(unit: Unit) -> None:
    """A reload into a configuration that cannot be used fails `systemctl reload`, and the old generation keeps serving."""
    config = f"/etc/{unit.name}.toml"
    file = unit.lab.root / config.lstrip("/")
    java = unit.command("", "http=80").split(" -- ")[1].split()
    file.write_text(f"listen = ['80']\nuser = '{SERVICE_USER}'\n[java]\nhome = '{unit.jdk.home}'\narguments = {json.dumps(java)}\n")
    run = " ".join([*unit.jvmbind, "run", "-n", unit.name, "-c", config])
    unit.write(run)
    unit.systemctl("start")
    before = unit.served_by()

    good = file.read_text()
    file.write_text(good + "nonsense = = 1\n")
    assert unit.systemctl("reload", check=False) != 0
    assert unit.served_by() == before
    file.write_text(good.replace("-Dversion=1", "-Dversion=2"))
    unit.systemctl("reload")

    assert unit.served_by()[1] == "2"
    assert unit.property("ActiveState") == "active"
    assert f"reload refused: {config}" in unit.lines()


def test_stopping(unit: Unit, as_root: Start) -> None:
    """A stop by `jvmbind stop` is told to systemd, which shows the unit deactivating while the JVM's hooks run."""
    as_root("hook=1000", "http=80", more="SuccessExitStatus=143")

    unit.lab.run(*unit.jvmbind, "stop", "--no-wait", unit.name)
    unit.await_property("ActiveState", "deactivating")
    unit.await_property("SubState", "dead")

    assert unit.property("Result") == "success"
    assert "STOPPED" in unit.lines()


def test_stopped_by_systemd(unit: Unit, as_root: Start) -> None:
    """`systemctl stop` runs the JVM's hooks to their end; the status 143 of a JVM that was asked to end can be a success."""
    as_root("hook=300", "http=80", more="SuccessExitStatus=143")

    unit.systemctl("stop")

    assert unit.property("Result") == "success"
    assert "STOPPED" in unit.lines()


def test_slow_start(unit: Unit, as_root: Start) -> None:
    """A JVM that takes longer than TimeoutStartSec= is waited for, as the time-out is extended while it starts."""
    as_root("wait=3500", "http=80", more="TimeoutStartSec=2")

    assert unit.served_by()[1] == "1"
    assert unit.property("NRestarts") == "0"


def test_never_ready(unit: Unit, as_root: Start) -> None:
    """A JVM that never binds is not waited for without end: the extension stops with the start time-out, and a line says why."""
    as_root("hang=", options="-l web=80 --start-timeout 1", more="TimeoutStartSec=2", wait=False)
    wait_until(lambda: "listener 'web' (80/tcp) was not claimed within 1 s" in unit.lines(), 20, "the report")

    # The last extension holds for 30 s: not waited for here, but no further one comes, and nobody spins.
    main = unit.lab.main_pid(unit.file)
    before, begun = cpu_ticks(main), time.monotonic()
    wait_until(lambda: time.monotonic() - begun > 6, 10)
    assert cpu_ticks(main) - before < 20
    assert unit.property("ActiveState") == "activating"
    (unclaimed,) = unit.lab.journal(unit.file, "EVENT=unclaimed")
    assert (unclaimed["LISTENER"], unclaimed["PRIORITY"]) == ("web", "4")


def test_failed_start(unit: Unit) -> None:
    """A program that cannot start fails `systemctl start`, with the program's own exit status in the unit."""
    unit.write(unit.command(f"-l 80 -u {SERVICE_USER}", "exit=7"))

    assert unit.systemctl("start", check=False) != 0
    assert unit.property("ExecMainStatus") == "7"


def test_watchdog_of_a_hung_jvm(unit: Unit, as_root: Start) -> None:
    """A JVM that no longer answers gets the service no keep-alive: systemd restarts it, and the port is kept meanwhile."""
    options = "-l 80 --heartbeat-timeout 1.5 --watchdog log"
    as_root("http=80", options=options, more=f"WatchdogSec=3\nFileDescriptorStoreMax=8\nWatchdogSignal=SIGKILL\n{RESTART}")
    first, _ = unit.served_by()
    procfs.stop_process(worker(unit))

    with unit.network.connect("127.0.0.1", 80, 30) as client:  # queued: the stopped JVM accepts nobody
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = client.makefile("rb").read()

    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert f"pid={first} ".encode() not in answer
    assert unit.property("NRestarts") == "1"
    assert "heartbeat" in unit.lines()
    assert "Watchdog timeout" in unit.lines()


def test_watchdog_while_a_hung_jvm_is_replaced(unit: Unit, as_root: Start) -> None:
    """Where the supervisor itself ends a hung JVM and starts the next, systemd gets its keep-alives all the time."""
    options = "-l 80 --heartbeat-timeout 1 --watchdog log,restart"
    as_root("wait=2500", "http=80", options=options, more=f"WatchdogSec=1\nWatchdogSignal=SIGKILL\n{RESTART}")
    first, _ = unit.served_by()
    procfs.stop_process(worker(unit))

    wait_until(lambda: "generation 2 is ready" in unit.lines(), 30, "the next generation")

    assert unit.served_by()[0] != first
    assert unit.property("NRestarts") == "0"


def test_watchdog_of_a_healthy_service(unit: Unit, as_root: Start) -> None:
    """With a watchdog of half a second a healthy service lives on, idle or reloading."""
    as_root("wait=700", "http=80", more="WatchdogSec=500ms")
    unit.systemctl("reload")
    deadline = time.monotonic() + 2

    wait_until(lambda: time.monotonic() > deadline, 5)

    assert unit.property("NRestarts") == "0"
    assert unit.property("ActiveState") == "active"


def test_journal(unit: Unit, as_root: Start) -> None:
    """The journal has the supervisor's lines with their fields and priorities, and Java's output beside them."""
    as_root("http=80", options="-l web=80", more=RESTART)
    worker_pid = worker(unit)
    os.kill(worker_pid, signal.SIGKILL)
    wait_until(lambda: unit.lines().count("READY pid=") == 2, 20, "the second generation")
    unit.systemctl("reload")

    (claimed, *_) = unit.lab.journal(unit.file, "EVENT=claimed", "LISTENER=web")
    assert claimed["MESSAGE"].startswith("listener 'web' (80/tcp) handed over to generation 1")
    assert (claimed["GENERATION"], claimed["PRIORITY"], claimed["SYSLOG_IDENTIFIER"]) == ("1", "6", "jvmbind")
    assert "CODE_ARGS" not in claimed
    (died,) = unit.lab.journal(unit.file, "EVENT=died")
    assert (died["GENERATION"], died["PRIORITY"]) == ("1", "3")
    assert "SIGKILL" in died["MESSAGE"]
    assert [entry["GENERATION"] for entry in unit.lab.journal(unit.file, "EVENT=ready")] == ["1", "2", "3"]
    assert [entry["GENERATION"] for entry in unit.lab.journal(unit.file, "EVENT=reload-done")] == ["3"]
    assert any(entry["MESSAGE"].startswith("READY pid=") for entry in unit.lab.journal(unit.file))
