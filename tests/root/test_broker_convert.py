"""Policies made from what other programs have. Run by pytest as root, who may give files away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jvmbind.broker.convert import from_authbind, from_ports
from jvmbind.broker.policy import Peer, Rule, decide, parse, wanted_by
from jvmbind.errors import ConfigurationError
from jvmbind.spec import parse_listen
from support.users import UNNAMED_ID, user

OWNER = user("www-data")


def read(lines: list[str]) -> list[Rule]:
    """Parse what was made; users by the real look-up."""
    return parse("made", "\n".join(lines), lambda name: user(name).uid, lambda name: user(name).gid)


def may(rules: list[Rule], uid: int, gid: int, text: str) -> bool:
    """Whether somebody may have a listener."""
    rule = decide(rules, Peer(uid, frozenset({gid})), wanted_by(parse_listen(text)))
    return rule is not None and rule.allow


@pytest.fixture
def authbind(tmp_path: Path) -> Path:
    """A directory with files of each kind that the manual of authbind describes."""
    for name in ("byport", "byaddr", "byuid"):
        (tmp_path / name).mkdir()
    modes = {
        "byport/80": 0o500, "byport/81": 0o050, "byport/82": 0o001, "byport/83": 0, "byport/!600": 0o500, "byport/601": 0o500,
        "byport/readme": 0o500, "byaddr/127.0.0.1,25": 0o500, "byaddr/10.0.0.1:26": 0o500, "byaddr/::1,25": 0o500,
    }  # fmt: skip
    for name, mode in modes.items():
        path = tmp_path / name
        path.touch()
        os.chown(path, OWNER.uid, OWNER.gid)
        path.chmod(mode)
    (tmp_path / "byuid" / str(UNNAMED_ID)).write_text(
        "10.0.0.0/8:70,79\n0.0.0.0/0,83-90\n::/0,84\n192.0.2.1-192.0.2.6,53\n10.0.0.1/8,95\nnonsense\n500,1\n0.0.0.0/0:500,700\n"
    )
    (tmp_path / "byuid" / f"!{UNNAMED_ID}").write_text("0.0.0.0/0:500,700\n")
    return tmp_path


@pytest.mark.root
def test_authbind(authbind: Path) -> None:
    """Who may bind what is the same as authbind(1) says, by port, address and user, with the `!` of ports from 512 on."""
    lines = list(from_authbind(str(authbind)))
    rules = read(lines)
    own, other = (OWNER.uid, OWNER.gid), (UNNAMED_ID, UNNAMED_ID)
    member = (UNNAMED_ID, OWNER.gid)

    expected = {
        (own, "80"): True, (member, "80"): False, (other, "80"): False,
        (own, "81"): False, (member, "81"): True, (other, "81"): False,
        (own, "82"): False, (member, "82"): False, (other, "82"): True,
        (own, "600"): True, (own, "601"): False,
        (own, "127.0.0.1:25"): True, (own, "[::1]:25"): True, (own, "0.0.0.0:25"): False, (own, "10.0.0.1:26/udp"): True,
        (other, "10.9.9.9:70"): True, (other, "11.0.0.1:70"): False, (own, "10.9.9.9:70"): False,
        (other, "0.0.0.0:83"): False,  # byport/83 is there, and lets nobody
        (other, "0.0.0.0:84"): True, (other, "[::]:84,v6only"): True, (other, "[::1]:85"): False,
        (other, "192.0.2.1:53"): True, (other, "192.0.2.6:53"): True, (other, "192.0.2.7:53"): False,
        (other, "10.0.0.1:95"): False,
        (other, "0.0.0.0:511"): True, (other, "0.0.0.0:512"): True, (other, "0.0.0.0:499"): False, (other, "0.0.0.0:701"): False,
    }  # fmt: skip
    assert {case: may(rules, *case[0], case[1]) for case in expected} == expected
    unused = [line for line in lines if "not use" in line]
    assert len(unused) == 5, unused  # byport/601 and readme, and three lines


def test_list_of_ports(tmp_path: Path) -> None:
    """Lines of port:user, also with a protocol, a group, blanks and comments."""
    (tmp_path / "daemonusr").write_text("80:www-data\n# a comment\n53/udp : @daemon\n\n25:1234 # mail\n")

    rules = read(list(from_ports(str(tmp_path / "daemonusr"))))

    assert [may(rules, OWNER.uid, 0, text) for text in ("80", "80/udp", "25")] == [True, True, False]
    assert [may(rules, 5, user("daemon").gid, text) for text in ("53", "53/udp")] == [False, True]
    assert may(rules, 1234, 0, "25")


@pytest.mark.parametrize("line", ["80", "80:", "http:www-data", "0:www-data", "80:a:b", "80/sctp:a"])
def test_a_line_of_ports_that_is_refused(tmp_path: Path, line: str) -> None:
    """A line that is none is refused with file and line, and no half of a policy is made."""
    file = tmp_path / "daemonusr"
    file.write_text(f"80:www-data\n{line}\n")

    with pytest.raises(ConfigurationError, match=r"daemonusr:2: expected PORT:USER"):
        list(from_ports(str(file)))
