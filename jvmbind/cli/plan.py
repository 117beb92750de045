"""What a reload or a restart would run: prints the specification as JSON, or why there is none.

Standard input is a memory file with the words behind `jvmbind run`, as JSON; with `--given` with another version, which the
program that started the service by `jvmbind.Service` has sent.
Run by exec from the supervisor, as the service user, so that the readers of the command line and of the configuration
are not loaded there. Binds nothing. With `--running` the file has the specification that is running, where no configuration
file could have changed it, and this checks that it can be started again.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from jvmbind.config.request import Request
from jvmbind.errors import JvmbindError
from jvmbind.listen import number_names
from jvmbind.plan import service
from jvmbind.plan.java import examine
from jvmbind.plan.options import read_request
from jvmbind.posix import role
from jvmbind.posix.fds import read_memory
from jvmbind.posix.user import resolve_user
from jvmbind.spec import ServiceSpec
from jvmbind.worker.java_home import find_java_home

if TYPE_CHECKING:
    from collections.abc import Mapping

RUNNING, GIVEN = "--running", "--given"


def plan(text: bytes, how: str = "") -> dict[str, object]:
    """Return {"ok": true, "spec": JSON text} or {"ok": false, "error": text}, each with more for `--given`."""
    try:
        if how == RUNNING:
            spec = ServiceSpec.from_json(text)
            _check(Request(spec.java_arguments, template=spec), spec.java_home, os.environ)
            return {"ok": True, "spec": spec.to_json().decode()}
        if how == GIVEN:
            return _given(json.loads(text))
        return {"ok": True, "spec": _planned(read_request(json.loads(text)), os.environ, os.environ).to_json().decode()}
    except JvmbindError as error:
        fields = {"kind": type(error).__name__, "listener": error.listener, "holder": error.holder, "key": error.key}
        return {"ok": False, "error": "; ".join([*getattr(error, "__notes__", ()), str(error)]), "refusal": fields}


def _given(values: dict[str, Any]) -> dict[str, object]:
    """Return another version with its environment, and the names of the sockets that came with it; raises JvmbindError."""
    request, caller = Request.from_json(values["request"].encode()), values["environ"]
    given = f"LC_CTYPE={caller['LC_CTYPE']}" if "LC_CTYPE" in caller else ""  # where it is there, it is meant
    changes_user, user = values["changes_user"], resolve_user(None)
    own = service.environment(request, caller, user, changes_user=changes_user, given=os.fsencode(given))
    own = role.worker_environ(own)
    spec = _planned(request, caller, own)
    service.check_inherit(spec.inherit, [one.name for one in spec.listeners])
    return {"ok": True, "spec": spec.to_json().decode(), "environ": own, "names": values["names"]}


def _planned(request: Request, caller: Mapping[str, str], own: Mapping[str, str]) -> ServiceSpec:
    """Return the specification of a request, where `caller` is the environment of who asks and `own` that of the service."""
    java_home = find_java_home(request.java_home, caller)
    _check(request, java_home, own)
    control_gid, control_allow = service.delegated_control(request)
    return request.template._replace(
        control_gid=control_gid,
        control_allow=control_allow,
        java_home=java_home,
        java_arguments=request.java_arguments,
        listeners=number_names(list(request.listeners)),
        at_start=service.at_start(request),
    )


def _check(request: Request, java_home: str, own: Mapping[str, str]) -> None:
    """Check that it can be started, as far as that shows without starting it; raises JvmbindError."""
    examine(request, java_home, own, resolve_user(None), thorough=True)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(plan(read_memory(0), "".join(sys.argv[1:2]))))
