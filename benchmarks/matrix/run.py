"""Runs one server of the matrix under plain `java` and under jvmbind, on one JDK, and says what it saw.

Imported by __main__ of this folder, as root. Each run has a network namespace and a folder of its own. Plain `java` runs as
the service user too, in a namespace in which every user may bind low ports; jvmbind's namespace keeps the limit at 1024.
"""

# ruff: noqa: INP001 - programs of their own, no package
from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING, Any

from recipe import Recipe, Site
from stage import JVMBIND, Stage
from traffic import Client, Traffic, attempt

from support import procfs
from support.runner import as_user
from support.service import Service
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

START = 120.0
LOSSES = ("refused", "reset", "timeout", "wrong")


class Bench(Stage):
    """A stage on which one server runs, and the notes of what was seen."""

    def __init__(self, java: str, recipe: Recipe) -> None:
        """Lay the server out."""
        super().__init__(java)
        self.recipe = recipe
        self.failures: list[str] = []
        base = self.folder / "site"
        base.mkdir()
        os.chown(base, self.user.uid, self.user.gid)
        self.site = Site(recipe, self.jdk, self.user, base)
        self.words = recipe.prepare(self.site)

    def launch(self, command: list[str]) -> Service:
        """Start a command in the server's folder, with the variables that the server needs."""
        environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "JAVA_HOME": str(self.jdk.home), **self.site.environment}
        if "HOME" not in environment:
            environment["HOME"] = str(self.site.base)
        number = len(self.services)
        service = Service(command, network=self.network, directory=self.folder, name=f"service-{number}",
                          environment=environment, cwd=self.site.cwd or self.site.base)  # fmt: skip
        self.services.append(service)
        return service

    def client(self, port: int) -> Client:
        """Return a client of the server."""
        self.talker = Client(self.network, port, self.site)
        return self.talker

    def first_answer(self, service: Service, client: Client, timeout: float = START) -> float:
        """Wait for the first good exchange; return the seconds it took, raise AssertionError with the last reason."""
        begun = time.monotonic()
        client.timeout = 5.0
        kind, why = "", ""
        while time.monotonic() - begun < timeout:
            if not service.running() and not self.recipe.script:
                break
            kind, why = attempt(self.recipe.exchange, client)
            if kind == "ok":
                client.timeout = type(client).__dataclass_fields__["timeout"].default
                return round(time.monotonic() - begun, 2)
            if not service.running() and not self.network.processes():
                break
            time.sleep(0.01)
        state = "runs" if service.running() else f"ended with {service.process.returncode}"
        last = [line for line in (service.stdout + "\n" + service.stderr).splitlines() if line.strip()][-12:]
        message = f"no answer in {time.monotonic() - begun:.0f} s ({kind}: {why}); it {state}; last lines: " + " | ".join(last)
        raise AssertionError(message)

    def ended(self, service: Service, timeout: float = 90.0) -> tuple[float, int]:
        """Send SIGTERM as a service manager does, wait until nothing is left; return the seconds and the exit status."""
        self.talker.close()
        begun = time.monotonic()
        if JVMBIND[0] == service.command[0]:
            service.process.terminate()
        else:
            for pid in self.network.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        status = service.wait(timeout)
        wait_until(lambda: not self.network.processes(), timeout, "the end of the last process")
        return round(time.monotonic() - begun, 2), status

    def jvms(self) -> list[int]:
        """Return the processes with a JVM that hold the listener."""
        end = f":{self.recipe.port}"
        inodes = {row.inode for row in self.network.sockets() if row.open and row.local.endswith(end)}
        found = []
        for pid in self.network.processes():
            with contextlib.suppress(OSError):
                held = {procfs.socket_inode(target) for target in procfs.descriptors(pid).values()}
                if procfs.is_jvm(pid) and held & inodes:
                    found.append(pid)
        return found


def plain(java: str, recipe: Recipe) -> dict[str, Any]:
    """Run the server under plain `java`."""
    with Bench(java, recipe) as bench:
        bench.network.set_sysctl("net/ipv4/ip_unprivileged_port_start", "0")
        command = bench.words if recipe.script else [bench.jdk.java, *bench.words]
        service = bench.launch([*as_user(bench.user.name), *command])
        try:
            first = bench.first_answer(service, bench.client(recipe.plain_port or recipe.port))
        except AssertionError as failure:
            return {"failure": str(failure)}
        time.sleep(1)  # what a server does after its first answer, it has done
        seconds, status = bench.ended(service)
        return {"first": first, "stop": seconds, "status": status}


def supervised(java: str, recipe: Recipe, reloads: int) -> dict[str, Any]:
    """Run the server under jvmbind: serve, reload, kill, stop."""
    with Bench(java, recipe) as bench:
        result: dict[str, Any] = {}
        try:
            with _phase(bench, result, "serve"):
                service, client = _serve(bench, result)
        except AssertionError:
            return {**result, "failures": bench.failures}
        with _phase(bench, result, "reload"):
            result["reload"] = _reload(bench, client, reloads)
        stores = hasattr(recipe.exchange, "verify")
        if stores:
            with _phase(bench, result, "data"):
                result["data"] = _data(bench, client)
        with _phase(bench, result, "kill"):
            result["kill"] = _kill(bench, client)
        if stores:
            with _phase(bench, result, "data"):
                result["data_after_kill"] = _data(bench, client, killed=True)
        with _phase(bench, result, "stop"):
            time.sleep(1)
            bench.settle()
            seconds, status = bench.ended(service)
            result |= {"stop": seconds, "status": status}
            service.assert_nothing_left()
            service.assert_quiet()
        if recipe.own_stop:
            with _phase(bench, result, "own stop"):
                result["own_stop"] = _own_stop(bench)
        if bench.failures:
            result["log"] = _own_lines(bench.services[0])
        return {**result, "failures": bench.failures}


def _own_stop(bench: Bench) -> dict[str, Any]:
    """Start it again, and let the distribution's own command stop it, as the service user."""
    service, _ = _serve(bench, {})
    script, words = bench.words[0], bench.recipe.own_stop.split()
    command = (
        [os.path.normpath(os.path.join(os.path.dirname(script), words[0])), *words[1:]] if "/" in words[0] else [script, *words]
    )
    begun = time.monotonic()
    own = bench.launch([*as_user(bench.user.name), *command])
    status = service.wait(START)
    own.wait(START)
    if "died" in service.stderr:
        raise AssertionError(f"it was started again: {_own_lines(service)}")
    service.assert_nothing_left()
    return {"seconds": round(time.monotonic() - begun, 2), "status": status}


@contextlib.contextmanager
def _phase(bench: Bench, result: dict[str, Any], name: str) -> Iterator[None]:
    try:
        yield
    except AssertionError as failure:
        bench.failures.append(f"{name}: {str(failure)[:1500]}")
        if name == "serve":
            result["log"] = _own_lines(bench.services[0])
            raise


def _own_lines(service: Service) -> list[str]:
    return [line for line in service.stderr.splitlines() if line.startswith(("jvmbind", "INFO", "WARNING", "ERROR"))][-25:]


def _serve(bench: Bench, result: dict[str, Any]) -> tuple[Service, Client]:
    recipe = bench.recipe
    passed = [word for name in bench.site.environment for word in ("-e", name)]
    listeners = [word for spec in recipe.listen for word in ("-l", spec)]
    options = ["--java-home", str(bench.jdk.home), "-n", recipe.key, "-u", bench.user.name, "--control-socket", str(bench.socket)]
    options += ["--start-timeout", "60", *passed, *listeners, *recipe.options]
    service = bench.launch([*JVMBIND, "wrap" if recipe.script else "run", *options, "--", *bench.words])
    client = bench.client(recipe.port)
    result["first"] = bench.first_answer(service, client)
    begun = time.monotonic()
    service.expect("generation 1 is ready", stream="stderr", timeout=30)
    result["ready"] = round(result["first"] + time.monotonic() - begun, 2)
    result["threads"] = _prove(bench)
    return service, client


def _prove(bench: Bench) -> int:
    """Prove that no thread of any process has a privilege; return how many threads there are."""
    who = bench.user
    threads = 0
    for pid in bench.network.processes():
        try:
            threads += procfs.assert_dropped(pid, uid=who.uid, gid=who.gid, groups=who.groups)
        except FileNotFoundError:
            continue
    if threads < 2:
        raise AssertionError("no process to look at")
    return threads


def _reload(bench: Bench, client: Client, count: int) -> dict[str, Any]:
    seconds, answers = [], []
    with Traffic(bench.recipe.exchange, client, bench.recipe.threads) as traffic:
        for _ in range(count):
            time.sleep(0.5)
            before = bench.jvms()
            begun = time.monotonic()
            done = bench.ask("reload")
            seconds.append(round(time.monotonic() - begun, 2))
            answers.append(f"{done.returncode} {done.stdout.strip()} {done.stderr.strip()}".strip())
            after = bench.jvms()
            if done.returncode:
                bench.failures.append(f"reload: refused or failed: {answers[-1]}")
            elif not set(after) - set(before):
                bench.failures.append(f"reload: said done, and there is no new JVM: {before} -> {after}")
        time.sleep(0.5)
    found = traffic.result()
    lost = {kind: found[kind] for kind in LOSSES if kind in found}
    if lost:
        bench.failures.append(f"reload: lost {lost} of {sum(traffic.counts.values())}: {traffic.problems[:4]}")
    return {"seconds": seconds, "answers": answers, "load": found}


def _kill(bench: Bench, client: Client) -> dict[str, Any]:
    bench.settle()
    victims = bench.jvms()
    if not victims:
        raise AssertionError("no JVM holds the listener")
    client.timeout = START if not bench.recipe.datagram else client.timeout
    with Traffic(bench.recipe.exchange, client, 2) as traffic:
        time.sleep(0.3)
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        begun = time.monotonic()
        wait_until(lambda: not set(victims) & set(bench.network.processes()), 10, "the end of the killed JVM")
        kind, why = attempt(bench.recipe.exchange, client)
        while kind in {"reset", "wrong"} and time.monotonic() - begun < START:  # a connection that died with the JVM
            kind, why = attempt(bench.recipe.exchange, client)
        seconds = round(time.monotonic() - begun, 2)
        if kind != "ok":
            bench.failures.append(f"kill: not served again: {kind} {why}")
    found = traffic.result()
    for loss in ("refused", "timeout"):
        if found.get(loss) and not (loss == "timeout" and bench.recipe.datagram):
            bench.failures.append(f"kill: {loss} {found[loss]}: {traffic.problems[:4]}")
    _prove(bench)
    return {"seconds": seconds, "load": found}


def _data(bench: Bench, client: Client, *, killed: bool = False) -> dict[str, int]:
    """Compare what the server has with what it has confirmed.

    What a server that was `killed` had not yet brought to its disk is a figure and no failure: that is between it and `kill -9`.
    """
    found = bench.recipe.exchange.verify(client)  # type: ignore[attr-defined]
    confirmed = len(client.acknowledged)
    missing = len(set(client.acknowledged) - set(found))
    if getattr(bench.recipe.exchange, "consumes", False):
        client.acknowledged.clear()
    twice = len(found) - len(set(found))
    if twice or (missing and not killed):
        bench.failures.append(f"data: of {confirmed} confirmed records {missing} are missing, {twice} are there twice")
    return {"confirmed": confirmed, "missing": missing, "twice": twice}
