"""`jvmbind doctor` on a machine where everything is wrong that can be: each finding, and the commands that mend it.

Run by pytest as root, against a real systemd as PID 1 of its own namespaces. Must not import jvmbind.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from support.jdks import write_jar
from support.users import OTHER_USER, SERVICE_USER

if TYPE_CHECKING:
    from pathlib import Path

    from support.units import Unit

_SQUATTER = "[Service]\nExecStart=/usr/bin/python3 -m http.server 82\n[Install]\nWantedBy=multi-user.target\n"
_JSVC = (
    "[Service]\nType=forking\nExecStart=/usr/bin/jsvc -user tomcat -cp /srv/a.jar:/srv/b.jar -pidfile /run/x.pid \\\n"
    "  -Da=b org.example.Daemon start\n"
)


def doctor(unit: Unit, *options: str, user: str = "") -> tuple[int, dict[str, dict[str, Any]], dict[str, Any]]:
    """Run it; return the status, the findings by their keys, and all of the answer."""
    done = unit.lab.run(*unit.jvmbind, "doctor", "--json", *options, check=False, user=user)
    assert done.stderr == ""
    answer = json.loads(done.stdout)
    return done.returncode, {one["key"]: one for one in answer["findings"]}, answer


def mend(unit: Unit, finding: dict[str, Any]) -> None:
    """Run the commands of a finding as they are printed."""
    for command in finding["commands"]:
        unit.lab.run("sh", "-c", command)


def test_each_finding_is_mended_by_its_commands(unit: Unit, app_classes: Path) -> None:
    """What is not wrong is not found; what is made wrong is, with the worst as the status; its commands run, and it is gone."""
    root = unit.lab.root
    etc = root / "etc/jvmbind"
    etc.mkdir(exist_ok=True)
    home = root / "srv/jvm"
    (home / "bin").mkdir(parents=True)
    shutil.copy(f"{unit.jdk.home}/bin/java", home / "bin/java")
    (home / "lib").symlink_to(f"{unit.jdk.home}/lib")
    for name in ("conf", "release"):
        (home / name).symlink_to(f"{unit.jdk.home}/{name}")
    jar = write_jar(root / "srv/app.jar", app_classes, {"Main-Class": "service.App"})
    jar.chmod(0o644)
    config = etc / f"{unit.name}.toml"
    config.write_text(
        f"user = '{SERVICE_USER}'\n[listen]\nweb = '82'\nsix = '[::1]:83'\n[java]\nhome = '/srv/jvm'\njar = '/srv/app.jar'\n"
        "[supervise]\nstop_timeout = 100\n"
    )
    unit.lab.run(*unit.jvmbind, "unit", unit.name, "--install")
    _, clean, answer = doctor(unit, unit.name)
    assert {key for key, one in clean.items() if one["level"] != "note"} == set(), answer

    unit.lab.run("sysctl", "-w", "net.ipv4.ip_unprivileged_port_start=80", "net.ipv6.conf.all.disable_ipv6=1")
    (root / "etc/sysctl.d/low.conf").write_text("kernel.x = 1\nnet.ipv4.ip_unprivileged_port_start = 80\n")
    unit.lab.run("setcap", "cap_net_bind_service=+ep", "/srv/jvm/bin/java")
    (root / "etc/authbind/byport").mkdir(parents=True)
    (root / "etc/authbind/byport/443").write_text("")
    unit.lab.write_unit("old.service", _JSVC)
    unit.lab.write_unit("squatter.service", _SQUATTER)
    unit.lab.run("systemctl", "enable", "--now", "squatter.service")
    unit.lab.run("sh", "-c", "until ss -Hltn 'sport = :82' | grep -q .; do sleep 0.05; done")
    unit.lab.run("gpasswd", "-a", SERVICE_USER, "disk")
    jar.chmod(0o600)
    (root / f"etc/systemd/system/{unit.file}").unlink()
    bad = "Type=simple\nMemoryDenyWriteExecute=yes\nSystemCallFilter=@system-service\nTimeoutStopSec=1min 30s"
    unit.lab.write_unit(unit.file, f"[Service]\nExecStart=/bin/true\n{bad}\n")

    status, found, answer = doctor(unit, unit.name)
    expected = {"port-start", "ipv6-off", "setcap-java", "authbind", "jsvc", "port", "group", "unreadable"}
    expected |= {"unit-jit", "unit-calls", "unit-stop", "unit-type", "unit-store"}
    assert expected - set(found) == set(), answer
    assert status == 2
    assert "squatter.service" in found["port"]["found"]
    assert "/etc/sysctl.d/low.conf" in found["port-start"]["found"]
    assert found["authbind"]["config"] == '[listen]\nport443 = "443"'
    assert 'daemon = "org.example.Daemon"\nclasspath = "/srv/a.jar:/srv/b.jar"' in found["jsvc"]["config"]
    printed = unit.lab.run(*unit.jvmbind, "doctor", unit.name, "--fix-commands", check=False).stdout.splitlines()
    assert set(printed) == {command for one in answer["findings"] for command in one["commands"]}

    for one in answer["findings"]:
        mend(unit, one)
    _, after, answer = doctor(unit, unit.name)
    # That unit is disabled, and its file stays for whoever wants it back.
    assert {key for key, one in after.items() if one["level"] != "note"} - {"jsvc"} == set(), answer
    assert (root / "etc/sysctl.d/low.conf").read_text() == "kernel.x = 1\n"


def test_a_user_who_is_not_there(unit: Unit) -> None:
    """A file that others may write, and a user that there is not, are mended; an ordinary caller is told what it does not see."""
    etc = unit.lab.root / "etc/jvmbind"
    etc.mkdir(exist_ok=True)
    (etc / f"{unit.name}.toml").write_text(f"user = 'shopkeeper'\n[java]\nhome = '{unit.jdk.home}'\narguments = ['-version']\n")
    (etc / f"{unit.name}.toml").chmod(0o666)
    found = doctor(unit, unit.name)[1]
    assert {"writable", "configuration"} <= set(found)
    mend(unit, found["writable"])
    status, found, _ = doctor(unit, unit.name)
    assert not {"writable", "configuration"} & set(found)
    assert (status, found["user"]["level"]) == (2, "error")
    assert "start" not in found
    mend(unit, found["user"])
    assert "user" not in doctor(unit, unit.name)[1]

    assert any("kernel's log" in one for one in doctor(unit, user=OTHER_USER)[2]["unseen"])


def test_a_sandbox_without_what_is_needed(unit: Unit) -> None:
    """In a unit whose filter leaves seccomp out, with few processes and little memory, each of these is found; outside none is."""
    etc = unit.lab.root / "etc/jvmbind"
    etc.mkdir(exist_ok=True)
    (etc / f"{unit.name}.toml").write_text(
        f"user = '{SERVICE_USER}'\n[java]\nhome = '{unit.jdk.home}'\narguments = ['-Xmx3g', '-version']\n"
    )
    narrow = ["SystemCallFilter=~seccomp", "SystemCallErrorNumber=EPERM", "TasksMax=40", "MemoryMax=512M"]
    start = ["systemd-run", "--quiet", "--wait", "--pipe", *(word for line in narrow for word in ("-p", line))]
    done = unit.lab.run(*start, *unit.jvmbind, "doctor", "--json", unit.name, check=False)
    found = {one["key"]: one for one in json.loads(done.stdout)["findings"]}
    assert {"user-notification", "pids-limit", "memory-limit"} <= set(found), done.stdout
    assert done.returncode == 2

    assert not {"user-notification", "pids-limit", "memory-limit"} & set(doctor(unit, unit.name)[1])
