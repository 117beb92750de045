"""Turns the results of a run into the table of docs/works-with.md. Imported by __main__ of this folder."""

# ruff: noqa: INP001 - programs of their own, no package
from __future__ import annotations

from typing import Any


def table(rows: list[dict[str, Any]]) -> str:
    """Return the table; of several results of one server on one JDK the last counts."""
    latest = {(row["key"], row["java"]): row for row in rows}
    lines = [
        "| server | JDK | listeners | first answer, s | reload, s | back after kill, s | stop, s | result | needs |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [_line(row) for row in latest.values()]
    return "\n".join(lines) + "\n"


def _line(row: dict[str, Any]) -> str:
    plain = row.get("plain", {})
    reload, kill = row.get("reload", {}), row.get("kill", {})
    cells = [
        f"{row['title']} {row['version']}".strip() + (" (wrap)" if row["how"] == "wrap" else ""),
        row["java"],
        " ".join(f"`{spec}`" for spec in row["listen"]),
        _beside(row.get("first"), plain.get("first")),
        " ".join(map(str, reload.get("seconds", []))),
        str(kill.get("seconds", "")),
        _beside(row.get("stop"), plain.get("stop")),
        _result(row),
        row["needs"],
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _beside(found: float | None, java: float | None) -> str:
    return f"{found} ({java})" if found is not None else ""


def _result(row: dict[str, Any]) -> str:
    if row["result"] == "ok":
        return "ok"
    if row["result"] == "not under java":
        return "does not run under plain `java` of this JDK"
    return "; ".join(sorted({text.split(":")[0] for text in row.get("failures", [])})) or row["result"]
