"""The configurations of docs/moving.md, each run as root runs it. Run by pytest as root, in a network namespace of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.clients import http_get
from support.jdks import Jdk, write_jar
from support.network import Network
from support.runner import QUICK_JVM, Runner

pytestmark = [pytest.mark.root, pytest.mark.jvm]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "moving.md"
CONFIGURATIONS = re.findall(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.mark.jdks(at_least=18)
@pytest.mark.parametrize("number", range(len(CONFIGURATIONS)))
def test_a_configuration(runner: Runner, network: Network, jdk: Jdk, probes: Path, jvmbind: list[str], number: int) -> None:
    """A server that binds 8080 serves port 80 with the configuration as it stands on the page."""
    jar = write_jar(runner.workspace / "shop.jar", probes, {"Main-Class": "probe.ChannelServer"}, only="probe/")
    text = CONFIGURATIONS[number]
    assert text.count('jar = "/srv/shop/shop.jar"') == 1
    java = f'jar = "{jar}"\nargs = ["*", "8080"]\nhome = "{jdk.home}"\noptions = {list(QUICK_JVM)}'
    path = runner.workspace / "shop.toml"
    path.write_text(text.replace('jar = "/srv/shop/shop.jar"', java))
    service = runner.start([*jvmbind, "run", "-c", str(path)])

    service.expect("generation 1 is ready", stream="stderr")
    assert http_get(network, 80).status == 200
    assert service.stop() == 143
    service.assert_nothing_left()


def test_there_are_configurations() -> None:
    """The page has some, so that the test above runs something."""
    assert len(CONFIGURATIONS) == 3
