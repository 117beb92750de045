"""Units of the service in a systemd that the tests run. Run by pytest as root; must not import jvmbind."""

from __future__ import annotations

import os
import re
import shlex
import sys
from typing import TYPE_CHECKING

from .clients import Answer, http_get
from .network import Network
from .runner import QUICK_JVM
from .users import SERVICE_USER
from .waiting import wait_until

if TYPE_CHECKING:
    from .jdks import Jdk
    from .lab import Lab

SHOWN = "/lab"
"""Where the lab sees the session's shared folder: /tmp is its own there."""


class LabNetwork(Network):
    """The lab's network namespace, for the clients of support.clients."""

    def __init__(self, lab: Lab) -> None:
        """Hold on to it."""
        self._fd = os.open(f"/proc/{lab.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._inode = os.fstat(self._fd).st_ino

    def close(self) -> None:
        """Let it go."""
        os.close(self._fd)


class Unit:
    """A service of the lab: jvmbind under a unit of its own name."""

    def __init__(self, lab: Lab, network: Network, jdk: Jdk, name: str) -> None:
        """Nothing is written yet."""
        self.lab = lab
        self.network = network
        self.jdk = jdk
        self.name = name
        self.file = f"{name}.service"
        self.jvmbind = [sys.executable, "-I", "-m", "jvmbind"]
        self.as_user = f"User={SERVICE_USER}\nRuntimeDirectory=jvmbind/{name}"
        """Lines of [Service] for a unit without root; its control socket is then where root looks for it."""
        self.control = f"--control-socket /run/jvmbind/{name}/control"

    def command(self, options: str, *app: str, version: str = "1") -> str:
        """Return the command line of `jvmbind run OPTIONS -- java ... App APP...`, quoted for ExecStart=."""
        java = [*QUICK_JVM, f"-Dversion={version}", "-cp", f"{SHOWN}/app", "service.App", *app]
        words = [*self.jvmbind, "run", "--java-home", str(self.jdk.home), "-n", self.name, *options.split(), "--", *java]
        return shlex.join(words)

    def write(self, start: str, more: str = "", *, section: str = "") -> None:
        """Write the unit: ExecStart=, further lines of [Service], and lines of [Unit]."""
        reload_command = shlex.join([*self.jvmbind, "reload", self.name])
        self.lab.write_unit(
            self.file,
            f"[Unit]\nStartLimitIntervalSec=0\n{section}\n[Service]\nType=notify\nNotifyAccess=main\nExecStart={start}\n"
            f"ExecReload={reload_command}\nTimeoutStartSec=30\nTimeoutStopSec=20\nTimeoutAbortSec=5\n{more}\n",
        )

    def systemctl(self, verb: str, *options: str, check: bool = True) -> int:
        """Run `systemctl VERB` on the unit and return its exit status; AssertionError with the journal where it fails."""
        done = self.lab.run("systemctl", verb, *options, self.file, check=False)
        assert not check or done.returncode == 0, f"systemctl {verb}: {done.stdout}{done.stderr}\n{self.lines()}"
        return done.returncode

    def property(self, name: str) -> str:
        """Return a property of the unit."""
        return self.lab.property(self.file, name)

    def lines(self) -> str:
        """Return the unit's journal as text."""
        return self.lab.run("journalctl", "--no-pager", "-o", "cat", f"--unit={self.file}", check=False).stdout

    def await_property(self, name: str, value: str, seconds: float = 20) -> None:
        """Wait until a property has a value."""
        wait_until(lambda: self.property(name) == value, seconds, f"{name}={value} of {self.file}; it is {self.property(name)}")

    def get(self, path: str = "/", port: int = 80, timeout: float = 20) -> Answer:
        """Ask the service over HTTP."""
        return http_get(self.network, port, path, timeout=timeout)

    def served_by(self, port: int = 80) -> tuple[int, str]:
        """Return (process id of the JVM in the lab, its version) by what it answers."""
        match = re.fullmatch(r"pid=(\d+) version=(.*)", self.get(port=port).body)
        assert match is not None
        return int(match[1]), match[2]

    def status(self) -> str:
        """Return `jvmbind status --json`."""
        return self.lab.run(*self.jvmbind, "status", "--json", self.name).stdout
