"""`jvmbind run [OPTIONS] -- JAVA-ARGUMENTS` and `jvmbind run -c FILE [OPTIONS]`.

Runs with whatever privilege the caller has; `jvmbind.root.start` does the work, and `jvmbind.plan` reads the command line.
"""

from __future__ import annotations

from jvmbind.root import start


def main(argv: list[str]) -> None:
    """Run the command; does not return."""
    start.main(["run", *argv])
