"""What `jvmbind status` prints for people: columns, what happened last, and what is to be done.

Pure: makes text of a service's answer. Runs as any user.
"""

from __future__ import annotations

import time
from typing import Any

_GOOD, _CARE, _BAD, _HEAD = "32", "33", "31", "1"
_Cell = tuple[str, str]  # text and colour, "" for none
_EVENTS = 3


class View:
    """One answer as text; `colour` where a terminal shows it."""

    def __init__(self, answer: dict[str, Any], now: float, *, colour: bool) -> None:
        """Remember what is to be shown, and when."""
        self._answer, self._now, self._colour = answer, now, colour

    def text(self) -> str:
        """Return all of it."""
        blocks = [self._head(), self._generations(), self._listeners(), self._facts()]
        return "\n\n".join(block for block in blocks if block)

    def _paint(self, text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._colour and code and text else text

    def _table(self, titles: tuple[str, ...], rows: list[list[_Cell]]) -> str:
        if not rows:
            return ""
        table = [[(title, _HEAD) for title in titles], *rows]
        widths = [max(len(row[column][0]) for row in table) for column in range(len(titles))]
        lines = []
        for row in table:
            cells = [self._paint(text.ljust(width), code) for (text, code), width in zip(row[:-1], widths, strict=False)]
            lines.append("  ".join([*cells, self._paint(*row[-1])]).rstrip())
        return "\n".join(lines)

    def _head(self) -> str:
        answer = self._answer
        why = answer.get("not_ready", "")
        phase = answer["phase"]
        state = self._paint("ready, and is reloading" if phase == "reloading" else "ready", _GOOD)
        if why:
            serves = any(one["role"] == "serving" for one in answer["generations"]) and phase == "up"
            state = self._paint("up, but not ready" if serves else f"not ready ({phase})", _CARE if serves else _BAD)
        lines = [f"{self._paint(answer['name'], _HEAD)} is {state}"]
        if why:
            lines.append(f"  because {why}")
        waits = answer["waits_for"].replace(f": {why}", "") if why else answer["waits_for"]
        if waits and waits not in why:
            lines.append(f"  waits {waits}")
        running, installed = answer.get("version", ""), answer.get("installed_version", "")
        if running != installed:
            told = f"jvmbind upgrade {answer['name']}"
            lines.append(f"  version {running} of jvmbind runs, {installed or 'an unknown one'} is installed: {told}")
        return "\n".join(lines)

    def _generations(self) -> str:
        rows: list[list[_Cell]] = []
        for one in self._answer["generations"]:
            stage = one["stage"]
            colour = _GOOD if stage == "ready" else _CARE
            cells = (str(one["number"]), one["role"], stage, str(one["pid"]), length(one["age"]), memory(one))
            rows.append([(cell, colour if cell is stage else "") for cell in cells] + [(one["status"], "")])
        return self._table(("GENERATION", "ROLE", "STATE", "PID", "AGE", "MEMORY", "SAYS"), rows)

    def _listeners(self) -> str:
        rows: list[list[_Cell]] = []
        for one in self._answer["listeners"]:
            by = ", ".join(f"generation {number}" for number in one["claimed_by"])
            reason = one.get("not_served", "")
            queue = "-" if one["queue"] is None else f"{one['queue']} of {one['queue_limit']}"
            lost = one["overflows"] or 0
            rows.append(
                [
                    (one["name"], ""),
                    (f"{one['address']}/{one['protocol']}", ""),
                    (by or ("nobody: refused" if reason else "nobody"), "" if by else _BAD if reason else _CARE),
                    (queue, ""),
                    ("-" if one["queue"] is None else str(lost), _CARE if lost else ""),
                ]
            )
        return self._table(("LISTENER", "ADDRESS", "SERVED BY", "WAITING", "LOST"), rows)

    def _facts(self) -> str:
        up = f"up {length(self._answer['uptime'])}, " if "uptime" in self._answer else ""  # an older supervisor does not say it
        supervisor = f"pid {self._answer['pid']}, {up}{memory(self._answer['supervisor'])}"
        rows = [("rights", [self._rights()]), ("supervisor", [supervisor])]
        rows.append(("last", [self._event(*event) for event in self._events()] or ["nothing has happened since the start"]))
        advice = to_do(self._answer)
        rows.append(("to do", advice or ["nothing"]))
        width = max(len(title) for title, _ in rows)
        lines = []
        for title, texts in rows:
            for number, text in enumerate(texts):
                colour = _CARE if title == "to do" and advice else ""
                lines.append(f"{self._paint((title if not number else '').ljust(width), _HEAD)}  {self._paint(text, colour)}")
        return "\n".join(lines)

    def _rights(self) -> str:
        """Say what each process may do; in one line where all is as it should be."""
        owners = [("supervisor", self._answer["supervisor"])]
        owners += [(f"generation {one['number']}", one) for one in self._answer["generations"]]
        said = {name: rights(one) for name, one in owners}
        if len(set(said.values())) == 1:
            return f"{next(iter(said.values()))}, in every thread"
        return "; ".join(f"{name}: {text}" for name, text in said.items())

    def _event(self, when: float, text: str) -> str:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))
        return f"{stamp} ({length(max(0.0, self._now - when))} ago): {text}"

    def _events(self) -> list[tuple[float, str]]:
        """Return what happened last, the newest first."""
        answer, found = self._answer, []
        deaths = answer["deaths"]
        unasked = [death for death in deaths if not death.get("asked")]
        for death in deaths[-_EVENTS:]:
            how = f"killed by {death['signal']}" if death["signal"] else f"exit status {death['status']}"
            more = f"; {len(unasked)} deaths are known" if death in unasked[-1:] and len(unasked) > 1 else ""
            start = " during its start" if death["during_start"] else ""
            verb = "was ended as requested," if death.get("asked") else f"died{start}"
            text = f"generation {death['generation']} {verb} after {length(death['uptime'])}: {how}{_report(death)}{more}"
            found.append((death["time"], text))
        change = answer["reload"]
        if change:
            outcome = f"done, generation {change['generation']} took over" if change["ok"] else change["error"]
            by = f", by a restart with the listeners kept ({change['alone']})" if change["ok"] and change["alone"] else ""
            found.append((change["time"], f"{change['kind']} {'' if change['ok'] else 'failed: '}{outcome}{by}"))
        return sorted(found, reverse=True)[:_EVENTS]


def to_do(answer: dict[str, Any]) -> list[str]:
    """Return what somebody should do, one line each; nothing where all is well or goes on by itself."""
    found = []
    change, deaths = answer["reload"], answer["deaths"]
    if change and not change["ok"]:
        serves = "the old version serves" if answer.get("ready", True) else "the old version is started again"
        found.append(f"{change['kind']}: mend what it says, then jvmbind {change['kind']} {answer['name']}; {serves} meanwhile")
    if answer["phase"] == "backing off":
        found.append("the next start comes by itself; what ended the last ones is in the service's output")
    if deaths and deaths[-1]["hs_err"]:
        found.append(f"read the JVM's report {deaths[-1]['hs_err']}")
    if deaths and deaths[-1]["oom"]:
        found.append("give the service more memory, or the JVM less (-Xmx, -XX:MaxRAMPercentage): the kernel ended it")
    for one in answer["listeners"]:
        if one.get("not_served"):
            found.append(f"listener {one['name']!r}: {one['not_served']}; until it is bound, clients are refused")
        if one["overflows"]:
            found.append(f"listener {one['name']!r}: its queue was full; a larger backlog, or an application that accepts sooner")
    found += [note for note in (change or {}).get("notes", ()) if note not in found]
    found += _hints(answer)
    if answer.get("not_ready") and not found:
        found.append("wait; if it does not get ready, its output may say why")
    for one in (answer["supervisor"], *answer["generations"]):
        privileges = one["privileges"]
        if privileges and (privileges["capabilities"] or not privileges["no_new_privs"] or 0 in privileges["uids"]):
            found.append("stop the service: a process of it has a right that it must not have")
            break
    return found


def _hints(answer: dict[str, Any]) -> list[str]:
    """Return what is said of addresses that no listener answers to: all that are refused, the others while one is missing."""
    found = []
    for one in answer["generations"]:
        hints = one.get("hints", ()) if one["role"] in {"serving", "incoming"} else ()
        found += [f"bind of {hint}" for hint in hints if answer.get("not_ready") or "refused" in hint]
    return list(dict.fromkeys(found))


def _report(death: dict[str, Any]) -> str:
    oom = ", out of memory" if death["oom"] else ""
    return f"{oom}, report {death['hs_err']}" if death["hs_err"] else oom


def memory(process: dict[str, Any]) -> str:
    """Return the memory of a process."""
    found = process["memory"]
    return f"{found['pss'] / 1024:.0f} MiB" if "pss" in found else "not readable"


def length(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    whole = int(seconds)
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if whole >= 2 * unit:
            return f"{whole // unit} {name}"
    return f"{whole} s"


def rights(process: dict[str, Any]) -> str:
    """Return what the threads of a process may do."""
    privileges = process["privileges"]
    if not privileges:
        return "not readable"
    capabilities = "no capability"
    if privileges["capabilities"]:
        capabilities = " ".join(f"{name}={bits}" for name, bits in privileges["capabilities"].items())
    uids = ",".join(str(uid) for uid in privileges["uids"])
    return f"uid {uids}, {capabilities}, {'no_new_privs' if privileges['no_new_privs'] else 'no_new_privs MISSING'}"
