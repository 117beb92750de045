"""What is to be run, from keyword arguments or a file: what `jvmbind.Service` and `jvmbind.AsyncService` have in common.

Runs in any program, with any number of threads; the program keeps its privilege, for the service is started by exec as
`jvmbind run` is. Asks this machine nothing before the start.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

from jvmbind.config.arguments import check_type, read_arguments
from jvmbind.config.schema import build
from jvmbind.errors import ArgumentTypeError
from jvmbind.service.sockets import Sockets, take_held
from jvmbind.service.start import Start, StartArguments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jvmbind.config.request import Request
    from jvmbind.config.schema import Values
    from jvmbind.config.tables import Control, Java, Listen, Security, Supervise, Words


class Description:
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
        log_format: str | None = None,
        verbose: bool = False,
        env: Words[str] = (),
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
            "log_format": log_format,
            "verbose": verbose,
            "env": env,
            "preserve_env": preserve_env,
            "supervise": supervise,
            "control": control,
            "security": security,
        }
        document["listen"], self._held = take_held(listen)
        self._request, self._values = read_arguments(document, "Service")

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """Read a configuration file, as `jvmbind run -c` does; raises ConfigurationError, NotPermittedError."""
        from jvmbind.config.load import absolute, read_file  # noqa: PLC0415 - tomllib takes 14 ms to load

        check_type("path", path, (str, os.PathLike), "a path")
        service, name = cls.__new__(cls), os.fsdecode(path)
        service._held, service._values = {}, read_file(name)  # noqa: SLF001 - its own class
        request = build(service._values, name, absolute(name))  # noqa: SLF001 - as above
        spec = request.template._replace(command_line=("-c", request.template.config))  # what a reload reads again
        service._request = request._replace(template=spec)  # noqa: SLF001 - its own class
        return service

    @property
    def values(self) -> Values:
        """What was said, by key path."""
        return self._values

    def sockets(self, ports: Mapping[str, int] | None = None) -> Sockets:
        """Open what is to be passed; a free port that is in `ports` is kept. Raises as `Sockets` does."""
        return Sockets(self._request, self._held, ports)

    @property
    def request(self) -> Request:
        """The checked values, as the launcher gets them."""
        return self._request

    def _prepare(self, how: StartArguments) -> tuple[Description, Start, Sockets]:
        """Open what a start needs: streams and sockets. Raises as `Service.start` does, with nothing left open."""
        unknown = how.keys() - StartArguments.__annotations__.keys()
        if unknown:
            name = min(unknown)
            msg = f"{name}: unknown argument of start; expected {', '.join(StartArguments.__annotations__)}"
            raise ArgumentTypeError(msg, name)
        start = Start(direct=self._request.template.direct, **how)
        try:
            sockets = self.sockets()
            try:
                sockets.add_announced()
            except BaseException:
                sockets.close()
                raise
        except BaseException:
            start.close()
            raise
        return self, start, sockets

    def __repr__(self) -> str:
        """Return what is to be run, without the environment, which may hold secrets."""
        request = self._request
        what = request.java_arguments or request.template.script
        name = f"{request.name}: " if request.name else ""
        return f"<{type(self).__name__} {name}{' '.join(what)!r} on {[one.address for one in request.listeners]}>"

    def __eq__(self, other: object) -> bool:
        """Whether the same is to be run."""
        return self._request == other._request if isinstance(other, Description) else NotImplemented

    def __hash__(self) -> int:
        """Return the hash of what is run."""
        return hash((self._request.java_arguments, self._request.listeners))
