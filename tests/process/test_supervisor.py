"""The supervisor with a real JVM, as an ordinary user on high ports: restarts, statuses, signals, faults.

Run by pytest as root for the namespaces alone; jvmbind itself is started by the service user. Must not import jvmbind.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pty
import re
import select
import signal
import socket
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import jdks, procfs
from support.clients import http_get
from support.jdks import Jdk
from support.runner import PLAIN, Runner, as_user
from support.users import SERVICE_USER
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.network import Network
    from support.service import Service

pytestmark = [
    pytest.mark.root,
    pytest.mark.jvm,
    pytest.mark.skipif(PLAIN, reason="java has no supervisor"),
]

ORDINARY = as_user(SERVICE_USER)
_PIDFD_GETFD = 438  # pidfd_getfd(2), one number on all architectures


@pytest.fixture
def newest() -> Jdk:
    """One JDK is enough: nothing here depends on its version."""
    return jdks.tested_jdks()[-1]


def start(runner: Runner, jdk: Jdk, options: str, *probe: str) -> Service:
    """Start a probe under a supervisor, as an ordinary user."""
    service = runner.probe(options.split(), jdk, *probe, prefix=ORDINARY)
    service.quiet = False
    return service


def expect_ready(service: Service, number: int = 1) -> None:
    """Wait until the supervisor counts a generation as ready: one that dies before has never worked."""
    service.expect(rf"generation {number} is ready", stream="stderr")


def lines(service: Service, pattern: str) -> list[str]:
    """Return the lines on stderr that fit."""
    return [line for line in service.stderr.splitlines() if re.search(pattern, line)]


def workers(service: Service) -> list[int]:
    """Return the workers; children that only read the command line are none."""
    found = []
    for pid in service.processes():
        with contextlib.suppress(OSError):
            if procfs.parent(pid) == service.pid and any("/worker/" in word for word in procfs.command_line(pid)):
                found.append(pid)
    return found


def has_said(service: Service, text: str, count: int) -> bool:
    """Tell whether stdout has the text that often."""
    return service.stdout.count(text) == count


def kill_worker(service: Service) -> int:
    """Kill the worker with SIGKILL and wait until it has gone."""
    worker = service.worker()
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not os.path.exists(f"/proc/{worker}"), 10, "the worker's end")
    return worker


def test_crash_and_back_off(runner: Runner, network: Network, newest: Jdk) -> None:
    """A killed worker is followed by a new one, at once and then after growing pauses; the port answers all the time."""
    service = start(runner, newest, "-l 8080 --restart on-crash", "ChannelServer", "*", "8080")
    expect_ready(service)
    killed = []

    for number in range(1, 4):
        killed.append(kill_worker(service))
        # Connected while nobody accepts: queued by the kernel, served by the next worker.
        assert http_get(network, 8080, timeout=30).status == 200
        expect_ready(service, number + 1)

    assert len(set(killed)) == 3
    deaths = lines(service, r"generation \d+ \(pid \d+\) died")
    assert [re.findall(r"pid (\d+)", line)[0] for line in deaths] == [str(pid) for pid in killed]
    assert all("killed by SIGKILL" in line for line in deaths)
    pauses = [float(line.split(" starts in ")[1].split()[0]) for line in lines(service, "next generation starts in")]
    assert pauses[-2:] == [0.1, 0.2]
    assert service.stop() == 143
    service.assert_nothing_left()


def test_a_healthy_service_is_back_at_once(runner: Runner, network: Network, newest: Jdk) -> None:
    """A service that dies again and again, each time after a healthy life, is started again without any pause."""
    service = start(runner, newest, "-l 8080 --backoff-reset 0.2 --backoff-first 60 --backoff-max 60", "ChannelServer", "*", "8080")

    for number in range(1, 4):
        expect_ready(service, number)
        healthy = time.monotonic() + 0.4
        wait_until(lambda moment=healthy: time.monotonic() >= moment, 10, "a healthy life")  # type: ignore[misc]
        kill_worker(service)
        assert http_get(network, 8080, timeout=30).status == 200

    assert lines(service, "next generation starts in") == []
    assert service.stop() == 143


@pytest.mark.parametrize(
    ("policy", "ending", "restarts"),
    [
        ("never", ["exit", "3"], False),
        ("on-crash", ["exit", "3"], False),
        ("on-crash", ["exit", "0"], False),
        ("on-failure", ["exit", "0"], False),
        ("on-failure", ["exit", "3"], False),  # it has no listener: the status is its result
        ("always", ["exit", "0"], True),
        ("always", ["exit", "3"], True),
    ],
)
def test_policy_after_an_exit(runner: Runner, newest: Jdk, policy: str, ending: list[str], restarts: bool) -> None:
    """A program that was up and exits is started again under exactly the policies that say so, else its status is ours."""
    service = start(runner, newest, f"--restart {policy}", "Ending", *ending)

    if restarts:
        wait_until(lambda: len(lines(service, "next generation starts in")) >= 1, 30, "a restart")
        assert service.running()
        assert service.stop() in {143, int(ending[1])}
    else:
        assert service.wait() == int(ending[1])
        assert lines(service, "next generation") == []
    service.assert_nothing_left()


@pytest.mark.parametrize("status", [0, 7, 255])
def test_exit_status(runner: Runner, newest: Jdk, status: int) -> None:
    """The worker's exit status is the supervisor's, which says that a failed one is not started again, and what may lack."""
    service = start(runner, newest, "--restart never", "Ending", "exit", str(status))

    assert service.wait() == status
    words = f"jvmbind: generation 1 ended with status {status}; not started again; no listener is declared: a port below 1024 "
    said = [line.partition(" ")[2] for line in lines(service, "not started again")]  # behind the time
    assert said == ([f"{words}needs one, as -l 80"] if status else [])


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_stop_status(runner: Runner, newest: Jdk, number: int, status: int) -> None:
    """A signal to the supervisor reaches the JVM once, its hooks run to their end, and the status is that of the signal."""
    service = start(runner, newest, "-l 8080", "Ending", "hook", "200")
    service.expect(r"^READY$")

    assert service.stop(number) == status, service.report()
    assert service.stdout.count("HOOK-BEGINS") == 1
    assert "HOOK-ENDS true" in service.stdout
    service.assert_nothing_left()


def test_killed_worker_without_restart(runner: Runner, newest: Jdk) -> None:
    """Without restarts a worker killed by a signal ends the service with 128 plus its number, and a line says so."""
    service = start(runner, newest, "-l 8080 --restart never", "ChannelServer", "*", "8080")
    expect_ready(service)

    kill_worker(service)

    assert service.wait() == 137
    assert len(lines(service, "killed by SIGKILL")) == 1
    service.assert_nothing_left()


def test_killed_supervisor(runner: Runner, newest: Jdk) -> None:
    """With the supervisor the worker dies: no JVM is left, and the port is free."""
    service = start(runner, newest, "-l 8080", "ChannelServer", "*", "8080")
    service.expect(r"^READY$")
    worker = service.worker()

    os.kill(service.pid, signal.SIGKILL)

    assert service.wait() == 137
    wait_until(lambda: not os.path.exists(f"/proc/{worker}"), 10, "the worker's end")
    service.assert_nothing_left()


def test_supervisor_killed_at_any_moment_of_the_start(runner: Runner, newest: Jdk) -> None:
    """However early the supervisor is killed, no worker outlives it."""
    for milliseconds in (0, 20, 60, 120, 250):
        service = start(runner, newest, "-l 8080", "ChannelServer", "*", "8080")
        wait_until(partial(workers, service), 20, "a worker")
        # The moment is what differs, so here time is waited for.
        time.sleep(milliseconds / 1000)
        os.kill(service.pid, signal.SIGKILL)
        service.wait()
        service.assert_nothing_left()


class Terminal:
    """A command with a terminal of its own."""

    def __init__(self, network: Network, command: list[str]) -> None:
        """Start it as the terminal's foreground process."""
        self.output = ""
        with network.entered():
            self.pid, self.fd = pty.fork()
            if self.pid == 0:
                os.chdir("/")
                os.execvp(command[0], command)

    def expect(self, text: str, seconds: float = 40.0) -> None:
        """Read until the text has come."""
        deadline = time.monotonic() + seconds
        while text not in self.output:
            assert time.monotonic() < deadline, self.output
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.output += os.read(self.fd, 65536).decode(errors="replace")
                except OSError:  # EIO: nobody has the terminal open any more
                    assert text in self.output, self.output

    def end(self) -> int:
        """Wait for the end; return the status as a shell has it."""
        while True:
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                break
            self.output += data.decode(errors="replace")
        os.close(self.fd)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return status if status >= 0 else 128 - status


@pytest.fixture
def terminal(runner: Runner, network: Network, newest: Jdk) -> Iterator[Terminal]:
    """A supervised program with a shutdown hook, at a terminal."""
    pattern = runner.probe([], newest, "Ending", "exit", "0", prefix=ORDINARY)
    assert pattern.wait() == 0
    head = pattern.command[: pattern.command.index("--")]
    made = Terminal(network, [*head, "-l", "8080", "--", *runner.java_arguments("Ending", "hook", "300")])
    made.expect("READY")
    yield made
    with contextlib.suppress(OSError):
        os.kill(made.pid, signal.SIGKILL)


def test_control_c(terminal: Terminal) -> None:
    """Ctrl-C, which the terminal sends to supervisor and worker alike, stops the JVM once, hooks included: status 130."""
    os.write(terminal.fd, b"\x03")

    assert terminal.end() == 130, terminal.output
    assert terminal.output.count("HOOK-BEGINS") == 1
    assert terminal.output.count("HOOK-ENDS true") == 1
    assert "INTERRUPTED" not in terminal.output


def test_control_backslash(terminal: Terminal) -> None:
    """Ctrl-backslash at the terminal gives one thread dump, not two, and nothing ends."""
    os.write(terminal.fd, b"\x1c")
    terminal.expect("JNI global ref")
    os.write(terminal.fd, b"\x03")

    assert terminal.end() == 130, terminal.output
    assert terminal.output.count("Full thread dump") == 1


def test_hang_up_of_the_terminal(terminal: Terminal, network: Network) -> None:
    """When the terminal goes away the service ends, and nothing of it is left."""
    os.close(terminal.fd)

    assert os.waitstatus_to_exitcode(os.waitpid(terminal.pid, 0)[1]) == 129
    wait_until(lambda: not network.processes(), 10, "the end of all")


def test_sigquit_passes(runner: Runner, newest: Jdk) -> None:
    """SIGQUIT to the supervisor gives one thread dump of the JVM, each time."""
    service = start(runner, newest, "-l 8080", "Ending", "idle")
    service.expect(r"^READY$")

    for count in (1, 2):
        os.kill(service.pid, signal.SIGQUIT)
        wait_until(partial(has_said, service, "JNI global ref", count), 20, "a thread dump")
    assert service.stdout.count("Full thread dump") == 2
    assert service.stop() == 143


def test_user_signals_pass(runner: Runner, newest: Jdk) -> None:
    """SIGUSR1 to the supervisor reaches the worker, whose program has no handler for it and dies of it."""
    service = start(runner, newest, "-l 8080 --restart never", "Ending", "idle")
    service.expect(r"^READY$")

    os.kill(service.pid, signal.SIGUSR1)

    assert service.wait() == 128 + signal.SIGUSR1, service.report()
    assert len(lines(service, "killed by SIGUSR1")) == 1


def test_start_timeout(runner: Runner, newest: Jdk) -> None:
    """A listener that was not claimed in time is named, with the addresses that the program bound instead; it lives on."""
    service = start(runner, newest, "-l web=8080 -l dns=8053/udp --start-timeout 1", "ChannelServer", "*", "8081")
    service.expect(r"^READY$")

    wait_until(lambda: len(lines(service, "was not claimed within 1 s")) == 2, 20, "the report")
    for name, address in (("web", "8080/tcp"), ("dns", "8053/udp")):
        (line,) = lines(service, rf"listener '{name}' \({address}\) was not claimed")
        assert "[::]:8081/tcp" in line
    assert service.running()
    assert service.stop() in {143, 129, 130}


def test_hung_stop(runner: Runner, newest: Jdk) -> None:
    """A JVM whose hooks do not end is asked for a thread dump after the stop time-out, then killed."""
    service = start(runner, newest, "-l 8080 --stop-timeout 1", "Ending", "hook", "3600000")
    service.expect(r"^READY$")
    begun = time.monotonic()

    assert service.stop() == 137
    assert 1.5 < time.monotonic() - begun < 15
    assert service.stdout.count("Full thread dump") == 1
    assert '"hook"' in service.stdout
    service.assert_nothing_left()


def test_second_stop(runner: Runner, newest: Jdk) -> None:
    """A second SIGTERM during the stop does no harm: hooks run to their end, once."""
    service = start(runner, newest, "-l 8080", "Ending", "hook", "700")
    service.expect(r"^READY$")
    service.process.send_signal(signal.SIGTERM)
    service.expect(r"^HOOK-BEGINS$")

    assert service.stop() == 143
    assert service.stdout.splitlines() == ["READY", "HOOK-BEGINS", "HOOK-ENDS true"]


def test_killed_during_the_start(runner: Runner, newest: Jdk) -> None:
    """A worker that dies before its program runs ends the service with that status and a line that says so."""
    service = start(runner, newest, "-l 8080", "ChannelServer", "*", "8080")
    (worker,) = wait_until(lambda: workers(service), 20, "a worker")
    os.kill(worker, signal.SIGKILL)

    assert service.wait() == 137, service.report()
    (line,) = lines(service, "died")
    assert f"(pid {worker}) died during its start" in line
    assert "killed by SIGKILL" in line
    assert "READY" not in service.stdout
    service.assert_nothing_left()


def socket_of(pid: int) -> socket.socket:
    """Take a duplicate of the worker's end of its supervisor's socket, as a hijacked JVM could use it."""
    pidfd = os.pidfd_open(pid)
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        for fd, target in procfs.descriptors(pid).items():
            if not target.startswith("socket:"):
                continue
            copy = libc.syscall(_PIDFD_GETFD, pidfd, fd, 0)
            assert copy >= 0, os.strerror(ctypes.get_errno())
            sock = socket.socket(fileno=copy)
            if sock.family == socket.AF_UNIX and sock.type == socket.SOCK_SEQPACKET:
                return sock
            sock.close()
    finally:
        os.close(pidfd)
    message = f"process {pid} has no socket to its supervisor"
    raise AssertionError(message)


@pytest.mark.parametrize(
    "packets",
    [
        [b"\xff" * 100],
        [b"\0"],
        [b"x" * 5000],
        [b"\3\xff\xff\0\0\0\0"],
        [b"\4\xff\xff"],
        [b"\x11" + b"\x1b[2Jline\nline" * 50],
        [bytes([kind]) + os.urandom(kind % 16) for kind in range(256)],
    ],
    ids=["garbage", "zero", "too-long", "no-such-listener", "no-such-listener-2", "control-characters", "every-kind"],
)
def test_garbage_from_a_worker(runner: Runner, network: Network, newest: Jdk, packets: list[bytes]) -> None:
    """A worker that says what no worker says harms neither the supervisor nor its log; it still serves, stops and restarts."""
    service = start(runner, newest, "-l 8080", "ChannelServer", "*", "8080")
    expect_ready(service)

    with socket_of(service.worker()) as hijacked:
        for packet in packets:
            with contextlib.suppress(OSError):
                hijacked.send(packet, socket.MSG_DONTWAIT)

    assert http_get(network, 8080).status == 200
    kill_worker(service)
    wait_until(lambda: service.stdout.count("READY") == 2, 30, "the next generation")
    assert http_get(network, 8080).status == 200
    assert service.stop() == 143
    assert "Traceback" not in service.stderr
    assert all(line.isprintable() for line in service.stderr.splitlines())
    assert all(re.match(r"\S+T\S+ jvmbind: ", line) for line in service.stderr.splitlines())


def test_closed_socket_of_a_worker(runner: Runner, network: Network, newest: Jdk) -> None:
    """A worker that shuts its socket down is served on, and its death is still learnt, from the kernel."""
    service = start(runner, newest, "-l 8080 --restart never", "ChannelServer", "*", "8080")
    expect_ready(service)
    with socket_of(service.worker()) as hijacked:
        hijacked.shutdown(socket.SHUT_RDWR)

    assert http_get(network, 8080).status == 200
    busy = Path(f"/proc/{service.pid}/stat").read_text().split()[13:15]
    assert sum(map(int, busy)) < 200, "the supervisor spins"
    kill_worker(service)
    assert service.wait() == 137
