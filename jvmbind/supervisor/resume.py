"""Where another version of jvmbind goes on: what the running supervisor calls in this one, when this is the version on disk.

Runs in the supervisor as the service user: `check` in a child of it that ends afterwards, `resume` in its place. These two names,
what they take and what they return are fixed for all versions (see `jvmbind.supervisor.upgrade`).
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import socket
from functools import partial

import jvmbind
from jvmbind.errors import EX_TEMPFAIL, JvmbindError
from jvmbind.posix.process import Process
from jvmbind.shim import SHIM_JAR
from jvmbind.supervisor import fields, orphans
from jvmbind.supervisor.carried import UnknownStateError, read
from jvmbind.supervisor.generation import Generation
from jvmbind.supervisor.loop import Loop
from jvmbind.supervisor.starting import Started, Starter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jvmbind.supervisor.upgrade import Work

_OF_A_SERVICE = ("supervisor", "lifecycle", "posix", "worker", "handover", "plan", "config")  # folders
_IMPORT = re.compile(r"^ *from (jvmbind[.\w]*) import ", re.MULTILINE)


class IncompleteError(JvmbindError):
    """Files of this version are missing."""

    status = EX_TEMPFAIL


def check(state: bytes) -> None:
    """Do all that `resume` will do, and load what is loaded only later; raises whatever keeps this version from going on."""
    _build(state)
    package = os.path.dirname(os.path.abspath(jvmbind.__file__))
    for name in sorted(os.listdir(os.path.join(package, "supervisor"))):
        if name.endswith(".py") and name not in {"__init__.py", "ask.py"}:
            importlib.import_module(f"jvmbind.supervisor.{name.removesuffix('.py')}")
    importlib.import_module("jvmbind.worker.main")
    for folder in _OF_A_SERVICE:
        for name in sorted(os.listdir(os.path.join(package, folder))):
            if name.endswith(".py"):
                _find_imports(os.path.join(package, folder, name))
    for path in (SHIM_JAR, os.path.join(package, "cli", "plan.py")):
        if not os.path.exists(path):
            msg = f"{path} is missing"
            raise IncompleteError(msg)


def _find_imports(path: str) -> None:
    """Find every module of this package that a file names, as many are loaded when they are needed; raises IncompleteError."""
    with open(path, encoding="utf-8") as file:
        names = set(_IMPORT.findall(file.read()))
    for name in sorted(names):
        try:
            found = importlib.util.find_spec(name)
        except ModuleNotFoundError:
            found = None
        if found is None:
            msg = f"{path}: there is no module {name}"
            raise IncompleteError(msg)


def resume(state: bytes) -> Work:
    """Take a running supervisor's state over, and return what goes on with it; raises whatever keeps this from being done."""
    version, loop = _build(state)
    return partial(loop.resume, version)


def _build(state: bytes) -> tuple[str, Loop]:
    version, parts = read(state)
    try:
        listeners = parts["world"]["listeners"]
        spec = parts["world"]["spec"]
        loop = Loop(spec, [fd for _, fd in listeners.values()], parts["loop"]["_signals"], Starter(), resumed=parts)
        _fill(loop, parts)
    except (KeyError, ValueError) as error:
        msg = f"the state of version {version} does not fit version {jvmbind.__version__}: {error}"
        raise UnknownStateError(msg) from error
    return version, loop


def _fill(loop: Loop, parts: dict[str, Any]) -> None:
    world = loop.world
    fields.give_parts(loop, parts)
    for values in parts["generations"]:
        generation = _generation(values)
        world.generations[generation.number] = generation
    if parts["died"] is not None:
        values, death, silently = parts["died"]
        world.last_death = _generation({**values, "socket": -1}), next((one for one in world.deaths if one == death), death)
        world.silent_end = world.last_death if silently else None
    orphans.remember(parts["strangers"])
    loop.resume_requests(parts["waiters"], *parts["told"], probes=parts["probes"])


def _generation(values: dict[str, Any]) -> Generation:
    rest = {name: value for name, value in values.items() if name in fields.GENERATION}
    if values["socket"] >= 0:
        sock = fields.take_over(values["socket"])
    else:
        sock = socket.socket(socket.AF_UNIX)
        sock.close()
    generation = Generation(values["number"], values["spec"], Started(Process.adopted(*values["process"]), sock, values["started"]))
    fields.give(generation, fields.GENERATION, rest)
    fields.give(generation.output, ("_begun",), {"_begun": values["output"]})
    return generation
