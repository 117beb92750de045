"""`python -m jvmbind`: the command line. A start goes straight to what runs with privilege, and loads nothing else before."""

# `signal` takes milliseconds to load, in which an interrupt of the script above would leave a traceback.
import _signal  # type: ignore[import-not-found]
import os
import sys

if sys.argv[1:2] == ["java"] and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

if sys.argv[1:2] in (["run"], ["wrap"]) and (sys.flags.isolated or os.geteuid() != 0):
    from jvmbind.root.start import main as start

    start(sys.argv[1:])

from jvmbind.cli import main

main()
