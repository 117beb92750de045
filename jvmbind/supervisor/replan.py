"""Works out what a reload runs: the command line and the configuration read again, on the listeners that there are.

Runs in the supervisor as the service user, once for each reload; the reading itself is done by jvmbind.cli.plan in a
process of its own. A new listener is opened here if that needs no privilege.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from typing import TYPE_CHECKING

from jvmbind.errors import JvmbindError, NotPermittedError
from jvmbind.posix.process import Process
from jvmbind.privileged.listeners import bind_listeners
from jvmbind.spec import ListenSpec, ServiceSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

_PATIENCE = 20.0  # seconds for reading the configuration

Listeners = dict[str, tuple[ListenSpec, int]]
Plan = tuple[str, ServiceSpec, Listeners]


def replan(spec: ServiceSpec, listeners: Mapping[str, tuple[ListenSpec, int]], environ: Mapping[str, str]) -> Plan:
    """Return (why the configuration cannot be used or "", the next specification, all its listeners).

    The name of a service, its control socket and its kind (supervised) never change.
    """
    if not spec.config:
        return "", spec, dict(listeners)
    answer = _ask(spec.command_line, environ)
    if not answer.get("ok"):
        return str(answer.get("error", "the configuration could not be read")), spec, {}
    fresh = ServiceSpec.from_json(answer["spec"].encode())
    try:
        chosen = _choose(fresh, listeners)
    except NotPermittedError as error:
        what = str(error).partition(": ")[0]
        ways = "stop the service and start it as root, or pass the socket from a systemd socket unit"
        return f"{what} is new and needs a privilege, which a running service has no more: {ways}", spec, {}
    except JvmbindError as error:
        return str(error), spec, {}
    fresh = fresh._replace(
        listeners=tuple(found for found, _ in chosen.values()),
        name=spec.name,
        control=spec.control,
        command_line=spec.command_line,
        config=spec.config,
    )
    return "", fresh, chosen


def _choose(fresh: ServiceSpec, listeners: Mapping[str, tuple[ListenSpec, int]]) -> Listeners:
    """Find each declared listener among those that are there, by what it is, and open the rest; raises JvmbindError."""
    rest = dict(listeners)
    chosen: Listeners = {}
    missing: list[ListenSpec] = []
    for wanted in fresh.listeners:
        same = [name for name, (there, _) in rest.items() if _is_same(wanted, there)]
        if not same:
            missing.append(wanted)
            continue
        name = wanted.name if wanted.name in same else same[0]
        there, fd = rest.pop(name)
        chosen[wanted.name] = (wanted._replace(host=there.host, v6only=there.v6only, inherited=there.inherited), fd)
    for name, (there, fd) in rest.items():
        if there.inherited and name not in chosen:
            chosen[name] = (there, fd)  # nothing declares it, its parent passed it
    for opened, sock in bind_listeners(missing):
        chosen[opened.name] = (opened, sock.detach())
    order = [wanted.name for wanted in fresh.listeners]
    return dict(sorted(chosen.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order)))


def _is_same(wanted: ListenSpec, there: ListenSpec) -> bool:
    if wanted.protocol != there.protocol or wanted.path != there.path or wanted.port != there.port:
        return False
    if wanted.device != there.device or wanted.reuseport != there.reuseport:
        return False
    return wanted.host == there.host or (there.inherited and wanted.host is None)


def _ask(command_line: tuple[str, ...], environ: Mapping[str, str]) -> dict[str, str]:
    """Run jvmbind.cli.plan and return its answer; a process that says nothing sensible is an answer too."""
    script = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "cli", "plan.py")
    reader, writer = os.pipe()
    try:
        process = Process([sys.executable, "-I", script, *command_line], environ, {1: writer})
    except OSError as error:
        os.close(reader)
        return {"error": f"the configuration could not be read: {error}"}
    finally:
        os.close(writer)
    deadline = time.monotonic() + _PATIENCE
    data = b""
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        chunk = os.read(reader, 65536)
        if not chunk:
            break
        data += chunk
    os.close(reader)
    process.kill(9)
    os.waitid(os.P_PIDFD, process.pidfd, os.WEXITED)
    os.close(process.pidfd)
    try:
        answer: dict[str, str] = json.loads(data)
    except ValueError:
        return {"error": "the configuration could not be read"}
    return answer
