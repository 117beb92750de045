"""The policy: who may bind what. Rules as text, and which of them decides.

Pure: files, users and groups are looked up by the caller. Runs in the broker, which has a privilege, and in the command line;
imports the standard library, `spec` and `errors`.

The first rule that applies decides, and where none does the answer is no. Of two rules neither is the more specific one when
the first names a user and a range of ports, and the second a group and a single port; the order of lines always can be read.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from jvmbind.errors import ConfigurationError
from jvmbind.spec import is_wildcard, listener_families, same_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from jvmbind.spec import ListenSpec

SYNTAX = "allow|deny USER|@GROUP|* tcp|udp|* ADDRESS[/PREFIX]|* PORT[-PORT][,...]|*"
MOST_RULES = 4096  # each request is compared with them all
_ID_MAX = 2**32 - 2  # (uid_t) -1 is nobody's: setresuid(2)
_WIDTH = {4: 32, 6: 128}
EVERYWHERE = ((4, 0, 2**32 - 1), (6, 0, 2**128 - 1))

Span = tuple[int, int, int]  # IP version, first and last address


class Peer(NamedTuple):
    """Who asks, as the kernel says it."""

    uid: int
    groups: frozenset[int]  # of them also the primary one


class Wanted(NamedTuple):
    """What a listener takes: a wildcard takes every address of its IP versions."""

    protocol: str
    port: int
    spans: tuple[Span, ...]


class Rule(NamedTuple):
    """One line of the policy."""

    allow: bool
    uid: int  # -1: any user
    gid: int  # -1: any group
    protocol: str  # "*": both
    spans: tuple[Span, ...]
    ports: tuple[tuple[int, int], ...]  # first and last of each range
    where: str  # FILE:LINE
    text: str

    def applies(self, peer: Peer, wanted: Wanted) -> bool:
        """Whether this rule decides, if no earlier one does.

        One that allows must hold all addresses that are wanted, one that denies only some: who may not have one address
        of this machine may not have all of them either.
        """
        if self.uid not in {-1, peer.uid} or (self.gid != -1 and self.gid not in peer.groups):
            return False
        if self.protocol not in {"*", wanted.protocol} or not any(low <= wanted.port <= high for low, high in self.ports):
            return False
        if self.allow:
            return all(any(_holds(own, other) for own in self.spans) for other in wanted.spans)
        return any(_meets(own, other) for own in self.spans for other in wanted.spans)


def _holds(own: Span, other: Span) -> bool:
    return own[0] == other[0] and own[1] <= other[1] and other[2] <= own[2]


def _meets(own: Span, other: Span) -> bool:
    return own[0] == other[0] and own[1] <= other[2] and other[1] <= own[2]


def wanted_by(spec: ListenSpec) -> Wanted:
    """Return what a TCP or UDP listener takes."""
    if spec.host is None or is_wildcard(spec.host):
        families = listener_families(spec)
        return Wanted(spec.protocol, spec.port, tuple(span for span in EVERYWHERE if span[0] in families))
    address = same_address(spec.host)
    return Wanted(spec.protocol, spec.port, ((address.version, int(address), int(address)),))


def decide(rules: list[Rule], peer: Peer, wanted: Wanted) -> Rule | None:
    """Return the rule that decides; None, where there is none, is a refusal."""
    return next((rule for rule in rules if rule.applies(peer, wanted)), None)


def parse(source: str, text: str, uid_of: Callable[[str], int], gid_of: Callable[[str], int]) -> list[Rule]:
    """Return the rules of a file that messages call `source`; the look-ups raise KeyError for a name that is not known.

    Raises ConfigurationError with file and line. A name that is not known is refused as well: a rule that denies would
    else be lost while the users' database cannot be reached.
    """
    rules = []
    for number, line in enumerate(text.split("\n"), 1):
        where = f"{source}:{number}"
        words = line.partition("#")[0].split()
        if not words:
            continue
        if not " ".join(words).isprintable() or len(words) != 5:
            _refuse(where, f"expected {SYNTAX}, got {len(words)} words")
        action, who, protocol, address, ports = words
        if action not in {"allow", "deny"}:
            _refuse(where, f"expected allow or deny, got {action!r}")
        if protocol not in {"tcp", "udp", "*"}:
            _refuse(where, f"expected tcp, udp or *, got {protocol!r}")
        uid, gid = _who(where, who, uid_of, gid_of)
        spans = _spans(where, address)
        rules.append(Rule(action == "allow", uid, gid, protocol, spans, _ports(where, ports), where, " ".join(words)))
    return rules


def _who(where: str, text: str, uid_of: Callable[[str], int], gid_of: Callable[[str], int]) -> tuple[int, int]:
    if text == "*":
        return -1, -1
    name = text.removeprefix("@")
    is_group = name != text
    kind = "group" if is_group else "user"
    try:
        number = int(name) if _is_number(name) else (gid_of if is_group else uid_of)(name)
    except KeyError:
        _refuse(where, f"no {kind} {name!r} on this machine; expected its name or its number")
    if number > _ID_MAX:
        _refuse(where, f"expected a number of a {kind} up to {_ID_MAX}, got {name!r}")
    return (-1, number) if is_group else (number, -1)


def _spans(where: str, text: str) -> tuple[Span, ...]:
    if text == "*":
        return EVERYWHERE
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        _refuse(where, f"expected *, an IP address, or a network without bits behind its prefix, got {text!r}")
    version, first = network.version, int(network.network_address)
    if version == 6 and (first >> 32 == 0xFFFF or "%" in text):
        _refuse(where, f"expected an IPv4 address as such, and no zone, got {text!r}")
    if is_wildcard(text):
        return ((version, 0, 2 ** _WIDTH[version] - 1),)
    return ((version, first, int(network.broadcast_address)),)


def _ports(where: str, text: str) -> tuple[tuple[int, int], ...]:
    if text == "*":
        return ((1, 65535),)
    found = []
    for item in text.split(","):
        low, dash, high = item.partition("-")
        ends = (low, high if dash else low)
        if not all(_is_number(end) and len(end) <= 5 for end in ends) or not 1 <= int(ends[0]) <= int(ends[1]) <= 65535:
            _refuse(where, f"expected *, or ports from 1 to 65535 and ranges as 8000-8099, got {item!r}")
        found.append((int(ends[0]), int(ends[1])))
    return tuple(found)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10


def _refuse(where: str, what: str) -> NoReturn:
    msg = f"{where}: {what}"
    raise ConfigurationError(msg)
