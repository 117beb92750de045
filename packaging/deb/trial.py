"""Tries the Debian package on another Debian: `python packaging/deb/trial.py FOLDER PACKAGE.deb NEWER.deb`.

FOLDER is what debootstrap has made (`debootstrap --variant=minbase trixie FOLDER`); it stays as it is: all that happens is
written to a layer above it, which is removed in the end. Run as root, with a network, by the Python of `setup.sh --dev`.

1. `apt install ./PACKAGE.deb` in the bare system, with what it depends on and recommends.
2. That system is booted, with its own systemd as PID 1 and a network of its own. A real server runs on port 80 as www-data.
3. NEWER.deb is installed while a client asks without a pause: the same processes serve on, the supervisor has taken the new
   version, and nobody is refused.
4. With the system's own polkitd, a member of the control group reloads and restarts the unit, and does nothing else.
5. `apt purge` while the service runs. Nothing of the package is left.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / "tests"))

from support.lab import Lab  # noqa: E402 - found in the folder above
from support.units import LabNetwork  # noqa: E402
from support.waiting import wait_until  # noqa: E402

SERVICE = """
user = "www-data"

[listen]
http = "80"

[control]
group = "webadmins"
allow = ["status", "reload", "restart"]

[java]
main = "servers.JdkServer"
classpath = "/srv/app"
args = ["80"]
"""
# What dpkg and apt write about every package, and what a running system writes.
NOT_OURS = ("./var/lib/dpkg/", "./var/lib/apt/", "./var/log/", "./var/cache/", "./var/lib/systemd/", "./usr/bin/__pycache__")

_ENVIRONMENT = "PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive"


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def within(layer: Path, lower: Path, command: str) -> None:
    """Run a command in the system, with this machine's network; what it writes is in `layer`."""
    root = f"{layer}/root"
    program = (
        f"mount -t overlay -o lowerdir={lower},upperdir={layer}/upper,workdir={layer}/work overlay {root}\n"
        f"cp --remove-destination /etc/resolv.conf {root}/etc/resolv.conf\n"
        f"mount -t proc proc {root}/proc; mount -t tmpfs tmpfs {root}/run; mount -t tmpfs tmpfs {root}/dev\n"
        # Nodes of its own: what an installation does to them must not reach this machine's.
        f"cd {root}/dev; umask 0; mknod null c 1 3; mknod zero c 1 5; mknod random c 1 8; mknod urandom c 1 9; umask 022\n"
        "ln -s /proc/self/fd fd; ln -s fd/0 stdin; ln -s fd/1 stdout; ln -s fd/2 stderr\n"
        f'exec env -i {_ENVIRONMENT} chroot {root} sh -ec "$1"'
    )
    words = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "sh", "-ec", program, "sh", command]
    subprocess.run(words, stdin=subprocess.DEVNULL, check=True)


def files(lab: Lab) -> set[str]:
    """Return every path of the system but those of file systems in memory."""
    found = lab.run("sh", "-c", "cd / && find . -xdev -print").stdout.splitlines()
    return {path for path in found if not path.startswith(NOT_OURS)}


class Client(threading.Thread):
    """Asks the server again and again, each time on a connection of its own."""

    def __init__(self, network: LabNetwork) -> None:
        super().__init__()
        self.network, self.answered, self.ends = network, 0, False
        self.failed: list[str] = []

    def run(self) -> None:
        """Ask until told to end."""
        while not self.ends:
            try:
                ask(self.network)
                self.answered += 1
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.failed.append(repr(error))

    def text(self) -> str:
        """Say how it went so far."""
        return f"{self.answered} answered, {len(self.failed)} failed {sorted(set(self.failed)) or ''}".rstrip()


def ask(network: LabNetwork) -> None:
    """Ask once; raises OSError, HTTPException or AssertionError."""
    with network.connect("127.0.0.1", 80, 20) as sock:
        sock.sendall(b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        assert (answer.status, answer.read()) == (200, b"jdk /hello\n")


def serve(lab: Lab) -> dict[str, str]:
    """Start the service as a unit; return who runs it."""
    (lab.root / "etc/jvmbind/shop.toml").write_text(SERVICE, "utf-8")
    lab.run("systemctl", "daemon-reload")
    started = lab.run("systemctl", "start", "jvmbind@shop", check=False)
    assert started.returncode == 0, started.stderr + lab.run("journalctl", "--no-pager", "-u", "jvmbind@shop", check=False).stdout
    shown = lab.show("jvmbind@shop", "MainPID", "ActiveState", "NFileDescriptorStore")
    assert shown["ActiveState"] == "active"
    lines = lab.run("ps", "-eo", "pid,ppid,user:12,comm,args", "--no-headers").stdout.splitlines()
    shown["processes"] = "\n".join(line[:110] for line in lines if "jvmbind" in line and "find" not in line)
    assert lab.run("jvmbind", "status", "shop", "--field", "ready").stdout == "true\n"
    return shown


def upgrade(lab: Lab, network: LabNetwork, newer: str) -> None:
    """Install another version below a running service, then restart that by systemd, with a client that asks all the time."""
    before = lab.property("jvmbind@shop", "MainPID"), lab.run("jvmbind", "status", "shop", "--field", "generations.0.pid").stdout
    client = Client(network)
    client.start()
    try:
        wait_until(lambda: client.answered > 20, 60, "answers before the upgrade")
        lab.run("apt-get", "install", "-y", newer, timeout=300)
        asked = client.answered
        wait_until(lambda: client.answered > asked + 20 or bool(client.failed), 60, "answers after the upgrade")
        after = lab.property("jvmbind@shop", "MainPID"), lab.run("jvmbind", "status", "shop", "--field", "generations.0.pid").stdout
        assert before == after, (before, after)
        lines = lab.run("journalctl", "--no-pager", "-u", "jvmbind@shop").stdout
        assert "upgrade done: version" in lines, lines
        say(f"upgrade: the same supervisor and JVM ({after[0]}, {after[1].strip()}); {client.text()}")
        lab.run("jvmbind", "reload", "shop", timeout=120)
        asked = client.answered
        wait_until(lambda: client.answered > asked + 20 or bool(client.failed), 60, "answers after the reload")
        say(f"reload with the new version's code: {client.text()}")
        lab.run("systemctl", "restart", "jvmbind@shop", timeout=120)
        assert lab.property("jvmbind@shop", "MainPID") != before[0]
        asked = client.answered
        wait_until(lambda: client.answered > asked + 20, 60, "answers after the restart")
    finally:
        client.ends = True
        client.join()
    say(f"restart by systemd: {client.text()}")
    assert not client.failed


def delegate(lab: Lab) -> None:
    """Let polkit decide who does what by systemctl: a member of the group, and a stranger."""
    rule = "/etc/polkit-1/rules.d/50-jvmbind-shop.rules"
    lab.run("sh", "-c", f"jvmbind unit shop --polkit > {rule}")
    lab.run("systemctl", "start", "dbus.service", "polkit.service")
    unit, other = "jvmbind@shop.service", "systemd-journald.service"
    tried = [(unit, "reload"), (unit, "restart"), (unit, "try-restart"), (unit, "stop"), (unit, "start"), (unit, "kill")]
    tried += [(unit, "reset-failed"), (unit, "set-property"), (other, "restart"), (other, "reload"), ("shop-x.service", "restart")]
    allowed: dict[str, list[str]] = {}
    for who in ("member", "stranger"):
        words = ["runuser", "-u", who, "--", "systemctl", "--no-ask-password"]
        for name, verb in tried:
            more = ["MemoryMax=1G"] if verb == "set-property" else []
            done = lab.run(*words, verb, name, *more, check=False, timeout=120)
            if done.returncode == 0:
                allowed.setdefault(who, []).append(f"{verb} {name}")
            else:
                assert "not found" in done.stderr or "uthenti" in done.stderr or "denied" in done.stderr, (who, verb, done.stderr)
    assert allowed == {"member": [f"{verb} {unit}" for verb in ("reload", "restart", "try-restart")]}, allowed
    lines = lab.run("journalctl", "--no-pager", "-u", unit).stdout
    say(f"polkit: a member may {', '.join(verb.split()[0] for verb in allowed['member'])}, of {len(tried)} things; a stranger none")
    assert "reload done" in lines, lines
    lab.run("systemctl", "stop", "polkit.service")
    lab.run("rm", rule)


def try_in_lab(lower: str, folder: Path) -> None:
    """Serve, upgrade, purge."""
    lab = Lab({folder: "/packages"}, lower=lower, patience=60)
    network = LabNetwork(lab)
    try:
        say(
            lab.run(
                "sh", "-c", ". /etc/os-release; echo $PRETTY_NAME, $(python3 -V), $(systemctl --version | head -n 1)"
            ).stdout.strip()
        )
        # Which every installed system has: `systemctl enable` makes them, and nobody removes them.
        for target in ("multi-user", "sockets"):
            (lab.root / f"etc/systemd/system/{target}.target.wants").mkdir()
        # The state without the package, with all that it depends on.
        lab.run("apt-get", "purge", "-y", "jvmbind", timeout=300)
        before = files(lab)
        assert not [path for path in before if "jvmbind" in path], "something was left by the first purge"
        (package,) = lab.run("sh", "-c", "ls /packages/1/*.deb").stdout.split()
        (newer,) = lab.run("sh", "-c", "ls /packages/2/*.deb").stdout.split()
        lab.run("apt-get", "install", "-y", package, timeout=300)
        shown = serve(lab)
        ask(network)
        say(
            f"serves on port 80: {shown['ActiveState']}, {shown['NFileDescriptorStore']} sockets in the store\n{shown['processes']}"
        )
        assert "www-data" in shown["processes"]
        delegate(lab)
        upgrade(lab, network, newer)
        lab.run("systemctl", "enable", "jvmbind@shop")
        lab.run("systemctl", "enable", "--now", "jvmbind-broker.socket")
        assert lab.run("jvmbind", "logs", "shop", "--events", "-n", "1").stdout.count("\n") == 1
        lab.run("apt-get", "purge", "-y", "jvmbind", timeout=300)
        with contextlib.suppress(ConnectionRefusedError):
            ask(network)
            msg = "still served after the purge"
            raise AssertionError(msg)
        left = files(lab) - before
        assert not left, sorted(left)
        run = lab.run("find", "/run", "/tmp", "-name", "*jvmbind*").stdout
        assert not run, run
        failed = lab.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "jvmbind*").stdout
        say(f"purged while it ran: no file is left, none in /run and /tmp; units known to systemd: {failed.strip() or 'none'}")
    finally:
        network.close()
        lab.power_off()


def main() -> None:
    """Try it."""
    if len(sys.argv) != 4 or os.geteuid() != 0:
        sys.exit("usage, as root: python packaging/deb/trial.py FOLDER PACKAGE.deb NEWER.deb")
    base = Path(sys.argv[1]).resolve()
    work = Path(tempfile.mkdtemp(prefix="jvmbind-trial-", dir="/var/tmp"))
    try:
        for name in ("upper", "work", "root", "packages/1", "packages/2", "classes"):
            (work / name).mkdir(parents=True)
        shutil.copy(sys.argv[2], work / "packages/1")
        shutil.copy(sys.argv[3], work / "packages/2")
        server = CHECKOUT / "tests/java/servers/JdkServer.java"
        subprocess.run(["javac", "--release", "11", "-d", str(work / "upper/srv/app"), str(server)], check=True)
        (work / "upper/packages").mkdir()
        shutil.copy(sys.argv[2], work / "upper/packages")
        bare = "apt-get -q update && cd /packages && apt-get -q -y -o Dpkg::Use-Pty=0 install ./*.deb"
        within(
            work,
            base,
            bare + " > /var/log/install 2>&1 || { tail -n 30 /var/log/install; exit 1; }; jvmbind --version; rm -r /packages",
        )
        say("apt install ./jvmbind_*.deb in the bare system: ok")
        # What the trial itself needs: the package does without.
        within(work, base, "apt-get -q -y install --no-install-recommends systemd dbus polkitd procps iproute2 > /dev/null 2>&1")
        people = "groupadd webadmins && useradd -G webadmins member && useradd stranger"
        within(work, base, people)
        try_in_lab(f"{work}/upper:{base}", work / "packages")
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
