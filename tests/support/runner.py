"""Starts jvmbind, or any command, in a test's namespace and accounts for it. Run by pytest as root.

With JVMBIND_TEST_PLAIN=1 the probes are run by the plain `java` command instead, as the service user and with
low ports free for all in the namespace: the tests that pass both ways show that jvmbind behaves as `java` does,
and that the probes are right. Must not import jvmbind.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from .service import Service
from .users import SERVICE_USER, user

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from .jdks import Jdk
    from .network import Network

PLAIN = bool(os.environ.get("JVMBIND_TEST_PLAIN"))

# For a server: how it is compiled and collected makes no difference to what is shown of it, and takes half of its time.
# tests/servers/test_real_servers.py and the scripts of Artemis, Karaf and Derby have the JVM as it comes.
QUICK = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
# A JVM of a probe: small and quick to start, nothing that changes behaviour.
QUICK_JVM = (*QUICK, "-Xmx64m")

# What makes a process as powerless as the service is to be.
_POWERLESS = ("--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")


def as_user(name: str) -> list[str]:
    """Return the words that run a command as a system user, without any capability."""
    who = user(name)
    return ["setpriv", f"--reuid={who.uid}", f"--regid={who.gid}", "--init-groups", *_POWERLESS]


class Runner:
    """Starts commands in the test's namespace and keeps a list of them."""

    def __init__(self, jvmbind: list[str], network: Network, workspace: Path, probes: Path) -> None:
        """Remember where to run what."""
        self.network = network
        self.workspace = workspace
        self.services: list[Service] = []
        self.jvmbind = jvmbind
        self._probes = probes
        if PLAIN:
            network.set_sysctl("net/ipv4/ip_unprivileged_port_start", "0")

    def start(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        cwd: Path | str = "/",
        stdin: int = subprocess.DEVNULL,
        pass_fds: Sequence[int] = (),
    ) -> Service:
        """Start any command."""
        service = Service(
            command,
            network=self.network,
            directory=self.workspace,
            name=f"service-{len(self.services) + 1}",
            environment=environment,
            cwd=cwd,
            stdin=stdin,
            pass_fds=pass_fds,
        )
        self.services.append(service)
        return service

    def run(
        self,
        options: Sequence[str],
        jdk: Jdk,
        java_arguments: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        cwd: Path | str = "/",
        stdin: int = subprocess.DEVNULL,
        pass_fds: Sequence[int] = (),
        prefix: Sequence[str] = (),
    ) -> Service:
        """Start `PREFIX... jvmbind run --java-home JDK OPTIONS -- JAVA-ARGUMENTS`."""
        command = [*prefix, *self.jvmbind, "run", "--java-home", str(jdk.home), *options, "--", *java_arguments]
        if PLAIN:
            command = [*as_user(SERVICE_USER), jdk.java, *java_arguments]
        return self.start(command, environment=environment, cwd=cwd, stdin=stdin, pass_fds=pass_fds)

    def probe(
        self,
        options: Sequence[str],
        jdk: Jdk,
        name: str,
        *arguments: str,
        jvm: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        cwd: Path | str = "/",
        stdin: int = subprocess.DEVNULL,
        pass_fds: Sequence[int] = (),
        prefix: Sequence[str] = (),
    ) -> Service:
        """Start a probe of tests/java under `jvmbind run OPTIONS` with the given JDK."""
        return self.run(
            options,
            jdk,
            self.java_arguments(name, *arguments, jvm=jvm),
            environment=environment,
            cwd=cwd,
            stdin=stdin,
            pass_fds=pass_fds,
            prefix=prefix,
        )

    def java_arguments(self, name: str, *arguments: str, jvm: Sequence[str] = ()) -> list[str]:
        """Return what comes after `java` for a probe."""
        return [*QUICK_JVM, *jvm, "-cp", str(self._probes), f"probe.{name}", *arguments]
