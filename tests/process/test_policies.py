"""`jvmbind unit --apparmor` and `--selinux`: what they print, read by the real compilers of both.

Run by pytest; loads nothing into a kernel. Must not import jvmbind.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support import jdks
from support.users import SERVICE_USER

if TYPE_CHECKING:
    from pathlib import Path

UNIT = [sys.executable, "-I", "-m", "jvmbind", "unit"]
SBIN = f"{os.environ['PATH']}:/usr/sbin:/sbin"

PLAIN = "listen = ['80', '[::1]:443', '53/udp']"
CONFIGURATIONS = {
    "a capability": (PLAIN, []),
    "root": (PLAIN, ["--root"]),
    "sockets": (PLAIN, ["--socket"]),
    "isolated": (PLAIN, ["--socket", "--isolate-network"]),
    "a network for each JVM": ("listen = ['80']\n[security]\nisolate_network = true", []),
    "no port": ("listen = ['unix:/run/my shop/s']", []),
    "high ports": ("listen = ['8080']", []),
    "no connects": ("listen = ['80']\n[security]\nconnect_ports = []", []),
    "some connects": ("listen = ['80']\n[security]\nconnect_ports = [5432]", []),
    "a script": ("listen = ['80']\n[java]\nscript = ['/opt/tomcat/bin/catalina.sh', 'run']", ["--write", "/opt/tomcat/{logs}, *"]),
}


def make(folder: Path, case: str, word: str, *, name: str = "my-shop_1.x", options: tuple[str, ...] = ()) -> str:
    """Return what the command prints for a configuration."""
    text, more = CONFIGURATIONS[case]
    java = f"home = '{jdks.tested_jdks()[-1].home}'"
    if "[java]" in text:
        text = text.replace("[java]", f"[java]\n{java}")
    else:
        text += f"\n[java]\n{java}\njar = '/srv/my shop/a\"b{{c}}.jar'\noptions = {json.dumps(['-Xmx1g', *options])}"
    path = folder / "service.toml"
    path.write_text(f"name = '{name}'\nuser = '{SERVICE_USER}'\n{text}\n")
    done = subprocess.run([*UNIT, str(path), word, *more], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def compiled(program: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run a compiler."""
    found = shutil.which(program, path=SBIN)
    assert found is not None, f"no {program} here: bash setup.sh --dev"
    return subprocess.run([found, *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False)


@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_apparmor_takes_the_profile(tmp_path: Path, case: str) -> None:
    """The parser compiles the profile of each configuration into one policy of that name, and no broken one."""
    text = make(tmp_path, case, "--apparmor")
    profile = tmp_path / "profile"
    profile.write_text(text)
    done = compiled("apparmor_parser", "-Q", "-K", "-S", str(profile))

    assert done.returncode == 0, done.stderr
    assert b"jvmbind-my-shop_1.x" in done.stdout
    assert compiled("apparmor_parser", "-N", str(profile)).stdout == b"jvmbind-my-shop_1.x\n"
    profile.write_text(text.replace("network inet stream,", "network inet storm,"))
    assert compiled("apparmor_parser", "-Q", "-K", "-S", str(profile)).returncode != 0


@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_selinux_takes_the_module(tmp_path: Path, case: str) -> None:
    """The compiler takes the module of each configuration, semodule_package packs it, and a broken one is refused."""
    text = make(tmp_path, case, "--selinux")
    match = re.search(r"^module (\w+) 1\.0;$", text, re.MULTILINE)
    assert match is not None
    source, module, package = (tmp_path / f"{match[1]}.{end}" for end in ("te", "mod", "pp"))
    source.write_text(text)
    done = compiled("checkmodule", "-M", "-m", "-o", str(module), str(source))
    assert done.returncode == 0, done.stderr
    done = compiled("semodule_package", "-o", str(package), "-m", str(module))
    assert done.returncode == 0, done.stderr
    assert package.stat().st_size > module.stat().st_size

    source.write_text(text.replace("_t, domain;", "_u, domain;"))
    assert compiled("checkmodule", "-M", "-m", "-o", str(module), str(source)).returncode != 0


def rules(text: str) -> list[str]:
    """Return a policy without its comments."""
    return [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_binding_is_for_the_own_ports_alone(tmp_path: Path, case: str) -> None:
    """The module lets nothing bind but the service's own type of port, by its protocols, and labels its ports and no others."""
    text = make(tmp_path, case, "--selinux")
    bound = [line for line in rules(text) if re.search(r"\bname_bind\b", line) and line.startswith("allow")]
    labelled = re.findall(r"semanage port -a -t (\S+) -p (tcp|udp) (\d+) \|\|", text)
    ports = {"no port": [], "high ports": ["8080"]}.get(case, ["443", "53", "80"] if PLAIN in CONFIGURATIONS[case][0] else ["80"])

    assert sorted(port for _, _, port in labelled) == ports
    own = {kind for kind, _, _ in labelled}
    assert len(own) == (1 if ports else 0)
    who = "init_t" if "--socket" in CONFIGURATIONS[case][1] else r"jvmbind_\w+_t"
    for line in bound:
        match = re.fullmatch(rf"allow {who} (\w+_port_t):(?:tcp|udp)_socket name_bind;", line)
        assert match is not None, line
        assert {match[1]} == own
    assert len(bound) == len({protocol for _, protocol, _ in labelled})


@pytest.mark.parametrize(
    ("case", "capabilities", "connects"),
    [
        ("a capability", {"net_bind_service"}, True),
        ("root", {"net_bind_service", "setuid", "setgid", "setpcap", "chown"}, True),
        ("sockets", set(), True),
        ("isolated", set(), False),
        ("high ports", set(), True),
        ("no connects", {"net_bind_service"}, False),
    ],
)
def test_no_right_that_is_not_needed(tmp_path: Path, case: str, capabilities: set[str], *, connects: bool) -> None:
    """Both have the capabilities of the way in and no others; where the service connects nowhere the module does not let it."""
    profile, module = rules(make(tmp_path, case, "--apparmor")), rules(make(tmp_path, case, "--selinux"))

    assert {line.split()[1].rstrip(",") for line in profile if line.startswith("capability")} == capabilities
    allowed = [line for line in module if line.startswith("allow") and ":capability " in line]
    assert {word for line in allowed for word in re.findall(r"[a-z_]+", line.split(":capability")[1])} == capabilities
    assert any(line.startswith("allow") and "name_connect" in line for line in module) == connects


def test_names_that_differ_stay_different(tmp_path: Path) -> None:
    """Two services never share a domain, though SELinux's names have fewer characters."""
    names = ("a-b", "a_b", "a.b", "ab")
    texts = [make(tmp_path, "high ports", "--selinux", name=name) for name in names]
    modules = {re.findall(r"^module (\w+) ", text, re.MULTILINE)[0] for text in texts}

    assert len(modules) == len(names)


def test_what_a_path_holds_is_no_rule(tmp_path: Path) -> None:
    """A path with quotes and patterns is a path, /etc as a whole is not opened, and one with a line break is refused."""
    text = make(tmp_path, "high ports", "--apparmor", options=("-Dconf=/etc", "-Dx=/srv/conf/x"))
    assert '"/srv/my shop/a\\"b\\{c\\}.jar{,/**}" mr,' in text
    assert '"/srv/conf/x{,/**}" mr,' in text
    assert '"/etc{' not in text

    path = tmp_path / "service.toml"
    path.write_text(path.read_text().replace("/srv/conf/x", "/srv/conf/\\nowner /** rw,\\n"))
    done = subprocess.run([*UNIT, str(path), "--apparmor"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (78, "")
    assert re.fullmatch(r"jvmbind: '/srv/conf/\\nowner .* cannot stand in a policy; expected printable characters\n", done.stderr)


@pytest.mark.parametrize("word", ["--apparmor", "--selinux"])
@pytest.mark.parametrize("other", ["--install", "--user"])
def test_it_is_not_installed(tmp_path: Path, word: str, other: str) -> None:
    """A policy is printed and never installed: with --install or --user it is wrong usage."""
    make(tmp_path, "high ports", word)
    done = subprocess.run(
        [*UNIT, str(tmp_path / "service.toml"), word, other], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stdout) == (64, "")
    assert f"{word} and {other}" in done.stderr


@pytest.mark.parametrize(
    ("control", "told"),
    [
        ('group = "nogroup"\nallow = ["status", "reload"]', '["reload"]'),
        ('group = "nogroup"\nallow = ["restart"]', '["restart", "try-restart"]'),
        ("", "control.group: expected the group"),
        ('group = "nogroup"\nallow = ["status", "dump"]', "control.allow: expected reload or restart"),
    ],
)
def test_polkit(tmp_path: Path, control: str, told: str) -> None:
    """The rule has the verbs of what the group may do over the control socket; without such it is refused with the key's name."""
    path = tmp_path / "shop.toml"
    path.write_text(f'name = "shop"\nuser = "www-data"\n[java]\njar = "/x.jar"\n[control]\n{control}\n')
    done = subprocess.run([*UNIT, str(path), "--polkit"], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == (0 if told.startswith("[") else 78), done.stderr
    assert told in done.stdout + done.stderr
    assert ("shop.service" in done.stdout) == told.startswith("[")
