"""What is in the process at the instant at which root gives its privilege up, and how much of it there is to read.

Run by pytest as root; jvmbind is imported in child processes alone.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support import jdks
from support.users import SERVICE_USER

pytestmark = [pytest.mark.root, pytest.mark.jvm]

ROOT = Path(__file__).resolve().parents[2]
SECURITY = (ROOT / "docs" / "security.md").read_text("utf-8")
PROGRAM = """
import os, sys
from jvmbind.root import start
def instead(*_):
    os.write(1, "\\n".join(sys.modules).encode())
    os._exit(0)
start.drop_permanently = instead  # that of this process; the children have their own
start.start(sys.argv[1:])
"""


def test_the_modules_at_the_drop() -> None:
    """A start as root, with a listener and a file to read, has loaded what docs/security.md lists, and no more."""
    home = jdks.tested_jdks()[-1].home
    words = ["run", "-l", "127.0.0.1:80", "-u", SERVICE_USER, "-n", "at-the-drop", "--java-home", str(home), "--", "-version"]
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM, *words], cwd="/", capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr

    listed = re.search(r"```text modules at the drop\n(.*?)```", SECURITY, re.DOTALL)
    assert listed is not None
    loaded = {name for name in done.stdout.split() if name.partition(".")[0] not in sys.stdlib_module_names | {"__main__"}}
    site = {
        name for name in loaded if name.startswith(("_virtualenv", "__editable__", "_distutils_hack", "sitecustomize", "apport"))
    }
    assert loaded - site == set(listed[1].split())
    # What is large and reads text that others have written is for the children.
    assert not {"argparse", "tomllib", "zipfile", "subprocess", "threading", "logging"} & set(done.stdout.split())


def test_how_much_there_is_to_read() -> None:
    """The page says how many lines may run with privilege, and there are no more: a change may only make them fewer."""
    said = re.search(r"`jvmbind/root`: ([0-9,]+) lines, ([0-9,]+) of them code", SECURITY)
    assert said is not None
    texts = [path.read_text("utf-8") for path in (ROOT / "jvmbind" / "root").glob("*.py")]
    assert sum(len(text.splitlines()) for text in texts) <= int(said[1].replace(",", ""))
