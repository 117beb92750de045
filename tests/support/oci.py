"""Containers of a real OCI runtime, from the image that packaging/containers makes. Run by pytest as root.

What docker and podman hand to a runtime is written here by hand: a config.json with their default mounts, masks and limits,
and their published seccomp profile, resolved as they do. Must not import jvmbind. Sources: OCI runtime specification,
config.md and config-linux.md; containers/common, pkg/seccomp.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .artifacts import artifact, cache_directory
from .jdks import compiler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .runner import Runner
    from .service import Service

ROOTFS = Path(__file__).resolve().parents[2] / "packaging" / "containers" / "rootfs.py"
UID = 65532
RUNTIMES = ("crun", "runc")
PROFILES = ("docker", "podman")
_OLD = 86400.0  # seconds; an image of an earlier jvmbind in the cache

# What docker masks and makes read-only: moby, oci/defaults.go.
_MASKED = [
    *(f"/proc/{name}" for name in ("acpi", "asound", "interrupts", "kcore", "keys", "latency_stats", "sched_debug", "scsi")),
    *(f"/proc/{name}" for name in ("timer_list", "timer_stats")),
    "/sys/devices/virtual/powercap", "/sys/firmware",
]  # fmt: skip
_READ_ONLY = [f"/proc/{name}" for name in ("bus", "fs", "irq", "sys", "sysrq-trigger")]
_MACHINES = {
    "x86_64": ("amd64", ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]),
    "aarch64": ("arm64", ["SCMP_ARCH_AARCH64"]),
}

# Where version 1 and 2 of control groups are mounted beside each other crun refuses to run: it is shown the second alone.
# A runtime gives standard input to the user of the container (fchown(2)), so that must not be the host's /dev/null: an empty pipe.
_SECOND = '[ -e /sys/fs/cgroup/cgroup.controllers ] || mount -t cgroup2 none /sys/fs/cgroup; exec "$@" <<END\nEND\n'
_CGROUP = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", _SECOND, "sh"]


def _kept(name: str, *options: str) -> Path:
    """Return what the recipe makes with these options, from the cache where it is there."""
    kept = cache_directory() / name
    if not kept.is_dir():
        kept.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        work = Path(f"{kept}.{os.getpid()}")
        shutil.rmtree(work, ignore_errors=True)
        subprocess.run([sys.executable, "-I", str(ROOTFS), *options, str(work)], check=True)
        try:
            work.rename(kept)
        except OSError:  # another process of this run was faster
            shutil.rmtree(work)
    return kept


def _short(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()[:20]


def make_image() -> Path:
    """Return the root file system of the image, made once for each recipe, JDK and installed jvmbind.

    The slow part, jlink(1), does not depend on jvmbind: its result is kept by itself, and the image has links to it.
    """
    home = compiler().home
    recipe, release = ROOTFS.read_bytes(), (home / "release").read_bytes()
    found = importlib.metadata.distribution("jvmbind")
    record = (found.read_text("RECORD") or "").encode()
    java = ["--java-home", str(home)]
    runtime = _kept(f"jlink-{_short(recipe, release)}", *java, "--java-only")
    image = _kept(f"image-{_short(recipe, release, record, sys.version.encode())}", *java, "--runtime", str(runtime))
    for old in cache_directory().glob("image-*"):
        if old != image and time.time() - old.stat().st_mtime > _OLD:
            shutil.rmtree(old, ignore_errors=True)
    return image


def seccomp(profile: str, capabilities: Sequence[str]) -> dict[str, Any]:
    """Return docker's or podman's default profile as the runtime gets it: its conditions are decided."""
    (file,) = artifact(f"seccomp-{profile}").glob("*.json")
    text = json.loads(file.read_text())
    machine, architectures = _MACHINES[os.uname().machine]
    rules = []
    for rule in text["syscalls"]:
        includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
        if machine not in includes.get("arches", [machine]) or machine in excludes.get("arches", []):
            continue
        if not set(includes.get("caps", ())) <= set(capabilities) or set(excludes.get("caps", ())) & set(capabilities):
            continue
        # minKernel is at most 5.0 in these files, which is what jvmbind needs.
        rules.append({key: rule[key] for key in ("names", "action", "args", "errnoRet") if rule.get(key) is not None})
    answer = {"defaultAction": text["defaultAction"], "architectures": architectures, "syscalls": rules}
    if "defaultErrnoRet" in text:
        answer["defaultErrnoRet"] = text["defaultErrnoRet"]
    return answer


@dataclass(slots=True)
class Container:
    """A container: what it is to be, then what runs."""

    runner: Runner
    image: Path
    app: Path
    runtime: str = "crun"
    profile: str = "podman"
    uid: int = UID
    capabilities: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    user_namespace: bool = False
    id: str = ""
    service: Service | None = None

    @property
    def _bundle(self) -> Path:
        return self.runner.workspace / "bundle"

    def _process(self, arguments: Sequence[str]) -> dict[str, Any]:
        sets = ("bounding", "effective", "permitted", "inheritable", "ambient")
        environment = {"PATH": "/usr/bin:/opt/java/bin", "JAVA_HOME": "/opt/java", "XDG_RUNTIME_DIR": "/tmp", **self.environment}
        return {
            "args": list(arguments),
            "user": {"uid": self.uid, "gid": self.uid},
            "env": [f"{key}={value}" for key, value in environment.items()],
            "cwd": "/srv",
            "capabilities": {name: list(self.capabilities) for name in sets},
            "noNewPrivileges": True,
        }

    def _config(self, arguments: Sequence[str]) -> dict[str, Any]:
        private = ["nosuid", "nodev", "noexec"]
        mounts = [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": private},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": [*private, "mode=1777"]},
            # Without the sticky bit, as Kubernetes makes an emptyDir.
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=777"]},
            {"destination": "/srv", "type": "bind", "source": str(self.app), "options": ["rbind", "ro"]},
        ]
        linux: dict[str, Any] = {
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")],
            "maskedPaths": _MASKED,
            "readonlyPaths": _READ_ONLY,
            "seccomp": seccomp(self.profile, self.capabilities),
        }
        if self.user_namespace:
            linux["namespaces"].append({"type": "user"})
            linux["uidMappings"] = linux["gidMappings"] = [{"containerID": 0, "hostID": 200000, "size": 65536}]
        else:
            # Whoever mounts it must own the network namespace, which is the test's.
            mounts.append({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*private, "ro"]})
        return {
            "ociVersion": "1.0.0",
            "process": self._process(arguments),
            "root": {"path": str(self.image), "readonly": True},
            "hostname": "container",
            "mounts": mounts,
            "linux": linux,
        }

    def _command(self, *words: str) -> list[str]:
        manager = ["--cgroup-manager=disabled"] if self.runtime == "crun" else []
        return [*_CGROUP, self.runtime, "--root", str(self.runner.workspace / "state"), *manager, *words]

    def run(self, *arguments: str, passed: int = -1) -> Service:
        """Start it with these arguments; it gets the descriptor `passed` as its third."""
        self._bundle.mkdir()
        (self._bundle / "config.json").write_text(json.dumps(self._config(arguments)))
        self.id = self.runner.workspace.name
        command = self._command("run", "--bundle", str(self._bundle), self.id)
        if passed != -1:
            command[-1:-1] = ["--preserve-fds", "1"]
            # dash knows descriptors of one digit only.
            command = ["bash", "-c", f'exec "$@" 3<&{passed}', "bash", *command]
        self.service = self.runner.start(command, pass_fds=[passed] if passed != -1 else [])
        self.service.quiet = False
        return self.service

    def exec(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it as docker, podman and the kubelet do: as the container's own user, with its rights."""
        process = self._bundle / "exec.json"
        process.write_text(json.dumps(self._process(arguments)))
        with self.runner.network.entered():
            return subprocess.run(
                self._command("exec", "--process", str(process), self.id),
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip

    def kill(self, signal: str) -> None:
        """Send a signal to its process 1."""
        subprocess.run(self._command("kill", self.id, signal), check=True, capture_output=True, timeout=60)
