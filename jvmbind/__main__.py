"""`python -m jvmbind`: the command line. A start goes straight to what runs with privilege, and loads nothing else before."""

# `signal` takes milliseconds to load, in which an interrupt of the script above would leave a traceback.
import _signal  # type: ignore[import-not-found]
import os
import sys

if sys.argv[1:2] == ["java"] and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

# libffi 3.5 opens its own file as soon as ctypes is loaded, which must not become a standard stream that is closed. Whether
# there is no /dev/null is said later, by the start.
for _fd in range(3):
    try:
        os.fstat(_fd)
    except OSError:
        try:
            os.set_inheritable(os.open("/dev/null", os.O_RDWR), True)
        except OSError:
            break

if sys.argv[1:2] in (["run"], ["wrap"]) and (sys.flags.isolated or os.geteuid() != 0):
    from jvmbind.root.start import main as start

    start(sys.argv[1:])

from jvmbind.cli import main  # noqa: E402 - what is above comes first

main()
