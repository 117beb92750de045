"""The broker's policy: what a line may say, which rule decides, and which rules can never decide.

Run by pytest, as anybody. Which rule decides is compared with an evaluator of the tests' own, which reads the text anew, has
sets of ports and the networks of `ipaddress`, and shares no line with the one in the product (tests/support/broker.py).
"""

from __future__ import annotations

import ipaddress
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jvmbind.broker.policy import Peer, Rule, Wanted, decide, parse, wanted_by
from jvmbind.broker.review import never_apply
from jvmbind.errors import ConfigurationError
from jvmbind.spec import ListenSpec, parse_listen
from support.broker import Asked, meaning

USERS = {"ann": 1001, "bob": 1002, "eve": 1003}
GROUPS = {"web": 2001, "dns": 2002}
NETWORKS = ("*", "0.0.0.0", "::", "10.0.0.0/8", "10.0.0.0/9", "10.128.0.0/9", "10.0.0.1", "127.0.0.1", "::1", "fd00::/8", "::/1")
PORTS = ("*", "1", "2", "1-2", "2-3", "1,3", "80", "3-65535", "65535")

who = st.sampled_from(["*", *USERS, *(f"@{name}" for name in GROUPS), "1003", "@2002"])
lines = st.tuples(
    st.sampled_from(["allow", "deny"]), who, st.sampled_from(["tcp", "udp", "*"]), st.sampled_from(NETWORKS), st.sampled_from(PORTS)
).map(" ".join)
policies = st.lists(lines | st.sampled_from(["", "# nothing"]), max_size=8)
HOSTS = (None, "0.0.0.0", "::", "10.0.0.1", "10.200.0.1", "127.0.0.1", "192.0.2.1", "::1", "fd00::1", "fe80::1", "::ffff:10.0.0.1")
requests = st.tuples(
    st.sampled_from(["tcp", "udp"]), st.sampled_from(HOSTS), st.sampled_from([1, 2, 3, 4, 79, 80, 81, 65534, 65535])
).map(lambda values: ListenSpec("x", *values, v6only=values[1] == "::"))
peers = st.tuples(st.sampled_from([*USERS.values(), 5]), st.frozensets(st.sampled_from([*GROUPS.values(), 6]), max_size=3))


def read(*text: str) -> list[Rule]:
    """Parse lines as a file named `f`."""
    return parse("f", "\n".join(text), USERS.__getitem__, GROUPS.__getitem__)


@given(policies, peers, requests)
def test_which_rule_decides(text: list[str], peer: tuple[int, frozenset[int]], spec: ListenSpec) -> None:
    """The rule that decides, and what it says, is the one that another evaluator finds."""
    rule = decide(read(*text), Peer(*peer), wanted_by(spec))

    found = (rule.allow, int(rule.where.removeprefix("f:"))) if rule else (False, 0)
    asked = Asked(spec.protocol, spec.host or "", spec.port)
    assert found == meaning(text, *peer, asked, USERS | {f"@{name}": number for name, number in GROUPS.items()})


def deciding(rules: list[Rule]) -> set[str]:
    """Return the rules that decide something: for anybody, with a port and an address of each kind that these tests know."""
    points = [
        "0.0.0.0",
        "10.0.0.0",
        "10.0.0.1",
        "10.1.0.0",
        "10.128.0.0",
        "11.0.0.0",
        "127.0.0.1",
        "::1",
        "::2",
        "8000::",
        "fd00::",
    ]
    spans = [wanted_by(parse_listen(text)).spans for text in ("80", "0.0.0.0:80", "[::]:80,v6only")]
    for point in points:
        address = ipaddress.ip_address(point)
        spans.append(((address.version, int(address), int(address)),))
    groups = [frozenset(some) for count in range(3) for some in itertools.combinations(GROUPS.values(), count)]
    everybody = [Peer(uid, own) for uid in [*USERS.values(), 5] for own in groups]
    everything = [Wanted(*one) for one in itertools.product(("tcp", "udp"), (1, 2, 3, 4, 80, 81, 65535), spans)]
    found = [decide(rules, peer, wanted) for peer in everybody for wanted in everything]
    return {rule.where for rule in found if rule}


@settings(max_examples=60)
@given(st.lists(lines, min_size=1, max_size=5))
def test_rules_that_never_apply(text: list[str]) -> None:
    """A rule is said to be without effect exactly where nobody and nothing that can be tried is decided by it."""
    rules = read(*text)

    idle = {rule.where for rule, _ in never_apply(rules)}

    assert idle == {rule.where for rule in rules} - deciding(rules)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("allow ann tcp *", "expected allow|deny USER.*got 4 words"),
        ("allow ann tcp * 80 81", "got 6 words"),
        ("permit ann tcp * 80", "expected allow or deny, got 'permit'"),
        ("Allow ann tcp * 80", "expected allow or deny"),
        ("allow tom tcp * 80", "no user 'tom' on this machine"),
        ("allow @ann tcp * 80", "no group 'ann' on this machine"),
        ("allow 4294967295 tcp * 80", "up to 4294967294"),
        ("allow ann sctp * 80", "expected tcp, udp or"),
        ("allow ann tcp 10.0.0.1/8 80", "without bits behind its prefix"),
        ("allow ann tcp localhost 80", "an IP address"),
        ("allow ann tcp ::ffff:1.2.3.4 80", "an IPv4 address as such"),
        ("allow ann tcp fe80::1%lo 80", "no zone"),
        ("allow ann tcp * 0", "ports from 1 to 65535"),
        ("allow ann tcp * 65536", "ports from 1 to 65535"),
        ("allow ann tcp * 90-80", "ports from 1 to 65535"),
        ("allow ann tcp * 80,", "ports from 1 to 65535"),
        ("allow ann tcp * \u0668\u0660", "ports from 1 to 65535"),
        ("allow ann\x1b tcp * 80", "expected allow|deny"),
    ],
)
def test_a_line_that_is_refused(line: str, why: str) -> None:
    """A line that is not understood is refused with its file and number and with what was expected, whatever is around it."""
    with pytest.raises(ConfigurationError, match=why) as refusal:
        read("allow bob * * *", "", line, "deny bob * * *")

    assert str(refusal.value).startswith("f:3: ")
    assert refusal.value.status == 78


def test_one_address_denied_is_all_denied() -> None:
    """Who may not have one address of this machine gets no listener on all of them either."""
    rules = read("deny @web tcp 10.0.0.5 80", "allow ann tcp * 80")
    peer = Peer(1001, frozenset({2001}))

    decisions = [
        decide(rules, peer, wanted_by(parse_listen(text))) for text in ("80", "0.0.0.0:80", "10.0.0.6:80", "[::]:80,v6only")
    ]

    assert [bool(rule and rule.allow) for rule in decisions] == [False, False, True, True]
