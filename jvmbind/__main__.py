"""`python -m jvmbind`: the command line."""

# `signal` takes milliseconds to load, in which an interrupt of the script above would leave a traceback.
import _signal  # type: ignore[import-not-found]
import sys

if sys.argv[1:2] == ["java"] and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

from jvmbind.cli import main

main()
