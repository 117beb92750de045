"""What the public calls make of their arguments, right and wrong ones. Starts nothing."""

from __future__ import annotations

import datetime as dt
import os
import re
from collections import UserDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jvmbind
from jvmbind.service.calls import seconds

JAVA: jvmbind.Java = {"jar": "/x.jar"}


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"listen": "80"}, TypeError, "listen: expected a mapping of"),
        ({"listen": b"80"}, TypeError, "listen: expected str and not bytes"),
        ({"listen": [True]}, TypeError, "listen[0]: expected a listener"),
        ({"listen": {80: "80"}}, TypeError, "a key of listen: expected a str, got 80 (int)"),
        ({"listen": {"http": None}}, TypeError, "listen['http']: expected a listener"),
        ({"listen": ["nonsense"]}, ValueError, "listen[0]: listener 'nonsense', character 1: expected"),
        ({"listen": [70000]}, ValueError, "listen[0]: listener '70000'"),
        ({"listen": [80, 80]}, ValueError, "want the same address"),
        ({"java": "x.jar"}, TypeError, "java: expected a mapping of"),
        ({"java": {}}, ValueError, "java: nothing to run"),
        ({"java": {"jar": 5}}, TypeError, "java['jar']: expected the path of a jar, got 5 (int)"),
        ({"java": {"jat": "x"}}, ValueError, "java['jat']: unknown key"),
        ({"java": {**JAVA, "options": "-Xmx1g"}}, TypeError, "java['options']: expected a sequence of options"),
        ({"java": {**JAVA, "options": ["-Xmx1g", 3]}}, TypeError, "java['options'][1]: expected a string, got 3 (int)"),
        ({"env": "PATH"}, TypeError, "env: expected a sequence of NAME or NAME=VALUE, got 'PATH' (str)"),
        ({"env": ["=x"]}, ValueError, "env[0]: expected NAME or NAME=VALUE"),
        ({"direct": "yes"}, TypeError, "direct: expected True or False, got 'yes' (str)"),
        ({"name": 5}, TypeError, "name: expected a name"),
        ({"name": "../x"}, ValueError, "name: expected a name"),
        ({"user": 33}, TypeError, "user: expected USER"),
        ({"supervise": {"stop_timeout": "5"}}, TypeError, "supervise['stop_timeout']: expected seconds"),
        ({"supervise": {"stop_timeout": True}}, TypeError, "supervise['stop_timeout']: expected seconds"),
        ({"supervise": {"stop_timeout": -1}}, ValueError, "supervise['stop_timeout']: expected seconds"),
        ({"supervise": {"restart": "on-fail"}}, ValueError, "did you mean 'on-failure'?"),
        ({"supervise": {"backoff": {"first": "x"}}}, TypeError, "supervise['backoff']['first']: expected seconds"),
        ({"security": {"limits": {"nofile": "many"}}}, ValueError, "security['limits']['nofile']: expected (soft, hard)"),
        ({"security": []}, TypeError, "security: expected a mapping of"),
    ],
    ids=str,
)
def test_wrong_arguments(arguments: dict[str, Any], kind: type[Exception], message: str) -> None:
    """A wrong argument of Service is a TypeError or a ValueError that begins with its name, in Python's words."""
    with pytest.raises(kind, match=re.escape(message)) as caught:
        jvmbind.Service(**{"java": JAVA, **arguments})

    assert isinstance(caught.value, jvmbind.ConfigurationError)
    assert isinstance(caught.value, jvmbind.ArgumentTypeError | jvmbind.ArgumentValueError)
    assert caught.value.argument
    assert not re.search(r"\b(array|table)\b|\btrue\b", str(caught.value))


@pytest.mark.parametrize("name", ["java", "listen", "supervise", "security", "env", "control"])
def test_what_holds_itself(name: str) -> None:
    """A list or mapping that holds itself is refused by the argument's name, wherever it stands."""
    endless: list[Any] = []
    endless.append(endless)
    circle: dict[str, Any] = {}
    circle["a"] = circle
    for value in (endless, circle, {"x": endless}):
        arguments: dict[str, Any] = {"java": JAVA, name: value}
        with pytest.raises((TypeError, ValueError), match=f"^{name}") as caught:
            jvmbind.Service(**arguments)
        assert isinstance(caught.value, jvmbind.ConfigurationError)


def test_right_arguments() -> None:
    """Ports are numbers, paths are paths, times are timedeltas, mappings and sequences are of any kind."""
    service = jvmbind.Service(
        java={"main": "M", "classpath": [Path("/a"), "/b"], "options": ("-Xmx1g",)},
        listen=UserDict({"http": 80, "https": "443:8443"}),
        supervise={"stop_timeout": dt.timedelta(minutes=1), "drain_timeout": 3},
    )

    request = service.request
    assert request.java_arguments == ("-Xmx1g", "-cp", "/a:/b", "M")
    assert [(one.name, one.port, one.app_port) for one in request.listeners] == [("http", 80, 80), ("https", 443, 8443)]
    assert request.template.stop_timeout == 60.0


def test_a_listen_spec_with_its_defaults() -> None:
    """A ListenSpec that says nothing of the application's port is bound by the application under the port itself."""
    (listener,) = jvmbind.Service(
        java={"jar": Path("/x.jar")}, listen=[jvmbind.ListenSpec("http", "tcp", port=80)]
    ).request.listeners

    assert listener.app_port == 80


@pytest.mark.parametrize(("listen", "message"), [("81", "listen: expected a mapping"), ([None], r"listen\[0\]: expected a port")])
def test_bind_listeners_takes_no_single_text(listen: Any, message: str) -> None:
    """bind_listeners("81") does not bind ports 8 and 1."""
    with pytest.raises(TypeError, match=message):
        jvmbind.bind_listeners(listen)


def test_start_jvm_takes_no_single_text() -> None:
    """The options of a JVM are a sequence of texts."""
    with pytest.raises(TypeError, match="options: expected a sequence of str"):
        jvmbind.start_jvm(options="-Xmx1g")


@pytest.fixture(scope="module")
def running() -> Iterator[jvmbind.RunningService]:
    """Return a handle on a service that its launcher has refused: wrong arguments are found before that counts."""
    null = os.open("/dev/null", os.O_WRONLY)
    with jvmbind.Service(user="nobody-of-this-name", java=JAVA).start(stderr=null) as one:
        one.wait(60)
        yield one
    os.close(null)


WITH_A_TIMEOUT = ["status", "wait_ready", "wait_for", "events", "reload", "restart", "dump", "stop", "wait"]


@pytest.mark.parametrize("call", WITH_A_TIMEOUT)
@pytest.mark.parametrize(
    ("timeout", "kind"),
    [
        *((wrong, TypeError) for wrong in ("5", b"5", True, [5])),
        *((wrong, ValueError) for wrong in (-1, float("nan"), float("inf"), dt.timedelta(seconds=-1))),
    ],
    ids=str,
)
def test_wrong_timeouts(running: jvmbind.RunningService, call: str, timeout: Any, kind: type[Exception]) -> None:
    """Every call with a time-out refuses a wrong one by its name, and at once."""
    arguments = ["ended"] if call == "wait_for" else []
    with pytest.raises(kind, match="timeout: expected seconds") as caught:
        # A reload of a service that has ended is refused before its time-out counts.
        getattr(running, call)(*arguments, timeout=timeout) if call not in CHANGES else seconds("timeout", timeout)
    assert getattr(caught.value, "argument", "") == "timeout"


CHANGES = {"reload", "restart", "dump"}


@pytest.mark.parametrize("timeout", [5, 0.5, dt.timedelta(seconds=5), None])
def test_right_timeouts(running: jvmbind.RunningService, timeout: Any) -> None:
    """Seconds are an int, a float or a timedelta; None is the default."""
    assert running.wait(timeout) == 78
    assert running.stop(timeout) == 78
    assert running.wait_for("ended", timeout=timeout) == "ended"


@pytest.mark.parametrize(
    ("call", "arguments", "kind", "message"),
    [
        ("wait_for", [], ValueError, "states: expected at least one of"),
        ("wait_for", ["redy"], ValueError, "states: expected one of"),
        ("wait_for", [5], TypeError, "states: expected a state, got 5 (int)"),
        ("wait_for", [["ready"]], TypeError, "states: expected a state"),
        ("send_signal", ["TERM"], TypeError, "number: expected the number of a signal, got 'TERM' (str)"),
        ("send_signal", [True], TypeError, "number: expected the number of a signal"),
        ("send_signal", [4711], ValueError, "number: expected the number of a signal, got 4711"),
        ("add_callback", ["print"], TypeError, "function: expected a function of one event"),
        ("reload", ["x.jar"], TypeError, "service: expected a Service, got 'x.jar' (str)"),
        ("begin_reload", [60], TypeError, "service: expected a Service, got 60 (int)"),
    ],
    ids=str,
)
def test_wrong_arguments_of_calls(
    running: jvmbind.RunningService, call: str, arguments: list[Any], kind: type[Exception], message: str
) -> None:
    """A wrong argument of a call of the handle is a TypeError or a ValueError that begins with its name."""
    with pytest.raises(kind, match=re.escape(message)) as caught:
        getattr(running, call)(*arguments)
    assert isinstance(caught.value, jvmbind.ConfigurationError)
    assert caught.value.key == message.partition(":")[0]


@pytest.mark.parametrize(
    ("call", "arguments", "message"),
    [
        (jvmbind.Service.from_file, {"path": 5}, "path: expected a path, got 5 (int)"),
        (jvmbind.Service(java=JAVA).start, {"stdot": 1}, "stdot: unknown argument of start; expected environ, stdin"),
        (jvmbind.connect, {"name": 5}, "name: expected the name of a service, got 5 (int)"),
        (jvmbind.bind_listeners, {"listen": "81"}, "listen: expected a mapping"),
    ],
    ids=["from_file", "start", "connect", "bind_listeners"],
)
def test_wrong_arguments_of_functions(call: Any, arguments: dict[str, Any], message: str) -> None:
    """So is a wrong argument of a function or of a start."""
    with pytest.raises(TypeError, match=re.escape(message)):
        call(**arguments)
