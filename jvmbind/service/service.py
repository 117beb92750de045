"""`jvmbind.Service`: what is to be run, from keyword arguments or a file.

Runs in any program, with any number of threads; the program keeps its privilege, for the service is started by exec as
`jvmbind run` is. Asks this machine nothing before the start.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

from jvmbind.config.arguments import read_arguments
from jvmbind.service.running import RunningService

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jvmbind.config.request import Request
    from jvmbind.config.tables import Control, Java, Listen, Security, Supervise


class Service:
    """What is to be run. The keyword arguments are the keys and tables of the configuration file, one to one."""

    def __init__(
        self,
        *,
        java: Java,
        listen: Listen = (),
        name: str | None = None,
        user: str | None = None,
        inherit: str | None = None,
        direct: bool = False,
        quiet: bool = False,
        verbose: bool = False,
        env: Sequence[str] = (),
        preserve_env: bool = False,
        supervise: Supervise | None = None,
        control: Control | None = None,
        security: Security | None = None,
    ) -> None:
        """Check everything that can be checked without this machine.

        Raises ArgumentTypeError and ArgumentValueError, which are a TypeError and a ValueError, naming the argument.
        """
        document: dict[str, object] = {
            "java": java,
            "listen": listen,
            "name": name,
            "user": user,
            "inherit": inherit,
            "direct": direct,
            "quiet": quiet,
            "verbose": verbose,
            "env": env,
            "preserve_env": preserve_env,
            "supervise": supervise,
            "control": control,
            "security": security,
        }
        self._request = read_arguments(document, "Service")

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """Read a configuration file, as `jvmbind run -c` does; raises ConfigurationError, NotPermittedError."""
        from jvmbind.config.load import load  # noqa: PLC0415 - tomllib takes 14 ms to load

        service = cls.__new__(cls)
        request = load(os.fspath(path))
        spec = request.template._replace(command_line=("-c", request.template.config))  # what a reload reads again
        service._request = request._replace(template=spec)  # noqa: SLF001 - its own class
        return service

    @property
    def request(self) -> Request:
        """The checked values, as the launcher gets them."""
        return self._request

    def start(
        self, *, environ: Mapping[str, str] | None = None, stdout: int | None = None, stderr: int | None = None
    ) -> RunningService:
        """Start the service in a child process with a session of its own, and return at once.

        `environ` is what the service's environment is made of, default that of this process; `stdout` and `stderr` are
        descriptors, default those of this process. Raises OSError where no
        process can be started; what the launcher refuses (a port in use, a user that does not exist) is raised by
        `wait_ready`.
        """
        streams = {number: fd for number, fd in ((1, stdout), (2, stderr)) if fd is not None}
        return RunningService(self._request, dict(os.environ if environ is None else environ), streams)
