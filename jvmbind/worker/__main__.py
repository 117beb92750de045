"""Entry of the worker: `python -I .../worker/__main__.py JAVA-ARGUMENTS`. Runs as the service user."""

from jvmbind.worker.main import main

main()
