"""Calls one test function: `python -I in_child.py FILE FUNCTION ARGUMENTS`. Started by conftest.py, for each test anew.

Status 0: passed; 77: skipped, with the reason on stdout; else failed, with what went wrong on stderr.
"""

from __future__ import annotations

import base64
import importlib.util
import os
import pickle
import sys
import traceback
from pathlib import Path

_SKIPPED = 77


def main() -> int:
    """Load the file, call the function."""
    path, name, arguments = sys.argv[1:]
    sys.path.insert(0, str(Path(__file__).parent.parent))
    spec = importlib.util.spec_from_file_location("tested", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tested"] = module
    spec.loader.exec_module(module)
    import pytest  # noqa: PLC0415 - after the search path is set

    try:
        getattr(module, name)(**pickle.loads(base64.b64decode(arguments)))
    except pytest.skip.Exception as skipped:
        print(skipped.msg)
        return _SKIPPED
    except BaseException:  # noqa: BLE001 - whatever it is, it is the outcome
        traceback.print_exc()
        return 1
    return 0


status = main()
sys.stdout.flush()
sys.stderr.flush()
# At once: threads of the test that still wait, and its filters, must not have a say in the outcome.
os._exit(status)
