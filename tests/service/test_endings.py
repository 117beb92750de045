"""How a handle meets the end of its service, and what it leaves behind.

Run by pytest, as anybody: the services are refused by their launcher, or are scripts, so that no JVM is needed. What changes
the process itself is tried in a child.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import textwrap
import threading

import pytest

import jvmbind
from support import jdks

NOBODY = "nobody-of-this-name"
ENDINGS = 25

PROLOGUE = """
import contextlib, os, signal, sys, threading, time, warnings
import jvmbind
user = "www-data" if os.geteuid() == 0 else None
def script(text, **more):
    java = {"script": ["/bin/sh", "-c", text], "home": sys.argv[1]}
    return jvmbind.Service(user=user, java=java, quiet=True, supervise={"stop_timeout": 5, "restart": "never"}, **more)
def fds():
    # Newer libffi keeps its own file open from the first use of ctypes on.
    links = (os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}"))
    return len([link for link in links if "/libffi" not in link])
def children():
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return file.read().split()
"""


def run(code: str, *, status: int = 0) -> str:
    """Run a program that uses the API; return what it printed."""
    command = [sys.executable, "-I", "-W", "error", "-c", PROLOGUE + textwrap.dedent(code), str(jdks.tested_jdks()[0].home)]
    done = subprocess.run(command, text=True, capture_output=True, timeout=100, check=False, cwd="/")
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def test_calls_while_it_ends() -> None:
    """Whatever is called from several threads while a service ends gives its answer or a documented error, each time the same."""
    unexpected: list[BaseException] = []

    def call(running: jvmbind.RunningService) -> None:
        try:
            while True:
                running.send_signal(0)
                running.status()
        except jvmbind.ConfigurationError:
            return
        except BaseException as error:  # noqa: BLE001 - it fails the test
            unexpected.append(error)

    null = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
    for _ in range(ENDINGS):
        service = jvmbind.Service(user=NOBODY, java={"jar": "/x.jar"})
        running = service.start(stderr=null)
        threads = [threading.Thread(target=call, args=[running]) for _ in range(2)]
        for thread in threads:
            thread.start()
        assert running.wait(60) == 78
        assert running.stop() == 78
        for thread in threads:
            thread.join()
        with pytest.raises(jvmbind.ConfigurationError, match=NOBODY):
            running.wait_ready()
        assert [event.kind for event in running.events()] == ["ended"]
        running.close()
    os.close(null)
    assert unexpected == []


@pytest.mark.parametrize("how", ["signal.signal(signal.SIGCHLD, signal.SIG_IGN)", "reap everything"])
def test_status_in_a_program_that_reaps(how: str) -> None:
    """A program that ignores SIGCHLD, or waits for every child itself, gets the status of the service and of a killed one."""
    reaper = """
    def reap():
        while True:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(-1, 0)
            time.sleep(0.001)
    threading.Thread(target=reap, daemon=True).start()
    """
    code = reaper if how == "reap everything" else how
    out = run(f"""
{textwrap.dedent(code)}
for status in (0, 3, 64):
    running = script(f"exit {{status}}").start()
    print(running.wait(60), end=" ")
    running.close()
running = script("exec sleep 1000").start()
while running.status().state == "starting" and not running.status().generations:
    time.sleep(0.01)
running.send_signal(signal.SIGKILL)
try:
    print(running.wait(60))
except jvmbind.ServiceEndedError as error:
    print(137 if error.status == -1 else error.status)
running.close()
sys.stdout.flush()
os._exit(0)
""")
    assert out == "0 3 64 137\n"


def test_a_forked_child_leaves_the_service_alone() -> None:
    """The end of a `with` block in a forked child stops nothing, and every call there is ForeignHandleError."""
    out = run("""
    with script("exec sleep 1000").start() as running:
        pid = os.fork()
        if pid == 0:
            try:
                running.stop()
            except jvmbind.ForeignHandleError:
                print("foreign", flush=True)
        else:
            os.waitpid(pid, 0)
            print(running.state, running.send_signal(0), flush=True)
    if pid == 0:
        os._exit(0)
    print(running.state, children())
    """)
    assert out == "foreign\nstarting None\nended []\n"


def test_nothing_is_left() -> None:
    """Endings of all kinds leave no descriptor, no child and no thread; a handle that is dropped is a ResourceWarning."""
    out = run("""
    before = fds()
    for text in ("exit 0", "exit 7"):
        with script(text).start() as running:
            running.wait(60)
    with script("exec sleep 1000").start():
        pass
    with contextlib.suppress(ZeroDivisionError), script("trap '' TERM; sleep 1000").start():
        1 / 0
    print(fds() - before, children(), threading.active_count())
    running = script("exec sleep 1000").start()
    pid = running.pid
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        del running
    print([one.category.__name__ for one in seen], str(seen[0].message).endswith("is still running"), fds() - before)
    os.kill(pid, signal.SIGTERM)
    os.waitpid(pid, 0)
    """)
    assert out == "0 [] 1\n['ResourceWarning'] True 0\n"


def test_a_start_that_fails_half_way() -> None:
    """Where no descriptor is left for the handle, there is an error and no process."""
    out = run(f"""
    import resource
    before = fds()
    service = script("exec sleep 1000")
    failures = 0
    for limit in range(before, before + 14):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, {resource.getrlimit(resource.RLIMIT_NOFILE)[1]}))
        try:
            service.start().__exit__()
        except OSError:
            failures += 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, {resource.getrlimit(resource.RLIMIT_NOFILE)[1]}))
    print(failures > 3, fds() - before, children())
    """)
    assert out == "True 0 []\n"


def test_a_signal_handler_that_stops() -> None:
    """A handler that interrupts a call which waits may stop the service and wait for its end itself."""
    out = run("""
    running = script("exec sleep 1000").start()
    signal.signal(signal.SIGALRM, lambda *_: print("stopped", running.stop(), flush=True))
    signal.setitimer(signal.ITIMER_REAL, 0.7)
    print("waited", running.wait(60))
    running.close()
    """)
    assert out.splitlines()[1:] == ["waited " + out.split()[1]]


def test_the_program_imports_little() -> None:
    """Starting a service loads neither asyncio nor tomllib nor subprocess."""
    out = run("""
    script("exit 0")
    print([name for name in ("asyncio", "tomllib", "subprocess", "jpype", "logging") if name in sys.modules])
    """)
    assert out == "[]\n"
