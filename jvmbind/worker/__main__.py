"""Entry of the worker: `python -I .../worker/__main__.py JAVA-ARGUMENTS`. Runs as the service user."""

import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # before anything else is loaded: Ctrl-C is to leave no traceback

from jvmbind.worker.main import main

main()
