"""Every test of this folder runs in a process of its own, as root in a network namespace of its own.

What is tested changes its process for good: filters, credentials, descriptors, signal masks. And a fork needs a process
with one thread. So pytest only asks `fork_server.py`, whose child calls the test, and reports what that says. Fixtures are
those of tests/conftest.py; their values are passed on by pickle.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import os
import pickle
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

_SERVER = Path(__file__).with_name("fork_server.py")
_PASSED, _SKIPPED = 42, 77
_NUMBER = struct.Struct("=i")
_HANGS = 60.0
"""Seconds after which a test is taken to hang."""


class _Server:
    """The server of this process, started with the first test."""

    def __init__(self) -> None:
        self.socket, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        warnings = ["-W", "error", "-W", "ignore::ResourceWarning"]  # sockets are left to the end of the process
        command = [sys.executable, "-I", *warnings, str(_SERVER), str(its.fileno())]
        with its:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[its.fileno()], start_new_session=True)

    def number(self) -> int:
        """Return the next number of an answer."""
        data = self.socket.recv(_NUMBER.size)
        assert data, "the fork server has ended"
        return int(_NUMBER.unpack(data)[0])

    def end(self) -> None:
        """Close the connection, with which the server ends."""
        self.socket.close()
        self._process.wait(10)


_server = functools.cache(_Server)


def _run(request: list[str]) -> tuple[int, str, str]:
    """Return the status, standard output and standard error of one test; AssertionError if it hangs."""
    server = _server()
    read: dict[int, bytearray] = {}
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as waiting:
        nothing = stack.enter_context(Path(os.devnull).open("rb"))
        fds = [nothing.fileno()]
        for _ in range(2):
            mine, its = os.pipe()
            stack.callback(os.close, mine)
            fds.append(its)
            read[mine] = bytearray()
            waiting.register(mine, selectors.EVENT_READ)
        try:
            socket.send_fds(server.socket, [json.dumps(request).encode()], fds)
        finally:
            os.close(fds[1])
            os.close(fds[2])
        pid = server.number()
        deadline = time.monotonic() + _HANGS
        try:
            # Until the last process that the test has started has closed them too.
            while waiting.get_map():
                ready = waiting.select(max(0.0, deadline - time.monotonic()))
                assert ready or time.monotonic() < deadline, f"hangs; until then: {[bytes(part) for part in read.values()]}"
                for key, _ in ready:
                    data = os.read(key.fd, 1 << 16)
                    read[key.fd] += data
                    if not data:
                        waiting.unregister(key.fd)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)  # with what it has started
            server.number()
            raise
        status = server.number()
    out, err = (bytes(part).decode(errors="replace") for part in read.values())
    return status, out, err


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool:
    """Run the test function in a child process; True tells pytest that it has been called."""
    names = pyfuncitem._fixtureinfo.argnames
    arguments = base64.b64encode(pickle.dumps({name: pyfuncitem.funcargs[name] for name in names})).decode()
    status, out, err = _run([str(pyfuncitem.path), pyfuncitem.function.__name__, arguments])
    sys.stdout.write(out)
    sys.stderr.write(err)
    if status == _SKIPPED:
        pytest.skip(out.strip().splitlines()[-1])
    if status != _PASSED:
        pytest.fail(f"ended with {status}\n{out}{err}", pytrace=False)
    return True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs root where there is none."""
    if os.geteuid() == 0:
        return
    for item in items:
        if item.path.parent == Path(__file__).parent and item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root"))


def pytest_sessionfinish() -> None:
    """End the server."""
    if _server.cache_info().currsize:
        _server().end()
