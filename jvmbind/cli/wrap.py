"""`jvmbind wrap [OPTIONS] -- SCRIPT ARGS...`: the options are those of `jvmbind run`.

Runs with whatever privilege the caller has; reads the command line and the file and hands the request to the launcher.
"""

from __future__ import annotations

import os

from jvmbind.cli import options
from jvmbind.launcher import launch

_DESCRIPTION = "Bind the listeners, drop to the service user for good, and run SCRIPT, supervised: each java below it gets them."


def main(argv: list[str]) -> None:
    """Run the command; does not return when the service was started."""
    request = options.read_request(argv, command="wrap", words="SCRIPT ARGS...", description=_DESCRIPTION)
    if request.template.config:
        request = request._replace(template=request.template._replace(command_line=tuple(argv)))
    launch(request, os.environ)
