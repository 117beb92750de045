"""The compiled mains of the server tests, and the marks of everything in this folder.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from support.artifacts import LIBRARIES, artifact
from support.jdks import JAVA_SOURCES, compile_java
from support.marks import mark_below

OWN = {"undertow": "UndertowServer.java", "netty42-uring": "UringServer.java"}
"""The mains of the libraries that do not run NettyServer."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder: fetched servers, root, JVMs."""
    mark_below(Path(__file__).parent, items, pytest.mark.servers, pytest.mark.root, pytest.mark.jvm, pytest.mark.timeout(240))


@pytest.fixture(scope="session")
def server_classes(shared_directory: Path) -> dict[str, str]:
    """Class paths of our small mains, compiled against the libraries that they use: by library name, "jdk" for none."""
    sources = JAVA_SOURCES / "servers"
    found = {}
    for library in LIBRARIES:
        jars = f"{artifact(library)}/*"
        main = sources / OWN.get(library, "NettyServer.java")
        found[library] = f"{compile_java([main], shared_directory / library, jars)}:{jars}"
    mains = [sources / "JdkServer.java", sources / "DnsServer.java"]
    found["jdk"] = str(compile_java(mains, shared_directory / "jdk-server"))
    return found


@pytest.fixture(scope="session")
def talk_classes(shared_directory: Path) -> Path:
    """The class path of TalkServer."""
    return compile_java([JAVA_SOURCES / "servers" / "TalkServer.java"], shared_directory / "talk")
