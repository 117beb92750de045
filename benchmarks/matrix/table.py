"""Turns the results of runs into the tables of docs/works-with.md. Imported by __main__ of this folder."""

# ruff: noqa: INP001 - programs of their own, no package
from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recipe import Recipe

HEAD = (
    "| server | JDK | listeners | first answer | reload | back after `kill -9` | stop | result |",
    "|---|---|---|---|---|---|---|---|",
)


def table(rows: list[dict[str, Any]], known: Sequence[Recipe]) -> str:
    """Return a table of servers and one of start scripts; the last of several results of a server on a JDK counts."""
    latest = {(row["key"], row["java"]): row for row in rows}
    text = ""
    for title, how in (("Servers under `jvmbind run`", "run"), ("Start scripts under `jvmbind wrap`", "wrap")):
        chosen = sorted((row for row in latest.values() if row["how"] == how), key=lambda row: (row["title"].lower(), row["java"]))
        servers = {row["key"] for row in chosen}
        good = [row for row in chosen if row["result"] == "ok"]
        text += f"## {title}\n\n{len(servers)} ways to run a server, {len(chosen)} runs; {len(good)} runs without any fault.\n\n"
        text += "\n".join([*HEAD, *map(_line, chosen)]) + "\n\n"
    without = [recipe.title for recipe in known if recipe.key not in {key for key, _ in latest}]
    return text + f"The matrix knows these too, for which there is no result here: {', '.join(without)}.\n\n" if without else text


def _line(row: dict[str, Any]) -> str:
    plain, reload, kill = row.get("plain", {}), row.get("reload", {}), row.get("kill", {})
    needs = f"; needs {row['needs']}" if row["needs"] else ""
    cells = [
        f"{row['title']} ({row['version']})" if row["version"] else row["title"],
        row["java"],
        " ".join(f"`{spec}`" for spec in row["listen"]),
        _beside(row.get("first"), plain.get("first")),
        ", ".join(map(str, reload.get("seconds", []))),
        str(kill.get("seconds", "")),
        _beside(row.get("stop"), plain.get("stop")),
        _result(row) + needs,
    ]
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _beside(found: float | None, java: float | None) -> str:
    return f"{found} ({java})" if found is not None else ""


def _result(row: dict[str, Any]) -> str:
    """Say in a few words what was seen."""
    if row["result"] == "not under java":
        return "not run: does not serve under plain `java` of this JDK"
    if row["result"] == "matrix failed":
        return "not run: the matrix could not lay it out on this machine"
    if row["result"] == "ok":
        data = row.get("data")
        return f"ok; {data['confirmed']} records, none missing" if data else "ok"
    return "; ".join(dict.fromkeys(_fault(text, row) for text in row["failures"]))


def _fault(text: str, row: dict[str, Any]) -> str:
    phase, _, rest = text.partition(": ")
    lost = re.match(r"lost \{(.*)\} of (\d+)", rest)
    if lost:
        return f"reload loses {lost[1]} of {lost[2]}".replace("'", "")
    if phase == "reload":
        return "reload refused or failed, the old generation keeps serving"
    if phase == "serve":
        return "serves, and does not get ready" if "first" in row else "not served"
    if phase == "kill":
        return "not back within the time that a client waited" if "time" in rest else f"after the kill: {rest[:60]}"
    if phase == "stop" and rest[0].isdigit():
        return "stop slower than `java`"
    return f"{phase}: {rest.splitlines()[0][:90]}"
