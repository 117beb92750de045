"""What a failed start and a hijacked life leave behind, and what the next start makes of it.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import jdks
from support.runner import PLAIN, Runner, as_user
from support.users import SERVICE_USER, user

pytestmark = [pytest.mark.root, pytest.mark.jvm, pytest.mark.skipif(PLAIN, reason="java leaves nothing of this kind")]

PLACE = Path("/run/jvmbind/left")
OWNER = user(SERVICE_USER)


@pytest.fixture
def place() -> Iterator[Path]:
    """The directory of a service named "left", as its user finds it."""
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(parents=True)
    os.chown(PLACE, OWNER.uid, OWNER.gid)
    yield PLACE
    PLACE.chmod(0o755)
    shutil.rmtree(PLACE, ignore_errors=True)


def other_kind(path: Path) -> None:
    """Leave a socket of another type."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))


def huge_file(path: Path) -> None:
    """Leave a sparse file of a terabyte."""
    path.touch()
    os.truncate(path, 1 << 40)


LEFT: dict[str, Callable[[Path], object]] = {
    "loop-of-links": lambda path: path.symlink_to(path.name),
    "link-to-a-file-of-root": lambda path: path.symlink_to("/etc/passwd"),
    "link-to-nothing": lambda path: path.symlink_to("/nonexistent/x"),
    "directory": lambda path: path.mkdir(),
    "full-directory": lambda path: (path / "below").mkdir(parents=True),
    "pipe": os.mkfifo,
    "huge-file": huge_file,
    "socket-of-another-kind": other_kind,
    "closed-directory": lambda path: path.parent.chmod(0),
}


@pytest.mark.parametrize("what", LEFT)
def test_the_next_start_works(runner: Runner, place: Path, what: str) -> None:
    """10.9: whatever the service user left in the place of its control socket, the next start by root has one there."""
    LEFT[what](place / "control")
    before = Path("/etc/passwd").read_bytes()
    newest = jdks.tested_jdks()[-1]
    service = runner.probe(["-l", "80", "-u", SERVICE_USER, "-n", "left"], newest, "ChannelServer", "*", "80")
    service.expect(r"^READY$")

    done = subprocess.run([*runner.jvmbind, "status", "left", "--json"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr + service.report()
    assert json.loads(done.stdout)["pid"] == service.pid
    assert Path("/etc/passwd").read_bytes() == before
    assert service.stop() == 143


FAILS: dict[str, tuple[list[str], list[str], int]] = {  # what is added in front and to the options, and the status
    "inherit": ([], ["--inherit", "nope"], 64),
    "second-listener": ([], ["-l", "other=unix:/nonexistent/x"], 69),
    "second-port": ([], ["-l", "192.0.2.1:81"], 69),
    "device": ([], ["-l", "81,device=nosuch0"], 69),
    "descriptors": (["prlimit", "--nofile=64:64"], [word for port in range(100, 200) for word in ("-l", str(port))], 71),
    # With 20 sockets no descriptor is left with which the drop could look at its own threads.
    "drop": (
        ["prlimit", "--nofile=20:20"],
        [*(word for port in range(100, 106) for word in ("-l", str(port))), "-l", "[::1]:90"],
        71,
    ),
    "process": (["prlimit", "--nproc=0:0"], [], 71),
    "descriptors-of-the-supervisor": (["prlimit", "--nofile=14:14"], [], 71),
}


@pytest.mark.parametrize("what", FAILS)
def test_a_failed_start_leaves_nothing(runner: Runner, workspace: Path, what: str) -> None:
    """10.13: a start that fails after its first bind leaves neither a Unix socket nor a directory nor a process."""
    shutil.rmtree(PLACE, ignore_errors=True)
    prefix, options, status = FAILS[what]
    own = workspace / "own"
    own.mkdir()
    os.chown(own, OWNER.uid, OWNER.gid)
    newest = jdks.tested_jdks()[-1]
    more = ["-l", f"app=unix:{own}/app.sock", "-l", f"mine=unix:{workspace}/app.sock", "-l", "80", *options]
    service = runner.probe([*more, "-u", SERVICE_USER, "-n", "left"], newest, "ChannelServer", "*", "80", prefix=prefix)

    assert service.wait() == status, service.report()
    assert len(service.stderr.splitlines()) == 1
    assert list(own.iterdir()) == []
    assert ("/proc/self/task" in service.stderr) == (what == "drop")
    if "cannot start generation" in service.stderr:
        return  # the supervisor has failed: what lies in a directory of root's is beyond its reach, a dead socket
    assert not (workspace / "app.sock").exists()
    assert not PLACE.exists()
    service.assert_nothing_left()


def test_a_pipe_as_jar(runner: Runner, workspace: Path) -> None:
    """10.13: a pipe in the place of a jar is refused in one line, and not waited for."""
    pipe = workspace / "app.jar"
    os.mkfifo(pipe, 0o666)
    pipe.chmod(0o666)
    service = runner.run(["-l", "80", "-u", SERVICE_USER], jdks.tested_jdks()[-1], ["-jar", str(pipe)])

    assert service.wait(60) == 1, service.report()
    assert service.stderr == f"Error: Invalid or corrupt jarfile {pipe}\n"


def test_words_of_a_reload_are_nobodys_to_read(runner: Runner, workspace: Path) -> None:
    """10.13: while a reload reads the configuration, no command line shows what was given with --env."""
    newest = jdks.tested_jdks()[-1]
    config = workspace / "service.toml"
    arguments = runner.java_arguments("ChannelServer", "*", "80")
    config.write_text(f'user = "{SERVICE_USER}"\nlisten = ["80"]\n[java]\nhome = "{newest.home}"\narguments = {arguments!r}\n')
    service = runner.start([*runner.jvmbind, "run", "-c", str(config), "-n", "words", "-e", "TOKEN=a-secret"])
    service.expect("generation 1 is ready", stream="stderr")
    seen: set[bytes] = set()
    service.process.send_signal(signal.SIGHUP)

    def done() -> bool:
        for pid in service.processes():
            try:
                seen.add(Path(f"/proc/{pid}/cmdline").read_bytes())
            except OSError:
                continue
        return "reload done" in service.stderr

    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline, service.report()
    assert any(b"plan.py" in command for command in seen)
    assert not [command for command in seen if b"a-secret" in command]
    assert service.stop() == 143


KEY = """
import ctypes, os, sys
keyctl, add_key = {"x86_64": (250, 248), "aarch64": (219, 217)}[os.uname().machine]
libc = ctypes.CDLL(None, use_errno=True)
if sys.argv[1] == "own":
    assert libc.syscall(keyctl, 1, None) > 0
    key = libc.syscall(add_key, b"user", b"jvmbind-test", b"a ticket", 8, -3)
    assert key > 0
    libc.syscall(keyctl, 5, key, 0x3F3F3F3F)  # KEYCTL_SETPERM: all rights for everybody
    os.execvp(sys.argv[2], sys.argv[2:])
found = libc.syscall(keyctl, 10, -3, b"user", b"jvmbind-test", 0)  # KEYCTL_SEARCH in the session keyring
print("found" if found > 0 else "no key")
"""


def test_the_callers_keys_are_not_the_services(runner: Runner) -> None:
    """10.3: a key in the session keyring of root's shell is found by a child of root, and by no process of the service."""
    own = [sys.executable, "-I", "-c", KEY, "own"]
    look = [sys.executable, "-I", "-c", KEY, "look"]
    control = subprocess.run([*own, *as_user(SERVICE_USER), *look], capture_output=True, text=True, check=True)
    assert control.stdout == "found\n"

    for way in ([], ["--direct"]):
        service = runner.probe(
            [*way, "-l", "80", "-u", SERVICE_USER], jdks.tested_jdks()[-1], "Children", *look, prefix=own, stdin=subprocess.PIPE
        )
        service.expect(r"^CHILD no key$")
        service.process.stdin.close()  # type: ignore[union-attr]
        assert service.wait() == 0, service.report()
