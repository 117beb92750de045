"""What a program is told without asking: callbacks, and the lines of a service as records of a logger.

Run by pytest, as anybody: the services are scripts, so that no JVM is needed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from typing import Any

import pytest

import jvmbind
from support import jdks

TEXT = "printf 'one\\ntwo \\303\\244\\n'; echo oops >&2; printf unfinished; exit 3"


def arguments(text: str = TEXT) -> dict[str, Any]:
    """Return a service that is a shell script."""
    java = {"script": ["/bin/sh", "-c", text], "home": jdks.tested_jdks()[0].home}
    return {"java": java, "quiet": True, "user": "www-data" if os.geteuid() == 0 else None, "supervise": {"restart": "never"}}


def test_callbacks(caplog: pytest.LogCaptureFixture) -> None:
    """Each event comes once and in order, in one thread of its own; what a callback raises is logged, and the next event comes."""
    found: list[tuple[str, int]] = []

    def note(event: jvmbind.Event) -> None:
        found.append((event.kind, threading.get_ident()))

    def fail(event: jvmbind.Event) -> None:
        msg = f"at {event.kind}"
        raise LookupError(msg)

    before = threading.active_count()
    with jvmbind.Service(**arguments("exit 3")).start() as running:
        running.add_callback(note)
        running.add_callback(fail)
        assert running.wait(60) == 3
        late: list[str] = []
        running.add_callback(lambda event: late.append(event.kind))
    assert [kind for kind, _ in found if kind != "state"] == ["death", "ended"]
    assert late == [kind for kind, _ in found]
    assert len({thread for _, thread in found}) == 1
    assert {thread for _, thread in found} != {threading.get_ident()}
    assert "LookupError: at ended" in caplog.text
    assert threading.active_count() == before


def test_a_close_ends_the_callbacks_and_who_waits() -> None:
    """A close leaves no thread, and a call without a time-out that waits in another thread ends with ValueError."""
    before = threading.active_count()
    running = jvmbind.Service(**arguments("exec sleep 1000")).start()
    running.add_callback(lambda _: None)
    failures: list[BaseException] = []

    def wait() -> None:
        try:
            running.wait()
        except BaseException as error:  # noqa: BLE001 - it is looked at
            failures.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    pid = running.pid
    running.close()
    waiting.join(30)
    assert [type(error) for error in failures] == [ValueError]
    assert threading.active_count() == before
    os.kill(pid, 15)
    os.waitpid(pid, 0)


def test_lines_for_a_logger(caplog: pytest.LogCaptureFixture) -> None:
    """Both streams are records of level INFO of their loggers, the last line without its end too; nothing is left open."""
    caplog.set_level(logging.INFO)
    threads, fds = threading.active_count(), os.listdir("/proc/self/fd")
    errors = logging.LoggerAdapter(logging.getLogger("shop.errors"), {})
    with jvmbind.Service(**arguments()).start(stdout=logging.getLogger("shop"), stderr=errors) as running:
        assert (running.stdout, running.stderr, running.wait(60)) == (None, None, 3)
    said = [(one.name, one.levelname, one.getMessage()) for one in caplog.records if one.name.startswith("shop")]
    assert [one for one in said if one[0] == "shop"] == [("shop", "INFO", text) for text in ("one", "two ä", "unfinished")]
    assert ("shop.errors", "INFO", "oops") in said
    assert (threading.active_count(), os.listdir("/proc/self/fd")) == (threads, fds)


def test_asyncio(caplog: pytest.LogCaptureFixture) -> None:
    """In an event loop both take no thread."""
    caplog.set_level(logging.INFO)

    async def main() -> list[str]:
        kinds: list[str] = []
        async with await jvmbind.AsyncService(**arguments()).start(stdout=logging.getLogger("shop")) as running:
            running.add_callback(lambda event: kinds.append(event.kind))
            assert await running.wait(60) == 3
            assert threading.active_count() == threads
        return kinds

    threads, fds = threading.active_count(), os.listdir("/proc/self/fd")
    assert [kind for kind in asyncio.run(main()) if kind != "state"] == ["death", "ended"]
    assert [one.getMessage() for one in caplog.records if one.name == "shop"] == ["one", "two ä", "unfinished"]
    assert os.listdir("/proc/self/fd") == fds
