"""What the matrix knows of one server: where it comes from, how it is started, what a client asks of it.

Imported by the other modules of this folder; runs nothing itself and imports nothing of jvmbind.
"""

# ruff: noqa: INP001 - programs of their own, no package
from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from stage import CHECKOUT

from support.artifacts import distribution, libraries
from support.jdks import FLOOR, compile_java
from support.runner import as_user

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from traffic import Exchange

    from support.jdks import Jdk
    from support.users import User

PROGRAMS = Path(__file__).parent / "programs"


@dataclass(slots=True)
class Site:
    """A place in which a server is laid out for one run: a folder of the service user's own."""

    recipe: Recipe
    jdk: Jdk
    user: User
    base: Path
    cwd: Path | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def home(self, number: int = 0) -> Path:
        """Return the unpacked distribution, as it was fetched; root's, and shared by all runs."""
        coordinates = self.recipe.fetch[number]
        return distribution(coordinates.split(":")[1], coordinates)

    def jars(self) -> Path:
        """Return the folder with the jars of the recipe."""
        return libraries(self.recipe.key, self.recipe.fetch, label="-matrix")

    def copy(self) -> Path:
        """Return a copy of the distribution that belongs to the service user, with executable scripts."""
        target = self.base / "home"
        shutil.copytree(self.home(), target, symlinks=True)
        for path in target.rglob("*"):
            if path.is_file() and (path.suffix in {".sh", ""} or "bin" in path.parts):
                path.chmod(0o755)
        return self.own(target)

    def own(self, folder: Path) -> Path:
        """Give a folder and everything in it to the service user."""
        for path in (folder, *folder.rglob("*")):
            os.chown(path, self.user.uid, self.user.gid, follow_symlinks=False)
        return folder

    def folder(self, name: str) -> Path:
        """Make a folder of the service user's own."""
        path = self.base / name
        path.mkdir(parents=True, exist_ok=True)
        os.chown(path, self.user.uid, self.user.gid)
        return path

    def write(self, name: str, text: str) -> Path:
        """Write a file of the service user's own."""
        path = self.base / name
        if path.parent != self.base:
            self.folder(str(path.parent.relative_to(self.base)))
        path.write_text(text)
        os.chown(path, self.user.uid, self.user.gid)
        return path

    def program(self, source: str, *arguments: str, options: Sequence[str] = ()) -> list[str]:
        """Compile programs/SOURCE.java against the recipe's jars; return what stands after `java` to run it."""
        jars = f"{self.jars()}/*" if self.recipe.fetch else ""
        classes = self.base / f"classes-{source}"
        path = PROGRAMS / f"{source}.java"
        if self.recipe.oldest > FLOOR:  # its classes are too new for the compiler that everything else is made with
            classes.mkdir()
            subprocess.run([self.jdk.javac, "-d", classes, "-cp", jars, path], check=True, capture_output=True)
        else:
            compile_java([path], classes, jars)
        package = re.search(r"^package (.*);", path.read_text(), re.MULTILINE)
        name = f"{package[1]}.{source}" if package else source
        return [*options, "-cp", f"{classes}:{jars}" if jars else str(classes), name, *arguments]

    def jar(self, number: int = 0) -> Path:
        """Return the one jar that was fetched without what it depends on."""
        (found,) = self.home(number).glob("*.jar")
        return found

    def java(self, *words: str) -> None:
        """Run `java` to prepare something, as the service user."""
        subprocess.run([*as_user(self.user.name), self.jdk.java, *words], cwd=self.base, check=True, capture_output=True)

    def main(self, name: str, *arguments: str, options: Sequence[str] = ()) -> list[str]:
        """Return what stands after `java` to run a main class of the recipe's jars."""
        return [*options, "-cp", f"{self.jars()}/*", name, *arguments]


@dataclass(frozen=True, slots=True)
class Recipe:
    """One server, and one way to run it."""

    key: str
    """Names it on the command line and in the cache."""
    title: str
    prepare: Callable[[Site], list[str]]
    """Lays the server out and returns what stands after `java`, or for a script the script and its arguments."""
    exchange: Exchange
    """One exchange of a real client with the server, on a connection of its own."""
    fetch: tuple[str, ...] = ()
    """Coordinates of Maven Central."""
    listen: tuple[str, ...] = ("80",)
    """Listener specs; the exchange goes to the first one's port."""
    script: bool = False
    """Whether it is run by `jvmbind wrap`."""
    plain_port: int = 0
    """The port under plain `java`, where the application binds another one than clients connect to."""
    needs: str = ""
    """What a user has to know or set for this server; for the table."""
    options: tuple[str, ...] = ()
    """Options of `jvmbind run` or `wrap` that this server needs."""
    package: str = ""
    """The Debian package that it comes from, where it is installed and not fetched."""
    own_stop: str = ""
    """The arguments by which the script stops what it has started, or, with a slash, the path of another one from its folder."""
    oldest: int = 17
    """The oldest JDK that it is meant for."""
    threads: int = 4

    @property
    def version(self) -> str:
        """The version as its coordinates or its Debian package say it."""
        if self.package:
            command = ["/usr/bin/dpkg-query", "-W", "-f", "${Version}", self.package]
            return subprocess.run(command, capture_output=True, text=True, check=False).stdout
        return self.fetch[0].split(":")[2] if self.fetch else ""

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        spec = self.listen[0].rpartition("=")[2].split(",")[0].split("/")[0]
        host, _, rest = spec.rpartition("]:") if "]:" in spec else ("", "", spec)
        words = rest.split(":")
        if not host and "." in words[0]:
            words = words[1:]
        return int(words[0])

    @property
    def datagram(self) -> bool:
        """Whether the first listener is a UDP one."""
        return "/udp" in self.listen[0]


def sources(name: str) -> Path:
    """Return a folder of the checkout's own Java test sources."""
    return CHECKOUT / "tests/java" / name
