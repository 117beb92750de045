"""Entry of the supervisor: `python -I .../supervisor/__main__.py NAME`. Runs as the service user."""

from jvmbind.supervisor.main import main

main()
