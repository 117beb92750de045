"""Rolling updates of N replicas behind HAProxy, under load: jvmbind beside plain `java`, which gets the very same treatment.

    bash examples/rolling-update/run.sh                   20 updates of 3 replicas each way, a table at the end
    bash examples/rolling-update/run.sh --updates 2 --replicas 2 --only jvmbind

Run as root by run.sh, in network and mount namespaces of its own: each replica has a network namespace with an address, as a
pod has, and nothing of the host is touched. The part of the orchestrator is played as Kubernetes plays it: an update replaces
one replica after the other; a replica that is to go is taken out of the balancer *while* its preStop pause goes on, not before;
then it gets SIGTERM, SIGKILL after the grace period; its successor gets clients once its readiness probe has succeeded.
The status is 0 if jvmbind has lost no request. Standard library alone.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

HERE = Path(__file__).resolve().parent
LOAD = HERE.parents[1] / "benchmarks" / "load.py"
USER = "www-data"
KINDS = ("refused", "reset", "timeout", "wrong")
# Generous: only a replica that will never be ready is given up by it.
PATIENCE = 120.0

_BALANCER = """global
    stats socket {folder}/balancer level admin
defaults
    mode http
    timeout connect 20s
    timeout client 60s
    timeout server 60s
    retries 0
frontend shop
    bind 127.0.0.1:80
    default_backend replicas
backend replicas
    balance roundrobin
    http-reuse never
"""


def run(*words: str) -> None:
    """Run a command; raises CalledProcessError."""
    subprocess.run(words, check=True)


@dataclass
class Replica:
    """A network namespace with an address, and the service in it."""

    number: int
    folder: Path
    options: argparse.Namespace
    log: IO[bytes]
    holder: subprocess.Popen[bytes]
    service: subprocess.Popen[bytes] | None = None
    version: str = ""

    @property
    def address(self) -> str:
        """The address that the balancer knows."""
        return f"10.77.{self.number}.2"

    def inside(self, *words: str) -> list[str]:
        """Return the words that run a command in the namespace."""
        return ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", *words]

    def link(self) -> None:
        """Connect the namespace with the balancer's by a pair of virtual interfaces: veth(4)."""
        here, there = f"shop{self.number}", "eth0"
        run("ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", str(self.holder.pid))
        run("ip", "address", "add", f"10.77.{self.number}.1/30", "dev", here)
        run("ip", "link", "set", here, "up")
        run(*self.inside("ip", "address", "add", f"{self.address}/30", "dev", there))
        run(*self.inside("ip", "link", "set", there, "up"))
        run(*self.inside("ip", "link", "set", "lo", "up"))

    def start(self, way: str, version: str) -> None:
        """Start a version and wait until its readiness probe succeeds; raises RuntimeError where it ends instead."""
        self.version = f"{way} {version}"
        java = ["-XX:+UseSerialGC", "-Xmx64m", f"-Dversion={version}", "-cp", str(self.folder), "Shop"]
        if way == "jvmbind":
            name = f"shop{self.number}"
            words = [*shlex.split(self.options.jvmbind), "run", "-n", name, "-l", "80", "-u", USER]
            words += ["--stop-drain-timeout", "10", "--java-home", self.options.java_home, "--", *java]
            probe = [*shlex.split(self.options.jvmbind), "status", "--field", "ready", name]
        else:
            # As in a container whose first port is 0: the namespace is the replica's own.
            run(*self.inside("sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start"))
            words = ["setpriv", "--reuid", USER, "--regid", USER, "--init-groups", "--inh-caps=-all", "--bounding-set=-all"]
            words += [f"{self.options.java_home}/bin/java", *java]
            probe = []
        self.service = subprocess.Popen(self.inside(*words), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        until = time.monotonic() + PATIENCE
        while not (self._succeeds(probe) if probe else self._answers()):
            if self.service.poll() is not None or time.monotonic() > until:
                msg = f"replica {self.number}, {self.version}: not ready; see {self.log.name}"
                raise RuntimeError(msg)
            time.sleep(0.1)  # the probe's period

    def _succeeds(self, probe: list[str]) -> bool:
        """Whether a command in the replica ends with 0: an exec probe."""
        return subprocess.run(self.inside(*probe), capture_output=True, check=False).returncode == 0

    def _answers(self) -> bool:
        """Whether it answers a request: an httpGet probe."""
        try:
            with socket.create_connection((self.address, 80), 5) as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return client.recv(64).split()[1:2] == [b"200"]
        except OSError:
            return False

    def stop(self) -> None:
        """SIGTERM, and SIGKILL after the grace period."""
        if self.service is None:
            return
        self.service.send_signal(signal.SIGTERM)
        try:
            self.service.wait(self.options.grace)
        except subprocess.TimeoutExpired:
            self.service.kill()
            self.service.wait()


class Balancer:
    """HAProxy, and its list of replicas: what the endpoints of a Kubernetes service are."""

    def __init__(self, folder: Path, replicas: list[Replica], log: IO[bytes]) -> None:
        """Start it; it sends clients to nobody yet."""
        self._socket = folder / "balancer"
        config = folder / "haproxy.cfg"
        servers = "".join(f"    server replica{replica.number} {replica.address}:80 disabled\n" for replica in replicas)
        config.write_text(_BALANCER.format(folder=folder) + servers)
        self.process = subprocess.Popen(["haproxy", "-db", "-f", str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + PATIENCE
        while not self._socket.exists():
            if self.process.poll() is not None or time.monotonic() > until:
                msg = f"haproxy did not start; see {log.name}"
                raise RuntimeError(msg)
            time.sleep(0.02)

    def say(self, replica: Replica, state: str) -> None:
        """`ready`: it gets clients; `drain`: no new ones. HAProxy management guide, "set server"."""
        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(str(self._socket))
            admin.sendall(f"set server replicas/replica{replica.number} state {state}\n".encode())
            answer = admin.recv(4096).decode().strip()
        if answer:
            msg = f"haproxy: {answer}"
            raise RuntimeError(msg)


def update(replica: Replica, balancer: Balancer, way: str, version: str, options: argparse.Namespace) -> None:
    """Replace one replica as a rolling update does."""
    # The endpoint is removed while preStop runs: nobody waits for it but this pause.
    endpoint = threading.Timer(options.propagation, balancer.say, (replica, "drain"))
    endpoint.start()
    time.sleep(options.pre_stop)
    replica.stop()
    endpoint.join()
    replica.start(way, version)
    balancer.say(replica, "ready")


def measure(way: str, replicas: list[Replica], balancer: Balancer, options: argparse.Namespace) -> dict[str, object]:
    """Start the replicas, update them under load, stop them; return what the clients saw."""
    for replica in replicas:
        replica.start(way, "version-0")
        balancer.say(replica, "ready")
    load = [sys.executable, "-I", str(LOAD), "--port", "80", "--path", "/buy", "--body", "^sold by version-", "--mode", "close"]
    client = subprocess.Popen([*load, "--threads", "16", "--pause", "0.01", "--timeout", "60"], stdout=subprocess.PIPE)
    try:
        for number in range(1, options.updates + 1):
            for replica in replicas:
                update(replica, balancer, way, f"version-{number}", options)
            sys.stderr.write(f"{way}: update {number} of {options.updates} is done\n")
    finally:
        client.send_signal(signal.SIGTERM)
        said = client.communicate()[0]
    for replica in replicas:
        balancer.say(replica, "drain")
        replica.stop()
    answer: dict[str, object] = json.loads(said)
    return answer


def main() -> int:
    """Run both ways in turn behind the same balancer, and print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description="Rolling updates behind HAProxy, under load.", allow_abbrev=False)
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--only", choices=("jvmbind", "java"), help="one way alone; default both")
    parser.add_argument("--pre-stop", type=float, default=1.0, help="seconds between the decision and SIGTERM")
    parser.add_argument("--propagation", type=float, default=0.5, help="seconds until the balancer has heard of the decision")
    parser.add_argument("--grace", type=float, default=60.0, help="seconds between SIGTERM and SIGKILL")
    parser.add_argument("--jvmbind", default="jvmbind", help="the command, as a shell would split it")
    parser.add_argument("--java-home", required=True)
    options = parser.parse_args()
    results: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory(prefix="rolling-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        run(f"{options.java_home}/bin/javac", "-d", name, str(HERE / "Shop.java"))
        log = stack.enter_context(open(os.environ.get("ROLLING_LOG", f"{name}/log"), "ab", buffering=0))
        replicas = []
        for number in range(options.replicas):
            holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
            stack.callback(end, holder)
            replicas.append(Replica(number, folder, options, log, holder))
        for replica in replicas:
            stack.callback(lambda replica=replica: replica.service and end(replica.service))
            wait_for_namespace(replica.holder)
            replica.link()
        balancer = Balancer(folder, replicas, log)
        stack.callback(end, balancer.process)
        for way in [options.only] if options.only else ["jvmbind", "java"]:
            results[way] = measure(way, replicas, balancer, options)
    sys.stdout.write(f"{'':8}  answered  {'  '.join(f'{kind:>7}' for kind in KINDS)}  longest answer\n")
    for way, counts in results.items():
        lost = "  ".join(f"{counts[kind]!s:>7}" for kind in KINDS)
        sys.stdout.write(f"{way:8}  {counts['ok']!s:>8}  {lost}  {counts['worst']!s:>12} s\n")
    sys.stdout.write(json.dumps(results) + "\n")
    return 0 if "jvmbind" not in results or not any(results["jvmbind"][kind] for kind in KINDS) else 1


def wait_for_namespace(holder: subprocess.Popen[bytes]) -> None:
    """Wait until unshare(1) has made the namespace and become the sleeper."""
    until = time.monotonic() + PATIENCE
    while os.readlink(f"/proc/{holder.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
        if time.monotonic() > until or holder.poll() is not None:
            msg = "unshare: no network namespace was made"
            raise RuntimeError(msg)
        time.sleep(0.01)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that still runs, and collect it."""
    if process.poll() is None:
        process.kill()
    process.wait()


if __name__ == "__main__":
    sys.exit(main())
