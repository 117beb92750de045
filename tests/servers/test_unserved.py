"""A real server that does not bind what is declared: who connects there is refused, and the words name its own option.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support import jdks
from support.artifacts import artifact
from support.clients import http_get, http_get_when_served
from support.runner import PLAIN, Runner
from support.servers import Tomcat
from support.users import SERVICE_USER, User

if TYPE_CHECKING:
    from pathlib import Path

    from support.network import Network

pytestmark = pytest.mark.skipif(PLAIN, reason="java declares nothing")
NARROW = (
    "bind of 127.0.0.1:80/tcp: refused, listener 'web' (80/tcp) is wider than the address asked for; declare it as "
    "-l 127.0.0.1:80, or let the server listen on every address (no address= in its <Connector>)"
)


@pytest.mark.parametrize("connector", ["", 'address="127.0.0.1"'], ids=["without-tls", "on-localhost"])
def test_tomcat(runner: Runner, network: Network, workspace: Path, service_user: User, connector: str) -> None:
    """Tomcat without its TLS connector, or on localhost alone: clients of what it has are served, those of the rest refused."""
    tomcat = Tomcat(artifact("tomcat10"), workspace / "base", service_user, connector=connector)
    options = ["-l", "web=80", "-l", "tls=443", "-u", SERVICE_USER, "--start-timeout", "4"]
    service = runner.run(options, jdks.tested_jdks()[-1], tomcat.java_arguments())
    service.quiet = False

    for name in ("web", "tls") if connector else ("tls",):
        service.expect(rf"listener '{name}' .* is not served", stream="stderr")
    for port in (80, 443) if connector else (443,):
        with pytest.raises(ConnectionResetError):
            http_get(network, port)
    if connector:
        assert f"generation 1: {NARROW}\n" in service.stderr
    else:
        assert http_get_when_served(network, 80).status == 200
    assert service.stop() == 143, service.report()
