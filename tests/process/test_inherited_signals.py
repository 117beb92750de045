"""9.8: signals with every inherited disposition (default, ignored, blocked) do in every mode what they do to `java`.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support import jdks, procfs
from support.jdks import write_jar
from support.runner import PLAIN, Runner, as_user
from support.service import Service
from support.users import SERVICE_USER
from support.waiting import wait_until

pytestmark = [pytest.mark.root, pytest.mark.jvm, pytest.mark.skipif(PLAIN, reason="runs java itself")]

MODES = ["direct", "run", "wrap"]
KINDS = ["default", "ignored", "blocked"]
# Not the two that nobody can change, nor those of the C library. SIGCHLD is set to its default by jvmbind, as the JDK does
# it when it starts its first process.
ALL = sorted(int(number) for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD})

# Starts the command that follows with every signal of that kind.
INHERIT = """
import os, signal, sys
kind = sys.argv[1]
numbers = [int(number) for number in sys.argv[2].split(",")]
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN if kind == "ignored" and number in numbers else signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, numbers if kind == "blocked" else ())
os.execvp(sys.argv[3], sys.argv[3:])
"""

Start = Callable[..., Service]


@pytest.fixture
def start(runner: Runner, jvmbind: list[str], workspace: Path) -> Start:
    """Start a probe in a mode, with signals of a kind."""
    home = jdks.tested_jdks()[-1].home

    def begin(mode: str, kind: str, *probe: str, numbers: list[int] = ALL, jvm: tuple[str, ...] = ()) -> Service:
        java = runner.java_arguments(*probe, jvm=jvm)
        base = [*jvmbind, "run", "--java-home", str(home), "-u", SERVICE_USER, "-l", "80", "--restart", "never"]
        if mode == "java":
            command = [*as_user(SERVICE_USER), f"{home}/bin/java", *java]
        elif mode == "wrap":
            script = workspace / "start.sh"
            script.write_text(f"#!/bin/sh\nexec java {shlex.join(java)}\n")
            script.chmod(0o755)
            base[len(jvmbind)] = "wrap"
            command = [*base, "--", str(script)]
        else:
            command = [*base, *(["--direct"] if mode == "direct" else []), "--", *java]
        words = ",".join(map(str, numbers))
        service = runner.start([sys.executable, "-I", "-c", INHERIT, kind, words, *command], stdin=subprocess.PIPE)
        service.quiet = False
        return service

    if os.geteuid() == 0:
        runner.network.set_sysctl("net/ipv4/ip_unprivileged_port_start", "0")
    return begin


def masks(pid: int) -> dict[str, set[str]]:
    """Return the signal masks of a JVM: ignored, caught, and the different masks of its threads.

    Left out are SIGCHLD (see above), SIGSTKFLT (by which a worker learns of the end of its responder), the two of the
    C library (its posix_spawn ignores 32), and a thread of jvmbind's own.
    """
    left_out = sum(1 << (number - 1) for number in (signal.SIGCHLD, signal.SIGSTKFLT, 32, 33))
    found: dict[str, set[str]] = {"SigIgn": set(), "SigCgt": set(), "SigBlk": set()}
    for thread in os.listdir(f"/proc/{pid}/task"):
        fields = procfs.status_fields(Path(f"/proc/{pid}/task/{thread}/status"))
        for name, values in found.items():
            if fields["Name"] != "jvmbind":
                values.add(f"{int(fields[name], 16) & ~left_out:016x}")
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", MODES)
def test_masks_are_those_of_java(start: Start, mode: str, kind: str) -> None:
    """The JVM ignores, catches and blocks the very signals that it would under `java`, in each of its threads."""
    plain = start("java", kind, "Ending", "idle")
    plain.expect("^READY$")
    expected = masks(plain.worker())
    os.kill(plain.worker(), signal.SIGKILL)
    plain.wait()

    service = start(mode, kind, "Ending", "idle")
    service.expect("^READY$")
    assert masks(service.worker()) == expected
    service.process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", MODES)
def test_stops(start: Start, mode: str, kind: str, number: signal.Signals) -> None:
    """SIGTERM and SIGINT run the hooks and end with 128 plus the number, unless they were ignored: then nothing happens."""
    service = start(mode, kind, "Ending", "hook", "0")
    service.expect("^READY$")
    os.kill(service.pid, number)
    if kind == "ignored":
        os.kill(service.pid, signal.SIGQUIT)
        service.expect("JNI global ref")
        assert service.running()
        assert "HOOK" not in service.stdout
        service.process.kill()
    else:
        assert service.wait() == 128 + number, service.report()
        assert service.stdout.count("HOOK-ENDS true") == 1
    service.wait()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", MODES)
def test_thread_dump(start: Start, mode: str, kind: str) -> None:
    """SIGQUIT gives a thread dump, however it was inherited: the JVM installs that handler always."""
    service = start(mode, kind, "Ending", "idle")
    service.expect("^READY$")

    for count in (1, 2):
        os.kill(service.pid, signal.SIGQUIT)
        wait_until(lambda: service.stdout.count("JNI global ref") == count, 30, "a dump")  # noqa: B023
    service.process.kill()
    service.wait()


# Signals for which an application may install a handler and which neither stop the service nor are the JVM's own.
HANDLED = ["ABRT", "ALRM", "STKFLT", "TSTP", "CONT", "TTIN", "TTOU", "URG", "XCPU", "VTALRM", "PROF", "WINCH", "IO", "PWR"]


def pending(pid: int) -> int:
    """Return the signals that wait for a process to unblock them."""
    return int(procfs.status_fields(Path(f"/proc/{pid}/status"))["ShdPnd"], 16)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["java", *MODES])
def test_handlers_of_the_application(start: Start, mode: str, kind: str) -> None:
    """Handlers that the application installs get every signal once, job control included; blocked ones stay pending there."""
    service = start(mode, kind, "Signals", *HANDLED)
    service.expect("^READY$")
    jvm = service.worker()

    for name in HANDLED:
        number = getattr(signal, f"SIG{name}")
        os.kill(service.pid, number)
        if kind == "blocked":
            wait_until(lambda: pending(jvm) >> number - 1 & 1, 20, f"a pending {name}")  # noqa: B023
        else:
            wait_until(lambda: f"GOT {name}\n" in service.stdout, 20, f"{name}")  # noqa: B023

    got = [line.removeprefix("GOT ") for line in service.stdout.splitlines() if line.startswith("GOT")]
    assert sorted(got) == ([] if kind == "blocked" else sorted(HANDLED))
    assert service.running(), service.report()
    service.process.kill()
    service.wait()


@pytest.fixture
def held_up(start: Start, probes: Path, workspace: Path) -> Callable[..., Service]:
    """Start a JVM in a mode, and return when its agent holds it up before main."""
    jar = write_jar(workspace / "gate.jar", probes, {"Premain-Class": "probe.Gate"}, only="probe/")

    def begin(mode: str, handled: str = "") -> Service:
        agent = f"-javaagent:{jar}={workspace / 'gate'}{handled and ','}{handled}"
        service = start(mode, "default", "Ending", "idle", jvm=(agent,))
        service.expect("^PREMAIN-WAITS$")
        return service

    return begin


@pytest.mark.parametrize("mode", ["java", *MODES])
def test_a_signal_before_main(held_up: Callable[..., Service], mode: str) -> None:
    """A signal that ends a process by default ends a JVM whose main does not run yet, and the status tells it."""
    service = held_up(mode)

    os.kill(service.pid, signal.SIGUSR1)

    assert service.wait() in {128 + signal.SIGUSR1, -signal.SIGUSR1}, service.report()
    assert "READY" not in service.stdout


@pytest.mark.parametrize("mode", ["java", *MODES])
def test_an_agents_handler_before_main(held_up: Callable[..., Service], workspace: Path, mode: str) -> None:
    """A handler that an agent has installed gets a signal that comes before main, and main runs afterwards."""
    service = held_up(mode, "USR1")

    os.kill(service.pid, signal.SIGUSR1)

    service.expect("^GOT USR1$")
    (workspace / "gate").touch()
    service.expect("^READY$")
    assert service.stdout.count("GOT") == 1
    service.process.kill()
    service.wait()


def test_a_signal_before_there_is_a_jvm(runner: Runner, jvmbind: list[str], workspace: Path) -> None:
    """A script that has started no JVM yet and has no trap gets such a signal itself, and ends by it."""
    script = workspace / "start.sh"
    script.write_text("#!/bin/sh\necho STAGE\nwhile :; do sleep 0.1; done\n")
    script.chmod(0o755)
    home = jdks.tested_jdks()[-1].home
    options = ["--java-home", str(home), "-u", SERVICE_USER, "-l", "80", "--restart", "never"]
    service = runner.start([*jvmbind, "wrap", *options, "--", str(script)])
    service.quiet = False
    service.expect("^STAGE$")

    os.kill(service.pid, signal.SIGUSR1)

    assert service.wait() == 128 + signal.SIGUSR1, service.report()
