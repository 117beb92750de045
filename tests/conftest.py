"""Fixtures of all test folders: namespaces, workspaces, services, JDKs, compiled probes.

Run by pytest as root for most of them. A JVM never lives in pytest's own process; jvmbind is not imported here.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from support.isolation import isolate
from support.jdks import JAVA_SOURCES, compile_java, tested_jdks, write_jar
from support.needs import need
from support.network import Network
from support.runner import Runner
from support.running import Running
from support.users import SERVICE_USER, User, user

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

# A machine that does other things as well is slow: no example has a deadline.
hypothesis.settings.register_profile("jvmbind", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("thorough", hypothesis.settings.get_profile("jvmbind"), max_examples=2000)
hypothesis.settings.load_profile("jvmbind")

_FAILED = pytest.StashKey[bool]()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Keep crash tests from writing core files, and the processes of a parallel run out of each other's way."""
    plugins = session.config.pluginmanager
    reporter = plugins.get_plugin("terminalreporter")
    if reporter is not None and plugins.has_plugin("dsession"):
        plugins.register(Running(reporter))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ.pop("PYTHONPATH", None)  # which xdist sets for its own processes alone
        if os.geteuid() == 0:
            isolate()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember whether the test failed, so that its files are kept."""
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the failures that tests/run.sh must not try again."""
    for report in [*terminalreporter.stats.get("failed", []), *terminalreporter.stats.get("error", [])]:
        if "never" in getattr(report, "keywords", {}):
            terminalreporter.write_line(f"NEVER {report.nodeid}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that asks for a `jdk` under the oldest and the newest one, within the limits of its marker `jdks`."""
    if "jdk" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("jdks")
        limits = {"at_least": 0, "at_most": sys.maxsize, "tools": False, **(marker.kwargs if marker else {})}
        jdks = [jdk for jdk in tested_jdks() if jdk.javac.exists() or not limits["tools"]]
        fit = [jdk for jdk in jdks if limits["at_least"] <= jdk.feature <= limits["at_most"]]
        # Without one pytest would skip the test, and nobody would know.
        assert fit, f"{metafunc.definition.nodeid}: no JDK here fits {limits}"
        metafunc.parametrize("jdk", fit, ids=str, scope="session")


# The folders whose single tests take longest; in a parallel run they come first, and what is short fills the end.
_LONG = ("systemd", "servers", "packaging", "examples", "root", "wrap", "supervision", "daemon", "differential", "shim", "jvm")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests of a parallel run, each process the same."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        folders = {item: item.path.relative_to(Path(__file__).parent).parts[0] for item in items}
        items.sort(key=lambda item: _LONG.index(folders[item]) if folders[item] in _LONG else len(_LONG))


@pytest.fixture(scope="session")
def jvmbind() -> list[str]:
    """The command under test, as an isolated interpreter starts it."""
    return [sys.executable, "-I", "-m", "jvmbind"]


@pytest.fixture(scope="session")
def shared_directory() -> Iterator[Path]:
    """A folder for the session that every user can read (pytest's own are for its user only)."""
    with tempfile.TemporaryDirectory(prefix="jvmbind-tests-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture(scope="session")
def probes(shared_directory: Path) -> Path:
    """The class folder of tests/java/probe."""
    return compile_java(sorted((JAVA_SOURCES / "probe").glob("*.java")), shared_directory / "probes")


@pytest.fixture(scope="session")
def agent_jar(probes: Path) -> Path:
    """The probes as a jar that is a -javaagent."""
    return write_jar(probes.parent / "agent.jar", probes, {"Premain-Class": "probe.Agent"}, only="probe/")


@pytest.fixture
def network() -> Iterator[Network]:
    """A private network namespace; whatever still runs in it at the end is killed."""
    need("root, for a network namespace", there=os.geteuid() == 0)
    with Network() as namespace:
        yield namespace


@pytest.fixture
def workspace(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder for one test, 0755, kept (and named in the report) when the test fails.

    Kept below JVMBIND_TEST_LOGS, else below the system's folder for temporary files.
    """
    path = Path(tempfile.mkdtemp(prefix="jvmbind-test-"))
    path.chmod(0o755)
    yield path
    if request.node.stash.get(_FAILED, False):
        logs = Path(os.environ.get("JVMBIND_TEST_LOGS", f"{tempfile.gettempdir()}/jvmbind-test-logs"))
        kept = logs / "".join(c if c.isalnum() else "-" for c in request.node.name)
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(path, kept, symlinks=True, ignore_dangling_symlinks=True, ignore=_special_files)
        sys.stderr.write(f"files of the failed test are kept in {kept}\n")
    shutil.rmtree(path)


def _special_files(folder: str, names: list[str]) -> list[str]:
    """Leave out what cannot be copied: sockets and pipes."""
    return [name for name in names if not (Path(folder, name).is_file() or Path(folder, name).is_dir())]


@pytest.fixture
def service_user() -> User:
    """The system user that services run as."""
    return user(SERVICE_USER)


@pytest.fixture
def runner(jvmbind: list[str], network: Network, workspace: Path, probes: Path, request: pytest.FixtureRequest) -> Iterator[Runner]:
    """Start services; at the end each is killed, shown if the test failed, and must not have printed noise."""
    made = Runner(jvmbind, network, workspace, probes)
    yield made
    for service in made.services:
        service.end()
    network.kill_all()
    for service in made.services:
        if request.node.stash.get(_FAILED, False):
            sys.stderr.write(service.report() + "\n")
        elif service.quiet:
            service.assert_quiet()


@pytest.fixture(scope="session")
def make_jar(shared_directory: Path, probes: Path) -> Callable[[str, dict[str, str]], Path]:
    """Write a jar of the probes with the given manifest entries into the session's folder."""

    def make(name: str, manifest: dict[str, str]) -> Path:
        return write_jar(shared_directory / name, probes, manifest)

    return make
