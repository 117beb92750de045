"""No single errno ends the supervisor. Run by pytest as root; benchmarks/errnos.py tries all of them.

Must not import jvmbind.
"""

from __future__ import annotations

import errno
import os
import platform
import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from support import procfs
from support.injection import Tracer
from support.waiting import wait_until

if TYPE_CHECKING:
    from supervision.conftest import Supervised

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the tracer knows the registers of x86-64")


def crash(supervised: Supervised) -> None:
    """Kill the JVM and wait for the next one."""
    before = supervised.service.worker()
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: [pid for pid in supervised.service.processes() if pid != before and procfs.is_jvm(pid)], 30, "another JVM")


def ask(supervised: Supervised) -> None:
    """Ask for the status, whatever the answer is."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.settimeout(5)
        try:
            sock.connect(str(supervised.socket))
            sock.send(b"status")
            sock.recv(1 << 20)
        except OSError:
            return


def reload(supervised: Supervised) -> None:
    """Reload, whatever becomes of it."""
    supervised.reload()


FAILURES: dict[Callable[[Supervised], None], str] = {
    crash: "poll:ENOMEM waitid:EIO close:EIO pidfd_open:EMFILE socketpair:ENFILE memfd_create:EMFILE clone3:EAGAIN fcntl:EMFILE "
    "recvfrom:ENOMEM write:ENOSPC write:EPIPE read:EIO",
    ask: "accept4:EMFILE accept4:ENFILE recvfrom:EIO openat:EMFILE getsockopt:ENOMEM sendto:EPIPE getdents64:EIO mmap:ENOMEM",
    reload: "pipe2:EMFILE clone3:ENOMEM sendto:EIO sendto:ENOMEM",
}


@pytest.mark.parametrize("do", FAILURES, ids=lambda do: do.__name__)
def test_no_errno_ends_the_service(supervised: Supervised, do: Callable[[Supervised], None]) -> None:
    """10.6: whatever errno a call of the supervisor meets, the service lives, answers and serves a client afterwards."""
    service = supervised.start("http=8080", more="backoff = { first = 0.05, max = 0.1 }\nstart_limit = 1000\nready = 'listen'")
    tracer = Tracer(service.pid)
    try:
        injected = 0
        for pair in FAILURES[do].split():
            call, _, word = pair.partition(":")
            tracer.arm(call, getattr(errno, word))
            do(supervised)
            injected += tracer.disarm()
            assert service.running(), (pair, service.report())
            wait_until(lambda: '"phase": "up"' in supervised.ask("status", "--json").stdout, 60, f"an answer after {pair}")
            assert supervised.version() == "1", pair
        assert injected > len(FAILURES[do].split()) // 2
        assert "Traceback" not in service.stderr
    finally:
        tracer.close()
    assert service.stop() == 143
    service.assert_nothing_left()
