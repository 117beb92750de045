"""The Java API: its own JUnit tests and one program, each under plain `java` and under jvmbind.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from support.artifacts import artifact
from support.clients import http_get_when_served, udp_ask
from support.jdks import JAVA_SOURCES, Jdk, compile_java, compiler
from support.network import Network
from support.runner import PLAIN, QUICK_JVM, Runner
from support.users import SERVICE_USER

pytestmark = [pytest.mark.root, pytest.mark.jvm, pytest.mark.servers]

SHIM = Path(__file__).resolve().parents[2] / "java-shim" / "src"
JUNIT_TESTS = ["InheritedChannelsTest", "ServiceLifecycleAloneTest", "ServiceLifecycleTest"]


@pytest.fixture(scope="session")
def shim(shared_directory: Path) -> str:
    """The shim's classes."""
    sources = [path for path in sorted((SHIM / "main").rglob("*.java")) if path.name != "module-info.java"]
    return str(compile_java(sources, shared_directory / "shim"))


@pytest.fixture(scope="session")
def shim_tests(shared_directory: Path, shim: str) -> str:
    """The class path of the shim's JUnit tests."""
    junit = f"{artifact('junit')}/*"
    classes = compile_java(sorted((SHIM / "test").rglob("*.java")), shared_directory / "shim-tests", f"{shim}:{junit}")
    return f"{classes}:{shim}:{junit}"


@pytest.fixture(scope="session")
def program(shared_directory: Path, shim: str) -> str:
    """The class path of the program that uses the API, which is compiled against it and does not bring it along."""
    return str(compile_java([JAVA_SOURCES / "shim" / "Named.java"], shared_directory / "shim-program", shim))


@pytest.mark.skipif(PLAIN, reason="runs both anyway")
@pytest.mark.parametrize("how", ["java", "jvmbind"])
@pytest.mark.parametrize("name", JUNIT_TESTS)
def test_junit(runner: Runner, jdk: Jdk, shim_tests: str, name: str, how: str) -> None:
    """Each JUnit class of the shim passes, in a JVM of its own."""
    # In the class path's jar: the launcher of JUnit itself.
    words = [*QUICK_JVM, "-Djava.io.tmpdir=/tmp", "-cp", shim_tests, "org.junit.platform.console.ConsoleLauncher", "execute",
             "--select-class", f"dev.jvmbind.{name}", "--details=summary", "--disable-banner"]  # fmt: skip
    if how == "java":
        service = runner.start([jdk.java, *words])
    else:
        # --direct: no supervisor, as for a test of what happens without one; the other classes make pipes of their own.
        service = runner.run(["--direct", "-l", "80", "-u", SERVICE_USER], jdk, words)

    assert service.wait() == 0, service.report()
    assert "0 tests failed" in service.stdout
    assert "0 tests successful" not in service.stdout


@pytest.mark.skipif(PLAIN, reason="needs listeners")
def test_program(runner: Runner, network: Network, jdk: Jdk, program: str) -> None:
    """The API is there without being on the class path; sockets by name are the listeners, and ready() is what is waited for."""
    options = ["-l", "http=80", "-l", "dns=53/udp", "--ready", "notify", "-u", SERVICE_USER]
    service = runner.run(options, jdk, [*QUICK_JVM, "-cp", program, "shim.Named", "8080"])

    service.expect("generation 1 is ready", stream="stderr")
    assert "names [http, dns]" in service.stdout
    assert f"/jvmbind/_shim.jar, class path {program}\n" in service.stdout
    assert http_get_when_served(network, 80).body == "named\n"
    assert udp_ask(network, "127.0.0.1", 53, b"hello") == b"hello"
    assert service.stop() == 143, service.report()


@pytest.mark.skipif(PLAIN, reason="runs both anyway")
def test_program_alone(runner: Runner, network: Network, jdk: Jdk, program: str, shim: str) -> None:
    """The same program under plain `java` has no names, binds its own port, and its messages go nowhere."""
    service = runner.start([jdk.java, *QUICK_JVM, "-cp", f"{program}:{shim}", "shim.Named", "8080"])

    service.expect("^ready$")
    assert "names []" in service.stdout
    assert http_get_when_served(network, 8080).body == "named\n"
    assert service.stop() == 143
    assert service.stderr == ""


@pytest.mark.skipif(PLAIN, reason="runs java anyway")
def test_program_without_the_api(runner: Runner, jdk: Jdk, program: str) -> None:
    """Under plain `java` a program that does not bring the API along ends where it first uses it, as the documents say."""
    service = runner.start([jdk.java, *QUICK_JVM, "-cp", program, "shim.Named", "8080"])

    assert service.wait() == 1
    assert "java.lang.NoClassDefFoundError: dev/jvmbind/InheritedChannels" in service.stderr


@pytest.mark.skipif(PLAIN, reason="needs listeners")
def test_own_api_first(runner: Runner, jdk: Jdk, program: str, shim: str) -> None:
    """An application that brings the API along runs its own, and its class path is the one that it was given."""
    words = [*QUICK_JVM, "-cp", f"{program}:{shim}", "shim.Named", "8080"]
    service = runner.run(["-l", "http=80", "-u", SERVICE_USER], jdk, words)

    service.expect("^ready$")
    assert f"api of file:{shim}/, class path {program}:{shim}\n" in service.stdout
    assert service.stop() == 143, service.report()


def test_javadoc(tmp_path: Path) -> None:
    """The API's documentation is complete: javadoc has nothing to warn about."""
    sources = [str(path) for path in sorted((SHIM / "main" / "java" / "dev" / "jvmbind").glob("*.java"))]
    javadoc = str(compiler().home / "bin" / "javadoc")
    made = subprocess.run(
        [javadoc, "-Xdoclint:all", "-Werror", "-quiet", "-notimestamp", "-d", str(tmp_path), *sources],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    assert "warning" not in made.stdout + made.stderr
