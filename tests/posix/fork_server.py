"""Calls test functions, each in a child of its own: `python -I fork_server.py SOCKET`, started by conftest.py, as root or not.

A fresh interpreter for each test would spend most of its time on imports. This one imports a test file once and then only
forks: it has one thread, and runs nothing of a test itself. A request is a line of JSON (file, function, pickled
arguments) with three descriptors that become the child's standard ones; the answer to it is two numbers: the pid of the
child, and when that has ended its status (42 passed, 77 skipped, else failed; minus a signal's number). Ends with its client.
"""

from __future__ import annotations

import base64
import ctypes
import gc
import importlib.util
import json
import os
import pickle
import socket
import struct
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).parent.parent))

import pytest

from support.network import CLONE_NEWNET, set_loopback_up

# Not 0: a test that leaves by exit(0) has not been through.
PASSED, SKIPPED = 42, 77
NUMBER = struct.Struct("=i")
_libc = ctypes.CDLL(None, use_errno=True)


def load(path: str) -> ModuleType:
    """Import a test file."""
    spec = importlib.util.spec_from_file_location("tested", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tested"] = module
    spec.loader.exec_module(module)
    return module


def call(module: ModuleType | None, path: str, name: str, arguments: str) -> int:
    """Call the function in a network of its own; what could not be imported is imported here, to say why."""
    try:
        if os.geteuid() == 0:
            assert _libc.unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            set_loopback_up()
        getattr(module or load(path), name)(**pickle.loads(base64.b64decode(arguments)))
    except pytest.skip.Exception as skipped:
        print(skipped.msg)
        return SKIPPED
    except BaseException:  # noqa: BLE001 - whatever it is, it is the outcome
        traceback.print_exc()
        return 1
    return PASSED


def become(client: socket.socket, fds: list[int], module: ModuleType | None, request: list[str]) -> NoReturn:
    """Be the child: a session, standard descriptors and a network of its own, and nothing else of the server's."""
    status = 1
    try:
        os.setsid()
        client.close()
        for number, fd in enumerate(fds):
            os.dup2(fd, number)
            os.close(fd)
        sys.argv[1:] = request
        status = call(module, *request)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        # At once: threads of the test that still wait, and its filters, must not have a say in the outcome.
        os._exit(status)


def main() -> None:
    """Serve until the client closes its end."""
    client = socket.socket(fileno=int(sys.argv[1]))
    client.set_inheritable(False)
    modules: dict[str, ModuleType | None] = {}
    while True:
        data, fds, _, _ = socket.recv_fds(client, 1 << 20, 3)
        if not data:
            return
        request = json.loads(data)
        path = request[0]
        if path not in modules:
            try:
                modules[path] = load(path)
            except BaseException:  # noqa: BLE001 - the child meets it again, and reports it
                modules[path] = None
            gc.collect()
            gc.freeze()
        module = modules[path]
        if module is not None:
            sys.modules["tested"] = module
        pid = os.fork()
        if pid == 0:
            become(client, fds, module, request)
        for fd in fds:
            os.close(fd)
        client.sendall(NUMBER.pack(pid))
        client.sendall(NUMBER.pack(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))


if __name__ == "__main__":
    main()
