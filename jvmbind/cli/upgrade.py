"""`jvmbind upgrade [NAME]`. Runs as any user; see jvmbind.cli.control."""

from __future__ import annotations

from jvmbind.cli import control


def main(argv: list[str]) -> None:
    """Run the command."""
    control.main("upgrade", argv)
