"""docs/reference.md in sections and blocks.

Run by whoever builds a package or runs the tests. Knows the Markdown of that page and no more: paragraphs, tables, lists,
fenced code, headings of two levels.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference.md"


class Block(NamedTuple):
    """One block. `kind` is "text", "code", "list", "table" or "heading"; a table has its titles in the first row."""

    kind: str
    lines: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def sections(text: str) -> dict[str, list[Block]]:
    """Return the blocks below each heading of the second level."""
    found: dict[str, list[Block]] = {}
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        found[title.strip()] = _blocks(body)
    return found


def commands_of(title: str, known: set[str]) -> list[str]:
    """Return the commands that a section is about: those that its title names, separated by commas."""
    words = title.replace("`", "").split(", ")
    return words if set(words) <= known else []


def _blocks(body: str) -> list[Block]:
    found: list[Block] = []
    # Fenced code may have empty lines in it; all other blocks end at one.
    for number, part in enumerate(re.split(r"^```.*$", body, flags=re.MULTILINE)):
        if number % 2:
            found.append(Block("code", tuple(part.strip("\n").splitlines())))
        else:
            found += [_block(lines.splitlines()) for lines in re.split(r"\n\s*\n", part) if lines.strip()]
    return found


def _block(lines: list[str]) -> Block:
    lines = [line for line in lines if line.strip()]
    if lines[0].startswith("### "):
        return Block("heading", (lines[0].removeprefix("### "),))
    if lines[0].startswith("|"):
        rows = [tuple(cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))) for line in lines]
        return Block("table", rows=tuple(row for row in rows if not all(re.fullmatch(r":?-+:?", cell) for cell in row)))
    if lines[0].startswith("- "):
        return Block("list", tuple(re.split(r"^- ", "\n".join(lines), flags=re.MULTILINE)[1:]))
    return Block("text", tuple(line.strip() for line in lines))


def keys(found: dict[str, list[Block]]) -> dict[str, tuple[str, str]]:
    """Return what the tables say of each key of the configuration file: its default ("" where none is told) and its meaning."""
    told: dict[str, tuple[str, str]] = {}
    # What is said of a key as such comes after what is said of its option, and before it here.
    for title in ("key", "key in the file"):
        for block in (block for blocks in found.values() for block in blocks if block.kind == "table" and title in block.rows[0]):
            titles = block.rows[0]
            for row in block.rows[1:]:
                name = row[titles.index(title)].strip("`")
                if name:
                    told.setdefault(name, (row[titles.index("default")] if "default" in titles else "", row[-1]))
    return told
