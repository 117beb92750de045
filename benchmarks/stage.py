"""What the benchmarks share: servers as users run them, a supervised service in a network namespace, the load client.

Run as root by the programs of this folder; uses tests/support for servers and namespaces, and imports nothing of jvmbind.
"""

# ruff: noqa: INP001 - programs of their own, no package
from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT / "tests"))

from support.artifacts import artifact  # noqa: E402
from support.clients import http_get_when_served  # noqa: E402
from support.jdks import Jdk, compile_java, tested_jdks, write_jar  # noqa: E402
from support.lab import Lab  # noqa: E402
from support.network import Network  # noqa: E402
from support.servers import Jetty, Tomcat  # noqa: E402
from support.service import Service  # noqa: E402
from support.users import SERVICE_USER, user  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SERVERS = ("jdk", "tomcat", "jetty", "netty")
BARE = "socket"  # an accept loop on a ServerSocket: next to nothing that a cold JVM has to load for its first answer
JVMBIND = [sys.executable, "-I", "-m", "jvmbind"]
# With Nagle's algorithm the JDK's server waits 40 ms for each answer on a connection that is kept alive.
JVM = ("-Xmx256m", "-XX:+UseSerialGC", "-Dsun.net.httpserver.nodelay=true")


class LabNetwork(Network):
    """The network namespace of a lab."""

    def __init__(self, lab: Lab) -> None:
        self._fd = os.open(f"/proc/{lab.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._inode = os.fstat(self._fd).st_ino


def boot_lab(binds: Mapping[Path, str]) -> Lab:
    """Boot a systemd that sees `binds`, this interpreter and the jvmbind that is installed for it."""
    found = importlib.util.find_spec("jvmbind")
    if found is None or found.origin is None:
        sys.exit("jvmbind is not installed for this interpreter")
    package = Path(found.origin).parent
    return Lab({**binds, Path(sys.prefix): sys.prefix, package: str(package)})


class Stage:
    """A namespace, a folder, a JDK, and the services that run there; ended at the end of the block."""

    def __init__(self, java: str) -> None:
        """Choose the JDK of that feature version, the newest where it is ""."""
        self.jdk: Jdk = next(jdk for jdk in reversed(tested_jdks()) if java in {"", str(jdk.feature)})
        self.network = Network()
        self._folder = tempfile.TemporaryDirectory(prefix="jvmbind-bench-")
        self.folder = Path(self._folder.name)
        self.folder.chmod(0o755)
        self.services: list[Service] = []
        self.user = user(SERVICE_USER)
        self.socket = self.folder / "run" / "control"
        self.socket.parent.mkdir()
        os.chown(self.socket.parent, self.user.uid, self.user.gid)
        self.config = self.folder / "service.toml"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for service in self.services:
            service.end()
        self.network.kill_all()
        self._folder.cleanup()

    def java_arguments(self, server: str) -> list[str]:
        """Return what stands after `java` for one of SERVERS or BARE, on port 80."""
        base = self.folder / f"{server}-{len(list(self.folder.iterdir()))}"
        sources = CHECKOUT / "tests/java/servers"
        if server == "tomcat":
            return [*JVM, *Tomcat(artifact("tomcat11"), base, self.user).java_arguments()]
        if server == "jetty":
            return [*JVM, *Jetty(artifact("jetty12"), base, self.user, self.jdk).java_arguments()]
        if server == "netty":
            jars = f"{artifact('netty42')}/*"
            classes = compile_java([sources / "NettyServer.java"], base, jars)
            return [*JVM, "-cp", f"{classes}:{jars}", "servers.NettyServer", "epoll", "80"]
        if server == BARE:
            return [*JVM, "-cp", str(compile_java([CHECKOUT / "tests/supervision/java/App.java"], base)), "service.App", "http=80"]
        classes = compile_java([sources / "JdkServer.java"], base)
        return [*JVM, "-cp", str(classes), "servers.JdkServer", "80"]

    def body(self, server: str) -> str:
        """Return what the server's answer must contain."""
        return {"tomcat": "<!DOCTYPE html>", "jetty": "a page of jetty", BARE: "pid="}.get(server, f"{server} /")

    def configure(self, java_arguments: list[str], **supervise: object) -> None:
        """Write the configuration file."""
        flat: dict[str, object] = {}
        for key, value in supervise.items():
            flat |= {f"{key}.{below}": found for below, found in value.items()} if isinstance(value, dict) else {key: value}
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in flat.items())
        self.config.write_text(
            f"name = 'bench'\nuser = '{self.user.name}'\nlisten = ['80']\n[java]\nhome = '{self.jdk.home}'\n"
            f"arguments = {json.dumps(java_arguments)}\n[control]\nsocket = '{self.socket}'\n[supervise]\n{lines}"
        )

    def start(self, command: list[str] | None = None) -> Service:
        """Start `jvmbind run -c FILE`, or another command, and wait for its first answer."""
        service = Service(
            command or [*JVMBIND, "run", "-c", str(self.config)],
            network=self.network,
            directory=self.folder,
            name=f"service-{len(self.services)}",
        )
        self.services.append(service)
        http_get_when_served(self.network, 80, timeout=60)
        if command is None:
            service.expect("generation 1 is ready", stream="stderr")
        return service

    def ask(self, command: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run `jvmbind COMMAND` on the service."""
        words = [*JVMBIND, command, *options, str(self.socket)]
        return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

    def status(self) -> dict[str, Any]:
        """Return `jvmbind status --json`."""
        done = self.ask("status", "--json")
        if done.returncode:
            message = f"status: {done.returncode} {done.stderr}\n{self.services[-1].report()}"
            raise AssertionError(message)
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def pids(self, role: str) -> list[int]:
        """Return the processes of the generations of a role; of standbys only those that are parked."""
        found = self.status()["generations"]
        return [g["pid"] for g in found if g["role"] == role and (role != "standby" or g["stage"] == "parked")]

    def settle(self, standby: int = 0) -> None:
        """Wait until one generation serves, the standbys are parked, and nothing else is left."""
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            status = self.status()
            if status["phase"] == "up" and len(status["generations"]) == 1 + standby and len(self.pids("standby")) == standby:
                return
            time.sleep(0.05)
        message = f"the service does not settle: {self.ask('status').stdout}"
        raise AssertionError(message)

    @contextlib.contextmanager
    def load(self, server: str, threads: int, *options: str) -> Iterator[dict[str, Any]]:
        """Run the load client meanwhile; its result fills the dictionary at the end of the block."""
        result: dict[str, Any] = {}
        words = [sys.executable, "-I", str(CHECKOUT / "benchmarks/load.py"), "--port", "80", "--threads", str(threads)]
        with self.network.entered():
            client = subprocess.Popen([*words, "--body", self.body(server), *options], stdout=subprocess.PIPE, text=True)
        try:
            yield result
        finally:
            client.send_signal(signal.SIGTERM)
            result.update(json.loads(client.communicate(timeout=120)[0]))

    def census(self, service: Service) -> dict[str, int]:
        """Return open descriptors of supervisor and worker, and the supervisor's memory (PSS and RSS, KiB)."""
        status = self.status()
        (worker,) = self.pids("serving")
        memory = status["supervisor"]["memory"]
        return {
            "supervisor_fds": len(os.listdir(f"/proc/{service.pid}/fd")),
            "worker_fds": len(os.listdir(f"/proc/{worker}/fd")),
            "supervisor_pss": memory["pss"],
            "supervisor_rss": memory["rss"],
            "processes": len(self.network.processes()),
        }

    def broken(self, kind: str) -> list[str]:
        """Return arguments of a program that cannot take over: jar (no jar at all), never-binds, exits."""
        if kind == "jar":
            path = self.folder / "broken.jar"
            path.write_bytes(b"no jar")
            return ["-jar", str(path)]
        classes = compile_java(sorted((CHECKOUT / "tests/supervision/java").glob("*.java")), self.folder / "app")
        jar = write_jar(self.folder / f"{kind}.jar", classes, {"Main-Class": "service.App"})
        return ["-jar", str(jar), "hang=" if kind == "never-binds" else "exit=3"]


def show(what: str, **figures: object) -> None:
    """Print one result as a line of JSON."""
    sys.stdout.write(json.dumps({"what": what, **figures}) + "\n")
    sys.stdout.flush()
