"""`reload(new_service)`: another version of a service that runs, what it changes, and what is refused.

Run by pytest as root, in a network namespace of the run.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import jvmbind
from support import procfs
from support.jdks import Jdk
from support.runner import QUICK_JVM, Runner
from support.users import SERVICE_USER
from support.waiting import wait_until

UPGRADE = Path(__file__).resolve().parents[2] / "examples" / "python" / "upgrade.py"

pytestmark = [pytest.mark.root, pytest.mark.jvm]


def version(jdk: Jdk, probes: Path, *ports: int, **more: Any) -> dict[str, Any]:
    """Return the arguments of a server that binds these ports."""
    words = [word for port in ports for word in ("*", str(port))]
    java = {"main": "probe.ChannelServer", "classpath": probes, "args": words, "home": jdk.home, "options": list(QUICK_JVM)}
    more.setdefault("listen", {"http": 80})
    return {"name": "versions", "user": SERVICE_USER, "java": java, "quiet": True, **more}


def ask(port: int) -> bool:
    """Whether a server answers at a port."""
    with socket.create_connection(("127.0.0.1", port), 30) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return b"channel local=" in b"".join(iter(lambda: client.recv(4096), b""))


def is_refused(port: int) -> bool:
    """Whether nobody listens at a port."""
    try:
        ask(port)
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass
    return False


def test_another_version(jdk: Jdk, probes: Path) -> None:
    """A reload to other options, another environment and a socket of the program's says what changed; a crash keeps it."""
    first = jvmbind.Service(**version(jdk, probes, 80, env=["VERSION=1"]))
    values = version(jdk, probes, 80, 443, env=["VERSION=2", "GIVEN"])
    values["java"]["options"] = ["-Dversion=2", *QUICK_JVM]
    before = os.listdir("/proc/self/fd")
    with first.start(stdout=subprocess.DEVNULL) as running:
        running.wait_ready()
        with socket.create_server(("", 443)) as https:
            values["listen"] = {"http": 80, "https": https}
            second = jvmbind.Service(**values)
            result = running.reload(second, environ={**os.environ, "GIVEN": "so"})
        assert set(result.changed) == {
            "listen['https']",
            "env",
            "java['options']",
            "java['args']",
            "environ['GIVEN']",
        }
        assert running.ports == {"http": 80, "https": 443}
        assert ask(80)
        assert ask(443)
        for number in (2, 3):
            (pid,) = (one.pid for one in running.status().generations if one.number == number)
            environ = procfs.environment(pid)
            assert (environ["VERSION"], environ["GIVEN"]) == ("2", "so")
            if number == 2:
                os.kill(pid, 9)
                running.wait_for("starting", "backing off")
                running.wait_ready()
        result = running.reload(first)
        assert {"listen['https']", "java['options']", "env"} <= set(result.changed)
        assert running.ports == {"http": 80}
        wait_until(lambda: is_refused(443), 20, "the end of the old version, which has the listener")
    assert os.listdir("/proc/self/fd") == before


def test_what_is_refused(jdk: Jdk, probes: Path) -> None:
    """What cannot change is refused by its name before anything happens, a failed version leaves the old one serving."""

    async def main() -> None:
        first = version(jdk, probes, 80)
        async with await jvmbind.AsyncService(**first).start(stdout=subprocess.DEVNULL) as running:
            await running.wait_ready()
            for argument, more in (
                ("user", {"user": "nobody"}),
                ("name", {"name": "other"}),
                ("security['umask']", {"security": {"umask": "077"}}),
                ("control['group']", {"control": {"group": "adm", "allow": ["status"]}}),
            ):
                with pytest.raises(jvmbind.ArgumentValueError, match="cannot change at a reload") as wrong:
                    await running.reload(jvmbind.Service(**{**first, **more}))
                assert wrong.value.key == argument
            with pytest.raises(TypeError, match="service: expected a Service, got 5"):
                await running.reload(5)  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="environ: expected None without another version"):
                await running.reload(environ={})
            assert (await running.status()).generations[0].number == 1

            privileged = jvmbind.AsyncService(**version(jdk, probes, 80, 443, listen={"http": 80, "https": 443}))
            with pytest.raises(jvmbind.ReloadFailedError, match="needs a privilege") as refused:
                await running.reload(privileged)
            assert isinstance(refused.value.__cause__, jvmbind.NotPermittedError)
            assert refused.value.listener == "https"

            missing = version(jdk, probes, 80)
            missing["java"] = {"jar": "/nonexistent.jar", "home": jdk.home}
            with pytest.raises(jvmbind.ReloadFailedError) as refused:
                await running.reload(jvmbind.AsyncService(**missing))
            wrong_class = version(jdk, probes, 80)
            wrong_class["java"]["main"] = "probe.NoSuchClass"
            with pytest.raises(jvmbind.ReloadFailedError, match=r"NoSuchClass|the old generation keeps serving"):
                await running.reload(jvmbind.AsyncService(**wrong_class))
            assert running.state == "ready"
            assert await asyncio.to_thread(ask, 80)
            assert (await running.reload()).changed == ()

    asyncio.run(main())


def test_upgrade_example(runner: Runner, jdk: Jdk, probes: Path) -> None:
    """The upgrade tool replaces two instances one after the other, and takes the first one back where the second fails."""
    java = ["-Xmx64m", "-XX:+UseSerialGC", "-cp", str(probes), "probe.ChannelServer", "*", "{port}"]
    options = ["--user", SERVICE_USER, "--java-home", str(jdk.home), "--port", "80", "--port", "81"]
    tool = runner.start([sys.executable, "-I", str(UPGRADE), *options, "--", *java], stdin=subprocess.PIPE)
    tool.expect(r"^ready$")
    tool.send_line(shlex.join(["-Dversion=2", *java]))
    for port in (80, 81):
        tool.expect(rf"^port {port}: reload done: generation 2 serves; changed: java\['arguments'\]$")
    tool.expect(r"^all upgraded$")
    tool.send_line(shlex.join([*java[:-1], "8{port}"]))  # binds what is not declared, and never its listener
    tool.expect(r"^port 80: reload: ")
    tool.expect(r"^kept$")
    with runner.network.connect("127.0.0.1", 81):
        pass
    tool.stop()
    tool.assert_nothing_left()
