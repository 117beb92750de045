"""Who reads what others have written, where a command is run by root. Run by pytest as root."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support import jdks
from support.users import SERVICE_USER

pytestmark = [pytest.mark.root, pytest.mark.jvm]

PROGRAM = """
import os, sys, tomllib
from jvmbind.worker import arguments
def told(what, function):
    def instead(*args, **named):
        os.write(2, f"{what} {os.geteuid()}\\n".encode())
        return function(*args, **named)
    return instead
tomllib.loads = told("CONFIGURATION", tomllib.loads)
arguments.parse = told("ARGUMENTS", arguments.parse)
from jvmbind import cli
sys.argv[0] = "jvmbind"
cli.main()
"""


@pytest.fixture
def configuration(workspace: Path) -> Path:
    """Return a configuration without a name, so that what it runs is looked at for one."""
    path = workspace / "service.toml"
    home = jdks.tested_jdks()[-1].home
    text = (
        f'user = "{SERVICE_USER}"\nlisten = ["127.0.0.1:80"]\n[java]\nhome = "{home}"\nmain = "org.example.Shop"\nclasspath = "/"\n'
    )
    path.write_text(text)
    path.chmod(0o644)
    return path


@pytest.mark.parametrize(
    ("words", "read"),
    [
        (["check"], {"CONFIGURATION", "ARGUMENTS"}),
        (["check", "--json"], {"CONFIGURATION", "ARGUMENTS"}),
        (["doctor"], {"CONFIGURATION", "ARGUMENTS"}),
        (["unit", "--root"], {"CONFIGURATION", "ARGUMENTS"}),
        (["status"], {"CONFIGURATION", "ARGUMENTS"}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_root_reads_neither_configuration_nor_jar(configuration: Path, words: list[str], read: set[str]) -> None:
    """A command of root's only opens the configuration; its text and what it runs are read by children that have dropped."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM, *words, str(configuration)],
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    seen = {tuple(line.split()) for line in done.stderr.splitlines() if line.startswith(("CONFIGURATION ", "ARGUMENTS "))}
    assert {what for what, _ in seen} == read, done
    assert "0" not in {uid for _, uid in seen}, done
    assert "Traceback" not in done.stderr, done
