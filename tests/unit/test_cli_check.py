"""`jvmbind check`: what it shows, that it needs no privilege, and with which status it ends.

Run by pytest, as anybody; the command runs in a child process, isolated as in production.
"""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from jvmbind.errors import EX_CONFIG, EX_USAGE
from support import jdks

HOME = str(jdks.tested_jdks()[0].home)
USER = "nobody"
MAIN = "com.sun.tools.javac.Main"


def check(path: Path | str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-I", "-m", "jvmbind", "check", str(path), *options]
    return subprocess.run(command, text=True, capture_output=True, cwd="/", timeout=60, check=False)


def write(folder: Path, text: str) -> Path:
    """Write a configuration that a privileged reader accepts."""
    path = folder / "service.toml"
    path.write_text(text)
    path.chmod(0o644)
    return path


def good(more: str = "", listen: str = "443:8443") -> str:
    """Return a configuration that fits this machine."""
    return (
        f'name = "shop"\nuser = "{USER}"\nlisten = ["https={listen}", "s=unix:/run/s.sock"]\n{more}\n'
        f'[java]\nhome = "{HOME}"\nmain = "{MAIN}"\nclasspath = "/usr"\noptions = ["-Xmx64m"]\nargs = ["a b"]\n'
        '[security]\numask = "0027"\n[security.limits]\ncore = [5, "unlimited"]\n'
    )


def test_text_says_what_would_be_done(tmp_path: Path) -> None:
    """Listeners with the privilege that they need, user, Java, options, limits and the result are shown; status 0."""
    done = check(write(tmp_path, good()))

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for line in (
        "listener     https: 443/tcp, the application binds 8443 (needs privilege to bind)",
        "listener     s: unix:/run/s.sock/unix (needs no privilege)",
        f"user         {USER}: uid {pwd.getpwnam(USER).pw_uid}, ",
        "JVM option   -Xmx64m",
        f"runs         main class {MAIN}",
        "argument     'a b'",
        "umask        0027",
        "limit        core 5:unlimited",
        "result       ok",
    ):
        assert f"\n{line}" in f"\n{done.stdout}", done.stdout


def test_json_says_the_same(tmp_path: Path) -> None:
    """With --json the same is one JSON object."""
    path = write(tmp_path, good())
    report = json.loads(check(path, "--json").stdout)

    assert report["ok"]
    assert report["problems"] == []
    assert report["config"] == str(path)
    assert [listener["needs_privilege"] for listener in report["listeners"]] == [True, False]
    assert report["java"]["home"] == os.path.realpath(HOME)
    assert (report["java"]["what"], report["java"]["arguments"]) == (MAIN, ["a b"])
    assert report["security"]["limits"] == {"core": [5, -1]}
    assert all(file["ok"] for file in report["files"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (good().replace(USER, "nosuchuser"), "nosuchuser"),
        (good().replace(HOME, "/nosuch"), "/nosuch"),
        (good().replace(f'main = "{MAIN}"\nclasspath = "/usr"', 'script = ["/nosuch/x.sh"]')
         .replace('options = ["-Xmx64m"]\nargs = ["a b"]\n', ""), "/nosuch"),
    ],
    ids=["user", "java", "script"],
)  # fmt: skip
def test_problems_of_this_machine(tmp_path: Path, text: str, words: str) -> None:
    """What does not fit this machine is shown with the rest, and ends the command with 78 and one line."""
    done = check(write(tmp_path, text))

    assert done.returncode == EX_CONFIG, done.stdout + done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("problem") and words in line]
    assert done.stderr.startswith("jvmbind: ")
    assert done.stderr.count("\n") == 1


def test_mistake_in_the_file(tmp_path: Path) -> None:
    """A mistake in the file ends the command with 78 and one line that names file and key; nothing is shown."""
    path = write(tmp_path, good("quite = true"))
    done = check(path)

    assert (done.returncode, done.stdout) == (EX_CONFIG, "")
    assert done.stderr.startswith(f"jvmbind: {path}: quite: unknown key")
    assert done.stderr.endswith("did you mean 'quiet'?\n")


def test_wrong_usage() -> None:
    """No file, or an unknown option, ends the command with 64."""
    assert check("--nosuch").returncode == EX_USAGE
    assert check("x", "y").returncode == EX_USAGE


def test_mistake_in_the_file_as_json(tmp_path: Path) -> None:
    """With --json a file that cannot be read is an object too, with the same line and status."""
    path = write(tmp_path, good("quite = true"))
    done = check(path, "--json")
    report = json.loads(done.stdout)

    assert done.returncode == EX_CONFIG
    assert (report["ok"], report["config"]) == (False, str(path))
    ((status, text),) = [problem.values() for problem in report["problems"]]
    assert (status, f"jvmbind: {text}\n") == (EX_CONFIG, done.stderr)
