"""The text of units, from configurations alone. Run by pytest, as anybody."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from jvmbind.config.load import read_text
from jvmbind.config.schema import build
from jvmbind.listen import further_sockets, number_names
from jvmbind.units.service import service_unit, template_unit
from jvmbind.units.sockets import lacking, socket_units
from jvmbind.units.wanted import Wanted, Way, quote

SHIPPED = Path(__file__).resolve().parents[2] / "packaging" / "systemd" / "jvmbind@.service"


def wanted(text: str, way: Way = Way.CAPABILITY, *, isolated: bool = False) -> Wanted:
    """Return what is wanted for a configuration of this text."""
    request = build(read_text("x.toml", f"{text}\n[java]\njar = '/a.jar'\n".encode()), "x.toml")
    listeners = number_names(list(request.listeners))
    count = len(listeners) + len(further_sockets(listeners))
    return Wanted("shop", way, ("/usr/bin/jvmbind",), "shop", request, listeners, count, isolated=isolated)


def directives(text: str) -> dict[str, str]:
    """Return the directives of a unit; of one that stands twice the last."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))


def test_the_template_is_what_is_shipped() -> None:
    """packaging/systemd/jvmbind@.service is what the code makes."""
    assert SHIPPED.read_text() == template_unit()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[supervise]\nstop_timeout = 100.5\nstop_drain_timeout = 7", {"TimeoutStopSec": "123"}),
        ("[supervise]\nstart_timeout = 200\ndrain_timeout = 0\nstop_timeout = 10", {"TimeoutStartSec": "230"}),
        ("[supervise.watchdog]\nheartbeat = 40", {"WatchdogSec": "80"}),
        ("[supervise.watchdog]\nheartbeat = 40\nactions = ['log']", {"WatchdogSec": ""}),
        ("[supervise]\nrestart = 'never'", {"Restart": "on-abnormal"}),
        ("direct = true", {"Type": "exec", "ExecReload": "", "WatchdogSec": "", "FileDescriptorStoreMax": ""}),
        (
            "[security]\numask = '0022'\nlimits = { nofile = 9, core = [0, 'unlimited'] }",
            {"UMask": "0022", "LimitCORE": "0:infinity"},
        ),
        ("listen = ['80,bind-only=20']", {"FileDescriptorStoreMax": str(2 * 41)}),
        ("listen = ['8080']", {"AmbientCapabilities": "", "CapabilityBoundingSet": "", "PrivateUsers": "yes"}),
        ("listen = ['80']", {"AmbientCapabilities": "CAP_NET_BIND_SERVICE", "PrivateUsers": "no"}),
        ("listen = ['8080']\n[control]\ngroup = 'adm'", {"PrivateUsers": "no"}),
        ("user = 'a:b'", {"User": "a", "Group": "b", "DynamicUser": ""}),
        ("", {"DynamicUser": "yes", "User": ""}),
        ("listen = ['8080']\n[security]\nisolate_network = true", {"RestrictNamespaces": "user net", "PrivateNetwork": "no"}),
        ("listen = ['8080']", {"RestrictNamespaces": "yes"}),
        ("listen = ['192.0.2.1:80']", {"After": "network-online.target"}),
        ("listen = ['192.0.2.1:80,freebind']", {"After": "network.target"}),
    ],
)
def test_directives_follow_the_configuration(text: str, expected: dict[str, str]) -> None:
    """Times, limits, user, rights and the room for listeners are those of the file."""
    found = directives(service_unit(wanted(text)))

    assert {name: found.get(name, "") for name in expected} == expected


@pytest.mark.parametrize("way", [Way.CAPABILITY, Way.SOCKET])
@pytest.mark.parametrize("port", [80, 8080])
def test_a_network_for_each_jvm(way: Way, port: int) -> None:
    """Where the configuration isolates, the unit lets namespaces be made, and their capabilities be given up: capset."""
    plain, isolating = (
        service_unit(wanted(f"listen = ['{port}']{more}", way)) for more in ("", "\n[security]\nisolate_network = true")
    )

    assert "SystemCallFilter=capset" in isolating
    assert ("SystemCallFilter=capset" in plain) == (way is Way.CAPABILITY and port == 80)


def test_each_way_in() -> None:
    """As root there is no User=; with sockets there is no right at all, and what is isolated has a network of its own."""
    text = "user = 'shop'\nlisten = ['80']"
    root = directives(service_unit(wanted(text, Way.ROOT)))
    sockets = directives(service_unit(wanted(text, Way.SOCKET)))
    isolated = directives(service_unit(wanted(text, Way.SOCKET, isolated=True)))

    assert "User" not in root
    assert "CAP_SETUID" in root["CapabilityBoundingSet"]
    assert (sockets["CapabilityBoundingSet"], sockets["Requires"], sockets["PrivateNetwork"]) == ("", "shop-80.socket", "no")
    assert (isolated["PrivateNetwork"], isolated["IPAddressDeny"]) == ("yes", "any")


def test_what_is_left_open_says_why() -> None:
    """Before each directive that is weaker than systemd's strictest there is a comment, in each way in."""
    kinds = (
        r"(Private|Memory)\w+=no|ProcSubset=all|RestrictA|CapabilityB\w+=C|SystemCallFilter=(capset|~@resources)|ProtectHome=read"
    )
    for way in Way:
        for more in ("listen = ['80', '53/udp']", "listen = ['8080']\n[control]\ngroup = 'adm'"):
            lines = service_unit(wanted(f"user = 'a'\n{more}", way)).splitlines()
            for before, line in itertools.pairwise(lines):
                if re.match(kinds, line):
                    assert before.startswith("# left open: "), line


def test_socket_units() -> None:
    """Each listener has a unit of its own with its name, address and options; what systemd cannot do is known."""
    text = "[listen]\nweb = '80:8080,backlog=9'\ndns = '[::1]:53/udp,rcvbuf=4096'\nu = 'unix:/run/a%b,mode=0660'\n"
    text += "six = '90,v6only,reuseport'"
    units = {name: directives(unit) for name, unit in socket_units(wanted(text, Way.SOCKET)).items()}

    web, dns, path, six = (units[f"shop-{name}.socket"] for name in ("web", "dns", "u", "six"))
    assert (web["ListenStream"], web["FileDescriptorName"], web["Service"], web["Backlog"]) == ("80", "web", "shop.service", "9")
    assert web["BindIPv6Only"] == "both"
    assert (dns["ListenDatagram"], dns["ReceiveBuffer"]) == ("[::1]:53", "4096")
    assert (path["ListenStream"], path["SocketMode"]) == ("/run/a%%b", "0660")
    assert (six["BindIPv6Only"], six["ReusePort"]) == ("ipv6-only", "yes")
    assert [bool(lacking(one)) for one in wanted("listen = ['1,bind-only', '2,fastopen=5', '3']").listeners] == [True, True, False]


@pytest.mark.parametrize(
    ("word", "quoted"),
    [("/a/b", "/a/b"), ("a b", '"a b"'), ("50%", "50%%"), ("$HOME", "$$HOME"), ('a"b\\', '"a\\"b\\\\"'), ("", '""'), (";", '";"')],
)
def test_quoting(word: str, quoted: str) -> None:
    """A word of a command line reaches the program as it is."""
    assert quote(word) == quoted
