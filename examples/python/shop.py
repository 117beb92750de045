"""A command line tool made with click: start a service in the background, ask it, reload it and stop it.

python examples/python/shop.py start --listen 8080 -- -jar server.jar
python examples/python/shop.py status
"""

from __future__ import annotations

import sys

import click

import jvmbind

NAME = "shop"


@click.group()
def shop() -> None:
    """Start, ask and stop the shop."""


@shop.command()
@click.option("--listen", default="8080", show_default=True, help="its port, in the grammar of jvmbind --listen")
@click.option("--user", help="who it runs as")
@click.option("--timeout", default=60.0, show_default=True, help="seconds in which it must be ready")
@click.argument("java", nargs=-1, required=True)
def start(listen: str, user: str | None, timeout: float, java: tuple[str, ...]) -> None:
    """Start it, and leave it running once it serves."""
    service = jvmbind.Service(name=NAME, user=user, listen={"http": listen}, java={"arguments": list(java)}, quiet=True)
    running = service.start()
    try:
        running.wait_ready(timeout)
    except jvmbind.JvmbindError:
        running.stop()
        raise
    finally:
        running.close()
    click.echo(f"ready, process {running.pid}")


@shop.command()
def status() -> None:
    """Say how it is; the exit status is 1 where it does not serve."""
    with jvmbind.connect(NAME) as running:
        found = running.status()
    click.secho(found.state, fg="green" if found.ready else "red")
    for listener in found.listeners:
        click.echo(f"{listener.name}: {listener.address}, {listener.queue} waiting")
    sys.exit(not found.ready)


@shop.command()
def reload() -> None:
    """Put a new generation in the place of the one that serves."""
    with jvmbind.connect(NAME) as running, click.progressbar(length=1, label="reload") as bar:
        result = running.reload()
        bar.update(1)
    click.echo(f"\n{result}")


@shop.command()
def stop() -> None:
    """Stop it."""
    with jvmbind.connect(NAME) as running:
        click.echo(f"ended with status {running.stop()}")


def main() -> None:
    """Run a command; what jvmbind refuses is one line, and its exit status."""
    try:
        shop()
    except jvmbind.JvmbindError as error:
        click.echo(f"{NAME}: {error}", err=True)
        sys.exit(error.status)


if __name__ == "__main__":
    main()
