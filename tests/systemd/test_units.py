"""The units that `jvmbind unit` makes, installed and run as they are, with a real server.

Run by pytest as root, against a real systemd as PID 1 of its own namespaces. Must not import jvmbind.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.artifacts import artifact
from support.servers import Tomcat
from support.users import SERVICE_USER, User
from support.waiting import wait_until

if TYPE_CHECKING:
    from support.units import Unit


def configure(unit: Unit, *app: str, listen: str = "web = '80'", more: str = "") -> None:
    """Write the file of the service that is named after the unit."""
    etc = unit.lab.root / "etc/jvmbind"
    etc.mkdir(exist_ok=True)
    java = unit.command("", *app).split(" -- ")[1].split()
    (etc / f"{unit.name}.toml").write_text(
        f"user = '{SERVICE_USER}'\n[listen]\n{listen}\n[java]\nhome = '{unit.jdk.home}'\narguments = {json.dumps(java)}\n{more}\n"
    )


def install(unit: Unit, *options: str) -> str:
    """Make and install the units; return what was said."""
    done = unit.lab.run(*unit.jvmbind, "unit", unit.name, "--install", *options)
    return done.stdout + done.stderr


def exposure(said: str) -> float:
    """Return the exposure in what the command said."""
    match = re.search(r"exposure ([0-9.]+) [A-Z]+ of 10 \(systemd-analyze security\); tomcat10.service of Debian 12: 8.7", said)
    assert match is not None, said
    return float(match[1])


@pytest.mark.parametrize(
    ("options", "most"),
    [((), 1.6), (("--root",), 2.4), (("--socket", "--isolate-network"), 0.5)],
    ids=["capability", "root", "isolated"],
)
def test_life_of_a_unit(unit: Unit, options: tuple[str, ...], most: float) -> None:
    """In each way in, the unit serves with no right left, reloads, keeps its ports over SIGKILL, and gives the JVM time to end."""
    configure(unit, "hook=700", "http=80", more="[supervise]\nstop_timeout = 20\ndrain_timeout = 3")
    said = install(unit, *options)
    assert exposure(said) <= most
    names = [unit.file, *([f"{unit.name}-web.socket"] if "--socket" in options else [])]
    assert f"start it: systemctl enable --now {' '.join(names)}" in said
    verified = unit.lab.run("systemd-analyze", "verify", "--man=no", *names, check=False)
    assert f"{unit.name}" not in verified.stderr, verified.stderr
    unit.lab.run("systemctl", "enable", "--now", *names)
    first, _ = unit.served_by()
    unit.await_property("ActiveState", "active")

    status = json.loads(unit.status())
    for process in (status["supervisor"], status["generations"][0]):
        assert {name for name in process["privileges"]["capabilities"] if name != "CapBnd"} == set()
    if "--isolate-network" in options:
        lines = Path(f"/proc/{unit.lab.main_pid(unit.file)}/net/dev").read_text(encoding="ascii").splitlines()[2:]
        assert [line.split(":")[0].strip() for line in lines] == ["lo"]
    assert unit.lab.run("systemctl", "is-enabled", unit.file).stdout.strip() == "enabled"

    unit.systemctl("reload")
    second, _ = unit.served_by()
    assert second != first

    main = unit.lab.main_pid(unit.file)
    os.kill(main, signal.SIGKILL)
    wait_until(lambda: not os.path.exists(f"/proc/{main}"), 10, "the end of the supervisor")
    with unit.network.connect("127.0.0.1", 80, 30) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert client.makefile("rb").read().startswith(b"HTTP/1.1 200 OK")
    unit.await_property("ActiveState", "active")
    assert unit.property("NRestarts") == "1"

    unit.systemctl("stop")
    assert unit.property("Result") == "success"
    assert unit.lines().rstrip().count("STOPPED") >= 1  # the hook of the JVM came to its end
    assert unit.property("TimeoutStopUSec") == "40s"
    unit.lab.run("systemctl", "disable", "--now", *names)


def test_what_is_not_ours_is_kept(unit: Unit) -> None:
    """A unit that somebody wrote is not replaced, nothing else is written then, and a socket unit left behind is named."""
    configure(unit, "http=80", listen="web = '80'\nalt = '8080,optional'")
    assert exposure(install(unit, "--socket")) <= 1.2
    configure(unit, "http=80")
    assert f"{unit.name}-alt.socket: of an earlier configuration" in install(unit, "--socket")
    units = unit.lab.root / "etc/systemd/system"
    (units / f"{unit.name}-web.socket").write_text("[Socket]\nListenStream=80\n")
    before = (units / unit.file).read_text()

    done = unit.lab.run(*unit.jvmbind, "unit", unit.name, "--socket", "--isolate-network", "--install", check=False)
    assert done.returncode == 78
    assert "was not made by jvmbind unit" in done.stderr
    assert (units / unit.file).read_text() == before


def test_tomcat_by_its_script(unit: Unit, service_user: User) -> None:
    """Tomcat, started by its own script, serves and reloads under the unit, writes its log, and is stopped in order."""
    home, base = unit.lab.root / "opt/tomcat", unit.lab.root / "srv/tomcat"
    shutil.copytree(artifact("tomcat11"), home)
    (home / "bin/catalina.sh").chmod(0o755)
    base.mkdir()
    Tomcat(home, base, service_user)
    etc = unit.lab.root / "etc/jvmbind"
    etc.mkdir(exist_ok=True)
    (etc / f"{unit.name}.toml").write_text(
        f"user = '{SERVICE_USER}'\nenv = ['CATALINA_BASE=/srv/tomcat']\n[listen]\nweb = '80'\n"
        f"[java]\nhome = '{unit.jdk.home}'\nscript = ['/opt/tomcat/bin/catalina.sh', 'run']\n"
    )
    assert exposure(install(unit)) <= 1.8
    unit.systemctl("start")
    assert "successfully installed Tomcat" in unit.get().body
    unit.systemctl("reload")
    assert "successfully installed Tomcat" in unit.get().body

    unit.systemctl("stop")
    assert unit.property("Result") == "success"
    assert list((base / "logs").glob("catalina.*.log"))
