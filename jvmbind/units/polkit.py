"""A polkit rule by which the control group of a service reloads and restarts it with systemctl(1). Pure: `jvmbind unit --polkit`.

Who may do that over the control socket may do it by the service manager too, and nothing else: no start, no stop, no signal, no
property, no other unit. Sources: polkit(8), org.freedesktop.systemd1(5) on manage-units and its details "unit" and "verb".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jvmbind.units.wanted import Wanted

_VERBS = {"reload": ("reload",), "restart": ("restart", "try-restart")}


def verbs(allowed: tuple[str, ...]) -> list[str]:
    """Return the verbs of systemctl(1) for the words of the control socket that a group may say."""
    return [verb for word, found in _VERBS.items() if word in allowed for verb in found]


def rule(wanted: Wanted) -> str:
    """Return the text of /etc/polkit-1/rules.d/50-jvmbind-NAME.rules."""
    return "\n".join(_lines(wanted)) + "\n"


def _lines(wanted: Wanted) -> Iterator[str]:
    request = wanted.request
    yield f"// Made by `jvmbind unit {wanted.name} --polkit`; made anew by the same command."
    yield f"// Put it into /etc/polkit-1/rules.d/50-jvmbind-{wanted.name}.rules: polkit reads it at once."
    yield "// A restart of a unit that is stopped starts it. Which job mode was asked for polkit is not told."
    yield "polkit.addRule(function (action, subject) {"
    yield f"    var units = {json.dumps([f'{wanted.name}.service', f'jvmbind@{wanted.name}.service'])};"
    yield f"    var verbs = {json.dumps(verbs(request.control_allow))};"
    yield '    if (action.id === "org.freedesktop.systemd1.manage-units" &&'
    yield '            units.indexOf(action.lookup("unit")) >= 0 && verbs.indexOf(action.lookup("verb")) >= 0 &&'
    yield f"            subject.isInGroup({json.dumps(request.control_group)})) {{"
    yield "        return polkit.Result.YES;"
    yield "    }"
    yield "});"
