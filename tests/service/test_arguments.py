"""What the public calls make of their arguments, right and wrong ones. Starts nothing."""

from __future__ import annotations

import datetime as dt
import re
from collections import UserDict
from pathlib import Path
from typing import Any

import pytest

import jvmbind

JAVA = {"jar": "/x.jar"}


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
