"""Reload: the next generation takes over without a lost connection, or the old one keeps serving.

Run by pytest as root; services run as an ordinary user. Must not import jvmbind.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervision.conftest import Supervised

LOST = ("refused", "reset", "timeout", "wrong")


@pytest.mark.never
def test_under_load(supervised: Supervised) -> None:
    """Five reloads under load lose no connection, and each ends with the version of its configuration serving."""
    supervised.start("http=8080")

    with supervised.under_load("--threads", "6", "--body", r"pid=\d+ version=[1-6]$", pause=0) as load:
        for version in range(2, 7):
            supervised.configure("http=8080", version=str(version))
            done = supervised.reload()
            assert (done.returncode, done.stdout) == (0, "reload: done\n"), done.stderr
            assert supervised.version() == str(version)

    assert {kind: load[kind] for kind in LOST} == dict.fromkeys(LOST, 0), load
    assert load["ok"] > 200
    assert load["different_bodies"] == 6
    result = supervised.status()["reload"]
    assert (result["ok"], result["generation"]) == (True, 6)


def test_by_signal(supervised: Supervised) -> None:
    """SIGHUP reloads as the command does."""
    service = supervised.start("http=8080")
    supervised.configure("http=8080", version="2")

    service.process.send_signal(signal.SIGHUP)

    service.expect("reload done: generation 2 serves", stream="stderr")
    assert supervised.version() == "2"


ENDED, LATE = r"generation \d+ ended before it was ready", r"generation \d+ was not ready within {} s"
UNBOUND = r"the application has not bound listener '8080' \(8080/tcp\)"
PRINTED = "; the last lines of the output: .*"
LONGER = r"if it only needs more time, a longer start_timeout \(it is {} s\)"
GOES_ON = "; the old generation keeps serving$"


def late(lacks: str, seconds: str = "5") -> str:
    """Return what is said of a generation that was not ready in time."""
    return f"{LATE.format(seconds)}: {lacks}; (the last lines .*; )?{LONGER.format(seconds)}{GOES_ON}"


FAILURES: dict[str, tuple[Callable[[Supervised], object], str]] = {
    "broken-toml": (lambda s: s.config.write_text("listen = = 1"), r"service\.toml"),
    "unknown-key": (lambda s: s.configure("http=8080", more="redy = 'listen'"), r"supervise\.redy: unknown key"),
    "no-such-jar": (lambda s: s.configure("http=8080", jar="/nowhere/app.jar"), "/nowhere/app.jar"),
    "broken-jar": (lambda s: s.configure("http=8080", jar=broken_jar(s)), "Invalid or corrupt jarfile"),
    "exits-at-once": (lambda s: s.configure("exit=0"), f"{ENDED}: exit status 0; {UNBOUND}({PRINTED})?{GOES_ON}"),
    "never-binds": (lambda s: s.configure("hang=", more="start_timeout = 5"), late(UNBOUND)),
    "accepts-and-exits": (
        lambda s: s.configure("http=8080", "wait=300", "exit=3"),
        f"{ENDED}: exit status 3; (the rehearsal has not ended|the probe connection has .*|no thread of .*){PRINTED}{GOES_ON}",
    ),
    "throws": (
        lambda s: s.configure("no=such"),
        f"{ENDED}: exit status 1; {UNBOUND}{PRINTED}IllegalArgumentException: no=such{GOES_ON}",
    ),
    "accepts-nothing": (
        lambda s: s.configure("deaf=8080", "hang=", more="start_timeout = 12"),
        late("no thread of the application waits for connections", "12"),
    ),
    "never-healthy": (
        lambda s: s.configure("http=8080", more="start_timeout = 12\nready = 'http://127.0.0.1:8080/health'\nready_status = 204"),
        late(r"http://127\.0\.0\.1:8080/health has not answered with status 204", "12"),
    ),
    "binds-another-port": (
        lambda s: s.configure("http=8081", more="start_timeout = 12"),
        late(rf"{UNBOUND}; it bound \[::\]:8081/tcp \(not declared; .* -l 8080:8081, in the file listen = \[.8080:8081.\]\)", "12"),
    ),
    "new-privileged-listener": (
        lambda s: s.configure("http=8080", "http=443", listen="'8080', '443'"),
        r"443.* is new and needs a privilege.*start it as root.*systemd socket unit",
    ),
}


def broken_jar(supervised: Supervised) -> Path:
    """Return a file that is not a jar."""
    path = supervised.folder / "broken.jar"
    path.write_bytes(b"PK\x03\x04 and then nothing of sense")
    return path


QUICK = ("broken-toml", "unknown-key", "no-such-jar", "broken-jar", "new-privileged-listener", "exits-at-once", "throws")
# One that accepts and then fails may have had the listener for a moment: its answers are whole all the same.
MAY_ANSWER = {"accepts-and-exits", "never-healthy"}


@pytest.mark.parametrize("kinds", [QUICK, *((kind,) for kind in FAILURES if kind not in QUICK)], ids=lambda kinds: kinds[0])
def test_failure(supervised: Supervised, kinds: tuple[str, ...]) -> None:
    """Whatever is wrong with the next generation, the old one keeps serving, and the command says why with a status."""
    supervised.start("http=8080", version="old")
    before = supervised.serving()

    with supervised.under_load("--threads", "4", "--body", "version=" if MAY_ANSWER & {*kinds} else "version=old") as load:
        for kind in kinds:
            break_it, why = FAILURES[kind]
            break_it(supervised)
            done = supervised.reload()

            assert done.returncode == 75, (kind, done)
            said = [line for line in done.stderr.splitlines() if not line.startswith("reload: waits ")]
            assert len(said) == 1, (kind, done.stderr)
            assert re.search(why, said[0]), (kind, done.stderr)
            assert supervised.serving() == before, kind
            result = supervised.status()["reload"]
            assert result["ok"] is False, kind
            assert re.search(why, result["error"]), kind
            supervised.await_only()

    assert {lost: load[lost] for lost in LOST} == dict.fromkeys(LOST, 0), load
    # And it is not the end of reloads.
    supervised.configure("http=8080", version="new")
    assert supervised.reload().returncode == 0
    assert supervised.version() == "new"


def test_a_locked_store(supervised: Supervised) -> None:
    """A reload that fails because of the other instance's lock says so, names the file, and what to do instead."""
    lock = supervised.folder / "run" / "store.lck"
    supervised.start(f"lock={lock}", "http=8080", more="reload = 'overlap'")

    done = supervised.reload()

    assert done.returncode == 75, done
    why = (
        rf"{ENDED}: exit status 1; {UNBOUND}{PRINTED}{lock} is locked by another process; two instances at once are likely to be "
        rf"what fails \(generation 1 has {lock} locked.*\): jvmbind restart, or reload = 'restart'{GOES_ON}"
    )
    assert re.search(why, done.stderr.splitlines()[-1]), done.stderr
    assert re.search(f"jvmbind: reload failed: {why}", supervised.service.stderr, re.MULTILINE), supervised.service.report()
    assert supervised.version() == "1"


def test_second_port_that_is_no_listener(supervised: Supervised) -> None:
    """A fixed port that is not declared (Tomcat's shutdown port) does not keep the next generation from starting."""
    service = supervised.start("http=8080", "http=9005", version="old")

    with supervised.under_load("--threads", "4") as load:
        supervised.configure("http=8080", "http=9005", version="new")
        done = supervised.reload()
        assert done.returncode == 0, done.stderr + service.report()

    assert {lost: load[lost] for lost in LOST} == dict.fromkeys(LOST, 0), load
    supervised.await_only()
    assert {supervised.version(9005) for _ in range(10)} == {"new"}


def test_port_of_an_agent(supervised: Supervised) -> None:
    """Nor does one that the JVM itself binds while it starts: the JMX agent's."""
    properties = [
        "jmxremote.port=9010",
        "jmxremote.authenticate=false",
        "jmxremote.ssl=false",
        "jmxremote.host=127.0.0.1",
        "jmxremote.local.only=false",
    ]
    jvm = tuple(f"-Dcom.sun.management.{one}" for one in properties)
    service = supervised.start("http=8080", version="old", jvm=jvm)
    supervised.configure("http=8080", version="new", jvm=jvm)

    done = supervised.reload()

    assert done.returncode == 0, done.stderr + service.report()
    supervised.await_only()
    supervised.network.connect("127.0.0.1", 9010, 5).close()


def test_http_probe(supervised: Supervised) -> None:
    """Where an HTTP answer is what makes a generation ready, the next one gives it before it has the listener."""
    supervised.start("http=8080", version="old")
    supervised.configure("http=8080", version="new", more="ready = 'http://127.0.0.1:8080/health'")

    assert supervised.reload().returncode == 0

    assert supervised.version() == "new"


def test_local_address(supervised: Supervised) -> None:
    """The next generation sees the address that it has bound, for the second time too, although it rehearses elsewhere."""
    service = supervised.start("http=8080", version="old")
    supervised.configure("check=8080", "wait=50", "http=8080", version="new")

    assert supervised.reload().returncode == 0

    service.expect(r"LISTENS pid=\d+ version=new 0\.0\.0\.0/0\.0\.0\.0:8080")


def test_death_during_the_rehearsal(supervised: Supervised) -> None:
    """The serving generation may die while the next one rehearses: that one takes over, and the port answers."""
    supervised.start("http=8080", version="old")
    old = supervised.serving()
    supervised.configure("http=8080", version="new")
    results: list[subprocess.CompletedProcess[str]] = []
    reload = threading.Thread(target=lambda: results.append(supervised.reload()))
    reload.start()
    wait_until(
        lambda: [g for g in supervised.status()["generations"] if g["stage"] in {"accepting", "rehearsed"}], 20, "a rehearsal"
    )

    os.kill(old, signal.SIGKILL)
    reload.join()

    assert results[0].returncode == 0, results[0]
    assert supervised.version() == "new"
    supervised.await_only()


def test_nothing_else_after_a_death(supervised: Supervised) -> None:
    """When the serving generation dies during a reload that goes on: a restart is refused, and its version never runs."""
    go = supervised.folder / "go"
    supervised.start("http=8080", version="1")
    supervised.configure(f"await={go}", "http=8080", version="2")
    results: list[subprocess.CompletedProcess[str]] = []
    reload = threading.Thread(target=lambda: results.append(supervised.reload()))
    reload.start()
    wait_until(lambda: supervised.status()["phase"] == "reloading", 20, "the reload")
    os.kill(supervised.serving(), signal.SIGKILL)
    wait_until(lambda: supervised.status()["phase"] == "starting", 20, "the end of the first generation")

    supervised.configure("http=8080", version="3")
    for command in ("restart", "reload"):
        done = supervised.ask(command)
        assert done.returncode == 75
        assert "a reload is on its way; one at a time" in done.stderr
    go.touch()
    reload.join()

    assert results[0].returncode == 0, results[0]
    assert supervised.version() == "2"
    os.kill(supervised.serving(), signal.SIGKILL)
    supervised.await_generation(3)
    assert supervised.version() == "2"


def test_hung_configuration(supervised: Supervised) -> None:
    """While a reload waits for an argument file to be written, the supervisor answers, and replaces a dead generation."""
    supervised.start("http=8080", version="old")
    fifo = supervised.folder / "arguments"
    os.mkfifo(fifo)
    os.chmod(fifo, 0o644)
    home, where = supervised.jdk.home, supervised.socket
    supervised.config.write_text(
        f"listen = ['8080']\n[java]\nhome = '{home}'\narguments = ['@{fifo}']\n[control]\nsocket = '{where}'\n"
    )
    results: list[subprocess.CompletedProcess[str]] = []
    reload = threading.Thread(target=lambda: results.append(supervised.reload()))
    reload.start()
    writer = wait_until(lambda: open_fifo(fifo), 20, "somebody who reads the arguments")

    os.kill(supervised.serving(), signal.SIGKILL)
    supervised.await_generation(2)
    assert "one at a time" in supervised.reload().stderr
    os.write(writer, b"-jar /nowhere/app.jar")
    os.close(writer)
    reload.join()

    assert results[0].returncode == 75
    assert "/nowhere/app.jar" in results[0].stderr
    assert supervised.version() == "old"


def open_fifo(path: Path) -> int:
    """Return the writing end of a FIFO, 0 while nobody reads it."""
    try:
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return 0


def test_changed_options_of_a_listener(supervised: Supervised) -> None:
    """A reload changes the backlog of a listener, and refuses by name what a bound socket cannot change."""
    supervised.start("http=8080", listen="'[::]:8080'")
    supervised.configure("http=8080", listen="'[::]:8080,backlog=7'", version="2")

    assert supervised.reload().returncode == 0
    assert [one["queue_limit"] for one in supervised.status()["listeners"]] == [7]

    supervised.configure("http=8080", listen="'[::]:8080,v6only'", version="3")
    done = supervised.reload()
    assert done.returncode == 75
    assert "v6only and bind-only of a bound socket cannot change" in done.stderr
    assert supervised.version() == "2"


def test_one_at_a_time(supervised: Supervised) -> None:
    """A reload during a reload is refused, and harms neither."""
    supervised.start("http=8080")
    supervised.configure("wait=800", "http=8080", version="2")
    first = threading.Thread(target=supervised.reload)
    first.start()
    wait_until(lambda: supervised.status()["phase"] == "reloading", 20, "the first reload")

    done = supervised.reload()
    first.join()

    assert done.returncode == 75
    assert "the service is reloading" in done.stderr
    assert supervised.version() == "2"


def test_request_in_flight(supervised: Supervised) -> None:
    """A request that the old generation has in work is answered by it in full, on a connection that was kept alive."""
    service = supervised.start("http=8080", version="old")
    with supervised.network.connect("127.0.0.1", 8080, 30) as client:
        reader = client.makefile("rb")
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert answer(reader).endswith(b"version=old")
        client.sendall(b"GET /sleep/1500 HTTP/1.1\r\nHost: a\r\n\r\n")
        service.expect("SLEEPS")
        supervised.configure("http=8080", version="new")

        assert supervised.reload().returncode == 0
        assert supervised.version() == "new"
        assert answer(reader).endswith(b"version=old")
        # It still serves this connection: the client has not closed it, and the drain time-out has not passed.
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert answer(reader).endswith(b"version=old")
    supervised.await_only()


def answer(reader: socket.SocketIO | object) -> bytes:
    """Read one answer of the server and return its body."""
    length = 0
    while line := reader.readline().strip():  # type: ignore[union-attr]
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    body: bytes = reader.read(length)  # type: ignore[union-attr]
    return body


def test_own_end_while_another_drains(supervised: Supervised) -> None:
    """When the application ends by itself with 0, the generation before it still gives the answer that it has in work."""
    go = supervised.folder / "go"
    service = supervised.start("hook=1", "http=8080", version="old", more="drain_timeout = 60")
    with supervised.network.connect("127.0.0.1", 8080, 60) as client:
        client.sendall(b"GET /sleep/6000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        supervised.configure("http=8080", f"await={go}", "exit=0", version="new", more="drain_timeout = 60")
        assert supervised.reload().returncode == 0

        go.touch()

        assert b"version=old" in client.makefile("rb").read()
    service.expect("STOPPED")
    assert service.wait() == 0


def test_idle_connection_does_not_hold_a_generation(supervised: Supervised) -> None:
    """A client that keeps its connection and says nothing is let go when the drain time-out has passed."""
    supervised.start("http=8080", more="drain_timeout = 1")
    with supervised.network.connect("127.0.0.1", 8080, 30) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"version=1" in client.recv(65536)
        assert supervised.reload().returncode == 0
        begun = time.monotonic()

        assert client.recv(100) == b""  # an orderly end, not a reset

        assert time.monotonic() - begun < 4
    supervised.await_only()


def test_datagrams_move_in_one_step(supervised: Supervised) -> None:
    """Of datagrams that come one after the other none is lost, and the old generation answers none after the new one did."""
    supervised.start("udp=8053", listen="'8053/udp'", version="1")
    answers: list[tuple[int, str]] = []
    end = threading.Event()

    def ask() -> None:
        with supervised.network.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(3)
            client.connect(("127.0.0.1", 8053))
            number = 0
            while not end.is_set():
                client.send(str(number).encode())
                try:
                    _, version, echoed = client.recv(2048).decode().split()
                except TimeoutError:
                    version, echoed = "lost", str(number)
                answers.append((int(echoed), version))
                number += 1
                end.wait(0.002)

    def last_is(version: str) -> bool:
        return bool(answers) and answers[-1][1] == version

    client = threading.Thread(target=ask)
    client.start()
    try:
        for version in ("2", "3"):
            supervised.configure("udp=8053", listen="'8053/udp'", version=version)
            assert supervised.reload().returncode == 0
            want = f"version={version}"
            wait_until(partial(last_is, want), 10, want)
    finally:
        end.set()
        client.join()

    order = [version for _, version in answers]
    assert "lost" not in order
    assert [number for number, _ in answers] == list(range(len(answers)))
    assert order == sorted(order)
    assert set(order) == {"version=1", "version=2", "version=3"}


def test_datagrams_come_back(supervised: Supervised) -> None:
    """After a reload that failed the old generation, which waited in a receive all the time, still gets datagrams."""
    supervised.start("udp=8053", listen="'8053/udp'", version="old")
    supervised.configure("udp=8053", "wait=100", "exit=3", listen="'8053/udp'", version="new")
    assert supervised.reload().returncode == 75
    supervised.await_only()

    with supervised.network.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.connect(("127.0.0.1", 8053))
        client.send(b"x")
        assert client.recv(2048).endswith(b"version=old x")


def test_descriptors_and_memory(supervised: Supervised) -> None:
    """Ten reloads leave no descriptor and no process behind in the supervisor."""
    service = supervised.start("http=8080")
    assert supervised.reload().returncode == 0
    supervised.await_only()
    before = len(os.listdir(f"/proc/{service.pid}/fd"))

    for _ in range(8):
        assert supervised.reload().returncode == 0
    supervised.await_only()

    assert len(os.listdir(f"/proc/{service.pid}/fd")) == before
    assert len(supervised.children()) == 1


def test_listener_without_privilege(supervised: Supervised) -> None:
    """A listener that needs no privilege is opened by a reload, and one that is no longer declared is closed."""
    supervised.start("http=8080")
    supervised.configure("http=8090", "http=8080", listen="'8080', 'other=8090'", version="2")
    assert supervised.reload().returncode == 0
    assert supervised.version(8090) == "2"

    supervised.configure("http=8090", listen="'other=8090'", version="3")
    assert supervised.reload().returncode == 0

    assert supervised.version(8090) == "3"
    supervised.await_only()
    bound = [one for one in supervised.network.bound() if "/root-" not in one]  # root's own control socket
    assert bound == ["tcp6 [::]:8090", f"unix {supervised.socket}"]
