"""Programs of other people's kinds that use the API: a web application, a command line tool, a notebook, ten services at once.

Run by pytest as root; each is the example's own file, started as its user starts it, in a network namespace of its own.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support import procfs
from support.clients import http_get, http_get_when_served
from support.jdks import Jdk
from support.network import Network
from support.runner import QUICK_JVM, Runner
from support.users import SERVICE_USER
from support.waiting import wait_until

pytestmark = [pytest.mark.root, pytest.mark.jvm, pytest.mark.jdks(at_least=21)]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "python"


def java_words(probes: Path, port: int) -> list[str]:
    """Return what stands after `java` for a small server."""
    return [*QUICK_JVM, "-cp", str(probes), "probe.ChannelServer", "*", str(port)]


@pytest.fixture
def environment(jdk: Jdk) -> dict[str, str]:
    """The Java runtime of the test, as a user names it."""
    return {**os.environ, "JAVA_HOME": str(jdk.home)}


def test_web(runner: Runner, network: Network, probes: Path, environment: dict[str, str]) -> None:
    """The FastAPI application serves once Java does, says so, reloads it, tells of a crash, and leaves nothing when it ends."""
    environment |= {"JAVA": shlex.join(java_words(probes, 80)), "LISTEN": "80", "RUN_AS": SERVICE_USER}
    command = [sys.executable, "-I", "-m", "uvicorn", "--app-dir", str(EXAMPLES), "--port", "8000", "web:app"]
    web = runner.start(command, environment=environment)

    health = json.loads(http_get_when_served(network, 8000, path="/health").body)
    assert health == {"state": "ready", "waits_for": "", "deaths": 0}
    with network.connect("127.0.0.1", 8000) as client:
        client.sendall(b"POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(4096), b"")).decode()
    assert '"generation":2' in answer, answer
    wait_until(lambda: len([pid for pid in web.processes() if procfs.is_jvm(pid)]) == 1, 40, "the end of the old generation")
    os.kill(web.worker(), signal.SIGKILL)
    wait_until(lambda: json.loads(http_get(network, 8000, path="/health").body)["deaths"] > 0, 40, "the death")
    wait_until(lambda: http_get(network, 8000, path="/health").status == 200, 20, "readiness")
    assert web.stop() == 143
    web.assert_nothing_left()


def test_web_that_cannot_start(runner: Runner, probes: Path, environment: dict[str, str]) -> None:
    """Where Java cannot be served the application ends with the launcher's own reason."""
    environment |= {"JAVA": shlex.join(java_words(probes, 80)), "LISTEN": "80", "RUN_AS": "no-such-user"}
    web = runner.start([sys.executable, "-I", "-m", "uvicorn", "--app-dir", str(EXAMPLES), "web:app"], environment=environment)

    assert web.wait(60) == 3, web.report()
    web.quiet = False
    assert re.search(r"jvmbind\.\S*Error: .*no-such-user", web.stderr), web.stderr
    web.assert_nothing_left()


def test_fleet(runner: Runner, network: Network, probes: Path, environment: dict[str, str]) -> None:
    """Ten services on ten ports of the kernel's choice serve at once, and one Ctrl-C ends them all."""
    options = ["--count", "10", "--user", SERVICE_USER, "--", *java_words(probes, 8080)]
    command = [sys.executable, "-I", str(EXAMPLES / "fleet.py"), *options]
    fleet = runner.start(command, environment=environment)

    fleet.expect(r"(?s)(process \d+ serves port \d+.*){10}", timeout=60)
    ports = {int(port) for port in re.findall(r"serves port (\d+)", fleet.stdout)}
    assert len(ports) == 10
    for port in ports:
        network.connect("127.0.0.1", port).close()
    assert fleet.stop(signal.SIGINT) == 143
    fleet.assert_nothing_left()


def test_command_line_tool(runner: Runner, network: Network, probes: Path, environment: dict[str, str]) -> None:
    """What one command starts in the background the next ones find, reload and stop; without it they say so, with status 69."""
    tool = [sys.executable, "-I", str(EXAMPLES / "shop.py")]
    options = ["start", "--listen", "80", "--user", SERVICE_USER, "--", *java_words(probes, 80)]

    def ask(word: str, status: int = 0) -> str:
        command = runner.start([*tool, word], environment=environment, stdin=subprocess.DEVNULL)
        assert command.wait(60) == status, command.report()
        return command.stdout + command.stderr

    assert "no service named 'shop' is running" in ask("status", 69)
    started = runner.start([*tool, *options], environment=environment, stdin=subprocess.DEVNULL)
    started.expect(r"^ready, process \d+$")
    assert started.process.wait(20) == 0
    network.connect("127.0.0.1", 80).close()
    assert ask("status").startswith("ready\nhttp: ")
    assert "reload done: generation 2 serves" in ask("reload")
    assert ask("stop") == "ended with status 143\n"
    assert "no service named 'shop' is running" in ask("status", 69)
    started.assert_nothing_left()


NOTEBOOK = """
import os, signal, threading
from jupyter_client.manager import start_new_kernel

manager, client = start_new_kernel(kernel_name="python3")

def cell(code, interrupt=False):
    said = []
    def output(message):
        content = message["content"]
        said.append(content.get("text") or content.get("ename") or content.get("data", {{}}).get("text/plain", ""))
        if interrupt and "waiting" in str(content.get("text")):
            pressing.start()
    # An interrupt between the output and the wait is none: a user presses the key again, and not while it is being answered.
    over = threading.Event()
    def press():
        pause = 0.5
        while not over.wait(pause):
            pause = 10
            os.kill(manager.provisioner.process.pid, signal.SIGINT)
    pressing = threading.Thread(target=press, daemon=True)
    reply = client.execute_interactive(code, output_hook=output, timeout=60)
    over.set()
    if interrupt:
        pressing.join()
    print(reply["content"]["status"], *[" ".join(text.split()) for text in said if text.strip()], flush=True)

# ipykernel sees an interrupt when its event loop wakes up the next time, in whatever is awaited.
cell('''import asyncio, jvmbind, subprocess
async def tick():
    while True:
        await asyncio.sleep(0.1)
ticking = asyncio.ensure_future(tick())''')
cell('''java = {{"arguments": {java!r}}}
service = jvmbind.AsyncService(name="notebook", java=java, listen={{"http": 80}}, user={user!r}, quiet=True)
running = await service.start(stdout=subprocess.DEVNULL, die_with_parent=True)
await running.wait_ready()
running.state''')
cell('print("waiting", flush=True); await running.wait()', interrupt=True)
cell("(await running.reload()).generation")
cell("running.state")
manager.restart_kernel(now=True)
client.wait_for_ready(timeout=60)
cell('''import jvmbind, time
while True:
    try:
        jvmbind.connect("notebook").close()
    except jvmbind.PortUnavailableError:
        print("gone")
        break
    time.sleep(0.01)
''')
client.stop_channels()
manager.shutdown_kernel()
"""


def test_notebook(runner: Runner, probes: Path, environment: dict[str, str]) -> None:
    """In a Jupyter kernel a cell awaits a service, an interrupted cell leaves it as it was, and a restarted kernel ends it."""
    program = runner.workspace / "notebook.py"
    program.write_text(NOTEBOOK.format(java=java_words(probes, 80), user=SERVICE_USER))
    kernels = runner.workspace / "kernels" / "kernels" / "python3"
    kernels.mkdir(parents=True)
    argv = [sys.executable, "-I", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernels / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Python", "language": "python"}))
    places = {name: str(runner.workspace / name) for name in ("HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR")}
    environment |= {"JUPYTER_PATH": str(runner.workspace / "kernels"), **places}
    notebook = runner.start([sys.executable, "-I", str(program)], environment=environment, stdin=subprocess.DEVNULL)

    assert notebook.wait(110) == 0, notebook.report()
    said = notebook.stdout.splitlines()
    assert said[0] == "ok", notebook.report()
    assert said[1:2] == ["ok 'ready'"], notebook.report()
    assert re.fullmatch(r"error waiting (CancelledError|KeyboardInterrupt)", said[2]), notebook.report()
    assert said[3:] == ["ok 2", "ok 'ready'", "ok gone"], notebook.report()
    notebook.assert_nothing_left()
