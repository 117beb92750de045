"""Runs `jvmbind run -c FILE` and `jvmbind check FILE` for many files in one interpreter, each in a child of its own.

Run by exec, isolated, as root: `both.py FILE...` prints a JSON array of {"run": [status, stdout, stderr], "check": ...}.
A fork costs a hundredth of an interpreter's start; what runs in it is the whole command, drop and all.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback

from jvmbind import cli
from jvmbind.cli import check, run  # noqa: F401 - loaded once for all


def outcome(*argv: str) -> tuple[int, str, str]:
    """Return the exit status of a command and what it printed."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            os.setsid()
            for source, target in ((out, 1), (err, 2)):
                os.dup2(source.fileno(), target)
            sys.argv = ["jvmbind", *argv]
            try:
                cli.main()
            except SystemExit as end:
                sys.stdout.flush()
                os._exit(end.code if isinstance(end.code, int) else 0)
            except BaseException:  # noqa: BLE001 - shown as what it is
                traceback.print_exc()
            os._exit(255)
        _, status = os.waitpid(child, 0)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "backslashreplace"))
    return os.waitstatus_to_exitcode(status), texts[0], texts[1]


def main() -> None:
    """Run both commands for each file."""
    found = [{"run": outcome("run", "-c", path), "check": outcome("check", path)} for path in sys.argv[1:]]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
