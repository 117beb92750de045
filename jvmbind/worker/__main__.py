"""Entry of the worker: `python -IS .../worker/__main__.py JAVA-ARGUMENTS`. Runs as the service user.

The places of its modules are in the second and following lines of the variable that says which role this is: who started
this process has looked for them (site directories, .pth files), and looking takes as long as all that is loaded then.
"""

import os
import sys

places = os.environ.get("JVMBIND_ROLE", "").split("\n")[1:]
sys.path += [place for place in places if place not in sys.path]

from jvmbind.bare import signal  # noqa: E402

# The rest takes milliseconds to load, in which Ctrl-C would leave a traceback.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from jvmbind.worker.main import main  # noqa: E402

main()
