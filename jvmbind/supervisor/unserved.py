"""Listeners that the application has never bound: who connects there is refused, instead of waiting for ever.

Runs in the supervisor as the service user. A listener listens from the start, so the kernel makes connections that only
the application could take. Once it is plain that the application does not have the listener, they are reset here.
Source: tcp(7). On a Unix stream the client sees the end: unix_release_sock in net/unix/af_unix.c.
"""

from __future__ import annotations

import os
import time

from jvmbind.lifecycle import Phase, Role, Stage
from jvmbind.posix.listening import is_listening
from jvmbind.supervisor.log import fields_of
from jvmbind.supervisor.quota import Quota
from jvmbind.supervisor.refusal import Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from jvmbind.lifecycle import Member, State
    from jvmbind.spec import ListenSpec
    from jvmbind.supervisor.actions import Actions
    from jvmbind.supervisor.generation import Generation

_GRACE = 1.0  # seconds after a refused bind: a program that tries one address after the other may try the right one next
_RESETS = 500, 200  # at once, then a second
_PAUSE = 0.1  # seconds
_PHASES = {Phase.STARTING, Phase.UP, Phase.RELOADING, Phase.RESTARTING}
_Key = tuple[str, str, str]


class Unserved:
    """Which listeners those are, and their clients."""

    def __init__(self, world: Actions) -> None:
        """None is known yet."""
        self._world = world
        self._claimed: set[_Key] = set()  # listeners that a generation has had: from then on clients wait for the next
        self._said: set[_Key] = set()
        self._due: float | None = None  # when `look` may find something new
        self._quota = Quota(*_RESETS)
        self._refusal = Refusal()
        self._paused_until = 0.0
        self.reasons: dict[str, str] = {}  # name of a listener -> why it is not served

    def note(self, generation: Generation) -> None:
        """Remember what a generation has claimed."""
        while generation.unnoted:
            self._claimed.add(_key(generation.spec.listeners[generation.unnoted.pop()]))

    def look(self, state: State) -> None:
        """Find out anew which they are; called after whatever a generation has said was read."""
        now, self._due = time.monotonic(), None
        # A standby has bound nothing, and a drained generation will not any more.
        members = [one for one in state.members if one.role in {Role.SERVING, Role.INCOMING} and one.stage < Stage.CLOSING]
        known = [(self._world.generations.get(one.number), one) for one in members]
        living = [(generation, one) for generation, one in known if generation is not None]
        reasons: dict[str, str] = {}
        if state.phase in _PHASES and living and len(living) == len(members) and all(one.main_runs for one, _ in living):
            reasons = self._find(living, now)
        for name in reasons.keys() - self.reasons.keys():
            self._say(name, reasons[name])
        self.reasons = reasons

    def _find(self, living: Collection[tuple[Generation, Member]], now: float) -> dict[str, str]:
        """Return name -> reason of the listeners that every one of these generations has passed over."""
        late = [(self._is_late(generation, member, now), generation) for generation, member in living]
        if not all(is_late or generation.too_wide for is_late, generation in late):
            return {}
        found = {}
        for name, (spec, _) in self._world.listeners.items():
            # What came from a parent may have been served before, or be served by another process that has it as well.
            if not spec.listens or spec.of or spec.inherited or _key(spec) in self._claimed:
                continue
            why = [self._why(generation, name, now, is_late=is_late) for is_late, generation in late]
            if all(why):
                found[name] = why[-1]
        return found

    def _is_late(self, generation: Generation, member: Member, now: float) -> bool:
        """Whether a generation that has bound other ports has had its time for the rest as well."""
        return generation.binds and self._has_come(member.started + generation.spec.start_timeout, now)

    def _why(self, generation: Generation, name: str, now: float, *, is_late: bool) -> str:
        index = next((i for i, one in enumerate(generation.spec.listeners) if one.name == name), -1)
        refused = generation.too_wide.get(index)
        if refused is not None and self._has_come(refused + _GRACE, now):
            return "the application asked for a narrower address, and was refused"
        return f"the application has not bound it within {generation.spec.start_timeout:g} s" if is_late else ""

    def _has_come(self, moment: float, now: float) -> bool:
        if now >= moment:
            return True
        self._due = moment if self._due is None else min(self._due, moment)
        return False

    def _say(self, name: str, why: str) -> None:
        spec, _ = self._world.listeners[name]
        for fd in self._sockets(name):
            os.set_blocking(fd, False)  # a worker that is given the listener sets its own mode
        if _key(spec) not in self._said:
            self._said.add(_key(spec))
            text = "listener %r (%s/%s) is not served: %s; connections to it are refused until it is bound"
            self._world.log.warning(text, name, spec.address, spec.protocol, why, extra=fields_of("not-served", 0, name))

    def _sockets(self, name: str) -> list[int]:
        known = self._world.listeners.values()
        return [fd for spec, fd in known if name in {spec.name, spec.of} and spec.listens and is_listening(fd)]

    def fds(self) -> list[int]:
        """Return the sockets on which clients are to be refused, none for a moment after too many of them."""
        if not self.reasons or time.monotonic() < self._paused_until:
            return []
        return [fd for name in self.reasons for fd in self._sockets(name)]

    def deadline(self) -> float | None:
        """Return the moment (monotonic) at which `look` may find something new, or `fds` is to be asked again."""
        paused = self._paused_until if self.reasons and self._paused_until > time.monotonic() else None
        return min((one for one in (self._due, paused) if one is not None), default=None)

    def refuse(self, waiting: Collection[int]) -> None:
        """Reset the client that is first in the queue of each of those sockets on which one was seen before `look`.

        One and not all: who was seen then came before the application had the listener.
        """
        for fd in self.fds():
            if fd not in waiting:
                continue
            # A socket that blocks has just been given to an agent: an accept here would wait for its clients.
            if os.get_blocking(fd) or not self._quota.take() or not self._refusal.refuse(fd):
                self._paused_until = time.monotonic() + _PAUSE
                return


def _key(spec: ListenSpec) -> _Key:
    return spec.name, spec.address, spec.protocol
