"""Which file a service's name stands for. Run by pytest, as anybody."""

from __future__ import annotations

from pathlib import Path

import pytest

from jvmbind.config import named
from jvmbind.config.load import load
from jvmbind.errors import ConfigurationError, UsageError


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of /etc/jvmbind, with two services and what is none."""
    monkeypatch.setattr(named, "DIRECTORY", str(tmp_path))
    for name in ("shop.toml", "mail.toml", ".hidden.toml", "shop.toml.dpkg-old", "ports.d"):
        (tmp_path / name).write_text("[java]\njar = 'a.jar'\n")
        (tmp_path / name).chmod(0o644)
    return tmp_path


def test_a_name_is_a_file_there(etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NAME stands for its file whatever lies in the working directory; what has a slash or ends in .toml is a path."""
    elsewhere = etc / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    Path("shop").write_text("")

    assert named.config_path("shop") == str(etc / "shop.toml")
    assert named.config_path("./shop") == "./shop"
    assert named.config_path("shop.toml") == "shop.toml"
    assert named.configured() == ("mail", "shop")


@pytest.mark.parametrize("word", ["shp", "", "-x", "..", ".hidden", "ports.d", "a b", "x" * 65])
def test_no_such_name(etc: Path, word: str) -> None:
    """A word that is not a service's name is refused in one line, with the names that there are."""
    with pytest.raises(UsageError, match=r"no service .*expected one of mail, shop, the name of such a file, or a path"):
        named.config_path(word)
    assert etc.is_dir()


def test_the_file_names_the_service(etc: Path) -> None:
    """A file there needs no `name`, and none that says another; a file elsewhere keeps what it says."""
    assert load(str(etc / "shop.toml")).name == "shop"
    (etc / "mail.toml").write_text("name = 'post'\n[java]\njar = 'a.jar'\n")
    with pytest.raises(ConfigurationError, match=r"mail\.toml: name: expected 'mail', as the file is called, .* got 'post'"):
        load(str(etc / "mail.toml"))

    other = etc / "other"
    other.mkdir()
    (other / "mail.toml").write_text("[java]\njar = 'a.jar'\n")
    (other / "mail.toml").chmod(0o644)
    assert load(str(other / "mail.toml")).name is None
