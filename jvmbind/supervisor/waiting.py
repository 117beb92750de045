"""What a service waits for, in words and seconds, and whether a client waits for it.

Runs in the supervisor as the service user.
"""

from __future__ import annotations

import select

from jvmbind.lifecycle import Phase, Role, Stage, Timer
from jvmbind.posix.listening import TCP_ESTABLISHED, tcp_rows
from jvmbind.supervisor.reasons import lacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from jvmbind.lifecycle import Member, State
    from jvmbind.spec import ListenSpec
    from jvmbind.supervisor.actions import Actions


def client_waits(listeners: Iterable[tuple[ListenSpec, int]]) -> bool:
    """Whether a client waits that has not gone: a connection that nobody has accepted, or a datagram."""
    ports = set()
    others = select.poll()
    for spec, fd in listeners:
        if spec.protocol == "tcp" and spec.listens:
            ports.add(f":{spec.port:04X}")
        elif not spec.bind_only:
            others.register(fd, select.POLLIN)
    # A connection has no inode until it is accepted, and is no longer established once its client has closed it.
    rows = (fields for fields in tcp_rows() if fields[3] == TCP_ESTABLISHED and fields[9] == "0") if ports else ()
    return any(fields[1][-5:] in ports for fields in rows) or bool(others.poll(0))


def waits_for(world: Actions, state: State) -> str:
    """Return what the service waits for on its way to another state, "" where it is in none."""
    if state.phase is Phase.BACKING_OFF:
        return f"for the pause before the next start{_left(world, Timer.BACK_OFF, 0)}"
    found = [text for member in state.members if (text := member_waits_for(world, member, state.phase))]
    return "; ".join(found)


def not_ready(world: Actions, state: State) -> str:
    """Return why the service is not ready, "" where it is."""
    serves = any(member.stage is Stage.READY and member.role is Role.SERVING for member in state.members)
    if serves and state.phase in {Phase.UP, Phase.RELOADING}:
        return ""
    found = [text for member in state.members if (text := member_lacks(world, member))]
    if found:
        return "; ".join(found)
    waits = waits_for(world, state)
    return f"the service is {state.phase.value}" + (f", and waits {waits}" if waits else "")


def member_lacks(world: Actions, member: Member) -> str:
    """Return what a generation that serves, or is to serve, lacks to be ready; "" where it is, or where it is not to."""
    generation = world.generations.get(member.number)
    if generation is None or member.role not in {Role.SERVING, Role.INCOMING} or member.stage >= Stage.READY:
        return ""
    return lacks(generation, probed=world.probed == member.number)


def member_waits_for(world: Actions, member: Member, phase: Phase) -> str:
    """Return what one generation waits for, or is waited for."""
    generation = world.generations.get(member.number)
    if generation is None or member.role is Role.STANDBY:
        return ""
    who = f"for generation {member.number}"
    if member.stage is Stage.TERMINATING:
        dump = _left(world, Timer.STOP, member.number) or _left(world, Timer.DUMP, member.number)
        return f"{who} to end{dump}"
    if member.role is Role.INCOMING and phase is not Phase.STOPPING:
        left = _left(world, Timer.START, member.number)
        return f"{who} to get ready: {lacks(generation, probed=world.probed == member.number)}{left}"
    if member.role is Role.DRAINING or phase in {Phase.STOPPING, Phase.RESTARTING}:
        total, busy = generation.connections
        closes = _left(world, Timer.CLOSE, member.number)
        if closes:
            return f"{who}: {_count(total, 'connection')} to be closed{closes}"
        left = _left(world, Timer.DRAIN, member.number)
        if generation.callbacks:
            return f"{who}: its onDrain callbacks, {_count(total, 'connection')}{left}"
        return f"{who}: {_count(busy, 'connection')} in the middle of an answer" + (
            f", {total - busy} idle{left}" if total > busy else left
        )
    return ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _left(world: Actions, timer: Timer, number: int) -> str:
    left = world.left(timer, number)
    return "" if left is None else f", {left:.0f} s left"
