"""Services by their names, where their files lie in /etc/jvmbind of a machine.

Run by pytest as root, against a real systemd as PID 1 of its own namespaces. Must not import jvmbind.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from support.users import SERVICE_USER

if TYPE_CHECKING:
    from support.units import Unit


TEMPLATE = Path(__file__).resolve().parents[2] / "packaging" / "systemd" / "jvmbind@.service"


def test_service_by_name(unit: Unit) -> None:
    """`jvmbind@NAME.service` runs, `check NAME` checks and `list` lists services by their files, also those that do not run."""
    etc = unit.lab.root / "etc/jvmbind"
    etc.mkdir(exist_ok=True)
    java = unit.command("", "http=80").split(" -- ")[1].split()
    user = f"user = '{SERVICE_USER}'\n"
    (etc / f"{unit.name}.toml").write_text(
        f"{user}[listen]\nweb = '80'\n[java]\nhome = '{unit.jdk.home}'\narguments = {json.dumps(java)}\n"
    )
    (etc / "mail.toml").write_text(f"{user}[listen]\nsmtp = '25'\n[java]\njar = '/srv/mail.jar'\n")
    (etc / "wrong.toml").write_text("use = 'x'\n")
    checked = unit.lab.run(*unit.jvmbind, "check", unit.name)
    assert f"service      {unit.name} (/etc/jvmbind/{unit.name}.toml)" in checked.stdout
    (unit.lab.root / "usr/bin/jvmbind").symlink_to(Path(sys.executable).parent / "jvmbind")
    unit.lab.write_unit("jvmbind@.service", TEMPLATE.read_text())
    unit.file = f"jvmbind@{unit.name}.service"
    unit.systemctl("start")
    assert unit.get().status == 200

    services = {one["name"]: one for one in json.loads(unit.lab.run(*unit.jvmbind, "list", "--json").stdout)["services"]}
    mail, this, wrong = (services[name] for name in ("mail", unit.name, "wrong"))
    assert (mail["name"], mail["state"], mail["ready"], mail["listeners"]) == ("mail", "not running", False, ["smtp=25/tcp"])
    assert (wrong["name"], wrong["state"]) == ("wrong", "not running")
    assert "use: unknown key" in wrong["problem"]
    assert (this["name"], this["state"], this["ready"], this["generation"]) == (unit.name, "up", True, 1)
    assert (this["user"], this["listeners"], this["config"]) == (SERVICE_USER, ["web=80/tcp"], f"/etc/jvmbind/{unit.name}.toml")
    assert this["uptime"] >= 0

    lines = unit.lab.run(*unit.jvmbind, "list").stdout.splitlines()
    assert lines[0].split() == ["NAME", "STATE", "READY", "GENERATION", "LISTENERS", "USER", "UPTIME"]
    assert [unit.name, "up", "yes", "1", "web=80/tcp", SERVICE_USER] in [line.split()[:6] for line in lines]
    assert lines[-1].startswith("wrong: ")
    unit.systemctl("reload")
    assert json.loads(unit.status())["generations"][-1]["number"] == 2
