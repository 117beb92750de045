"""The broker's policy: what a line may say, which rule decides, and which rules can never decide.

Run by pytest, as anybody. Which rule decides is compared with an evaluator of its own here, which reads the text anew, has
sets of ports and the networks of `ipaddress`, and shares no line with the one in the product.
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
    st.sampled_from(["tcp", "udp"]), st.sampled_from(HOSTS), st.sampled_from([1, 2, 3, 4, 79, 80, 81, 65534, 65535]), st.booleans()
).map(lambda values: ListenSpec("x", *values[:3], v6only=values[3]))
peers = st.tuples(st.sampled_from([*USERS.values(), 5]), st.frozensets(st.sampled_from([*GROUPS.values(), 6]), max_size=3))


def read(*text: str) -> list[Rule]:
    """Parse lines as a file named `f`."""
    return parse("f", "\n".join(text), USERS.__getitem__, GROUPS.__getitem__)


def oracle(text: list[str], uid: int, groups: frozenset[int], spec: ListenSpec) -> tuple[bool, int]:
    """Return (is it allowed, number of the line that says so, 0 for none), from the text."""
    host = "::" if spec.host is None else spec.host
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    asked = [ipaddress.ip_network(address)]
    if int(address) == 0:
        asked = [ipaddress.ip_network("0.0.0.0/0" if address.version == 4 else "::/0")]
        if address.version == 6 and not spec.v6only:
            asked.append(ipaddress.ip_network("0.0.0.0/0"))
    for number, line in enumerate(text, 1):
        if not line or line.startswith("#"):
            continue
        action, who_text, protocol, network, ports = line.split()
        names = {"*"} | {name for name, known in USERS.items() if known == uid} | {str(uid)}
        names |= {f"@{name}" for name, known in GROUPS.items() if known in groups} | {f"@{known}" for known in groups}
        given_ports: set[int] = set()
        for part in ("1-65535" if ports == "*" else ports).split(","):
            ends = [int(end) for end in part.split("-")]
            given_ports.update(range(ends[0], ends[-1] + 1))
        if who_text not in names or protocol not in {"*", spec.protocol} or spec.port not in given_ports:
            continue
        whole = {"*": ["0.0.0.0/0", "::/0"], "0.0.0.0": ["0.0.0.0/0"], "::": ["::/0"]}.get(network, [network])
        there = [ipaddress.ip_network(one) for one in whole]
        pairs = [[(a, b) for b in there if a.version == b.version] for a in asked]
        if action == "allow" and all(any(a.subnet_of(b) for a, b in row) for row in pairs):  # type: ignore[arg-type]
            return True, number
        if action == "deny" and any(a.overlaps(b) for row in pairs for a, b in row):
            return False, number
    return False, 0


@given(policies, peers, requests)
def test_which_rule_decides(text: list[str], peer: tuple[int, frozenset[int]], spec: ListenSpec) -> None:
    """The rule that decides, and what it says, is the one that another evaluator finds."""
    rule = decide(read(*text), Peer(*peer), wanted_by(spec))

    found = (rule.allow, int(rule.where.removeprefix("f:"))) if rule else (False, 0)
    assert found == oracle(text, *peer, spec)


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
