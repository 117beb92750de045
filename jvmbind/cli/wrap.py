"""`jvmbind wrap [OPTIONS] -- SCRIPT ARGS...`: the options are those of `jvmbind run`.

Runs with whatever privilege the caller has; `jvmbind.root.start` does the work, and `jvmbind.plan` reads the command line.
"""

from __future__ import annotations

from jvmbind.root import start


def main(argv: list[str]) -> None:
    """Run the command; does not return."""
    start.main(["wrap", *argv])
