"""Listeners that are there before the service: sockets that the program holds, ports that the kernel chooses, LISTEN_FDS.

Run by pytest as root, in a network namespace of the run.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import jvmbind
from support.jdks import Jdk
from support.runner import QUICK_JVM
from support.users import SERVICE_USER

pytestmark = [pytest.mark.root, pytest.mark.jvm]


def java(jdk: Jdk, probes: Path, *ports: int) -> jvmbind.Java:
    """Return a server that binds these ports."""
    words = [word for port in ports for word in ("*", str(port))]
    return {
        "main": "probe.ChannelServer",
        "classpath": probes,
        "args": words,
        "home": str(jdk.home),
        "options": QUICK_JVM,
    }


def ask(port: int) -> str:
    """Return what a server answers at a port."""
    with socket.create_connection(("127.0.0.1", port), 30) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: client.recv(4096), b"")).decode()


def test_sockets_that_the_program_holds(jdk: Jdk, probes: Path) -> None:
    """A socket object and a descriptor are the service's listeners, and stay the program's; the reload keeps them."""
    before = os.listdir("/proc/self/fd")
    with socket.create_server(("", 80)) as http, socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        service = jvmbind.Service(
            user=SERVICE_USER,
            listen={"http": http, "other": f"fd:{other.fileno()}:8443"},
            java=java(jdk, probes, 80, 8443),
            quiet=True,
        )
        with service.start(stdout=subprocess.DEVNULL) as running:
            assert running.ports == {"http": 80, "other": port}
            running.wait_ready()
            assert {one.name: one.port for one in running.status().listeners} == running.ports
            assert "channel local=" in ask(80)
            assert "channel local=" in ask(port)
            assert running.reload().generation == 2
            assert "channel local=" in ask(80)
        assert http.fileno() >= 0
        with socket.create_connection(("127.0.0.1", 80)):
            pass  # the program's own socket is open still
    assert os.listdir("/proc/self/fd") == before


def test_any_free_port(jdk: Jdk, probes: Path) -> None:
    """Port 0 is one that the kernel chooses, another at each start; the handle says which from the start on."""
    service = jvmbind.Service(
        user=SERVICE_USER,
        listen={"http": "127.0.0.1:0:8080"},
        java=java(jdk, probes, 8080),
        quiet=True,
        supervise={"start_timeout": 60},
    )
    before = os.listdir("/proc/self/fd")
    with service.start(stdout=subprocess.DEVNULL) as one, service.start(stdout=subprocess.DEVNULL) as two:
        assert one.ports["http"] != two.ports["http"]
        for running in (one, two):
            assert "channel local=" in ask(running.ports["http"])  # a client waits in the queue until it is served
            running.wait_ready()
            assert running.status().listeners[0].port == running.ports["http"]
    assert os.listdir("/proc/self/fd") == before


def test_asyncio_has_them_too(jdk: Jdk, probes: Path) -> None:
    """The handle for asyncio passes the same sockets."""

    async def main() -> str:
        with socket.create_server(("127.0.0.1", 0)) as held:
            port = held.getsockname()[1]
            service = jvmbind.AsyncService(user=SERVICE_USER, listen=[held], java=java(jdk, probes, port), quiet=True)
            async with await service.start(stdout=subprocess.DEVNULL) as running:
                await running.wait_ready()
                return await asyncio.to_thread(ask, running.ports[str(port)])

    assert "channel local=" in asyncio.run(main())


def test_listen_fds_is_passed_on(jdk: Jdk, probes: Path) -> None:
    """What systemd has passed to the program and the service declares is the service's; the program's own socket is not."""
    code = f"""
    import os, socket, sys
    socks = [socket.create_server(("", 443)), socket.create_server(("", 9000))]
    for number, sock in enumerate(socks):
        os.dup2(sock.fileno(), 103 + number)
    for number, sock in enumerate(socks):
        sock.close()
        os.dup2(103 + number, 3 + number)
        os.close(103 + number)
    os.environ |= {{"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "web:own"}}
    import jvmbind
    service = jvmbind.Service(user={SERVICE_USER!r}, listen={{"https": 443}}, java={java(jdk, probes, 443)!r}, quiet=True)
    with service.start(stdout=-3) as running:
        running.wait_ready()
        print([(one.name, one.port) for one in running.status().listeners])
    """.replace("PosixPath", "str")
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", textwrap.dedent(code)],
        text=True,
        capture_output=True,
        timeout=100,
        check=False,
        cwd="/",
    )

    assert (done.returncode, done.stdout) == (0, "[('https', 443)]\n"), done.stderr


def closed() -> socket.socket:
    """Return a socket that was closed."""
    sock = socket.create_server(("127.0.0.1", 0))
    sock.close()
    return sock


def unbound() -> socket.socket:
    """Return a socket that is bound to nothing."""
    return socket.socket()


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (closed, ValueError, "listen['http']: descriptor -1: Bad file descriptor; expected a bound socket"),
        (unbound, ValueError, "expected a socket that is bound to a port"),
        (lambda: open("/dev/null", encoding="utf-8"), ValueError, "listen['http']: descriptor"),  # noqa: SIM115
        (lambda: "fd:x", ValueError, "listen['http']: expected fd:NUMBER or fd:NUMBER:APP_PORT, got 'fd:x'"),
        (lambda: "fd:1:70000", ValueError, "listen['http']: expected fd:NUMBER or fd:NUMBER:APP_PORT"),
        (lambda: "fd:999", ValueError, "listen['http']: descriptor 999: Bad file descriptor"),
        (lambda: "8080:0", ValueError, "listen['http']: listener 'http=8080:0', character 11: expected a port from 1 to 65535"),
    ],
    ids=["closed", "unbound", "file", "no number", "wrong port", "no descriptor", "application's port 0"],
)
def test_sockets_that_can_be_no_listeners(make: Any, kind: type[Exception], message: str) -> None:
    """A socket that cannot be a listener is refused by the name of the argument, before anything is started."""
    held = make()
    with pytest.raises(kind, match=re.escape(message)):
        jvmbind.Service(java={"jar": "/x.jar"}, listen={"http": held})
    if not isinstance(held, str):
        held.close()


def test_a_socket_that_was_closed_since() -> None:
    """What is passed is what was described: a socket closed between Service() and start() is refused, and nothing is left."""
    sock = socket.create_server(("127.0.0.1", 0))
    service = jvmbind.Service(java={"jar": "/x.jar"}, listen=[sock])
    sock.close()
    before = os.listdir("/proc/self/fd")
    with pytest.raises(ValueError, match=r"listen\[0\]: descriptor -1"):
        service.start(stdin=subprocess.PIPE)

    assert os.listdir("/proc/self/fd") == before
