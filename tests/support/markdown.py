"""One sentence a line in the Markdown of this project, so that a diff shows what has changed; and links that lead somewhere.

Run as a program by `make lint`: `python tests/support/markdown.py [--fix] [FILE...]`. Must not import jvmbind.
Headings, tables, code and HTML are left as they are.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"\s*(```|~~~)")
_APART = re.compile(r"\s*(#{1,6} |\||<|>|---+\s*$|\[[^\]]+\]: )")  # lines that are not prose
_ITEM = re.compile(r"(\s*(?:[-*+]|\d+\.) +)(.*)")
_CODE = re.compile(r"`+[^`]*`+")
# The end of a sentence, with what closes behind it, before something that may begin one.
_END = re.compile(r"(?<=[.!?])([)\"*_]*) +(?=[A-Z(\[`*\"0-9]|jvmbind |systemd )")
_NO_END = re.compile(r"(?:\b(?:e\.g|i\.e|vs|cf|Nr|no|approx)|\s[A-Z])\.[)\"*_]*$")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


class Paragraph(NamedTuple):
    """A paragraph or the text of a list item: its first line's number, what stands before it there, and its lines."""

    number: int
    prefix: str
    lines: list[str]

    def wanted(self) -> list[str]:
        """Return the lines that it should have; a list between dots stays as it is."""
        if any(line.endswith(" ·") for line in self.lines):
            return self.lines
        text = " ".join([self.lines[0][len(self.prefix) :].strip(), *(line.strip() for line in self.lines[1:])])
        first, *more = sentences(text)
        return [self.prefix + first, *(" " * len(self.prefix) + one for one in more)]


def sentences(text: str) -> list[str]:
    """Return the sentences of a paragraph."""
    masked = _CODE.sub(lambda code: "`" + "x" * (len(code[0]) - 2) + "`", text)
    found, start = [], 0
    for end in _END.finditer(masked):
        if not _NO_END.search(masked[start : end.end(1)]):
            found.append(text[start : end.end(1)])
            start = end.end()
    return [*found, text[start:]]


def paragraphs(text: str) -> list[Paragraph]:
    """Return the paragraphs and list items of a page, each with the lines that it should have."""
    found: list[Paragraph] = []
    fenced = goes_on = False
    for number, line in enumerate(text.splitlines(), 1):
        if _FENCE.match(line):
            fenced = not fenced
            goes_on = False
        elif fenced or not line.strip() or _APART.match(line):
            goes_on = False
        else:
            item = _ITEM.fullmatch(line)
            if item is not None or not goes_on:
                prefix = item[1] if item is not None else line[: len(line) - len(line.lstrip())]
                found.append(Paragraph(number, prefix, []))
            found[-1].lines.append(line)
            goes_on = True
    return found


def fixed(text: str) -> str:
    """Return a page with one sentence a line."""
    lines = text.splitlines()
    for one in reversed(paragraphs(text)):
        lines[one.number - 1 : one.number - 1 + len(one.lines)] = one.wanted()
    return "\n".join(lines) + "\n"


def anchors(text: str) -> set[str]:
    """Return the names by which the headings of a page are linked to, as forges make them."""
    titles = re.findall(r"^#{1,6} (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def problems(path: Path) -> list[str]:
    """Return what is wrong with a page, a line each."""
    text = path.read_text("utf-8")
    name = path.relative_to(ROOT)
    found = [
        f"{name}:{one.number}: expected one sentence a line: {one.lines[0].strip()[:60]}"
        for one in paragraphs(text)
        if one.lines != one.wanted()
    ]
    for target in _LINK.findall(text):
        place, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        other = (path.parent / place).resolve() if place else path
        if not other.exists():
            found.append(f"{name}: a link to {target}, which is not there")
        elif anchor and other.suffix == ".md" and anchor not in anchors(other.read_text("utf-8")):
            found.append(f"{name}: a link to {target}, which has no such heading")
    return found


def main(arguments: list[str]) -> int:
    """Check, or mend with --fix, the pages named, or all of them; return the exit status."""
    named = [Path(one).resolve() for one in arguments if not one.startswith("-")]
    pages = named or sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")})
    if "--fix" in arguments:
        for page in pages:
            page.write_text(fixed(page.read_text("utf-8")), "utf-8")
    found = [problem for page in pages for problem in problems(page)]
    sys.stderr.writelines(f"{problem}\n" for problem in found)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
