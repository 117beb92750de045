"""Clients that mean harm: while they try, another user is served, and afterwards nothing of theirs is left in the broker.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest

from support.broker import GRANTED, Asked
from support.broker_process import Broker
from support.users import OTHER_USER, SERVICE_USER
from support.waiting import wait_until

RULES = (f"allow {SERVICE_USER} tcp * 80", f"allow {OTHER_USER} tcp 127.0.0.0/8 81")
HONEST = Asked("tcp", "", 80)
START = "import os, socket, struct, time\nfrom support.broker import Asked, connect, receive, request\npath = sys.argv[1]\n"
READY = "print('READY', flush=True)\n"

# What each does with the broker; after READY it goes on, or holds what it has, until it is killed.
HOSTILE = {
    "silent": "kept = [connect(path) for _ in range(300)]\n" + READY + "time.sleep(1000)",
    "slow": """
socks = [connect(path) for _ in range(300)]
print('READY', flush=True)
while True:
    socks = [*socks[1:], connect(path)]
    try: socks[0].send(request(Asked('tcp', '127.0.0.1', 81))[:1])
    except OSError: pass
    time.sleep(0.01)
""",
    "flood": """
for _ in range(3): os.fork()
print('READY', flush=True)
while True:
    try: connect(path).close()
    except OSError: pass
""",
    "flood of requests": """
for _ in range(3): os.fork()
print('READY', flush=True)
message = request(Asked('tcp', '', 25))
while True:
    try:
        with connect(path) as sock: sock.send(message)
    except OSError: pass
""",
    "oversize": """
print('READY', flush=True)
while True:
    for data in (b'', b'x', b'y' * 63, request(Asked('tcp', '127.0.0.1', 81)) + b'z', b'w' * 100_000):
        try:
            with connect(path) as sock: sock.send(data)
        except OSError: pass
""",
    # A connection with SO_LINGER and unsent data: who closes it last waits for as long as its sender likes.
    "files": """
listening, kept = socket.create_server(('127.0.0.1', 0)), []
for number in range(900):
    if os.fork() == 0:
        stuck = socket.create_connection(listening.getsockname())
        stuck.setblocking(False)
        try:
            while True: stuck.send(b'x' * 65536)
        except BlockingIOError: pass
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 600))
        try:
            sock = connect(path)
            for _ in range(1 + number % 2):  # the second one is closed with the connection
                sock.sendmsg([b'x' * 64], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack('200i', *[stuck.fileno()] * 200))])
        finally:
            os._exit(0)  # an end does not wait for its sockets
    kept.append(listening.accept()[0])
    os.wait()
    if number == 3: print('READY', flush=True)
    time.sleep(0.05)
time.sleep(1000)
""",
    "closing early": """
print('READY', flush=True)
for number in range(10**9):
    try:
        with connect(path) as sock: sock.send(request(Asked('tcp', f'127.0.{number // 250 % 250}.{number % 250 + 1}', 81)))
    except OSError: pass
""",
}


@contextlib.contextmanager
def harm(broker: Broker, program: str) -> Iterator[subprocess.Popen[str]]:
    """Run a hostile program as another user for the time of the block."""
    with broker.run_as(OTHER_USER, START + program) as client:
        assert client.stdout is not None
        try:
            assert client.stdout.readline() == "READY\n", broker.service.report()
            yield client
        finally:
            for pid in broker.network.processes():
                if pid != broker.pid:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("kind", HOSTILE)
def test_nobody_is_starved(started: Callable[..., Broker], kind: str) -> None:
    """Six requests of an honest user are granted while another user does harm, and the broker is then as it was before."""
    broker = started(*RULES)
    before = broker.descriptors()
    with harm(broker, HOSTILE[kind]):
        answers = broker.ask_as(SERVICE_USER, *[HONEST] * 6)

    assert [verdict for verdict, _, _ in answers] == [GRANTED] * 6, broker.service.report()
    assert broker.service.running(), broker.service.report()
    # What was in the queue is looked at and closed, and with the next connection what was sent and never taken.
    wait_until(
        lambda: broker.ask_as(SERVICE_USER, HONEST)[0][0] == GRANTED and broker.descriptors() <= before + 1, 30, "the end of all"
    )
    assert broker.network.bound_ports() == []


@pytest.mark.parametrize("way", ["keeps them", "shuts its end down"])
def test_sockets_that_are_never_taken(started: Callable[..., Broker], way: str) -> None:
    """Who never takes what was granted has eight at most on their way, of which the kernel limits all the broker's, and no more.

    Not even where its end of the connection looks closed.
    """
    broker = started(*RULES)
    end = "sock.shutdown(2)\n    " if way == "shuts its end down" else ""
    program = f"""
kept = []
for number in range(400):
    sock = connect(path)
    try: sock.send(request(Asked('tcp', f'127.0.{{number // 250}}.{{number % 250 + 1}}', 81)))
    except OSError: pass
    time.sleep(0.01)
    {end}kept.append(sock)
"""
    with harm(broker, program + READY + "time.sleep(1000)"):
        taken = [words for words in broker.network.bound_ports() if words.endswith(":81")]
        answers = broker.ask_as(SERVICE_USER, *[HONEST] * 3)

    assert 0 < len(taken) <= 8, taken
    assert [verdict for verdict, _, _ in answers] == [GRANTED] * 3
    wait_until(lambda: not broker.network.bound_ports(), 10, "the release of what was never taken")


def test_descriptors_in_flight(broker: Broker) -> None:
    """Who asks for many sockets at once and takes none has a share of what the kernel lets be in flight, and no more."""
    broker.start(*RULES, prefix=("prlimit", "--nofile=1024:1024"))
    program = """
kept = []
for number in range(1, 17):
    sock, data = connect(path), bytearray(request(Asked('tcp', f'127.0.0.{number}', 81)))
    data[11] = 64  # bind-only=64: 129 sockets
    try: sock.send(data)
    except OSError: pass
    time.sleep(0.05)
    kept.append(sock)
"""
    with harm(broker, program + READY + "time.sleep(1000)"):
        answers = broker.ask_as(SERVICE_USER, *[HONEST] * 3)

    assert broker.service.stderr.count("granted 127.0.0.") == 1
    assert [verdict for verdict, _, _ in answers] == [GRANTED] * 3
    assert "too many sockets that were granted are not taken yet" in broker.service.stderr
