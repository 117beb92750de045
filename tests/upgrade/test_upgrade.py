"""Another version of jvmbind takes the place of a running supervisor, and nobody notices.

Run by pytest as root; services run as an ordinary user, from an installation of the test's own. Must not import jvmbind.
"""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

import pytest
from upgrade.conftest import NEXT, NOW

from support.runner import as_user
from support.users import SERVICE_USER
from support.waiting import wait_until

if TYPE_CHECKING:
    from upgrade.conftest import Upgraded

LOST = ("refused", "reset", "timeout", "wrong")
DONE = f"upgrade: done: version {NEXT} goes on in the place of {NOW}\n"


def descriptors(pid: int) -> list[str]:
    """Return what a process has open, without its numbers: sockets, pipes, files."""
    folder = f"/proc/{pid}/fd"
    return sorted(os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder))


def await_descriptors(pid: int, expected: list[str]) -> None:
    """Wait until a process has just these open: that a client has gone it sees a moment later."""
    wait_until(lambda: descriptors(pid) == expected, 20, f"{expected}, it has {descriptors(pid)}")


@pytest.mark.never
@pytest.mark.timeout(400)
def test_under_load(upgraded: Upgraded) -> None:
    """Five upgrades under load lose no connection; pid, JVM, listeners, control socket and descriptors are the same ones."""
    service = upgraded.start("http=8080")
    before = descriptors(service.pid)  # nobody has asked anything yet
    jvm, status = upgraded.serving(), upgraded.status()

    with upgraded.under_load("--threads", "4", "--body", r"pid=\d+ version=1$") as load:
        for version, last in ((NEXT, NOW), (NEXT, NEXT), (NEXT, NEXT), (NOW, NEXT), (NEXT, NOW)):
            if version != last:
                upgraded.install(version)
            assert upgraded.upgrade() == f"upgrade: done: version {version} goes on in the place of {last}\n"

    assert {kind: load[kind] for kind in LOST} == dict.fromkeys(LOST, 0), load
    assert load["ok"] > 100
    assert load["different_bodies"] == 1
    assert upgraded.serving() == jvm
    await_descriptors(service.pid, before)
    after = upgraded.status()
    assert (after["version"], after["installed_version"], after["pid"]) == (NEXT, NEXT, status["pid"])
    assert after["uptime"] > status["uptime"]
    assert after["counts"]["since"] == status["counts"]["since"]
    assert after["listeners"][0]["claimed_by"] == [1]
    uid = os.stat(f"/proc/{jvm}").st_uid
    service.expect(f"upgrade: uid {uid} asks; trying version {NEXT}", stream="stderr")


def test_life_goes_on(upgraded: Upgraded) -> None:
    """After an upgrade a killed JVM is replaced, a reload takes over, deaths are remembered, and a stop gives 143."""
    service = upgraded.start("http=8080")
    os.kill(upgraded.serving(), signal.SIGKILL)
    upgraded.await_generation(2)
    upgraded.install(NEXT)
    assert upgraded.upgrade() == DONE

    assert [death["generation"] for death in upgraded.status()["deaths"]] == [1]
    os.kill(upgraded.serving(), signal.SIGKILL)
    upgraded.await_generation(3)
    upgraded.configure("http=8080", version="2")
    done = upgraded.reload()
    assert (done.returncode, done.stdout) == (0, "reload: done\n"), done.stderr
    assert upgraded.version() == "2"
    assert upgraded.status()["counts"]["restarts"] == {"crash": 2, "reload": 1}
    upgraded.await_only()
    assert service.stop() == 143
    service.assert_nothing_left()


BROKEN: dict[str, tuple[dict[str, tuple[str, str]], tuple[str, ...], str]] = {
    "import-error": (
        {"supervisor/loop.py": ("import select\n", "import selectt\n")}, (), "ModuleNotFoundError: No module named 'selectt'",
    ),
    "syntax-error": ({"supervisor/actions.py": ("class Actions:", "class Actions")}, (), r"SyntaxError: expected ':'.*"),
    "unknown-form": (
        {"supervisor/carried.py": ("_READS = {1}", "_READS = {2, 3}")}, (),
        f"version {NOW} hands its state on in form 1; version {NEXT} reads 2, 3",
    ),
    "unknown-field": (
        {"lifecycle/state.py": ("    crashes: int = 0", "    falls: int = 0")}, (),
        f"the state of version {NOW} holds what version {NEXT} does not know: State.crashes",
    ),
    "module-missing": ({}, ("supervisor/replan.py",), ".*there is no module jvmbind.supervisor.replan"),
    "of-a-worker": ({}, ("handover/binds.py",), ".*/worker/.*.py: there is no module jvmbind.handover.binds"),
    "ends": ({"supervisor/resume.py": ("from __future__ import annotations", "import os; os._exit(0)")}, (),
             "it ended without a word when it was tried"),
    "hangs": ({"supervisor/resume.py": ("from __future__ import annotations", "import time; time.sleep(1000)")}, (),
              "it did not say within 6 s that it can"),
    "too-old": ({}, ("supervisor/resume.py",), "ModuleNotFoundError: No module named 'jvmbind.supervisor.resume'"),
    # What the trial has not seen, since it is another process: the version that ran is put back.
    "fails-late": (
        {"supervisor/resume.py": ("    return partial(", "    raise ValueError('too late')\n    return partial(")}, (),
        "ValueError: too late",
    ),
}  # fmt: skip


@pytest.mark.timeout(400)
def test_refusals(upgraded: Upgraded) -> None:
    """A version that cannot go on is refused with 75 and the reason, whatever it is; the old one goes on, and so does the JVM."""
    upgraded.install(NOW, {"supervisor/upgrade.py": ("PATIENCE = 20.0", "PATIENCE = 6.0")})
    service = upgraded.start("http=8080")
    before = descriptors(service.pid)  # as above
    jvm = upgraded.serving()
    for edits, without, why in BROKEN.values():
        upgraded.install(NEXT, edits, without)
        # The installed command may be broken as well: that of the tests speaks the same language.
        done = upgraded.ask_from_outside("upgrade")
        assert done.returncode == 75
        line = f"jvmbind: upgrade: version {NEXT} cannot take over: {why}; version {NOW} goes on\n"
        said = [one for one in done.stderr.splitlines(keepends=True) if not one.startswith("upgrade: waits")]
        assert re.fullmatch(line, "".join(said)), (line, done.stderr)
        await_descriptors(service.pid, before)
        assert upgraded.version() == "1"
    upgraded.install(NEXT)
    assert upgraded.upgrade() == DONE
    assert upgraded.serving() == jvm
    assert service.stop() == 143


def test_by_itself(upgraded: Upgraded) -> None:
    """A supervisor whose files were replaced upgrades itself before it starts a worker; with a broken version it goes on alone."""
    service = upgraded.start("http=8080")
    upgraded.install(NEXT)
    shown = upgraded.ask("status")
    assert f"version {NOW} of jvmbind runs, {NEXT} is installed: jvmbind upgrade app" in shown.stdout

    os.kill(upgraded.serving(), signal.SIGKILL)
    service.expect(f"upgrade done: version {NEXT} goes on in the place of {NOW}", stream="stderr")
    upgraded.await_generation(2)
    # Before a reload as well, and whoever waits for it gets its answer from the next version.
    upgraded.install(NOW)
    upgraded.configure("http=8080", version="2")
    assert upgraded.reload().returncode == 0
    assert (upgraded.status()["version"], upgraded.version()) == (NOW, "2")
    upgraded.await_only()
    # A version that cannot take over is tried once; its workers are started as long as they understand this supervisor.
    upgraded.install(NEXT, {"supervisor/loop.py": ("import select\n", "import selectt\n")})
    for generation in (4, 5):
        os.kill(upgraded.serving_from_outside(), signal.SIGKILL)
        upgraded.await_generation(generation)
    assert service.stderr.count("upgrade failed:") == 1
    assert service.stop() == 143


def test_another_protocol(upgraded: Upgraded) -> None:
    """A worker that does not understand its supervisor says in one line what to do, and the port is kept until it is done."""
    service = upgraded.start("http=8080")
    broken = {"supervisor/loop.py": ("import select\n", "import selectt\n"), "posix/role.py": ("PROTOCOL = 1", "PROTOCOL = 2")}
    upgraded.install(NEXT, broken)
    os.kill(upgraded.serving_from_outside(), signal.SIGKILL)
    text = rf"jvmbind: the supervisor is of version {NOW}, and the installed version {NEXT} does not speak with it; expected one"
    service.expect(text + " version for both: jvmbind upgrade app, or stop the service and start it", stream="stderr")
    upgraded.install(NEXT, {"posix/role.py": ("PROTOCOL = 1", "PROTOCOL = 2")})
    wait_until(lambda: f"upgrade done: version {NEXT}" in service.stderr, 30, "the upgrade")
    wait_until(lambda: upgraded.status()["ready"], 30, "the next generation")
    assert service.stop() == 143


def test_standby(upgraded: Upgraded) -> None:
    """A standby is kept through an upgrade, and takes over after it."""
    service = upgraded.start("http=8080", more="standby = 1")
    wait_until(lambda: "standby" in upgraded.roles(), 30, "a standby")
    wait_until(lambda: upgraded.status()["generations"][1]["stage"] == "parked", 30, "a parked standby")
    standby = upgraded.roles()["standby"]
    upgraded.install(NEXT)
    upgraded.upgrade()
    assert upgraded.roles()["standby"] == standby
    os.kill(upgraded.serving(), signal.SIGKILL)
    assert [upgraded.serving()] == standby
    # The kernel still kills the JVMs with their supervisor: what they are bound to is the thread that started them.
    os.kill(service.pid, signal.SIGKILL)
    service.wait()
    service.assert_nothing_left()


def test_store(upgraded: Upgraded) -> None:
    """What holds a lock is upgraded under load beside it, and what is known of the lock is not forgotten: a reload is a restart."""
    lock = upgraded.folder / "run" / "lock"
    service = upgraded.start(f"lock={lock}", "http=8080")
    jvm = upgraded.serving()
    upgraded.install(NEXT)
    with upgraded.under_load("--threads", "2", "--body", r"pid=\d+ version=1$") as load:
        wait_until(lambda: upgraded.version() == "1", 30, "an answer under load")
        assert upgraded.upgrade() == DONE
        assert upgraded.serving() == jvm
    assert {kind: load[kind] for kind in LOST} == dict.fromkeys(LOST, 0), load
    done = upgraded.reload()
    assert done.stdout.startswith("reload: done, by a restart with the listeners kept: generation 1 has"), done.stdout + done.stderr
    assert upgraded.serving() != jvm
    assert service.stop() == 143


def test_script(upgraded: Upgraded) -> None:
    """A wrapped script goes on, with the JVM below it, and is restarted after the upgrade as before."""
    service = upgraded.launch_script("http=8080")
    service.expect("generation 1 is ready", stream="stderr")
    jvm = upgraded.version()
    upgraded.install(NEXT)
    assert upgraded.upgrade() == DONE
    assert upgraded.version() == jvm
    assert upgraded.ask("restart").returncode == 0
    assert upgraded.status()["generations"][0]["number"] == 2
    assert service.stop() == 143
    service.assert_nothing_left()


def test_program(upgraded: Upgraded) -> None:
    """A program that has started the service by jvmbind.Service hears of all that happens after the upgrade, each thing once."""
    code = """
import os, signal, subprocess, sys, time
import jvmbind
home, jar, control, bin = sys.argv[1:]
java = {"jar": jar, "home": home, "options": ["-Xmx64m", "-Dversion=1"], "args": ["http=8080"]}
with jvmbind.Service(name="app", listen=["8080"], java=java, control={"socket": control}).start() as running:
    running.wait_ready(60)
    done = subprocess.run([bin, "-I", "-m", "jvmbind", "upgrade", control], text=True, capture_output=True)
    print(done.stdout + done.stderr, end="")
    os.kill(running.status().generations[0].pid, signal.SIGKILL)
    while not running.status().deaths:
        time.sleep(0.05)
    running.wait_ready(60)
    result = running.reload(timeout=60)
    print([death.signal for death in running.status().deaths], result.ok, result.generation)
    print(running.stop(60))
"""
    upgraded.configure("http=8080")
    words = [str(upgraded.jdk.home), str(upgraded.jar), str(upgraded.socket), str(upgraded.installation.bin / "python")]
    program = [*as_user(SERVICE_USER), words[-1], "-I", "-W", "error", "-c", code, *words]
    service = upgraded.runner.start(program)
    upgraded.install(NOW)
    assert service.wait(100) == 0, service.report()
    said = [line for line in service.stdout.splitlines() if not line.startswith(("LISTENS", "READY", "STOP"))]
    assert said == [f"upgrade: done: version {NOW} goes on in the place of {NOW}", "['SIGKILL'] True 3", "143"], service.report()


def test_busy(upgraded: Upgraded) -> None:
    """During a reload an upgrade is refused with 75, and the reload ends as it would have."""
    upgraded.start("http=8080")
    upgraded.configure("wait=2000", "http=8080", version="2")
    assert upgraded.ask("reload", "--no-wait").returncode == 0
    done = upgraded.ask("upgrade")
    assert (done.returncode, done.stderr) == (75, "jvmbind: upgrade: a reload is on its way; one at a time\n")
    wait_until(lambda: upgraded.version() == "2", 30, "the reload")
