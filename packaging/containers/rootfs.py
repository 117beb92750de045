"""Make the root file system of an image: Python's interpreter, a Java runtime, jvmbind, the libraries that these need, no more.

Run by the Containerfile, or by hand on Debian 12 or newer, with the interpreter of an environment in which jvmbind is
installed: `$(bash setup.sh)/bin/python packaging/containers/rootfs.py DIRECTORY`. It needs no root for itself, but what it
makes belongs to whoever runs it, and the files of an image are to belong to root. There is no shell in it, no package manager
and no set-user-ID program. Standard library alone; must not import jvmbind, which it only copies.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

UID = 65532
"""Who the image runs as: the number that distroless images use for `nonroot`."""

# What servers commonly use: Java SE, and of the JDK's own modules those that frameworks and operators reach for.
MODULES = (
    "java.se,jdk.charsets,jdk.crypto.ec,jdk.httpserver,jdk.jcmd,jdk.jfr,jdk.localedata,jdk.management.agent,"
    "jdk.naming.dns,jdk.net,jdk.unsupported,jdk.zipfs"
)

# Of the standard library: what is for building, for teaching or for a screen, and a package manager.
_LEFT_OUT = re.compile(
    r"test|idlelib|tkinter|turtledemo|lib2to3|ensurepip|pydoc_data|distutils|venv|config-.*|dist-packages|site-packages|"
    r"sitecustomize\.py|EXTERNALLY-MANAGED|_?(tkinter|dbm|gdbm|sqlite3|curses|curses_panel|readline|test\w*|xx\w*|ctypes_test)\.cpython-.*"
)

# Parts of java.desktop for a screen and loudspeakers, with two dozen libraries of X11; what draws into memory stays.
_FOR_A_SCREEN = ("libawt_xawt.so", "libjawt.so", "libjsound.so", "libsplashscreen.so")

# An interpreter that is isolated from its first instruction, as the script of the package has it, without a shell.
_COMMAND = """#!/usr/bin/{python} -I
import runpy
runpy.run_module("jvmbind", run_name="__main__", alter_sys=True)
"""

_PASSWD = f"""root:x:0:0:root:/:/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin
nonroot:x:{UID}:{UID}:nonroot:/srv:/sbin/nologin
"""
_GROUP = f"""root:x:0:
nogroup:x:65534:
nonroot:x:{UID}:
"""


class Image:
    """The directory, and where each of its files came from."""

    def __init__(self, root: Path) -> None:
        """Make the skeleton; raises OSError (FileExistsError where the directory is there and not empty)."""
        self.root = root
        self.sources: set[Path] = set()
        root.mkdir(parents=True, exist_ok=True)
        if any(root.iterdir()):
            msg = f"{root}: not empty; expected a directory that is to be made"
            raise FileExistsError(msg)
        root.chmod(0o755)
        for name in ("dev", "etc/jvmbind", "proc", "run/jvmbind", "srv", "sys", "tmp", "usr/bin", "usr/lib", "usr/lib64"):
            (root / name).mkdir(parents=True)
        (root / "tmp").chmod(0o1777)
        for name in ("bin", "lib", "lib64"):
            (root / name).symlink_to(f"usr/{name}")
        (root / "etc/passwd").write_text(_PASSWD)
        (root / "etc/group").write_text(_GROUP)
        (root / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files dns\n")

    def add(self, source: Path, target: str | None = None, *, link: bool = False) -> None:
        """Copy one file, with what a link leads to, to the same path or to `target`; its modification time stays.

        With `link` it is the same file where that can be.
        """
        real = source.resolve()
        # /lib is a link to /usr/lib since Debian 12, in the image too.
        place = self.root / (target or re.sub(r"^/(s?bin|lib\d*)/", r"/usr/\1/", str(source))).lstrip("/")
        if place.exists():
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        linked = False
        if link:
            with contextlib.suppress(OSError):  # another file system
                os.link(real, place)
                linked = True
        if not linked:
            # copy2 keeps the time that a compiled module is compared with.
            shutil.copy2(real, place)
            place.chmod(0o755 if os.access(real, os.X_OK) else 0o644)
        self.sources |= {source, real}

    def add_tree(self, source: Path, target: str, left_out: re.Pattern[str] | None = None, *, link: bool = False) -> None:
        """Copy a directory without the names that `left_out` matches; links are followed, broken ones left out."""
        for folder, folders, files in os.walk(source, followlinks=True):
            folders[:] = sorted(name for name in folders if left_out is None or not left_out.fullmatch(name))
            for name in sorted(files):
                path = Path(folder, name)
                if (left_out is None or not left_out.fullmatch(name)) and path.exists():
                    self.add(path, f"{target}/{path.relative_to(source)}", link=link)

    def add_libraries(self) -> None:
        """Copy what every program and library in the image is linked with, as ld.so(8) of this machine finds it."""
        binaries = [path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink() and _is_elf(path)]
        # glibc opens this one by itself, when a thread ends: pthread_cancel(3).
        wanted = {Path("/usr/lib", sysconfig.get_config_var("MULTIARCH"), "libgcc_s.so.1")}
        # libjvm.so is found by who loads it, not by the run path of Java's other libraries.
        environment = {"LC_ALL": "C", "LD_LIBRARY_PATH": str(self.root / "opt/java/lib/server")}
        for binary in binaries:
            # The exit status is 1 for what is not linked dynamically at all.
            ldd = ["/usr/bin/ldd", str(binary)]
            shown = subprocess.run(ldd, capture_output=True, text=True, check=False, env=environment).stdout
            missing = re.findall(r"^\s*(\S+) => not found", shown, re.MULTILINE)
            if missing:
                msg = f"{binary}: its library {missing[0]} is not on this machine"
                raise FileNotFoundError(msg)
            wanted |= {Path(path) for path in re.findall(r"(?:=> |^\s*)(/\S+) \(0x", shown, re.MULTILINE)}
        for library in sorted(wanted):
            if not library.is_relative_to(self.root):
                self.add(library)

    def add_licences(self) -> None:
        """Copy the copyright and the record of each Debian package of which there are files, as scanners look for them."""
        names = sorted({form for path in self.sources for form in (str(path), str(path).removeprefix("/usr"))})
        # The status is 1 where one of the files is of no package.
        owners = subprocess.run(["/usr/bin/dpkg-query", "-S", *names], capture_output=True, text=True, check=False).stdout
        lines = [line for line in owners.splitlines() if not line.startswith("diversion")]
        for package in sorted({line.split(": ")[0].split(",")[0] for line in lines}):
            record = subprocess.run(["/usr/bin/dpkg-query", "-s", package], capture_output=True, text=True, check=True).stdout
            name = package.split(":")[0]
            place = self.root / "var/lib/dpkg/status.d" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(record)
            text = Path("/usr/share/doc", name, "copyright")
            if text.exists():
                self.add(text, f"usr/share/doc/{name}/copyright")


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def add_python(image: Image) -> str:
    """Copy the interpreter and its standard library; return the interpreter's name, as python3.11."""
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    image.add(Path(sys.base_prefix, "bin", name), f"usr/bin/{name}")
    (image.root / "usr/bin/python3").symlink_to(name)
    standard = sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix})
    image.add_tree(Path(standard), f"usr/lib/{name}", _LEFT_OUT)
    return name


def add_packages(image: Image, python: str) -> None:
    """Copy jvmbind and what it requires, from the environment of this interpreter."""
    target = "usr/lib/python3/dist-packages"
    wanted, done = ["jvmbind"], set()
    while wanted:
        found = importlib.metadata.distribution(wanted.pop())
        if found.name in done:
            continue
        done.add(found.name)
        wanted += [re.split(r"[ ;<>=!~\[(]", line)[0] for line in found.requires or () if "extra ==" not in line]
        for file in found.files or ():
            if ".." not in file.parts:  # a command: it is made anew, for an image without a shell
                source = Path(str(found.locate_file(file)))
                if source.exists():
                    image.add(source, f"{target}/{file}")
    command = image.root / "usr/bin/jvmbind"
    command.write_text(_COMMAND.format(python=python))
    command.chmod(0o755)


def make_java(target: Path, home: Path, modules: str) -> None:
    """Make a Java runtime of `modules` by jlink(1), with an archive of its classes; raises OSError, CalledProcessError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    link = [str(home / "bin/jlink"), "--add-modules", modules, "--output", str(target)]
    subprocess.run([*link, "--strip-debug", "--no-header-files", "--no-man-pages"], check=True)
    # Debian's certificates are a link to a file of another package.
    trusted = target / "lib/security/cacerts"
    if (home / "lib/security/cacerts").exists():
        trusted.unlink(missing_ok=True)
        shutil.copy(home / "lib/security/cacerts", trusted)
        trusted.chmod(0o644)
    for name in _FOR_A_SCREEN:
        (target / "lib" / name).unlink(missing_ok=True)
    subprocess.run([str(target / "bin/java"), "-Xshare:dump"], check=True, stdout=subprocess.DEVNULL)


def main() -> int:
    """Make it; the status is 0, or 1 with one line."""
    parser = argparse.ArgumentParser(description="Makes the root file system of an image with jvmbind.", allow_abbrev=False)
    parser.add_argument("directory", type=Path, help="is made; must be empty or not there")
    parser.add_argument("--java-home", type=Path, help="the JDK that has jlink; default that of `java` on PATH")
    parser.add_argument("--modules", default=MODULES, help="of the Java runtime, separated by commas")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--runtime", type=Path, help="a Java runtime made by --java-only, linked or copied")
    what.add_argument("--java-only", action="store_true", help="make that Java runtime, and nothing else")
    options = parser.parse_args()
    os.umask(0o022)
    java = shutil.which("java")
    home = options.java_home or (Path(java).resolve().parents[1] if java else None)
    try:
        if home is None or not (options.runtime or home / "bin/jlink").exists():
            msg = f"{home or 'PATH'}: no jlink there; expected a JDK, by --java-home"
            raise FileNotFoundError(msg)
        if options.java_only:
            make_java(options.directory, home, options.modules)
            return 0
        image = Image(options.directory)
        add_packages(image, add_python(image))
        if options.runtime is None:
            make_java(image.root / "opt/java", home, options.modules)
        else:
            image.add_tree(options.runtime, "opt/java", link=True)
        image.sources.add((home / "lib/server/libjvm.so").resolve())
        image.add_libraries()
        image.add_licences()
    except (OSError, subprocess.CalledProcessError, importlib.metadata.PackageNotFoundError) as error:
        sys.stderr.write(f"{Path(__file__).name}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
