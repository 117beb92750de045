"""Blocks of the reference as text for man(7).

Run by whoever builds a package or runs the tests. Only macros of the old `man` package are written, which groff and mandoc
both have.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reference import Block

_INLINE = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*|(?<![\w*\\])\*([^*\s][^*]*)\*|\[([^\]]+)\]\([^)]*\)")


def plain(text: str) -> str:
    """Return text that stands for itself: no escape, no macro; a hyphen stays what can be typed."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def inline(text: str) -> str:
    """Return a line of Markdown with bold code, and without links."""
    found, place = "", 0
    for match in _INLINE.finditer(text):
        found += _words(text[place : match.start()])
        code, bold, italic, link = match.groups()
        if code is not None or bold is not None:
            found += f"\\fB{plain(code or bold)}\\fR"
        elif italic is not None:
            found += f"\\fI{plain(italic)}\\fR"
        else:
            found += inline(link)
        place = match.end()
    found += _words(text[place:])
    return f"\\&{found}" if found.startswith((".", "'")) else found


def _words(text: str) -> str:
    """Return running text: Markdown's own escapes are taken out, hyphens stay hyphens."""
    return re.sub(r"\\([*_|<>\\`-])", r"\1", text).replace("\\", "\\e")


def blocks(found: Iterable[Block]) -> list[str]:
    """Return the lines of blocks."""
    lines: list[str] = []
    for block in found:
        if block.kind == "heading":
            lines.append(f'.SS "{_quoted(block.lines[0])}"')
        elif block.kind == "code":
            lines += [".PP", ".RS 4", ".nf", *map(plain, block.lines), ".fi", ".RE"]
        elif block.kind == "list":
            for item in block.lines:
                lines += [".IP \\(bu 2", *(inline(line.strip()) for line in item.splitlines() if line.strip())]
        elif block.kind == "table":
            lines += _table(block)
        else:
            lines += [".PP", *map(inline, block.lines)]
    return lines


def _table(block: Block) -> list[str]:
    """Return a table as a list: the first cell of a row, and below it the others."""
    titles, *rows = block.rows
    lines: list[str] = []
    for row in rows:
        cells = [cell if len(row) <= 2 else f"{title}: {cell}" for title, cell in zip(titles[1:], row[1:], strict=True) if cell]
        lines += tagged(inline(row[0]), [inline("; ".join(cells))])
    return lines


def tagged(tag: str, text: Iterable[str]) -> list[str]:
    """Return an entry of a list, with its tag on a line of its own."""
    return [".TP", tag or "\\&", *text]


def _quoted(text: str) -> str:
    return inline(text).replace('"', "\\(dq")


def page(name: str, section: int, version: str, body: Iterable[str]) -> str:
    """Return a whole page. It carries no date, so that two builds are the same."""
    head = f'.TH {plain(name.upper())} {section} "" "jvmbind {version}" "jvmbind"'
    return "\n".join(['.\\" Made by packaging/pages from --help and docs/reference.md.', head, ".nh", ".ad l", *body]) + "\n"
