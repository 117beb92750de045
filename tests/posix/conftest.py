"""Every test of this folder runs in an interpreter of its own, as root in a network namespace of its own.

What is tested changes its process for good: filters, credentials, descriptors, signal masks. And a fork needs a process
with one thread. So pytest only starts `in_child.py`, which calls the test, and reports what that says. Fixtures are those
of tests/conftest.py; their values are passed on by pickle.
"""

from __future__ import annotations

import base64
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest

_CHILD = Path(__file__).with_name("in_child.py")
_SKIPPED = 77


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool:
    """Run the test function in a child process; True tells pytest that it has been called."""
    names = pyfuncitem._fixtureinfo.argnames
    arguments = base64.b64encode(pickle.dumps({name: pyfuncitem.funcargs[name] for name in names})).decode()
    warnings = ["-W", "error", "-W", "ignore::ResourceWarning"]  # sockets are left to the end of the process
    command = [sys.executable, "-I", *warnings, str(_CHILD), str(pyfuncitem.path), pyfuncitem.function.__name__, arguments]
    if os.geteuid() == 0:
        command = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *command]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        try:
            out, err = child.communicate(timeout=60)
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)  # with what it has started
            raise
    sys.stdout.write(out)
    sys.stderr.write(err)
    if child.returncode == _SKIPPED:
        pytest.skip(out.strip().splitlines()[-1])
    if child.returncode != 0:
        pytest.fail(f"ended with {child.returncode}\n{out}{err}", pytrace=False)
    return True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs root where there is none."""
    if os.geteuid() == 0:
        return
    for item in items:
        if item.path.parent == Path(__file__).parent and item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root"))
