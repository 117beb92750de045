"""What a reload would run: prints the specification as JSON, or why there is none.

Standard input is a memory file with the words behind `jvmbind run`, as JSON.
Run by exec from the supervisor, as the service user, so that the readers of the command line and of the configuration
are not loaded there. Binds nothing.
"""

from __future__ import annotations

import json
import os
import sys

from jvmbind import launcher
from jvmbind.cli.run import read_request
from jvmbind.errors import JvmbindError
from jvmbind.posix.fds import read_memory
from jvmbind.privileged.identity import resolve_user
from jvmbind.privileged.preflight import check_readable
from jvmbind.spec import number_names
from jvmbind.worker.java_home import find_java_home


def plan(argv: list[str]) -> dict[str, object]:
    """Return {"ok": true, "spec": JSON text} or {"ok": false, "error": text}."""
    try:
        request = read_request(argv)
        java_home = find_java_home(request.java_home, os.environ)
        command = launcher.understand(request, java_home, os.environ)
        check_readable(resolve_user(None), launcher.needed(request, java_home, command))
        control_gid, control_allow = launcher.delegated_control(request)
        spec = request.template._replace(
            control_gid=control_gid,
            control_allow=control_allow,
            java_home=java_home,
            java_arguments=request.java_arguments,
            listeners=number_names(list(request.listeners)),
        )
    except JvmbindError as error:
        return {"ok": False, "error": str(error)}
    return {"ok": True, "spec": spec.to_json().decode()}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(plan(json.loads(read_memory(0)))))
