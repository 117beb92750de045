"""Root's questions to a child that has dropped: who answers, what comes back, and what does not. Run in child processes."""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import prctl
import pytest

from jvmbind.errors import ConfigurationError, NotPermittedError
from jvmbind.posix.fds import open_fds
from jvmbind.root import child
from jvmbind.root.child import Channel, ask
from jvmbind.root.drop import CAP_NET_BIND_SERVICE, drop_permanently
from jvmbind.root.start import start
from jvmbind.root.user import NOBODY, look_up
from jvmbind.spec import UserSpec
from support.users import SERVICE_USER, User

pytestmark = pytest.mark.root


def asked(question: Callable[[Channel], bytes], give: Callable[[str], int] = os.dup) -> tuple[bytes, tuple[int, ...]]:  # type: ignore[assignment]
    """Put a question to nobody; neither a process nor a descriptor is left of it."""
    before = open_fds()
    try:
        data, sent = ask(NOBODY, question, "the question", give)
    finally:
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
    assert sorted({*open_fds()} - {*before}) == sorted(sent)
    return data, sent


def test_who_answers() -> None:
    """Nobody answers: no id, group or capability of root's, no way to new ones, and closed to others of that user."""

    def question(_: Channel) -> bytes:
        status = Path("/proc/self/status").read_text().splitlines()
        fields = dict(line.split(":\t", 1) for line in status if ":\t" in line)
        rights = [fields[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")]
        return repr((os.getresuid(), os.getresgid(), os.getgroups(), {int(r, 16) for r in rights[:5]}, rights[5])).encode()

    assert asked(question)[0] == repr(((65534,) * 3, (65534,) * 3, [], {0}, "1")).encode()
    assert os.getresuid() == (0, 0, 0)


def look_into_the_parent() -> int:
    """Return 0 where another process of the user, without a right, can look into the one that calls this, else 1."""
    if other := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(other, 0)[1])
    drop_permanently(os.getuid(), os.getgid(), tuple(os.getgroups()))
    try:
        os.close(os.open(f"/proc/{os.getppid()}/environ", os.O_RDONLY))  # ptrace(2), access mode checking
    except PermissionError:
        os._exit(1)
    os._exit(0)


@pytest.mark.parametrize("keep", [None, 1 << CAP_NET_BIND_SERVICE, 0], ids=["root", "one-capability", "nothing"])
def test_nobody_looks_into_who_answers(keep: int | None) -> None:
    """Whoever reads for a start, no other process of its user can trace it, and so have a say in what is bound."""
    user = NOBODY
    if keep is not None:
        user = UserSpec(54399, 54399, (54399,), "", "", "")
        drop_permanently(user.uid, user.gid, user.groups, keep)
        prctl.set_dumpable(1)  # as after an exec
        assert (look_into_the_parent() == 0) == (keep == 0)  # it can look

    assert ask(user, lambda _: b"%d" % look_into_the_parent(), "the question", os.dup)[0] == b"1"  # type: ignore[arg-type]


def test_files_and_sockets(workspace: Path) -> None:
    """The child gets a file that it could not open itself, and root the socket that the child has."""
    secret = workspace / "secret"
    secret.write_text("of root's")
    secret.chmod(0o600)

    def question(channel: Channel) -> bytes:
        with socket.create_server(("127.0.0.1", 8080)) as sock:
            channel.send(sock.fileno())
        return os.read(channel.open(str(secret)), 99)

    data, (fd,) = asked(question, lambda path: os.open(path, os.O_RDONLY))
    assert data == b"of root's"
    with socket.socket(fileno=fd) as sock:
        assert sock.getsockname() == ("127.0.0.1", 8080)


def test_a_file_that_root_does_not_give(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where root refuses a file the start ends with root's reason, and the child with it."""
    monkeypatch.setattr(child, "_END", 100)

    def refuse(path: str) -> int:
        raise ConfigurationError(path)

    with pytest.raises(ConfigurationError, match="/etc/shadow"):
        asked(lambda channel: str(channel.open("/etc/shadow")).encode(), refuse)

    def stay(channel: Channel) -> bytes:
        """Ask as a hostile child would, which does not mind the answer."""
        with contextlib.suppress(SystemExit):
            os._exit = sys.exit  # type: ignore[assignment]
            channel.open("/etc/shadow")
        signal.pause()
        return b""

    with pytest.raises(ConfigurationError, match="/etc/shadow"):
        asked(stay, refuse)


@pytest.mark.parametrize("end", ["signal", "status", "exception"])
def test_a_child_that_dies(end: str) -> None:
    """A child that ends without an answer is a refusal."""

    def question(_: Channel) -> bytes:
        if end == "signal":
            os.kill(os.getpid(), signal.SIGKILL)
        if end == "status":
            os._exit(3)
        raise ZeroDivisionError

    with pytest.raises(NotPermittedError, match="the question ended with status"):
        asked(question)


@pytest.mark.parametrize("hostile", ["stopped", "closed"])
def test_a_child_that_never_ends(monkeypatch: pytest.MonkeyPatch, hostile: str) -> None:
    """Root waits for ever neither for a child that another process of its user has stopped, nor for one that closes its end."""
    monkeypatch.setattr(child, "_PATIENCE", 0.3)
    monkeypatch.setattr(child, "_END", 100)

    def question(_: Channel) -> bytes:
        if hostile == "stopped":
            os.kill(os.getpid(), signal.SIGSTOP)
        os.closerange(3, 1000)
        signal.pause()
        return b""

    why = "the question has said nothing for 0.3 s" if hostile == "stopped" else "the question ended with status -9"
    with pytest.raises(NotPermittedError, match=why):
        asked(question)


def test_a_root_that_may_not_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without CAP_KILL, as in a unit that names the capabilities it needs, a child answers as ever, and a hostile one is left."""
    monkeypatch.setattr(child, "_END", 100)
    prctl.cap_effective.kill = False

    assert asked(lambda _: b"x")[0] == b"x"

    def refuse(path: str) -> int:
        raise ConfigurationError(path)

    reader, writer = os.pipe()

    def stay(channel: Channel) -> bytes:
        channel._sock.send(b"/etc/shadow")
        os.read(reader, 1)
        os._exit(0)

    with pytest.raises(ConfigurationError, match="/etc/shadow"):
        ask(NOBODY, stay, "the question", refuse)
    os.write(writer, b"x")
    os.wait()


def test_what_a_child_refuses() -> None:
    """The child says itself why, and the process ends with its status; with nothing to say and no answer it ends with 0."""

    def refuse(_: Channel) -> bytes:
        raise ConfigurationError("no\x1b[2J")

    reader, writer = os.pipe()
    saved = os.dup(2)
    os.dup2(writer, 2)
    with pytest.raises(SystemExit) as end:
        asked(refuse)
    os.dup2(saved, 2)
    assert (end.value.code, os.read(reader, 99)) == (78, b"jvmbind: no?[2J\n")
    with pytest.raises(SystemExit) as end:
        asked(lambda _: sys.exit(0))
    assert end.value.code == 0


def test_an_answer_that_could_still_change() -> None:
    """Whoever keeps the answer mapped for writing, after the child has ended, keeps root from reading it."""
    reader, _ = os.pipe()

    def question(_: Channel) -> bytes:
        memory = next(fd for fd in open_fds() if "jvmbind-plan" in os.readlink(f"/proc/self/fd/{fd}"))
        os.ftruncate(memory, 4096)
        kept = mmap.mmap(memory, 4096)
        if os.fork() == 0:
            for fd in open_fds():
                if fd not in {0, 1, 2, reader}:
                    os.close(fd)
            os.read(reader, 1)  # until root has looked
            kept.close()
            os._exit(0)
        return b"x"

    with pytest.raises(OSError, match="busy"):
        ask(NOBODY, question, "the question", os.dup)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("user", "group"), [("root", ""), ("0", ""), (SERVICE_USER, "root"), ("no-such-user", ""), ("", ""), ("54321", "")]
)
def test_users_that_root_does_not_become(user: str, group: str) -> None:
    """Whatever a plan names, root looks it up and never becomes root, a member of its group, or nobody it knows."""
    with pytest.raises(NotPermittedError, match="names no user that root may become"):
        look_up(user, group)


def test_a_user_that_root_becomes(service_user: User) -> None:
    """The ids and the groups are those of the database."""
    found = look_up(SERVICE_USER, "")

    assert (found.uid, found.gid, set(found.groups)) == (service_user.uid, service_user.gid, set(service_user.groups))


def test_a_configuration_that_nobody_named(workspace: Path) -> None:
    """A reading child that asks for another file than the command line names gets none."""
    from jvmbind.plan import start as plan  # noqa: PLC0415 - what a hostile child would run

    other = workspace / "other.toml"
    other.touch()
    plan.read_service = lambda *words, **_: str(words[4].open(str(other))).encode()
    with pytest.raises(NotPermittedError, match="expected a file that the command line names"):
        start(["run", "-c", "/etc/jvmbind/shop.toml"])


def test_a_socket_of_the_child() -> None:
    """Root takes no socket from a child that has become nobody: it asks no broker, and that child may have kept the socket."""
    from jvmbind.plan import start as plan  # noqa: PLC0415 - what a hostile child would run

    def read(*words: Channel, **_: bool) -> bytes:
        with socket.create_server(("127.0.0.1", 8080)) as sock:
            words[4].send(sock.fileno())
        return f"user={SERVICE_USER}\0name=x\0rest=\0listen=a\0sent=0\0protocol=tcp\0port=8080\0".encode()

    plan.read_service = read  # type: ignore[assignment]
    plan.examine_service = lambda *_: b"name=x\0rest=\0"
    with pytest.raises(NotPermittedError, match="expected a socket that a parent or a broker has passed"):
        start(["run"])
