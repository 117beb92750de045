"""A real systemd as PID 1 of namespaces of its own, on top of this machine's own files.

`Lab` boots it, gives its files and its network to the tests, runs commands in it and powers it off. Run by pytest as
root; the same file, run as a program inside the new namespaces, lays out the root folder and becomes systemd. Needs
util-linux, systemd and dbus; no image and no network. Must not import jvmbind.

The files are an overlay of `/` whose upper layer is in memory: nothing that happens in there reaches the machine. The
lower layer must not change meanwhile (overlayfs does not define what is seen then), so what may change is bound in.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CGROUPS = Path("/sys/fs/cgroup")
_POWER_OFF = signal.SIGRTMIN + 4  # systemd(1), SIGNALS: starts poweroff.target, without a program that must be entered
_UNITS = "etc/systemd/system"
_ENVIRONMENT = ["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "LC_ALL=C.UTF-8", "SYSTEMD_COLORS=0"]

# What makes no sense beside a running system: devices, kernel settings, mounts, and the network that the tests use.
_MASKED = (
    *(f"systemd-{name}.service" for name in ("udevd", "udev-trigger", "sysctl", "modules-load", "binfmt", "remount-fs")),
    *(f"systemd-{name}.service" for name in ("networkd", "resolved", "timesyncd", "logind", "pstore")),
    *(f"sys-kernel-{name}.mount" for name in ("debug", "tracing", "config")),
    *(f"dev-{name}.mount" for name in ("hugepages", "mqueue")),
    "sys-fs-fuse-connections.mount",
    "proc-sys-fs-binfmt_misc.automount",
    "systemd-journald-audit.socket",
)
_DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
_LINKS = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}


def missing() -> str:
    """Return why there can be no lab here, or ""."""
    if os.geteuid() != 0:
        return "a lab needs root"
    programs = ("systemctl", "systemd-id128", "nsenter", "unshare", "setpriv", "dbus-daemon")
    lacking = [name for name in programs if shutil.which(name) is None]
    if not Path("/lib/systemd/systemd").exists():
        lacking.append("/lib/systemd/systemd")
    return f"a lab needs {', '.join(lacking)}" if lacking else ""


def _hierarchies() -> dict[str, Path]:
    """Return where cgroups are made: "" for the unified hierarchy, the controllers of version 1 by their names."""
    if (_CGROUPS / "cgroup.procs").exists():
        return {"": _CGROUPS}
    # Version 2 alone would show limits and not enforce them: the controllers are with version 1.
    names = ("systemd", "memory", "pids", "cpu", "cpuacct", "blkio", "freezer", "devices")
    return {"": _CGROUPS / "unified", **{name: _CGROUPS / name for name in names if (_CGROUPS / name).is_dir()}}


class Lab:
    """A running systemd."""

    def __init__(self, binds: Mapping[Path, str], *, lower: str = "/", patience: float = 30.0) -> None:
        """Boot; `binds` are folders to show, read-only, at other places. AssertionError where it does not come up.

        `lower` is another system's root folder instead of this machine's, or several in layers, the uppermost first: "a:b".
        """
        self._work = Path(tempfile.mkdtemp(prefix="jvmbind-lab-"))
        self._groups = [path / f"jvmbind-lab.{os.getpid()}" for path in _hierarchies().values()]
        self._log = self._work / "boot.log"
        (self._work / "tree").mkdir()
        for group in self._groups:
            group.mkdir(exist_ok=True)
        plan = {"tree": str(self._work / "tree"), "lower": lower, "binds": {str(path): to for path, to in binds.items()}}
        enter = "".join(f"echo $$ > {shlex.quote(str(group / 'cgroup.procs'))}; " for group in self._groups)
        # A killed test run takes the lab with it: PR_SET_PDEATHSIG on unshare, and unshare's own on PID 1.
        namespaces = ["--pid", "--fork", "--kill-child=KILL", "--mount", "--uts", "--ipc", "--net", "--cgroup"]
        become = ["setpriv", "--pdeathsig", "KILL", "unshare", *namespaces, "--propagation", "private"]
        program = [sys.executable, "-I", __file__, json.dumps(plan)]
        with self._log.open("wb") as log:
            self._outer = subprocess.Popen(
                ["sh", "-c", f'{enter}exec "$@"', "sh", *become, *program],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.pid = 0
        try:
            self._await_boot(time.monotonic() + patience)
        except BaseException:
            self.power_off()
            raise

    @property
    def root(self) -> Path:
        """The root folder of the lab, as seen from outside."""
        return Path(f"/proc/{self.pid}/root")

    def _await_boot(self, deadline: float) -> None:
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children")
        while True:
            assert time.monotonic() < deadline, f"systemd did not start\n{self._log.read_text()}"
            assert self._outer.poll() is None, f"systemd ended\n{self._log.read_text()}"
            with contextlib.suppress(OSError, ValueError, IndexError):
                self.pid = int(children.read_text().split()[0])
                if (self.root / "run/systemd/private").is_socket():
                    break
            time.sleep(0.02)
        state = self.run("systemctl", "is-system-running", "--wait", check=False).stdout.strip()
        assert state == "running", f"{state}: {self.run('systemctl', '--failed', '--no-pager', check=False).stdout}"

    def run(self, *command: str, check: bool = True, timeout: float = 60.0, user: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command in all namespaces of the lab; AssertionError on failure, where `check`ed."""
        # Its working folder is the lab's own: nsenter --wd would keep the machine's.
        words = ["nsenter", "--target", str(self.pid), "--all", *_ENVIRONMENT]
        if user:
            words += ["setpriv", f"--reuid={user}", "--regid=nogroup", "--clear-groups"]
        done = subprocess.run(
            [*words, *command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
        )
        assert not check or done.returncode == 0, f"{shlex.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def write_unit(self, name: str, text: str) -> None:
        """Write a unit file and let systemd read it."""
        (self.root / _UNITS / name).write_text(text)
        self.run("systemctl", "daemon-reload")

    def show(self, unit: str, *names: str) -> dict[str, str]:
        """Return properties of a unit."""
        lines = self.run("systemctl", "show", f"--property={','.join(names)}", unit).stdout.splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def property(self, unit: str, name: str) -> str:
        """Return one property of a unit."""
        return self.show(unit, name)[name]

    def main_pid(self, unit: str) -> int:
        """Return the main process of a unit as this side's pid, 0 where there is none."""
        inner = int(self.property(unit, "MainPID"))
        return next((pid for pid, number in self._pids() if number == inner), 0) if inner else 0

    def _pids(self) -> Iterator[tuple[int, int]]:
        """Yield (pid outside, pid in the lab) of its processes."""
        namespace = os.stat(f"/proc/{self.pid}/ns/pid").st_ino
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError, StopIteration):
                if os.stat(f"/proc/{name}/ns/pid").st_ino == namespace:
                    lines = Path(f"/proc/{name}/status").read_text(errors="replace").splitlines()
                    yield int(name), int(next(line for line in lines if line.startswith("NSpid:")).split()[-1])

    def journal(self, unit: str, *fields: str) -> list[dict[str, Any]]:
        """Return the journal entries of a unit that have the given FIELD=VALUE, oldest first."""
        self.run("journalctl", "--sync")
        lines = self.run("journalctl", "--no-pager", "--output=json", f"--unit={unit}", *fields, check=False).stdout
        return [json.loads(line) for line in lines.splitlines()]

    def power_off(self) -> None:
        """End everything in the lab and remove what it needed outside."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, _POWER_OFF)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._outer.wait(15)
        self._outer.kill()
        self._outer.wait(10)
        for group in self._groups:
            for folder, _, _ in os.walk(group, topdown=False):
                _remove(folder)
        shutil.rmtree(self._work, ignore_errors=True)


def _remove(group: str) -> None:
    """Remove a cgroup; one whose last process has just ended is busy for a moment."""
    for _ in range(100):
        try:
            os.rmdir(group)
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.02)
        else:
            return


class Root:
    """The root folder in the making; runs inside the namespaces."""

    def __init__(self, place: str, lower: str) -> None:
        """Put an overlay of `lower` below `place`."""
        self.path = f"{place}/root"
        self._place = place
        self._lower = lower

    def __truediv__(self, name: str) -> Path:
        return Path(self.path, name)

    def mount(self, kind: str, name: str, options: str, source: str = "") -> None:
        """Mount a file system at a folder of the root, which is made."""
        target = self / name
        target.mkdir(parents=True, exist_ok=True)
        _call("mount", "-t", kind, "-o", options, source or kind, str(target))

    def bind(self, source: Path, name: str, *options: str) -> None:
        """Show a file or folder once more at a place of the root, with mount options that hold there only."""
        target = self / name
        if source.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        _call("mount", "--bind", str(source), str(target))
        if options:
            _call("mount", "-o", f"remount,bind,{','.join(options)}", str(target))

    def lay_out(self, binds: Mapping[str, str]) -> None:
        """Make it a system of its own."""
        _call("mount", "-t", "tmpfs", "-o", "mode=755,size=2g", "tmpfs", self._place)
        layers = {name: f"{self._place}/{name}" for name in ("upper", "work", "root")}
        for folder in layers.values():
            os.mkdir(folder)
        self.mount("overlay", "", f"lowerdir={self._lower},upperdir={layers['upper']},workdir={layers['work']}")
        self._kernel()
        self._devices()
        for name, mode in (("dev/shm", "1777"), ("run", "755"), ("tmp", "1777")):
            self.mount("tmpfs", name, f"mode={mode},nosuid,nodev")
        self._configure()
        for source, name in binds.items():
            self.bind(Path(source), name.lstrip("/"), "ro")

    def _kernel(self) -> None:
        plain = "nosuid,nodev,noexec"
        self.mount("proc", "proc", plain)
        self.mount("sysfs", "sys", plain)
        hierarchies = _hierarchies()
        # A newer systemd than this machine's boots with version 2 alone.
        if len(hierarchies) == 1 or self._lower != "/":
            self.mount("cgroup2", "sys/fs/cgroup", plain)
        else:
            self.mount("tmpfs", "sys/fs/cgroup", f"mode=755,{plain}")
            for name in hierarchies:
                if not name:
                    self.mount("cgroup2", "sys/fs/cgroup/unified", plain)
                else:
                    which = "none,name=systemd" if name == "systemd" else name
                    self.mount("cgroup", f"sys/fs/cgroup/{name}", f"{plain},{which}", "cgroup")
        _call("mount", "-o", "remount,bind,ro", str(self / "sys"))
        # The settings of the machine are not the lab's to change; those of its own network namespace are.
        self.bind(self / "proc/sys", "proc/sys")
        self.bind(self / "proc/sys/net", "proc/sys/net")
        _call("mount", "-o", "remount,bind,ro", str(self / "proc/sys"))
        for name in ("proc/sysrq-trigger", "proc/kmsg", "proc/kcore"):
            if (self / name).exists():
                self.bind(Path("/dev/null"), name)

    def _devices(self) -> None:
        self.mount("tmpfs", "dev", "mode=755,nosuid")
        os.umask(0)
        for name, (major, minor) in _DEVICES.items():
            os.mknod(self / f"dev/{name}", 0o020666, os.makedev(major, minor))
        os.umask(0o022)
        self.mount("devpts", "dev/pts", "newinstance,ptmxmode=0666,mode=620,gid=5")
        (self / "dev/mqueue").mkdir()
        for name, target in _LINKS.items():
            (self / f"dev/{name}").symlink_to(target)

    def _configure(self) -> None:
        """Forget what this machine enabled: a target of our own is booted, with nothing but the basics."""
        shutil.rmtree(self / "var/log/journal", ignore_errors=True)
        (self / "etc/fstab").unlink(missing_ok=True)
        machine = subprocess.run(["systemd-id128", "new"], capture_output=True, check=True).stdout
        (self / "etc/machine-id").write_bytes(machine)
        (self / "etc/hostname").write_text("lab\n")
        units = self / _UNITS
        shutil.rmtree(units, ignore_errors=True)
        units.mkdir(parents=True)
        for name in _MASKED:
            (units / name).symlink_to("/dev/null")
        (units / "lab.target").write_text("[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n")

    def enter(self) -> None:
        """Make it `/`; what was there before is let go."""
        old = self / "mnt/outside"
        old.mkdir()
        os.chdir(self.path)
        _call("pivot_root", ".", "mnt/outside")
        _call("umount", "--lazy", "/mnt/outside")


def _call(*command: str) -> None:
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True)


def become_systemd(plan: Mapping[str, Any]) -> NoReturn:
    """Lay the root out and run systemd as this very process, PID 1."""
    _call("hostname", "lab")
    _call("ip", "link", "set", "lo", "up")
    root = Root(plan["tree"], plan["lower"])
    root.lay_out(plan["binds"])
    root.enter()
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    # container=: it leaves the kernel's settings alone (systemd's container interface).
    environ = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "container": "lab"}
    words = ["--unit=lab.target", "--log-target=journal", "--show-status=no"]
    os.execve("/lib/systemd/systemd", ["/lib/systemd/systemd", *words], environ)


if __name__ == "__main__":
    become_systemd(json.loads(sys.argv[1]))
