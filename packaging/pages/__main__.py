"""`python packaging/pages FOLDER`: writes the manual and the completion of this version below FOLDER, as below /usr/share.

Run by whoever builds a package, with a Python that can import jvmbind and what it needs. Nothing of it is kept in version
control: the parsers of the commands and docs/reference.md are the source.
"""

from __future__ import annotations

import sys
from pathlib import Path

import commands
import completion
import manual


def main() -> None:
    """Write all files."""
    if len(sys.argv) != 2:
        sys.exit("usage: python packaging/pages FOLDER")
    folder = Path(sys.argv[1])
    found = commands.find()
    files = {f"man/man{name[-1]}/{name}": text for name, text in manual.pages(found).items()} | completion.files(found)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
