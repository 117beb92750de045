"""10.1: at a terminal, in every mode: keys, job control, console, background, nohup and hang-up are as under `java`.

Each test runs `java` first, to show that it asks for the right thing, and then every mode of jvmbind. Run by pytest as root.
Must not import jvmbind.
"""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import jdks, procfs
from support.network import Network
from support.runner import PLAIN, Runner, as_user
from support.users import SERVICE_USER
from support.waiting import wait_until

pytestmark = [pytest.mark.root, pytest.mark.jvm, pytest.mark.skipif(PLAIN, reason="runs java itself")]

PROMPT = "what-now> "
MODES = pytest.mark.parametrize("mode", ["java", "direct", "run", "wrap"])


class Shell:
    """An interactive shell with job control, at a terminal of its own."""

    def __init__(self, network: Network) -> None:
        """Start it."""
        self.network = network
        self.output = ""
        with network.entered():
            self.pid, self.fd = pty.fork()
            if self.pid == 0:
                os.chdir("/")
                signal.pthread_sigmask(signal.SIG_SETMASK, ())
                environment = {"PATH": os.environ["PATH"], "PS1": PROMPT, "TERM": "dumb", "HISTFILE": ""}
                os.execve("/bin/bash", ["bash", "--norc", "--noprofile", "--noediting", "-i"], environment)
        self.expect(PROMPT)

    def type(self, text: str) -> None:
        """Type it, after forgetting what was shown before."""
        self.output = ""
        os.write(self.fd, text.encode())

    def expect(self, text: str, seconds: float = 60.0) -> None:
        """Read until the text has come."""
        deadline = time.monotonic() + seconds
        while text not in self.output:
            assert time.monotonic() < deadline, f"no {text!r} in {self.output!r}"
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.output += os.read(self.fd, 65536).decode(errors="replace")
                except OSError:  # EIO: nobody has the terminal open any more
                    assert text in self.output, self.output

    def close(self) -> None:
        """Close the terminal's window."""
        os.close(self.fd)
        self.fd = -1

    def end(self) -> None:
        """Kill the shell."""
        if self.fd >= 0:
            self.close()
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@pytest.fixture
def shell(network: Network) -> Iterator[Shell]:
    """A shell of root's."""
    made = Shell(network)
    yield made
    made.end()


Command = Callable[..., str]


@pytest.fixture
def command(runner: Runner, jvmbind: list[str], workspace: Path) -> Command:
    """Return the command line that runs a probe in a mode, for a shell."""
    home = jdks.tested_jdks()[-1].home

    def line(mode: str, *probe: str, options: str = "") -> str:
        java = shlex.join(runner.java_arguments(*probe))
        if mode == "java":
            return f"{shlex.join(as_user(SERVICE_USER))} {home}/bin/java {java}"
        base = f"{shlex.join(jvmbind)} {'wrap' if mode == 'wrap' else 'run'} --java-home {home} -u {SERVICE_USER} -n x {options}"
        if mode == "wrap":
            script = workspace / "start.sh"
            script.write_text(f"#!/bin/sh\nexec java {java}\n")
            script.chmod(0o755)
            return f"{base} -- {script}"
        return f"{base} {'--direct' if mode == 'direct' else ''} -- {java}"

    return line


def jvm(network: Network) -> int:
    """Return the process with the JVM."""
    return wait_until(lambda: next((pid for pid in network.processes() if procfs.is_jvm(pid)), 0), 20, "a JVM")


def states(network: Network) -> set[str]:
    """Return the states of the processes other than the shell and responders (proc(5), one letter each).

    A responder blocks all signals: it has nothing to do while its JVM is stopped.
    """
    found = {}
    for pid in network.processes():
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        if "(bash)" not in text and "(jvmbind-respond)" not in text:
            found[pid] = text
    return {text.rpartition(")")[2].split()[0] for text in found.values()}


@MODES
def test_console_and_keys(shell: Shell, command: Command, mode: str) -> None:
    """System.console() reads what is typed, Ctrl-backslash gives one thread dump, Ctrl-C runs the hooks once: status 130."""
    shell.type(f"{command(mode, 'AtTerminal')}\n")
    shell.expect("CONSOLE true")
    shell.expect("READY")

    shell.type("hello\n")
    shell.expect("LINE hello")
    shell.type("\x1c")
    shell.expect("JNI global ref")
    shell.type("again\n")
    shell.expect("LINE again")
    assert shell.output.count("Full thread dump") == 0
    shell.type("\x03")
    shell.expect(PROMPT)
    assert shell.output.count("HOOK") == 1
    shell.type("echo status=$?\n")
    shell.expect("status=130")


@MODES
def test_stop_and_continue(shell: Shell, command: Command, network: Network, mode: str) -> None:
    """Ctrl-Z stops every process of the service, `fg` continues them, and nothing was lost meanwhile."""
    shell.type(f"{command(mode, 'AtTerminal')}\n")
    shell.expect("READY")

    for _ in range(2):
        shell.type("\x1a")
        shell.expect("Stopped")
        wait_until(lambda: states(network) == {"T"}, 10, f"the stop of all, not {states(network)}")
        shell.type("fg\n")
        wait_until(lambda: "T" not in states(network), 10, "all running")
        shell.type("hello\n")
        shell.expect("LINE hello")
    shell.type("\x03")
    shell.expect("HOOK")
    shell.expect(PROMPT)


@MODES
def test_background(shell: Shell, command: Command, network: Network, mode: str) -> None:
    """With `&` the keys are the shell's: Ctrl-C changes nothing; `kill %1` stops the service with its hooks."""
    shell.type(f"{command(mode, 'AtTerminal', 'mute')} &\n")
    shell.expect("READY")

    shell.type("\x03")
    shell.expect(PROMPT)
    shell.type("echo still=$(jobs -r | wc -l)\n")
    shell.expect("still=1")
    shell.type("kill %1; wait %1; echo status=$?\n")
    shell.expect("status=143")
    assert shell.output.count("HOOK") == 1
    wait_until(lambda: len(network.processes()) == 1, 10, "the end of all but the shell")


@MODES
@pytest.mark.parametrize("where", ["foreground", "background"])
def test_closing_the_terminal(shell: Shell, command: Command, network: Network, mode: str, where: str, workspace: Path) -> None:
    """When the terminal is closed the service ends, with its hooks, also where it runs in the background."""
    log = workspace / "log"
    line = f"{command(mode, 'AtTerminal', 'mute')} > {log} 2>&1"
    shell.type(f"{line}{' &' if where == 'background' else ''}\n")
    wait_until(lambda: "READY" in log.read_text() if log.exists() else False, 40, "the start")

    shell.close()

    wait_until(lambda: not network.processes(), 20, "the end of all")
    assert log.read_text().count("HOOK") == 1, log.read_text()


@MODES
def test_nohup(shell: Shell, command: Command, network: Network, mode: str, workspace: Path) -> None:
    """With nohup(1) the service outlives its terminal."""
    log = workspace / "log"
    shell.type(f"nohup {command(mode, 'AtTerminal', 'mute')} > {log} 2>&1 &\n")
    wait_until(lambda: "READY" in log.read_text() if log.exists() else False, 40, "the start")

    shell.close()
    os.waitid(os.P_PID, shell.pid, os.WEXITED | os.WNOWAIT)

    pid = jvm(network)
    os.kill(pid, signal.SIGQUIT)
    wait_until(lambda: "JNI global ref" in log.read_text(), 20, "a sign of life")
    assert "HOOK" not in log.read_text()


@pytest.mark.parametrize("mode", ["run", "wrap"])
def test_session_of_its_own(shell: Shell, network: Network, mode: str, command: Command) -> None:
    """No process of a supervised service can open /dev/tty, and none but the supervisor is in the terminal's session."""
    shell.type(f"{command(mode, 'AtTerminal', 'mute')}\n")
    shell.expect("READY")

    inside = [pid for pid in network.processes() if pid != shell.pid]
    session = os.getsid(shell.pid)
    assert len([pid for pid in inside if os.getsid(pid) == session]) == 1
    for pid in inside:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        assert (fields[4] != "0") == (os.getsid(pid) == session), (pid, fields)  # tty_nr
    shell.type("\x03")
    shell.expect("HOOK")


ATTACK = """
import ctypes, errno, fcntl, os, sys
libc = ctypes.CDLL(None, use_errno=True)
try:
    os.open("/dev/tty", os.O_RDWR)
    print("TTY opened")
except OSError as error:
    print("TTY", errno.errorcode[error.errno])
for fd in (0, 1, 2):
    for command in (0x5412, 0x541C, 0x5412 | 1 << 32):
        result = libc.ioctl(fd, ctypes.c_ulong(command), ctypes.create_string_buffer(b"#"))
        print("IOCTL", fd, result, errno.errorcode.get(ctypes.get_errno()))
sys.stdout.flush()
"""


@pytest.mark.parametrize("mode", ["run", "direct", "wrap"])
@pytest.mark.parametrize("listeners", ["", "-l 80"])
def test_typing_into_the_callers_terminal(shell: Shell, command: Command, workspace: Path, mode: str, listeners: str) -> None:
    """TIOCSTI and TIOCLINUX are refused to everything below a JVM or a wrapper script, with and without listeners."""
    attack = workspace / "attack.py"
    attack.write_text(ATTACK)
    line = command(mode, "Children", sys.executable, "-I", str(attack), options=listeners)
    shell.type(f"{line}; echo ended\n")
    shell.expect("STATUS 0")

    found = re.findall(r"IOCTL (\d) (-?\d+) (\w+)", shell.output)
    assert [one[1:] for one in found] == [("-1", "EPERM")] * 9, shell.output
    assert ("TTY opened" in shell.output) == (mode == "direct"), shell.output
    shell.type("\x04")


@pytest.mark.parametrize("listeners", ["", "-l 80"])
def test_a_wrapper_script_types(shell: Shell, jvmbind: list[str], workspace: Path, listeners: str) -> None:
    """The script itself, and what it starts that is not java, cannot type into the terminal either."""
    attack = workspace / "attack.py"
    attack.write_text(ATTACK)
    script = workspace / "start.sh"
    script.write_text(f"#!/bin/sh\n{sys.executable} -I {attack}\n")
    script.chmod(0o755)
    home = jdks.tested_jdks()[-1].home
    shell.type(f"{shlex.join(jvmbind)} wrap --java-home {home} -u {SERVICE_USER} -n x {listeners} -- {script}; echo en''ded\n")
    shell.expect("ended")

    found = re.findall(r"IOCTL (\d) (-?\d+) (\w+)", shell.output)
    assert [one[1:] for one in found] == [("-1", "EPERM")] * 9, shell.output
    assert "TTY ENXIO" in shell.output
