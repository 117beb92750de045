"""How the broker starts, what it keeps, what it is refused for, and that a reload is all or nothing.

Run by pytest as root. Must not import jvmbind.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from support import procfs
from support.broker import FAILED, GRANTED, REFUSED, Asked
from support.broker_process import BROKER_USER, Broker
from support.users import OTHER_USER, SERVICE_USER, user

ONE = 1 << 10  # CAP_NET_BIND_SERVICE
HTTP = Asked("tcp", "", 80)
CAPABILITY = (
    "setpriv", f"--reuid={user(BROKER_USER).uid}", f"--regid={user(BROKER_USER).gid}", "--clear-groups",
    "--bounding-set=-all,+net_bind_service", "--inh-caps=-all,+net_bind_service", "--ambient-caps=-all,+net_bind_service",
)  # fmt: skip


@pytest.mark.parametrize("way", ["root", "capability"])
def test_what_it_keeps(broker: Broker, way: str) -> None:
    """Started as root or with the one capability: a user of its own, that capability alone, no_new_privs, closed to tracing."""
    Path(broker.path).parent.mkdir()
    os.chmod(Path(broker.path).parent, 0o777)
    options = ("--user", BROKER_USER) if way == "root" else ()
    broker.start(f"allow {SERVICE_USER} tcp * 80", prefix=CAPABILITY if way == "capability" else (), options=options)

    (thread,) = procfs.thread_credentials(broker.pid)
    inheritable, permitted, effective, bounding, ambient = thread.capabilities
    assert (inheritable, permitted, effective, bounding, ambient) == (0, ONE, ONE, ONE, 0)
    assert thread.uids == (user(BROKER_USER).uid,) * 4
    assert thread.groups == ((user(BROKER_USER).gid,) if way == "root" else ())
    assert thread.no_new_privs == 1
    assert os.stat(f"/proc/{broker.pid}/mem").st_uid == 0  # as of a process that is not dumpable: proc(5)
    assert broker.ask_as(SERVICE_USER, HTTP)[0][0] == GRANTED


def refusal(broker: Broker, *options: str, prefix: tuple[str, ...] = ()) -> tuple[int, str]:
    """Return the exit status and the one line of a broker that does not start."""
    service = broker.runner.start([*prefix, *broker.command(*options)])
    status = service.wait()
    (line,) = service.stderr.splitlines()
    assert not Path(broker.path).exists()
    return status, line


def writable(broker: Broker, path: Path) -> tuple[int, str]:
    """Let others write a file or folder, and start."""
    path.chmod(0o777)
    return refusal(broker, "--user", BROKER_USER)


START_FAILURES: dict[str, tuple[Callable[[Broker], tuple[int, str]], int, str]] = {
    "others may write a file": (lambda b: writable(b, b.policy / "10-test.conf"), 77, "10-test.conf belongs to uid 0 with mode"),
    "others may write the folder": (lambda b: writable(b, b.policy), 77, "ports.d belongs to uid 0 with mode 0777"),
    "no capability": (
        lambda b: refusal(b, prefix=("setpriv", "--reuid=5", "--regid=60", "--clear-groups")), 77, "lacks CAP_NET_BIND_SERVICE",
    ),
    "no such user": (lambda b: refusal(b, "--user", "nosuch"), 78, "no user 'nosuch'"),
    "root itself": (lambda b: refusal(b, "--user", "root"), 78, "that is root"),
    "no policy": (lambda b: refusal(b, "--user", BROKER_USER, "--policy", "/none"), 78, "policy /none: No such file"),
}  # fmt: skip


@pytest.mark.parametrize("case", START_FAILURES)
def test_a_start_that_is_refused(broker: Broker, case: str) -> None:
    """What makes a broker unsafe or useless is refused in one line, with its status, before there is a socket."""
    broker.write("allow * * * *")
    act, status, words = START_FAILURES[case]

    found, line = act(broker)

    assert (found, words in line) == (status, True), line


def test_a_bad_line(broker: Broker) -> None:
    """A policy with one bad line is refused as a whole, with file and line, by the service and by --check."""
    broker.write("allow * * * 80", "allow * tcp * eighty")

    for options in (["--user", BROKER_USER], ["--check"]):
        status, line = refusal(broker, *options)
        assert status == 78
        assert f"{broker.policy}/10-test.conf:2: expected *, or ports from 1 to 65535" in line


def test_a_second_broker(broker: Broker) -> None:
    """A broker that is there is not pushed aside; the socket of one that has ended is replaced."""
    broker.start("allow * tcp * 80")
    second = broker.runner.start(broker.command("--user", BROKER_USER))
    assert second.wait() == 78
    assert "Address already in use" in second.stderr

    broker.service.stop(signal.SIGKILL)
    broker.start("allow * tcp * 80")

    assert broker.ask_as(OTHER_USER, HTTP)[0][0] == GRANTED


def test_reload(broker: Broker) -> None:
    """SIGHUP puts a new policy in force as a whole; one that is wrong in any file, or that others could write, changes nothing."""
    broker.start(f"allow {SERVICE_USER} tcp * 80")

    def reload(line: str) -> None:
        broker.service.process.send_signal(signal.SIGHUP)
        broker.service.expect(line, stream="stderr")

    def answers() -> list[int]:
        return [broker.ask_as(name, HTTP)[0][0] for name in (SERVICE_USER, OTHER_USER)]

    assert answers() == [GRANTED, REFUSED]
    broker.write(f"allow {OTHER_USER} tcp * 80")
    broker.write("nonsense", name="20-more.conf")
    reload(r"policy not read again, the one of before stays: .*/20-more.conf:1: expected")
    assert answers() == [GRANTED, REFUSED]
    (broker.policy / "20-more.conf").unlink()
    broker.policy.chmod(0o777)
    reload(r"policy not read again, .*ports.d belongs to uid 0 with mode 0777")
    assert answers() == [GRANTED, REFUSED]
    broker.policy.chmod(0o755)
    reload(r"policy read again: 1 rules")
    assert answers() == [REFUSED, GRANTED]


def test_explain_says_what_is_done(broker: Broker) -> None:
    """--explain names the rule, by file and line, with which the broker grants or refuses, and its status says which."""
    broker.start(f"deny {SERVICE_USER} tcp 127.0.0.1 81", "allow * tcp * 80,81")
    for text, asked, line in (("80", HTTP, 2), ("127.0.0.1:81", Asked("tcp", "127.0.0.1", 81), 1), ("82", Asked("tcp", "", 82), 0)):
        said = broker.runner.start(broker.command("--explain", SERVICE_USER, text))
        allowed = said.wait() == 0
        verdict, rule, _ = broker.ask_as(SERVICE_USER, asked)[0]

        assert (verdict == GRANTED) == allowed
        assert (rule or "no rule applies") in said.stdout
        assert rule == (f"{broker.policy}/10-test.conf:{line}" if line else "")


def test_the_log(broker: Broker) -> None:
    """Each grant, refusal and failure is a line with who asked, what for, and the rule."""
    broker.start("allow * tcp * 80")
    held = broker.network.open_socket(2, 1)
    held.bind(("0.0.0.0", 80))
    held.listen()
    assert [broker.ask_as(SERVICE_USER, one)[0][0] for one in (HTTP, Asked("udp", "::1", 53))] == [FAILED, REFUSED]
    held.close()
    assert broker.ask_as(SERVICE_USER, HTTP)[0][0] == GRANTED

    who = rf"uid {user(SERVICE_USER).uid}, pid \d+.*: "
    rule = rf"{broker.policy}/10-test.conf:1"
    broker.service.expect(rf"^jvmbind broker: failed 80/tcp for {who}.*Address already in use \({rule}\)$", stream="stderr")
    broker.service.expect(rf"^jvmbind broker: refused \[::1\]:53/udp to {who}no rule$", stream="stderr")
    broker.service.expect(rf"^jvmbind broker: granted 80/tcp to {who}{rule}$", stream="stderr")


def test_groups_are_those_of_the_process(broker: Broker) -> None:
    """A rule for a group holds for who has it now, as a supplementary group among hundreds too, and for nobody else."""
    broker.start("allow @4242 tcp * 80")
    program = """
import os
from support.broker import Asked, ask
for groups in ([*range(5000, 5600)], [*range(5000, 5600), 4242]):
    os.seteuid(0)
    os.setgroups(groups)
    os.seteuid(5)
    print(ask(sys.argv[1], Asked("tcp", "127.0.0.1", 80))[0])
"""
    client = broker.run_as("root", program)

    assert client.communicate(timeout=60)[0].split() == [str(REFUSED), str(GRANTED)]
