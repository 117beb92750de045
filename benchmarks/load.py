"""A load client that counts what becomes of each connection: ok, refused, reset, timeout, wrong.

Run as a program by the other benchmarks and by tests/supervision: `python benchmarks/load.py --port 80`. It opens
connections as fast as it can, or with a --pause, until SIGTERM or --seconds, and prints the counts as one line of
JSON. Standard library alone; imports nothing of jvmbind.

    ok       a whole answer with status 200
    refused  the connection was refused
    reset    the connection was reset, before or within an answer
    timeout  nothing came for --timeout seconds
    wrong    an answer that is not whole, or has another status, or another body than --body says
    idle     a connection kept alive ended before the next answer began, as HTTP allows (RFC 9112, 9.3.1): asked again elsewhere
"""

# ruff: noqa: INP001 - programs of their own, no package
from __future__ import annotations

import argparse
import json
import re
import signal
import socket
import sys
import threading
import time

KINDS = ("ok", "refused", "reset", "timeout", "wrong", "idle")
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


class EndedError(Exception):
    """The server ended the connection in the middle of an answer, or (`clean`) before its first byte."""

    def __init__(self, *, clean: bool) -> None:
        super().__init__("end of input")
        self.clean = clean


def exchange(connection: socket.socket, path: str, *, last: bool) -> tuple[bytes, bytes]:
    """Send one request and return (head, body) of the whole answer; raises EndedError, OSError."""
    header = b"Connection: close\r\n" if last else b""
    connection.sendall(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: localhost\r\n" + header + b"\r\n")
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(connection, clean=not data)
    head, _, body = data.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    if length is not None:
        while len(body) < int(length[1]):
            body += _more(connection, clean=False)
    elif _CHUNKED.search(head):
        while not body.endswith(b"0\r\n\r\n"):
            body += _more(connection, clean=False)
    else:
        while chunk := connection.recv(65536):
            body += chunk
    return head, body


def _more(connection: socket.socket, *, clean: bool) -> bytes:
    chunk = connection.recv(65536)
    if not chunk:
        raise EndedError(clean=clean)
    return chunk


class Load:
    """Several threads that ask, and what they have seen."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Start nothing yet."""
        self.options = options
        self.counts = dict.fromkeys(KINDS, 0)
        self.worst = 0.0
        self.gap = 0.0
        self.bodies: set[str] = set()
        self.problems: list[str] = []
        self._body = re.compile(options.body.encode())
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._begun = time.monotonic()
        self._last_ok = self._begun

    def run(self) -> None:
        """Ask until the time is over or somebody sends SIGTERM."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._end.set())
        keep = {"close": 0.0, "keep": 1.0, "mix": 0.5}[self.options.mode]
        count = self.options.threads
        threads = [threading.Thread(target=self._ask, args=(i < count * keep,), daemon=True) for i in range(count)]
        for thread in threads:
            thread.start()
        self._end.wait(self.options.seconds)
        self._end.set()
        for thread in threads:
            thread.join(self.options.timeout + 1)

    def _ask(self, keep: bool) -> None:
        while not self._end.is_set():
            begun = time.monotonic()
            kind, why = self._connection(self.options.requests if keep else 1)
            if kind != "ok":
                self._count(kind, why, begun)
            if self.options.pause:
                self._end.wait(self.options.pause)

    def _connection(self, requests: int) -> tuple[str, str]:
        """Make a connection and ask so many times; each whole answer is counted, the end of it all is returned."""
        options = self.options
        try:
            connection = socket.create_connection((options.host, options.port), options.timeout)
        except ConnectionRefusedError as error:
            return "refused", str(error)
        except TimeoutError:
            return "timeout", "connect"
        except OSError as error:
            return "reset", f"connect: {error}"
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for number in range(requests):
                if number and options.pause:
                    self._end.wait(options.pause)
                begun = time.monotonic()
                try:
                    head, body = exchange(connection, options.path, last=number == requests - 1)
                except TimeoutError:
                    return "timeout", f"answer {number + 1}"
                except EndedError as error:
                    return ("idle" if error.clean and number else "wrong"), f"ended in answer {number + 1}, clean={error.clean}"
                except OSError as error:
                    return ("idle" if number and _nothing_came(connection) else "reset"), f"answer {number + 1}: {error}"
                if not head.startswith(b"HTTP/1.1 200") or not self._body.search(body):
                    return "wrong", repr(head[:80] + b" ... " + body[:80])
                self._count("ok", "", begun, body)
                if b"\r\nconnection: close" in head.lower():
                    break
        return "ok", ""

    def _count(self, kind: str, why: str, begun: float, body: bytes = b"") -> None:
        now = time.monotonic()
        with self._lock:
            self.counts[kind] += 1
            self.worst = max(self.worst, now - begun)
            if kind == "ok":
                self.gap = max(self.gap, now - self._last_ok)
                self._last_ok = now
                if len(self.bodies) < 500:
                    self.bodies.add(body[:60].decode(errors="replace"))
            elif len(self.problems) < 20:
                self.problems.append(f"{now - self._begun:.3f} s {kind}: {why}")

    def result(self) -> dict[str, object]:
        """Return the counts, the longest time of an answer and the longest pause between two answers, in seconds."""
        return {
            **self.counts,
            "seconds": round(time.monotonic() - self._begun, 3),
            "worst": round(self.worst, 3),
            "gap": round(self.gap, 3),
            "different_bodies": len(self.bodies),
            "problems": self.problems,
        }


def _nothing_came(connection: socket.socket) -> bool:
    """Whether no byte of an answer is left to be read on a connection that was reset."""
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:
        return True


def main() -> None:
    """Run the client."""
    parser = argparse.ArgumentParser(description="Opens connections as fast as it can and counts what becomes of each.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/")
    parser.add_argument("--body", default="", help="what an answer must contain, a regular expression")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument(
        "--mode", choices=("close", "keep", "mix"), default="mix", help="how connections are used; mix: half and half"
    )
    parser.add_argument("--requests", type=int, default=20, help="requests on a connection that is kept alive")
    parser.add_argument("--timeout", type=float, default=20.0)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between two requests of a thread")
    parser.add_argument("--seconds", type=float, default=None, help="default: until SIGTERM")
    load = Load(parser.parse_args())
    load.run()
    sys.stdout.write(json.dumps(load.result()) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
