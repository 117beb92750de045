"""Entry of the worker: `python -I .../worker/__main__.py JAVA-ARGUMENTS`. Runs as the service user."""

# `signal` takes milliseconds to load, in which Ctrl-C would leave a traceback.
import _signal  # type: ignore[import-not-found]

if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

from jvmbind.worker.main import main

main()
