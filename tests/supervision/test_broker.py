"""A service of an ordinary user on low ports that a broker gives it.

Run by pytest as root for the broker and the namespace. Must not import jvmbind.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from support.broker_process import Broker
from support.runner import as_user
from support.users import SERVICE_USER

if TYPE_CHECKING:
    from supervision.conftest import Supervised


@pytest.fixture
def broker(supervised: Supervised, monkeypatch: pytest.MonkeyPatch) -> Broker:
    """A broker beside the service, which is told where it is."""
    made = Broker(supervised.runner)
    monkeypatch.setenv("JVMBIND_BROKER", made.path)
    return made


def check(supervised: Supervised) -> str:
    """Return what `jvmbind check` says of the service to its user."""
    command = [*as_user(SERVICE_USER), *supervised.jvmbind, "check", str(supervised.config)]
    with supervised.network.entered():
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False).stdout


def test_ports_from_the_broker(supervised: Supervised, broker: Broker) -> None:
    """A Java server gets its low port from the broker, keeps it when it is killed and reloaded, and a reload adds another one.

    One that the policy does not allow is refused with the broker's words, and the service serves on.
    """
    broker.start(f"allow {SERVICE_USER} tcp * 80,443", "deny * * * 25")
    supervised.configure("http=80", listen="'80', '25'")
    said = check(supervised)
    assert f"note         listener '80' (80/tcp): the broker gives it, by {broker.policy}/10-test.conf:1\n" in said, said
    assert "note         listener '25' (25/tcp): the broker refused it to uid" in said
    service = supervised.start("http=80", listen="'80'", version="1")
    assert supervised.version(80) == "1"
    assert "tcp6 [::]:80" in supervised.network.bound_ports()

    os.kill(service.worker(), signal.SIGKILL)
    service.expect(r"generation 2 is ready", stream="stderr")
    supervised.configure("http=80", listen="'80'", version="2")
    assert supervised.reload().returncode == 0
    assert supervised.version(80) == "2"

    supervised.configure("http=80", "http=443", listen="'80', '443'", version="3")
    done = supervised.reload()
    assert done.returncode == 0, done.stderr + service.report()
    assert [supervised.version(port) for port in (80, 443)] == ["3", "3"]

    supervised.configure("http=80", "http=443", "http=25", listen="'80', '443', '25'", version="4")
    done = supervised.reload()
    assert done.returncode == 75
    rule = re.escape(f"{broker.policy}/10-test.conf:2")
    assert re.search(rf"listener '25' \(25/tcp\): the broker refused it to uid \d+: its rule {rule} denies it", done.stderr), (
        done.stderr
    )
    assert supervised.version(443) == "3"
    assert len(re.findall("^jvmbind broker: granted", broker.service.stderr, re.MULTILINE)) == 2


@pytest.mark.parametrize("case", ["no rule", "taken", "no broker", "silent"])
def test_a_start_without_the_port(supervised: Supervised, broker: Broker, case: str) -> None:
    """Where the broker does not give the port the start ends with one line that says why, and its own status."""
    status, words = {
        "no rule": (77, "the broker refused it to uid .*: no rule of its policy allows it .jvmbind broker --explain"),
        "taken": (69, "address already in use"),
        "no broker": (77, "ports below 1024 need a privilege.*jvmbind broker"),
        "silent": (71, "did not answer for 5 s"),
    }[case]
    with contextlib.ExitStack() as stack:
        if case == "taken":
            broker.start(f"allow {SERVICE_USER} tcp * 80")
            held = stack.enter_context(supervised.network.open_socket(socket.AF_INET, socket.SOCK_STREAM))
            held.bind(("0.0.0.0", 80))
            held.listen()
        elif case == "no rule":
            broker.start(f"allow {SERVICE_USER} tcp * 81")
        elif case == "silent":
            silent = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            silent.bind(broker.path)
            os.chmod(broker.path, 0o777)
            silent.listen()
        service = supervised.launch("http=80", listen="'80'")

        assert service.wait() == status, service.report()
    assert re.fullmatch(rf"jvmbind: listener '80' \(80/tcp\): .*{words}.*\n", service.stderr), service.stderr


def test_all_kinds_of_listeners(supervised: Supervised, broker: Broker) -> None:
    """UDP and TCP, one address and all, IPv6 alone: what `run` declares is what is bound, and by the rule for it."""
    broker.start(f"allow {SERVICE_USER} udp * 53", f"allow {SERVICE_USER} tcp 127.0.0.0/8 80", f"allow {SERVICE_USER} tcp :: 81")
    listen = "'dns=53/udp,optional', 'one=127.0.0.1:80', 'six=81,v6only,optional', 'from=127.0.0.1:82,bind-only=2'"
    refused = supervised.launch("http=127.0.0.1:80", listen=listen)
    assert refused.wait() == 77
    assert supervised.network.bound_ports() == []

    broker.write(f"allow {SERVICE_USER} tcp 127.0.0.1 82", name="20-more.conf")
    broker.service.process.send_signal(signal.SIGHUP)
    broker.service.expect("policy read again", stream="stderr")
    service = supervised.launch("http=80", listen=listen)
    service.expect(r"generation 1 is ready", stream="stderr")

    bound = supervised.network.bound_ports()
    assert {"tcp6 [::ffff:127.0.0.1]:80", "tcp6 [::]:81", "udp6 [::]:53"} <= set(bound), bound
