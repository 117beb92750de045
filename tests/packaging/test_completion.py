"""Each shell completes jvmbind by the file made for it: commands, options, values and the names of services.

Run by pytest as root, each in a mount namespace of its own: services are looked for in /etc/jvmbind and /run/jvmbind.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# A service that is configured, and one that runs.
SERVICES = """
mount -t tmpfs tmpfs /run && mkdir -p /run/jvmbind/mail
mkdir '/run/jvmbind/$(touch ran)' '/run/jvmbind/`touch ran`' '/run/jvmbind/x$((1+1))'
mount -t tmpfs tmpfs /mnt && mkdir /mnt/upper /mnt/work
mount -t overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work overlay /etc
mkdir -p /etc/jvmbind && touch /etc/jvmbind/shop.toml
cd "$1" && shift && exec "$@"
"""
BASH = """
source ./bash-completion/completions/jvmbind
COMP_WORDS=(jvmbind "$@")
COMP_CWORD=$#
_jvmbind
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that packaging/pages fills."""
    folder = tmp_path_factory.mktemp("pages")
    subprocess.run([sys.executable, "-I", "-B", str(ROOT / "packaging" / "pages"), str(folder)], check=True)
    return folder


def within(files: Path, *command: str) -> list[str]:
    """Return the lines that a command prints where there are two services."""
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", SERVICES, "sh", str(files), *command],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.root
@pytest.mark.parametrize(
    ("words", "some", "none"),
    [
        (["re"], ["reload", "restart"], ["run"]),
        (["run", "--stop"], ["--stop-timeout", "--stop-drain-timeout"], ["--start-timeout"]),
        (["status", ""], ["shop", "mail"], []),
        (["run", "--user", "www-d"], ["www-data"], ["--user"]),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_shells_complete(files: Path, shell: str, words: list[str], some: list[str], none: list[str]) -> None:
    """Bash, fish and zsh offer commands, options, services that are configured or run, and users, where each belongs."""
    if shell == "bash":
        offered = within(files, "bash", "--norc", "-c", BASH, "bash", *words)
    elif shell == "fish":
        line = "jvmbind " + " ".join(words)
        source = "source ./fish/vendor_completions.d/jvmbind.fish; complete -C $argv[1] | string replace -r '\\t.*' ''; true"
        offered = within(files, "env", f"HOME={files}", "fish", "--private", "-c", source, line)
    else:
        offered = within(files, "env", f"HOME={files}", "zsh", "-f", str(Path(__file__).with_name("complete.zsh")), *words)

    assert set(some) <= set(offered)
    assert not set(none) & set(offered)
    assert not [word for word in offered if "x" in word and "2" in word], "what stands in a name is expanded"
    assert not (files / "ran").exists(), "what stands in a name is run"
