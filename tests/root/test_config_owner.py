"""Whose configuration root reads. Run by pytest as root, who may give files away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jvmbind.config import load
from jvmbind.errors import NotPermittedError

pytestmark = pytest.mark.root


@pytest.mark.parametrize("what", ["file", "link", "folder"])
def test_file_of_another_user_is_refused(tmp_path: Path, what: str) -> None:
    """Root does not read a configuration that another user owns, nor one behind that user's link or in that user's folder."""
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "service.toml"
    path.write_text('[java]\njar = "/srv/shop.jar"\n')
    path.chmod(0o644)
    if what == "link":
        path = folder / "link"
        path.symlink_to("service.toml")
    os.chown({"file": path, "link": path, "folder": folder}[what], 65534, -1, follow_symlinks=False)

    with pytest.raises(NotPermittedError, match="belongs to uid 65534"):
        load.load(str(path))
