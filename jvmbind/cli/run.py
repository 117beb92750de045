"""`jvmbind run [OPTIONS] -- JAVA-ARGUMENTS` and `jvmbind run -c FILE [OPTIONS]`.

Runs with whatever privilege the caller has; reads the command line and the file and hands the request to the launcher.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jvmbind.cli import options
from jvmbind.errors import JvmbindError, SystemFailureError
from jvmbind.launcher import launch
from jvmbind.posix.notify_socket import tell_refusal

if TYPE_CHECKING:
    from jvmbind.config.request import Request

_DESCRIPTION = "Bind the listeners, drop to the service user for good, and run `java JAVA-ARGUMENTS`, supervised."


def read_request(argv: list[str]) -> Request:
    """Return what the command line asks for; raises UsageError, and for a file ConfigurationError, NotPermittedError."""
    return options.read_request(argv, command="run", words="JAVA-ARGUMENTS", description=_DESCRIPTION)


def main(argv: list[str]) -> None:
    """Run the command; does not return when the service was started."""
    # How `jvmbind.Service` starts a service: the request itself, as JSON in a sealed memory file.
    request = _passed(argv[1]) if argv[:1] == ["--request-fd"] and len(argv) == 2 else read_request(argv)
    if request.template.config and not request.template.command_line:
        request = request._replace(template=request.template._replace(command_line=tuple(argv)))
    try:
        launch(request, os.environ)
    except (JvmbindError, OSError) as error:
        tell_refusal(os.environ, error)
        raise


def _passed(text: str) -> Request:
    from jvmbind.config.request import Request  # noqa: PLC0415 - for the Python API alone
    from jvmbind.posix.fds import read_memory  # noqa: PLC0415

    try:
        return Request.from_json(read_memory(int(text)))
    except (OSError, ValueError, TypeError, KeyError) as error:
        msg = f"--request-fd {text}: for jvmbind.Service alone ({error})"
        raise SystemFailureError(msg) from error
