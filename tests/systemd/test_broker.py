"""The broker's own units under a real systemd: thirty rules and five users, and a server of an ordinary user on port 80.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import procfs
from support.broker import GRANTED, PROGRAM, REFUSED, Asked, meaning
from support.users import SERVICE_USER, user

if TYPE_CHECKING:
    from support.lab import Lab
    from support.units import Unit

UNITS = Path(__file__).parents[2] / "packaging" / "systemd"
SERVICE = "jvmbind-broker.service"
SOCKET = "/run/jvmbind/broker.sock"
JVMBIND = [sys.executable, "-I", "-m", "jvmbind"]
ONE = 1 << 10  # CAP_NET_BIND_SERVICE

USERS = ("daemon", "mail", "news", SERVICE_USER, "backup")
IDS = {name: user(name).uid for name in USERS} | {f"@{name}": user(name).gid for name in USERS}
# Thirty rules: users and groups by name and number, both protocols, addresses and networks, single ports and ranges.
RULES = (
    "deny  *         tcp *             22,25",
    "deny  @mail     udp 127.0.0.5     53",
    "allow mail      tcp 127.0.0.1     587",
    "allow daemon    *   127.0.0.0/8   53",
    "deny  daemon    *   *             53",
    "allow @news     tcp 127.0.0.1     119",
    "allow news      tcp *             119,563",
    f"allow {user(SERVICE_USER).uid} tcp * 80,443",
    f"allow @{user('backup').gid} tcp ::1 873",
    "deny  backup    tcp ::1           873",
    "allow backup    udp 0.0.0.0       69",
    "allow *         tcp 127.0.9.0/24  600-699",
    "deny  *         *   127.0.9.0/24  *",
    "allow mail      *   0.0.0.0       100-200",
    "allow mail      *   ::            100-200",
    "deny  news      *   ::1           200-300",
    "allow news      udp *             200-250",
    "allow @daemon   tcp *             900-1023",
    "deny  @daemon   tcp *             850-950",
    f"allow {SERVICE_USER} udp 127.0.0.1 161,162,514",
    f"deny  @{SERVICE_USER} *  127.0.0.0/16 500-600",
    f"allow {SERVICE_USER} *   *            500-520",
    "allow @mail     tcp 127.0.0.2/31  25",
    "allow backup    tcp *             1-9",
    "allow backup    tcp *             11-19",
    "deny  *         udp *             123",
    "allow *         udp *             123",
    "allow 65000     *   *             *",
    "allow @65000    *   *             *",
    "deny  *         *   *             *",
)
ASKED = [
    Asked(protocol, host, port)
    for protocol, host, ports in (
        ("tcp", "", (22, 80, 119, 443, 563, 587, 5, 10, 15, 510, 900, 951)),
        ("tcp", "127.0.0.1", (25, 53, 80, 119, 587, 900, 515, 150)),
        ("tcp", "127.0.0.3", (25, 26)),
        ("tcp", "127.0.9.7", (80, 599, 600, 699, 700)),
        ("tcp", "::1", (873, 119, 210, 150)),
        ("tcp", "0.0.0.0", (80, 150, 510)),
        ("udp", "", (53, 123, 225, 514)),
        ("udp", "127.0.0.5", (53, 161)),
        ("udp", "127.0.0.1", (53, 161, 514, 550)),
        ("udp", "0.0.0.0", (69, 514, 200)),
        ("udp", "::1", (123, 225, 150)),
    )
    for port in ports
]


@pytest.fixture
def policy(lab: Lab) -> Iterator[Path]:
    """The broker's shipped units, installed, with this interpreter's command; the folder of its policy."""
    for name in ("jvmbind-broker.socket", SERVICE):
        text = (UNITS / name).read_text().replace("/usr/bin/jvmbind", shlex.join(JVMBIND))
        lab.write_unit(name, text)
    folder = lab.root / "etc/jvmbind/ports.d"
    folder.mkdir(parents=True, exist_ok=True)
    lab.run("systemctl", "start", "jvmbind-broker.socket")
    yield folder
    print(lab.run("journalctl", "--no-pager", "-o", "cat", f"--unit={SERVICE}", check=False).stdout[-6000:])
    lab.run("systemctl", "stop", "jvmbind-broker.socket", SERVICE, check=False)
    for file in folder.iterdir():
        file.unlink()


def ask(lab: Lab, name: str, asked: list[Asked]) -> list[tuple[int, str]]:
    """Return (verdict, rule) for each request of a user of the lab."""
    copy = lab.root / "tmp/broker_client.py"
    copy.write_text(PROGRAM.read_text())
    who = user(name)
    prefix = ["setpriv", f"--reuid={who.uid}", f"--regid={who.gid}", "--init-groups", "--bounding-set=-all", "--no-new-privs"]
    done = lab.run(*prefix, sys.executable, "-I", "/tmp/broker_client.py", SOCKET, json.dumps(asked))
    return [(verdict, rule) for verdict, rule, _ in json.loads(done.stdout)]


def test_five_users_and_thirty_rules(lab: Lab, policy: Path) -> None:
    """What each of five users gets is what another evaluator says, by the very rule; the service is sealed as its unit says."""
    assert len(RULES) == 30
    (policy / "10-all.conf").write_text("".join(f"{rule}\n" for rule in RULES))
    for name in USERS:
        answers = ask(lab, name, ASKED)

        expected = [meaning(RULES, user(name).uid, user(name).groups, one, IDS) for one in ASKED]
        found = [(verdict == GRANTED, int(rule.rpartition(":")[2])) for verdict, rule in answers]
        assert {verdict for verdict, _ in answers} == {GRANTED, REFUSED}
        assert dict(zip(ASKED, found, strict=True)) == dict(zip(ASKED, expected, strict=True)), name

    (thread,) = procfs.thread_credentials(lab.main_pid(SERVICE))
    assert thread.capabilities == (0, ONE, ONE, ONE, 0)
    assert thread.no_new_privs == 1
    assert thread.uids[0] not in {0, user(SERVICE_USER).uid}
    score = lab.run("systemd-analyze", "security", "--no-pager", SERVICE, check=False).stdout.strip().splitlines()[-1]
    print(score)
    assert float(score.split(":")[1].split()[0]) <= 2.0, score


def test_reload_by_systemctl(lab: Lab, policy: Path) -> None:
    """`systemctl reload` fails with a policy that is wrong and the old one stays; with a good one it is in force."""
    http = Asked("tcp", "", 80)
    file = policy / "10-all.conf"
    file.write_text(f"allow {SERVICE_USER} tcp * 80\n")
    assert ask(lab, SERVICE_USER, [http]) == [(GRANTED, "/etc/jvmbind/ports.d/10-all.conf:1")]
    file.write_text("allow nobody tcp * http\n")
    assert lab.run("systemctl", "reload", SERVICE, check=False).returncode != 0
    assert ask(lab, SERVICE_USER, [http])[0][0] == GRANTED
    file.write_text("deny * tcp * 80\n")
    lab.run("systemctl", "reload", SERVICE)

    while ask(lab, SERVICE_USER, [http])[0][0] == GRANTED:  # SIGHUP has been sent, and is seen at its next turn
        pass
    refused = lab.journal(SERVICE, "PRIORITY=4")[-1]["MESSAGE"]
    assert refused.startswith(f"jvmbind broker: refused 80/tcp to uid {user(SERVICE_USER).uid}, pid ")


def test_a_server_of_an_ordinary_user(lab: Lab, policy: Path, unit: Unit) -> None:
    """A unit with User= and no capability serves on port 80, also after systemd has started it anew, and the log names the unit."""
    (policy / "10-all.conf").write_text(f"allow {SERVICE_USER} tcp * 80\n")
    more = f"{unit.as_user}\nCapabilityBoundingSet=\nRestart=always\nRestartSec=100ms"
    unit.write(unit.command(f"-l 80 {unit.control}", "http=80"), more)
    unit.systemctl("start")
    first, _ = unit.served_by()
    unit.systemctl("kill", "--signal=KILL", "--kill-whom=main")
    unit.await_property("NRestarts", "1")
    unit.await_property("ActiveState", "active")

    assert unit.served_by()[0] != first
    granted = [line["MESSAGE"] for line in lab.journal(SERVICE) if f"unit {unit.file}: " in line["MESSAGE"]]
    assert len(granted) == 2
    assert all(": granted 80/tcp to uid" in line and line.endswith("10-all.conf:1") for line in granted), granted
