"""What each call of a handle raises: its docstring says so, and everything that it says is provoked here, and nothing else.

Run by pytest, as anybody: the services are scripts, or are refused by their launcher, so that no JVM is needed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import jvmbind
from support import jdks

Call = Callable[[jvmbind.RunningService, Any], object]
CALLS: dict[str, Call] = {
    "state": lambda one, _: one.state,
    "status": lambda one, time: one.status(time),
    "wait_ready": lambda one, time: one.wait_ready(time),
    "wait_for": lambda one, time: one.wait_for("ready", timeout=time),
    "events": lambda one, time: list(one.events(time)),
    "reload": lambda one, time: one.reload(timeout=time),
    "restart": lambda one, time: one.restart(time),
    "dump": lambda one, time: one.dump(time),
    "begin_reload": lambda one, _: one.begin_reload(),
    "begin_restart": lambda one, _: one.begin_restart(),
    "begin_dump": lambda one, _: one.begin_dump(),
    "stop": lambda one, time: one.stop(time),
    "wait": lambda one, time: one.wait(time),
    "send_signal": lambda one, time: one.send_signal(0 if isinstance(time, float) else time),
    "add_callback": lambda one, _: one.add_callback(print),
}
WITHOUT_TIME = {"state", "begin_reload", "begin_restart", "begin_dump", "add_callback"}
LAUNCHER = "what the launcher refused"
# What is documented and not provoked here, with the test that does, or why it cannot be.
ELSEWHERE = {
    ("add_callback", "RuntimeError"),  # no thread can be started: threading.Thread.start
    ("status", "SystemFailureError"),  # another version of jvmbind answers
    ("wait", "ServiceEndedError"),  # the status was taken by another: test_endings.py
    ("stop", "ServiceEndedError"),  # as for wait
    ("begin_reload", "OSError"),  # no descriptor left: test_endings.py has it for the start
    ("reload", "OSError"),  # as for begin_reload
}


def service(text: str = "trap '' TERM; while :; do sleep 0.1; done", **more: Any) -> jvmbind.Service:
    """Return a service that is a shell script."""
    java = {"script": ["/bin/sh", "-c", text], "home": jdks.tested_jdks()[0].home}
    user = "www-data" if os.geteuid() == 0 else None
    supervise = {"restart": "never", "stop_timeout": 0.2, "stop_drain_timeout": 0}
    return jvmbind.Service(**{"java": java, "user": user, "quiet": True, "supervise": supervise, **more})


def started(one: jvmbind.RunningService) -> jvmbind.RunningService:
    """Wait until a service has its script running, which never gets ready."""
    while not one.status().generations:
        pass
    return one


def raised(call: Call, one: jvmbind.RunningService, time: Any = 0.05) -> str:
    """Return the name of what a call raises, "" for nothing."""
    try:
        call(one, time)
    except jvmbind.ConfigurationError as error:
        return type(error).__name__ if error.key != "user" else LAUNCHER
    except Exception as error:  # noqa: BLE001 - that is the question
        return type(error).__name__
    return ""


def everything(one: jvmbind.RunningService, seen: dict[str, set[str]], calls: dict[str, Call] = CALLS, time: Any = 0.05) -> None:
    """Make all calls, and note what they raise."""
    for name, call in calls.items():
        seen[name].add(raised(call, one, time))


def in_a_fork(one: jvmbind.RunningService) -> dict[str, list[str]]:
    """Make all calls in a forked child; return what they raise."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            found = {name: [raised(call, one)] for name, call in CALLS.items()}
            os.write(writer, json.dumps(found).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, encoding="ascii") as file:
        text = file.read()
    os.waitpid(pid, 0)
    result: dict[str, list[str]] = json.loads(text)
    return result


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Provoke all failures once; return by call what was raised."""
    found: dict[str, set[str]] = {name: set() for name in CALLS}
    null = os.open("/dev/null", os.O_WRONLY)
    with service("exit 3").start(stderr=null) as one:
        one.wait(60)
        everything(one, found)
    with service(user="nobody-of-this-name").start(stderr=null) as one:
        one.wait(60)
        everything(one, found)
    timed = {name: call for name, call in CALLS.items() if name not in WITHOUT_TIME}
    with service().start(stderr=null) as one:
        everything(
            started(one), found, {name: CALLS[name] for name in ("reload", "dump", "wait_ready", "wait_for", "wait", "events")}
        )
        for wrong in ("x", -1, True, float("nan")):
            everything(one, found, timed, wrong)
        for name, values in in_a_fork(one).items():
            found[name] |= set(values)
        for function in (3, "print"):
            found["add_callback"].add(raised(lambda one, _, f=function: one.add_callback(f), one))  # type: ignore[misc]
        for name in ("reload", "begin_reload"):
            for version in (5, service(user="nobody")):
                found[name].add(raised(lambda one, _, n=name, v=version: getattr(one, n)(v), one))  # type: ignore[misc]
        one.begin_restart()
        everything(one, found, {name: CALLS[name] for name in ("restart", "reload")}, 5.0)
        one.send_signal(signal.SIGSTOP)
        everything(one, found, {name: CALLS[name] for name in ("status", "reload", "restart", "dump", "stop")})
        for name in ("begin_reload", "begin_restart", "begin_dump"):
            for _ in range(5000):
                if raised(CALLS[name], one) == "ServiceTimeoutError":
                    found[name].add("ServiceTimeoutError")
                    break
        one.send_signal(signal.SIGCONT)
        one.send_signal(signal.SIGKILL)
    folder = tmp_path_factory.mktemp("config")
    for place in (folder, *folder.parents[:2]):
        place.chmod(0o755)
    file = folder / "service.toml"
    config(file)
    with jvmbind.Service.from_file(file).start(stderr=null) as one:
        started(one)
        file.write_text("nonsense")
        found["restart"].add(raised(CALLS["restart"], one, 30.0))
        pid = one.pid
        one.close()
        everything(one, found)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    direct = jvmbind.Service(java={"jar": "/x.jar"}, direct=True, user=service().request.user).start(stderr=null)
    direct.send_signal(signal.SIGSTOP)
    everything(direct, found, {name: call for name, call in CALLS.items() if "begin" in name})
    direct.send_signal(signal.SIGKILL)
    direct.wait(60)
    direct.close()
    os.close(null)
    return found


def config(file: Path) -> None:
    """Write the configuration of the script."""
    user = 'user = "www-data"\n' if os.geteuid() == 0 else ""
    home = jdks.tested_jdks()[0].home
    file.write_text(f'{user}quiet = true\n[java]\nscript = ["/bin/sh", "-c", "exec sleep 1000"]\nhome = "{home}"\n')


def documented(name: str) -> set[str]:
    """Return what the docstring of a call says that it raises, and that of the class for all of them."""
    text = "".join(
        str(one.__doc__).partition("Raises ")[2] for one in (getattr(jvmbind.RunningService, name), jvmbind.RunningService)
    )
    found = set(re.findall(r"\b(?:[A-Z]\w+Error|OSError)\b", text))
    return found | ({LAUNCHER} if LAUNCHER in " ".join(text.split()) else set())


@pytest.mark.parametrize("name", list(CALLS))
def test_what_is_documented_is_raised_and_nothing_else(seen: dict[str, set[str]], name: str) -> None:
    """The list of a call is what it can be made to raise, in both directions."""
    provoked = seen[name] - {""} | {error for call, error in ELSEWHERE if call == name}
    arguments = {"ArgumentTypeError", "ArgumentValueError"} - provoked

    assert provoked == documented(name) - (arguments if name in WITHOUT_TIME else set())


def test_every_call_is_here() -> None:
    """No public call of the handle is left out, but for those that raise nothing or what close(2) and the like do."""
    public = {name for name in dir(jvmbind.RunningService) if not name.startswith("_")}

    assert public - set(CALLS) == {"pid", "ports", "fileno", "close", "stdin", "stdout", "stderr"} & public


@pytest.mark.parametrize(
    ("more", "key", "words"),
    [
        ({"user": "nobody-of-this-name"}, "user", "no user 'nobody-of-this-name'"),
        ({"user": "root"}, "user", "user root: that is root"),
        ({"control": {"group": "no-such-group"}}, "control['group']", "control['group']: no group"),
        ({"inherit": "x"}, "inherit", "inherit: no listener 'x'"),
        ({"java": {"jar": "/x.jar", "home": "/nonexistent"}}, "java['home']", "java['home'] /nonexistent: no Java runtime"),
        ({"java": {"script": ["no-such-command"]}}, "java['script']", "script no-such-command"),
        ({"java": {"jar": "/x.jar"}}, "java", "x.jar"),
    ],
    ids=str,
)
def test_the_key_of_a_refusal(more: dict[str, Any], key: str, words: str) -> None:
    """What the launcher refuses names the argument of Service, in Python's words and not in those of the command or the file."""
    more.setdefault("java", {"script": ["/bin/true"]})
    more["java"].setdefault("home", jdks.tested_jdks()[0].home)
    null = os.open("/dev/null", os.O_WRONLY)
    with service(**more).start(stderr=null) as one, pytest.raises(jvmbind.JvmbindError) as refused:
        one.wait_ready()
    os.close(null)
    assert refused.value.key == key
    assert words in str(refused.value)
    assert "--" not in str(refused.value).partition(":")[0]
    assert refused.value.status in {1, 64, 78}


def test_the_last_lines_of_a_service(tmp_path: Path) -> None:
    """Of a service that has ended its last lines are known, where they go to a file that its user can read."""
    tmp_path.chmod(0o755)
    os.chmod(tmp_path.parent, 0o755)
    with open(tmp_path / "log", "w", encoding="utf-8") as file:
        os.chmod(tmp_path / "log", 0o644)
        with (
            service("echo the reason; exit 3").start(stdout=file, stderr=file) as one,
            pytest.raises(jvmbind.ServiceEndedError) as end,
        ):
            one.wait_ready()
    assert (end.value.status, end.value.listener, end.value.key) == (3, "", "")
    assert "the reason" in end.value.last_lines
