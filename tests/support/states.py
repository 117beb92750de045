"""The picture of a service's phases, drawn from the supervisor's table: `python tests/support/states.py` writes docs/states.md.

Run by hand, and by tests/unit/test_states.py. Plays the same random lives of services at each run (their seeds are fixed) against
the table, in which what can happen happens in any order, and notes each step from one phase to another. Must not start anything.
"""

from __future__ import annotations

import random
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from jvmbind import lifecycle
from jvmbind.lifecycle import ClearTimer, Died, Phase, Role, SetTimer, Spawn, SpawnFailed, StandbyDue, Stop, Timeout
from jvmbind.lifecycle.start import begin
from jvmbind.lifecycle.table import step
from jvmbind.spec import RELOAD_MODES, RESTART_POLICIES, ServiceSpec, parse_listen

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "states.md"
_LIVES, _STEPS = 4000, 60
_ROLES = {Role.SERVING: "serving", Role.INCOMING: "next", Role.DRAINING: "drained", Role.STANDBY: "standby"}
_OF_ONE = (
    *(lifecycle.Parked, lifecycle.Accepting, lifecycle.Serves, lifecycle.Ready, lifecycle.Drained, lifecycle.LetGo),
    lifecycle.Moved,
)
_HEAD = """# States of a service

Written by `python tests/support/states.py` from the supervisor's table (`jvmbind/lifecycle/`); a test holds it up to date.
The phases are those that `jvmbind status` shows.
An arrow is a step from one phase to another, and the table has the events that make it.
In brackets is whose event it is: of the generation that is *serving*, of the *next* one, of one that is *drained*, or a *standby*.
What an event is stands in `jvmbind/lifecycle/events.py`, and what is done about it in the other modules there.
Events that leave the phase as it is are not shown.
`Stop` is not shown either: it leads to *stopping* from everywhere, and to *ended* where nothing runs.

"""


class _Life:
    """One service, and what is true of its workers."""

    def __init__(self, chance: random.Random) -> None:
        spec = ServiceSpec("x", "/java", (), (parse_listen("80"),))
        self._chance = chance
        self._spec = spec._replace(
            restart=chance.choice(RESTART_POLICIES), reload=chance.choice(RELOAD_MODES), standby=chance.choice((0, 1)),
            start_limit=chance.choice((0, 0, 2)),
        )  # fmt: skip
        self._now, self._alive = 1.0, set[int]()
        self._timers: dict[tuple[lifecycle.Timer, int], float] = {}
        self._state, actions = begin(self._spec, self._now)
        self._carry_out(actions)

    def _carry_out(self, actions: Iterable[lifecycle.Action]) -> None:
        for action in actions:
            if isinstance(action, Spawn):
                self._alive.add(action.generation)
            elif isinstance(action, SetTimer):
                self._timers[action.name, action.generation] = self._now + action.seconds
            elif isinstance(action, ClearTimer):
                self._timers.pop((action.name, action.generation), None)

    def _event(self) -> lifecycle.Event:
        """Draw what happens next."""
        chance, now = self._chance, self._now
        kind = chance.randrange(10)
        if kind == 0 or not self._alive:
            asked: list[lifecycle.Event] = [
                lifecycle.Reload(now),
                lifecycle.Reload(now, "a lock"),
                lifecycle.Restart(now),
                lifecycle.Wanted(now),
            ]
            if self._timers and (not self._alive or chance.random() < 0.5):
                return self._timeout()
            return chance.choice([*asked, Stop(now, 15)] if chance.random() < 0.2 else asked)
        number = chance.choice(sorted(self._alive))
        if kind == 1:
            self._alive.discard(number)
            member = self._state.get(number)
            starts = (
                member is not None and member.stage is lifecycle.Stage.STARTING and member.role in {Role.INCOMING, Role.STANDBY}
            )
            if starts and chance.random() < 0.3:
                return SpawnFailed(now, number, 71)
            return Died(now, number, *chance.choice(((0, 0), (1, 0), (0, 9), (0, 11))))
        if kind == 2 and self._timers:
            return self._timeout()
        if kind == 3:
            failed = chance.choice((lifecycle.DrainFailed, lifecycle.UndrainFailed))
            lost: lifecycle.Event = failed(now, number, "Too many open files")
            return lost
        if kind == 4:
            return lifecycle.Left(now, number, *chance.choice(((0, 0), (0, 1), (1, 0))))
        event: lifecycle.Event = chance.choice(_OF_ONE)(now, number)
        return event

    def _timeout(self) -> lifecycle.Event:
        key = min(self._timers, key=lambda one: (self._timers[one], one))
        self._now = max(self._now, self._timers.pop(key))
        if key[0] is lifecycle.Timer.STANDBY:
            return StandbyDue(self._now, self._chance.choice(("", "a lock")))
        return Timeout(self._now, *key)

    def next(self) -> tuple[Phase, Phase, str]:
        """Let something happen; return the phases before and after it, and what it was."""
        event = self._event()
        before, member = self._state.phase, self._state.get(event.generation)
        self._state, actions = step(self._spec, self._state, event)
        self._carry_out(actions)
        what = f"{event.name} time-out" if isinstance(event, Timeout) else type(event).__name__
        return before, self._state.phase, f"{what} ({_ROLES[member.role]})" if member is not None else what


def find() -> dict[tuple[Phase, Phase], set[str]]:
    """Return each step from one phase to another that was seen, and what made it."""
    found: dict[tuple[Phase, Phase], set[str]] = defaultdict(set)
    for seed in range(_LIVES):
        life = _Life(random.Random(seed))
        for _ in range(_STEPS):
            before, after, what = life.next()
            if before is not after and what != "Stop":
                found[before, after].add(what)
    return found


def page() -> str:
    """Return the page: a picture in Mermaid's language, and the same as a table."""
    found = sorted(find().items(), key=lambda one: [list(Phase).index(phase) for phase in one[0]])
    names = {phase: phase.name.lower() for phase in Phase}
    lines = ["```mermaid", "stateDiagram-v2", *(f'    state "{phase.value}" as {names[phase]}' for phase in Phase)]
    lines += ["    [*] --> starting", *(f"    {names[one]} --> {names[other]}" for (one, other), _ in found), "    ended --> [*]"]
    lines += ["```", "", "| from | to | by |", "|---|---|---|"]
    lines += [f"| {one.value} | {other.value} | {', '.join(sorted(events))} |" for (one, other), events in found]
    return _HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    sys.exit(0)
