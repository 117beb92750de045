"""What a reload or a restart would run: prints the specification as JSON, or why there is none.

Standard input is a memory file with the words behind `jvmbind run`, as JSON.
Run by exec from the supervisor, as the service user, so that the readers of the command line and of the configuration
are not loaded there. Binds nothing. With `--running` the file has the specification that is running, where no configuration
file could have changed it, and this checks that it can be started again.
"""

from __future__ import annotations

import json
import os
import sys

from jvmbind.config.request import Request
from jvmbind.errors import JvmbindError
from jvmbind.listen import number_names
from jvmbind.plan import service
from jvmbind.plan.java import examine
from jvmbind.plan.options import read_request
from jvmbind.posix.fds import read_memory
from jvmbind.posix.user import resolve_user
from jvmbind.spec import ServiceSpec
from jvmbind.worker.java_home import find_java_home

RUNNING = "--running"


def plan(given: bytes, *, running: bool) -> dict[str, object]:
    """Return {"ok": true, "spec": JSON text} or {"ok": false, "error": text}."""
    try:
        if running:
            spec = ServiceSpec.from_json(given)
            _check(Request(spec.java_arguments, template=spec), spec.java_home)
        else:
            request = read_request(json.loads(given))
            java_home = find_java_home(request.java_home, os.environ)
            _check(request, java_home)
            control_gid, control_allow = service.delegated_control(request)
            spec = request.template._replace(
                control_gid=control_gid,
                control_allow=control_allow,
                java_home=java_home,
                java_arguments=request.java_arguments,
                listeners=number_names(list(request.listeners)),
                at_start=service.at_start(request),
            )
    except JvmbindError as error:
        return {"ok": False, "error": "; ".join([*getattr(error, "__notes__", ()), str(error)])}
    return {"ok": True, "spec": spec.to_json().decode()}


def _check(request: Request, java_home: str) -> None:
    """Check that it can be started, as far as that shows without starting it; raises JvmbindError."""
    examine(request, java_home, os.environ, resolve_user(None), thorough=True)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(plan(read_memory(0), running=sys.argv[1:] == [RUNNING])))
