"""Done means done: what a command says is what has happened, and meanwhile it says what it waits for.

Run by pytest as root; services run as an ordinary user. Must not import jvmbind.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from support import procfs
from support.runner import as_user
from support.users import SERVICE_USER
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervision.conftest import Supervised


class Command:
    """A command that runs while the test looks at what it says."""

    def __init__(self, supervised: Supervised, *words: str) -> None:
        """Start it."""
        self._said = supervised.folder / f"said-by-{words[0]}"
        command = [*as_user(SERVICE_USER), *supervised.jvmbind, *words, str(supervised.socket)]
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)

    def said(self) -> str:
        """What it has said so far."""
        return self._said.read_text()

    def expect(self, pattern: str) -> None:
        """Wait until it has said something, while it still runs."""
        wait_until(lambda: re.search(pattern, self.said()) or self._process.poll() is not None, 30, pattern)
        assert re.search(pattern, self.said()), self.said()
        assert self._process.poll() is None, self.said()

    def status(self) -> int:
        """Wait for its end."""
        return self._process.wait(60)


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Let a process not run for a while."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def in_the_middle_of_an_answer(supervised: Supervised, milliseconds: int) -> Iterator[None]:
    """Have a client that waits for an answer which takes its time."""
    with supervised.network.connect("127.0.0.1", 8080, 60) as client:
        client.sendall(f"GET /sleep/{milliseconds} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        supervised.service.expect("SLEEPS")
        yield


def test_dump_is_written_when_it_is_done(supervised: Supervised) -> None:
    """`dump` answers when the whole dump is in the output, says what it waits for, and with 75 that a JVM does not come to it."""
    service = supervised.start("http=8080")
    with stopped(service.worker()):
        assert supervised.ask("dump", "--no-wait").stdout == "dump: begun\n"
        late = Command(supervised, "dump")
        late.expect(r"^dump: waits for the thread dump to be written, \d+ s left\n")
        assert late.status() == 75
        assert re.search(r"jvmbind: dump: generation 1 has not written the thread dump within 10 s: .*output", late.said())
    # One: a signal that is pending already is not sent again.
    wait_until(lambda: service.stdout.count("Full thread dump") == 1, 20, "the dump that was asked for")

    for number in range(2, 5):
        done = supervised.ask("dump")
        assert (done.returncode, done.stdout) == (0, "dump: done\n")
        # The heap comes last. No wait: the answer says that it is there.
        dumps = service.stdout.split("Full thread dump")[1:]
        assert len(dumps) == number
        assert re.search(r"class space +used", dumps[-1]) or "Metaspace" in dumps[-1], dumps[-1]


def test_dump_that_would_end_the_service(supervised: Supervised) -> None:
    """A JVM with -Xrs would end by the signal for a thread dump: `dump` is refused, and the service lives."""
    supervised.start("http=8080", jvm=("-Xrs",))
    before = supervised.serving()

    done = supervised.ask("dump")

    assert done.returncode == 75
    assert done.stderr == "jvmbind: dump: generation 1 does not handle SIGQUIT (-Xrs): the signal for a thread dump would end it\n"
    assert supervised.serving() == before


def test_no_thread_dump_that_would_end_the_jvm(supervised: Supervised) -> None:
    """With -Xrs neither a start that is late nor the watchdog ends the JVM by the signal for a dump; the log says so."""
    watchdog = "start_timeout = 1\n[supervise.watchdog]\nheartbeat = 1\nactions = ['log', 'dump']"
    service = supervised.start("wait=2000", "http=8080", jvm=("-Xrs",), more=watchdog)
    missing = "no thread dump of generation 1: its JVM does not handle SIGQUIT (-Xrs)\n"
    assert service.stderr.count(missing) == 1
    before = supervised.serving()

    procfs.stop_process(before)
    wait_until(lambda: service.stderr.count(missing) == 2, 30, "the watchdog's second action")
    os.kill(before, signal.SIGCONT)

    assert supervised.version() == "1"
    assert supervised.serving() == before


def test_restart_into_what_cannot_be_started(supervised: Supervised) -> None:
    """A restart into a class that is not there, or an option that the JVM does not take, is refused with the words of `java`."""
    supervised.start("http=8080")
    before, good = supervised.serving(), supervised.config.read_text()
    for old, new, words in (
        (
            f"jar = '{supervised.jar}'",
            f"main = 'service.Missing'\nclasspath = '{supervised.jar}'",
            "load main class service.Missing",
        ),
        ("-Dversion=1", "-Xmx512megs", "Invalid maximum heap size: -Xmx512megs"),
        (f"jar = '{supervised.jar}'", "jar = '/nosuch.jar'", "/nosuch.jar"),
        ("'8080'", "'808o'", "a port from 1 to 65535"),
    ):
        assert old in good
        supervised.config.write_text(good.replace(old, new))
        done = supervised.ask("restart")
        assert done.returncode == 75
        assert done.stdout == ""
        assert re.fullmatch(rf"jvmbind: restart: .*{words}.*\n", done.stderr), done.stderr
        assert supervised.serving() == before
    assert [one["number"] for one in supervised.status()["generations"]] == [1]


def test_restart_that_fails_goes_back(supervised: Supervised) -> None:
    """A restart whose new version ends is answered with 75 and the reason, and the previous version serves again."""
    supervised.start("http=8080", version="old")
    supervised.configure("say=NO-DATA", "exit=3", version="new")

    done = supervised.ask("restart")

    assert done.returncode == 75
    assert re.search(r"jvmbind: restart: generation 2 ended before it was ready: exit status 3.*NO-DATA", done.stderr), done.stderr
    assert "the previous version is started again" in done.stderr
    supervised.await_generation(3)
    assert supervised.version() == "old"


def test_no_wait(supervised: Supervised) -> None:
    """With --no-wait `reload`, `restart` and `stop` return once it has begun, and it happens."""
    service = supervised.start("wait=1000", "http=8080")
    for number, word in enumerate(("reload", "restart"), 2):
        done = supervised.ask(word, "--no-wait")
        assert (done.returncode, done.stdout) == (0, f"{word}: begun\n")
        assert f"generation {number} is ready" not in service.stderr
        supervised.await_generation(number)
        supervised.await_only()
    with in_the_middle_of_an_answer(supervised, 60000):
        done = supervised.ask("stop", "--no-wait")
        assert (done.returncode, done.stdout) == (0, "stop: begun\n")
        assert service.running()
    assert service.wait() == 143


def test_stop_says_what_it_waits_for(supervised: Supervised) -> None:
    """A stop that takes longer than two seconds says how many answers are in the making; when it is done nothing is left."""
    service = supervised.start("http=8080", more="stop_drain_timeout = 8")
    words = r"for generation 1: 1 connection in the middle of an answer, \d+ s left"
    with in_the_middle_of_an_answer(supervised, 60000):
        stop = Command(supervised, "stop")
        stop.expect(rf"^stop: waits {words}\n")
        assert re.fullmatch(words, supervised.status()["waits_for"])
        assert re.search(words, supervised.ask("status").stdout)
        assert stop.status() == 0
        assert supervised.network.bound() == []
    assert stop.said().endswith("stop: done\n")
    assert service.wait() == 143


def test_a_hanging_stop_says_so(supervised: Supervised) -> None:
    """A stop that waits for the application's own shutdown hooks says that, with the seconds until the JVM is killed."""
    service = supervised.start("hook=4000", "http=8080")
    stop = Command(supervised, "stop")
    stop.expect(r"^stop: waits for generation 1 to end, \d+ s left\n")
    assert stop.status() == 0
    assert service.wait() == 143


@pytest.mark.parametrize("word", ["reload", "restart"])
def test_reload_and_restart_say_what_they_wait_for(supervised: Supervised, word: str) -> None:
    """They say what the new generation lacks, and how many answers of the old one are in the making; so does `status`."""
    supervised.start("http=8080")
    supervised.configure("wait=3500", "http=8080")
    draining = r"for generation 1: 1 connection in the middle of an answer(, \d+ s left)?"
    lacking = r"for generation 2 to get ready: the application has not bound listener '8080' .*, \d+ s left"
    with in_the_middle_of_an_answer(supervised, 60000 if word == "reload" else 5000):
        command = Command(supervised, word)
        if word == "restart":
            command.expect(rf"^restart: waits {draining}\n")
            assert re.fullmatch(draining, supervised.status()["waits_for"])
        command.expect(rf"(^|\n){word}: waits {lacking}\n")
        assert re.search(lacking, supervised.status()["waits_for"])
        assert command.status() == 0
        if word == "reload":
            wait_until(lambda: re.fullmatch(draining, supervised.status()["waits_for"]), 20, "the drain")
