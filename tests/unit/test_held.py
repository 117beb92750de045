"""What a generation holds, as the supervisor sees it."""

from __future__ import annotations

import os
import traceback

from jvmbind.supervisor.held import look

_NOBODY = 65534


def test_a_process_that_ends_holds_nothing() -> None:
    """One that has ended and was not waited for belongs to root in /proc, and is not taken for one that hides its files."""
    watcher = os.fork()
    if watcher == 0:
        status = 1
        try:
            if os.geteuid() == 0:
                os.setgid(_NOBODY)
                os.setuid(_NOBODY)
            ended = os.fork()
            if ended == 0:
                os._exit(0)
            os.waitid(os.P_PID, ended, os.WEXITED | os.WNOWAIT)
            status = 0 if look([ended], (), ()) is None else 2
        except BaseException:  # noqa: BLE001 - the status says it
            traceback.print_exc()
        finally:
            os._exit(status)

    assert os.waitstatus_to_exitcode(os.waitpid(watcher, 0)[1]) == 0
