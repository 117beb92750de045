"""What `jvmbind status|reload|restart|stop|dump` says by itself: to a wrong name, and while it waits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from jvmbind.cli.control import _Progress, find
from jvmbind.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "here"),
    [('name = "shop"\n[java]\njar = "a.jar"\n', ", here 'shop'"), ('[java]\nmain = "org.Shop"\n', ", here 'Shop'"), ("x", "")],
)
def test_a_configuration_in_the_place_of_a_name(tmp_path: Path, text: str, here: str) -> None:
    """Who gives the file is told that it is one, and the service's name where the file tells it."""
    path = tmp_path / "x.toml"
    path.write_text(text)
    path.chmod(0o600)

    with pytest.raises(UsageError, match=f"{re.escape(str(path))}: that is a configuration; expected the service's name{here}$"):
        find(str(path))


def test_progress_says_a_reason_once(capsys: pytest.CaptureFixture[str]) -> None:
    """What is waited for is said in words when it is new, and by the seconds alone while it is the same."""
    progress = _Progress("reload")

    for text in ("for a, 9 s left", "for a, 7 s left", "for b, 5 s left; for c", "for b, 3 s left; for c", "for d", "for d"):
        progress.say(text)

    said = ["for a, 9 s left", "still, 7 s left", "for b, 5 s left; for c", "still, 3 s left", "for d", "still"]
    assert capsys.readouterr().err.splitlines() == [f"reload: waits {text}" for text in said]
