"""`jvmbind metrics [NAME] [--serve ADDR]`: what services do, as OpenMetrics.

Runs as any user, in a process of its own that asks supervisors over their control sockets, as `jvmbind status` does; a
supervisor has neither HTTP nor this library in it. Needs prometheus_client, an optional dependency.
"""

from __future__ import annotations

import argparse
import contextlib
import http.server
import socket
import socketserver
import sys
import threading
from typing import TYPE_CHECKING, Any, NoReturn

from jvmbind.cli.control import ask, services
from jvmbind.config.named import configured
from jvmbind.errors import JvmbindError, PortUnavailableError, SystemFailureError, UsageError, in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

    _Samples = Iterator[tuple[tuple[str, ...], float]]  # labels, and the value
    _Values = Callable[[dict[str, Any]], _Samples]

_MOMENT = 3.0  # seconds without a word, after which a supervisor counts as silent
_PATIENCE = 10.0  # seconds for a client to say what it wants
_AT_ONCE = 16  # clients
# What an answer may lead to: a supervisor of another version does not count all of it, and a service's user may send anything.
_NOT_COUNTED = (TypeError, ValueError, LookupError, AttributeError, OverflowError)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Report wrong usage in one line, with status 64."""
        msg = f"metrics: {message} (jvmbind metrics --help)"
        raise UsageError(msg)


def main(argv: list[str]) -> None:
    """Run the command; raises JvmbindError. With --serve it does not return."""
    parser = _Parser(prog="jvmbind metrics", description="Print or serve what services do, as OpenMetrics.", allow_abbrev=False)
    parser.add_argument(
        "name",
        metavar="NAME",
        nargs="?",
        help="the service, by name or by the path of its control socket; default all that are configured or run",
    )
    parser.add_argument("--serve", metavar="[HOST:]PORT", help="answer HTTP requests there for /metrics; HOST: default 127.0.0.1")
    options = parser.parse_args(argv)
    address = _address(options.serve) if options.serve is not None else None
    registry = _registry(options.name)
    if address is None:
        if options.name is not None and "/" not in options.name and options.name not in {*services(), *configured()}:
            msg = f"no service named {options.name!r} is running or configured"
            raise PortUnavailableError(msg)
        from prometheus_client.openmetrics.exposition import generate_latest  # noqa: PLC0415 - _registry has said if it is missing

        text: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]
        sys.stdout.write(text.decode())
        sys.stdout.flush()
        return
    _serve(registry, *address)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        msg = f"metrics: --serve {text}: expected [HOST:]PORT, with a port from 1 to 65535"
        raise UsageError(msg)
    return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)


def _registry(name: str | None) -> CollectorRegistry:
    try:
        from prometheus_client import CollectorRegistry  # noqa: PLC0415 - an optional dependency
        from prometheus_client.registry import Collector  # noqa: PLC0415
    except ImportError as error:
        msg = (
            "metrics: the Python package prometheus_client is missing; expected "
            "pip install 'jvmbind[metrics]', or apt-get install python3-prometheus-client"
        )
        raise SystemFailureError(msg) from error

    class Services(Collector):
        def collect(self) -> Iterator[Metric]:
            return families(dict(_answers(name)))

        def describe(self) -> Iterator[Metric]:  # else it is asked once more, at its registration
            return iter(())

    registry = CollectorRegistry()
    registry.register(Services())
    return registry


def _answers(name: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the status of each service by its name, {} where it does not run or does not answer."""
    if name is not None and "/" in name:
        answer = ask(name, "status", _MOMENT)
        yield str(answer["name"]), answer
        return
    running = services()
    names = {name} if name is not None else {*running, *configured()}
    for one in sorted(names):
        try:
            yield one, ask(running[one], "status", _MOMENT, found_by_name=True) if one in running else {}
        except PortUnavailableError:
            # A socket that nobody has removed, of a service that no file knows: it is gone.
            if one == name or one in configured():
                yield one, {}
        except JvmbindError as error:
            sys.stderr.write(f"jvmbind: {error}\n")
            yield one, {}


def families(answers: dict[str, dict[str, Any]]) -> Iterator[Metric]:
    """Yield the families of metrics of services, made of what each says of itself ({}: nothing)."""
    from prometheus_client.core import (  # noqa: PLC0415 - an optional dependency
        CounterMetricFamily,
        GaugeMetricFamily,
        SummaryMetricFamily,
    )

    def gauge(name: str, text: str, values: _Values, *labels: str) -> Metric:
        return _fill(GaugeMetricFamily(f"jvmbind_{name}", text, labels=("service", *labels)), answers, values)

    def counter(name: str, text: str, values: _Values, *labels: str) -> Metric:
        return _fill(CounterMetricFamily(f"jvmbind_{name}", text, labels=("service", *labels)), answers, values)

    up = GaugeMetricFamily("jvmbind_up", "Whether the supervisor answers.", labels=("service",))
    for name, answer in answers.items():
        up.add_metric((name,), float(bool(answer)))
    yield up
    yield gauge("ready", "Whether the service is ready.", lambda one: _one(one["ready"]))
    yield gauge("generation", "Number of the generation that serves, 0 for none.", lambda one: _one(_serving(one)))
    yield gauge("start_time_seconds", "When the supervisor began, in seconds since 1970.", lambda one: _one(one["counts"]["since"]))
    yield counter("restarts", "Generations that followed another, by reason.", _restarts, "reason")
    yield counter("reloads", "Reloads, by result.", lambda one: _changes(one, "reload"), "result")
    yield counter("restart_requests", "Restarts that were asked for, by result.", lambda one: _changes(one, "restart"), "result")
    yield counter("deaths", "Ends of generations, by signal, or exit.", _deaths, "cause", "asked")
    ready = SummaryMetricFamily("jvmbind_time_to_ready_seconds", "From a start to the first client served.", labels=("service",))
    for name, answer in answers.items():
        with contextlib.suppress(*_NOT_COUNTED):
            if found := answer.get("counts", {}).get("ready"):
                ready.add_metric((name,), int(found["number"]), float(found["seconds"]))
    yield ready
    yield gauge("last_time_to_ready_seconds", "The last of these times.", lambda one: _one(one["counts"]["ready"]["last"]))
    yield gauge("accept_queue_length", "Connections that wait to be accepted.", lambda one: _queues(one, "queue"), "listener")
    yield gauge("accept_queue_limit", "Connections that may wait.", lambda one: _queues(one, "queue_limit"), "listener")
    yield counter(
        "accept_queue_overflows", "Connections that a full queue has cost.", lambda one: _queues(one, "overflows"), "listener"
    )
    yield gauge("draining_connections", "Connections of generations that are drained.", lambda one: _one(_drained(one, 0)))
    yield gauge("draining_connections_in_work", "Those with a request in work.", lambda one: _one(_drained(one, 1)))
    yield gauge(
        "memory_pss_bytes", "Memory, shared pages divided among those that share them.", lambda one: _memory(one, "pss"), "role"
    )
    yield gauge(
        "memory_rss_bytes", "Memory, shared pages counted for each that shares them.", lambda one: _memory(one, "rss"), "role"
    )


def _fill(family: Any, answers: dict[str, dict[str, Any]], values: _Values) -> Metric:  # noqa: ANN401 - either kind of family
    for name, answer in answers.items():
        try:
            for labels, value in list(values(answer)) if answer else []:
                family.add_metric((name, *labels), float(value))
        except _NOT_COUNTED:
            continue
    filled: Metric = family
    return filled


def _one(value: float) -> _Samples:
    yield (), value


def _serving(answer: dict[str, Any]) -> int:
    return max((int(one["number"]) for one in answer["generations"] if one["role"] == "serving"), default=0)


def _restarts(answer: dict[str, Any]) -> _Samples:
    found = answer["counts"]["restarts"]
    for reason in ("crash", "exit", "reload", "restart"):
        yield (reason,), found.get(reason, 0)


def _changes(answer: dict[str, Any], kind: str) -> _Samples:
    found = {one["result"]: one["number"] for one in answer["counts"]["changes"] if one["kind"] == kind}
    for result in ("done", "failed", "refused"):
        yield (result,), found.get(result, 0)


def _deaths(answer: dict[str, Any]) -> _Samples:
    for one in answer["counts"]["deaths"]:
        yield (str(one["cause"]), "true" if one["asked"] else "false"), one["number"]


def _queues(answer: dict[str, Any], key: str) -> _Samples:
    for one in answer["listeners"]:
        if one[key] is not None:
            yield (str(one["name"]),), one[key]


def _drained(answer: dict[str, Any], index: int) -> int:
    return sum(int(one["connections"][index]) for one in answer["generations"] if one["role"] == "draining")


def _memory(answer: dict[str, Any], kind: str) -> _Samples:
    sums: dict[str, int] = {}
    for one in ({"role": "supervisor", **answer["supervisor"]}, *answer["generations"]):
        if kind in one["memory"]:
            sums[one["role"]] = sums.get(one["role"], 0) + int(one["memory"][kind]) * 1024
    for role, value in sums.items():
        yield (role,), value


def _serve(registry: CollectorRegistry, host: str, port: int) -> NoReturn:
    """Answer HTTP requests for ever; raises PortUnavailableError."""
    from prometheus_client.exposition import choose_encoder  # noqa: PLC0415 - an optional dependency

    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = _PATIENCE

        def do_GET(self) -> None:
            if self.path.partition("?")[0] not in {"/", "/metrics"}:
                self.send_error(404, explain="expected /metrics")
                return
            encoder, content_type = choose_encoder(self.headers.get("Accept", ""))
            body = encoder(registry)
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: a line for each scrape helps nobody."""

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        places = threading.BoundedSemaphore(_AT_ONCE)

        def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as socketserver has it
            if not self.places.acquire(blocking=False):
                self.shutdown_request(request)  # so many silent clients must not cost a thread each
                return
            super().process_request(request, client_address)

        def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as above
            try:
                super().process_request_thread(request, client_address)
            finally:
                self.places.release()

        def handle_error(self, *_: object) -> None:
            """Say in one line what has become of a request."""
            sys.stderr.write(f"jvmbind: metrics: a request failed: {sys.exc_info()[1]}\n")

    try:
        server = Server((host, port), Handler)
    except OSError as error:
        msg = f"metrics: --serve {host}:{port}: {in_words(error)}"
        raise PortUnavailableError(msg) from error
    with server:
        server.serve_forever()
    sys.exit(0)
