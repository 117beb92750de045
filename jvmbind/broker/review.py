"""Finds rules of a policy that can never decide anything, because earlier ones always do.

Runs in the command line as any user, never in the service. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jvmbind.broker.policy import EVERYWHERE, Peer, Wanted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jvmbind.broker.policy import Rule, Span

_STRANGER = 2**32 - 2  # a user and a group that no rule names


def never_apply(rules: list[Rule]) -> list[tuple[Rule, Rule]]:
    """Return each rule that decides nothing for anybody, with the first of the earlier ones that stand in its way."""
    found = []
    for number, rule in enumerate(rules):
        earlier = [other for other in rules[:number] if _may_meet(other, rule)]
        in_the_way = None
        for peer, wanted in _cases(rule, earlier):
            if not rule.applies(peer, wanted):
                continue
            in_the_way = next((other for other in earlier if other.applies(peer, wanted)), None)
            if in_the_way is None:
                break
        if in_the_way is not None:
            found.append((rule, in_the_way))
    return found


def _may_meet(other: Rule, rule: Rule) -> bool:
    """Whether an earlier rule is about the one whom a rule names and about everybody like it.

    Who is named by another user's or group's name may be somebody else, so such a rule is never in the way of all.
    """
    if other.protocol not in {"*", rule.protocol} and rule.protocol != "*":
        return False
    return other.uid in {-1, rule.uid} and other.gid in {-1, rule.gid}


def _cases(rule: Rule, earlier: list[Rule]) -> Iterator[tuple[Peer, Wanted]]:
    """Yield who and what to try: one port and one set of addresses between each two borders that any rule draws."""
    peer = Peer(rule.uid if rule.uid != -1 else _STRANGER, frozenset({rule.gid if rule.gid != -1 else _STRANGER}))
    ports = {low for low, _ in rule.ports}
    for other in earlier:
        for low, high in other.ports:
            ports |= {low, high + 1}
    every = [*rule.spans, *(span for other in earlier for span in other.spans)]
    starts = {(version, first) for version, first, _ in every} | {(version, last + 1) for version, _, last in every}
    places: list[tuple[Span, ...]] = [((version, address, address),) for version, address in sorted(starts)]
    places += [EVERYWHERE, EVERYWHERE[:1], EVERYWHERE[1:]]
    for protocol in ("tcp", "udp"):
        for port in sorted(ports):
            for spans in places:
                yield peer, Wanted(protocol, port, spans)
