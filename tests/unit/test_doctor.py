"""What `jvmbind doctor` makes of what it sees where a machine cannot be made so for a test. Run by pytest, as anybody."""

from __future__ import annotations

import os
import tomllib

import pytest

from jvmbind.config.schema import build, read_document
from jvmbind.doctor import kernel, migration, rights, units
from jvmbind.doctor.finding import Finding, Level
from jvmbind.spec import ServiceSpec, UserSpec

SAVED = """*filter
-A INPUT -p tcp -m tcp --dport 80 -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8080
-A OUTPUT -o lo -p udp -m udp --dport 514 -j REDIRECT --to-ports 5514
-A PREROUTING -p tcp -m tcp --dport 8000 -j REDIRECT --to-ports 8080
COMMIT
"""
RULESET = "table ip nat {\n chain prerouting {\n  tcp dport 443 counter packets 0 bytes 0 redirect to :8443\n }\n}\n"


def test_redirects_are_replaced() -> None:
    """Each redirect of a low port is found with the command that removes it and the listener that replaces it."""
    web, syslog = migration.redirects(SAVED, "")
    assert web.commands == ("iptables -t nat -D PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8080",)
    assert web.config == '[listen]\nport80 = "80:8080"'
    assert syslog.config == '[listen]\nport514 = "514:5514/udp"'
    (tls,) = migration.redirects("", RULESET)
    assert tls.config == '[listen]\nport443 = "443:8443"'


def test_a_comment_of_a_rule_commands_nothing() -> None:
    """What a rule's comment says is one word of the printed command, and is not carried out by the shell that runs it."""
    (found,) = migration.redirects('-A PREROUTING -p tcp -m comment --comment "a $(id) b" --dport 80 -j REDIRECT --to-ports 81', "")

    assert "--comment 'a $(id) b' --dport" in found.commands[0]


def test_printed_configurations_are_taken() -> None:
    """What is printed to replace something is a configuration that jvmbind reads."""
    unit = '[Service]\nExecStart=/usr/bin/jsvc -user shop -cp a.jar:b.jar -Dx="y" org.Shop one two\n'
    (jsvc,) = migration.jsvc({"a.service": unit, "b.service": "[Service]\nExecStart=/usr/bin/java -jar jsvc.jar\n"})
    request = build(read_document(tomllib.loads(jsvc.config), "x"), "x")
    assert (request.user, request.template.daemon) == ("shop", "org.Shop")

    quoted = '[Service]\nExecStart=/usr/bin/jsvc -user "shop" -cp "/srv/a b.jar:\x7f.jar" -procname \'x"; y\' org.Shop\n'
    (jsvc,) = migration.jsvc({"a.service": quoted})
    assert tomllib.loads(jsvc.config)["java"] == {"daemon": "org.Shop", "classpath": "/srv/a b.jar:\x7f.jar"}
    half = '[Service]\nExecStart=/usr/bin/jsvc -cp "a\\b org.Shop\n'
    (jsvc,) = migration.jsvc({"a.service": half})
    assert tomllib.loads(jsvc.config)["java"] == {"daemon": "org.Shop", "classpath": '"a\\b'}

    rules = migration.authbind({"byport": ["80", "443"], "byaddr": ["127.0.0.1,25", "::1:110"]})
    assert rules is not None
    for one in (rules, *migration.redirects(SAVED, RULESET)):
        listeners = build(read_document(tomllib.loads(f"{one.config}\n[java]\njar = 'a'"), "x"), "x").listeners
        assert listeners


@pytest.mark.parametrize(
    ("finding", "level"),
    [
        (kernel.yama("2\n", "accept"), Level.WARNING),
        (kernel.yama("2\n", "listen"), Level.NOTE),
        (kernel.yama("1\n", "accept"), None),
        (kernel.yama(None, "accept"), None),
        (kernel.landlock(0), Level.NOTE),
        (kernel.landlock(6), None),
        (kernel.port_start("1024\n", {}), None),
        (kernel.memory("max\n", ["-Xmx4g"]), None),
        (kernel.memory(str(512 << 20), ["-Xmx4g", "-Xmx256m"]), None),
        (kernel.confinement(None, None, ['audit: apparmor="DENIED" operation="open" comm="cups"']), None),
        (kernel.confinement("unconfined", None, ['audit: apparmor="DENIED" operation="open" comm="java"']), Level.WARNING),
        (kernel.confinement(None, "1", ['avc:  denied  { name_bind } for comm="jvmbind"']), Level.WARNING),
        (units.version("systemd 247 (247.3)\n"), Level.NOTE),
        (units.version("systemd 252 (252.39)\n"), None),
    ],
)
def test_level(finding: Finding | None, level: Level | None) -> None:
    """A finding is as bad as it is where it matters, and there is none where it does not."""
    assert (finding.level if finding is not None else None) == level


def test_a_file_is_opened_for_the_service_alone() -> None:
    """A file that may hold secrets is given to the user's group and not to everybody, and nobody's home is opened."""
    user = UserSpec(54321, 54321, (54321,), "shop", "/", "")

    assert rights._opened(user, "/etc/s.toml", os.R_OK, 0, last=True) == ("chgrp 54321 /etc/s.toml", "chmod g-w,g+r /etc/s.toml")
    assert rights._opened(user, "/srv/a b", os.X_OK, 0, last=False) == ("chmod o+x '/srv/a b'",)
    assert [rights._is_private(place) for place in ("/root", "/home/ann", "/home", "/srv")] == [True, True, False, False]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1min 30s", 90), ("5m", 300), ("250ms", 0.25), ("2h", 7200), ("infinity", float("inf")), ("0", float("inf"))],
)
def test_time_spans(text: str, seconds: float) -> None:
    """Time-outs are read as systemd reads them, where 0 is no time-out."""
    assert units.seconds(text) == pytest.approx(seconds)


def test_a_later_directive_counts() -> None:
    """A drop-in takes back what the unit says, an empty value too, and a filter that only takes calls away lacks none."""
    text = "[Service]\nType=notify\nFileDescriptorStoreMax=1\nMemoryDenyWriteExecute=yes\nSystemCallFilter=@system-service\n"
    assert [one.key for one in units.traps("a.service", text, ServiceSpec("", "", (), ()))] == ["unit-jit", "unit-calls"]

    text += "MemoryDenyWriteExecute=no\nSystemCallFilter=\nSystemCallFilter=~@clock\n"
    assert list(units.traps("a.service", text, ServiceSpec("", "", (), ()))) == []
