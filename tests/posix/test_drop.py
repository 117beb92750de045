"""The drop in a process of its own: what is left is nothing, and each doubt is a refusal. Run in child processes."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import prctl
import pytest

from jvmbind.errors import NotPermittedError
from jvmbind.root.drop import CAP_NET_BIND_SERVICE, credentials, drop_permanently, effective_capabilities, prove_dropped
from support.procfs import assert_dropped
from support.users import SERVICE_USER, User, user

pytestmark = pytest.mark.root

LIBC = ctypes.CDLL(None, use_errno=True)
WHO = user(SERVICE_USER)
CAPABILITIES = {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}


def drop() -> None:
    """Drop to the service user."""
    drop_permanently(WHO.uid, WHO.gid, WHO.groups)


def test_nothing_is_left(service_user: User) -> None:
    """Ids, groups, all five capability sets and no_new_privs are as they should be, and no attempt brings anything back."""
    assert effective_capabilities() != 0

    drop()

    assert assert_dropped(os.getpid(), uid=service_user.uid, gid=service_user.gid, groups=service_user.groups) == 1
    for attempt in (
        lambda: os.setuid(0),
        lambda: os.seteuid(0),
        lambda: os.setreuid(0, 0),
        lambda: os.setresuid(0, 0, 0),
        lambda: os.setgid(0),
        lambda: os.setegid(0),
        lambda: os.setgroups([0]),
        lambda: os.chroot("/"),
        lambda: os.open("/etc/shadow", os.O_RDONLY),
        lambda: os.kill(1, 0),
    ):
        with pytest.raises(PermissionError):
            attempt()
    # A set-user-id program gains nothing either.
    gained = subprocess.run(["/bin/su", "-c", "id", "root"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert gained.returncode != 0
    assert b"uid=0" not in gained.stdout


def test_what_is_started_has_nothing() -> None:
    """A program started after the drop has no privilege and no way to one."""
    drop()

    text = Path("/proc/self/status").read_text()
    child = subprocess.run(["cat", "/proc/self/status"], stdout=subprocess.PIPE, text=True, check=True).stdout
    for lines in (text, child):
        fields = dict(line.split(":\t", 1) for line in lines.splitlines() if ":\t" in line)
        assert {int(fields[name], 16) for name in CAPABILITIES} == {0}
        assert fields["NoNewPrivs"] == "1"
        assert fields["Uid"].split() == [str(WHO.uid)] * 4


@pytest.mark.parametrize("wanted", [(), (WHO.gid,), (WHO.gid, 4242), (1, 2, 3)])
def test_supplementary_groups_are_exactly_those_asked_for(wanted: tuple[int, ...]) -> None:
    """Groups of the starter are gone (gunicorn once kept them), and those of the user are there."""
    os.setgroups([0, 4, 42, 1000, 31337])

    drop_permanently(WHO.uid, WHO.gid, wanted)

    assert set(os.getgroups()) == set(wanted)
    (thread,) = credentials()
    assert set(thread.groups) == set(wanted)


def test_one_capability_can_be_kept() -> None:
    """What is asked to be kept is all that is left: a low port can be bound, and nothing else of root's can be done."""
    drop_permanently(WHO.uid, WHO.gid, WHO.groups, 1 << CAP_NET_BIND_SERVICE)

    (thread,) = credentials()
    kept = 1 << CAP_NET_BIND_SERVICE
    assert thread.capabilities == {"CapInh": 0, "CapPrm": kept, "CapEff": kept, "CapBnd": kept, "CapAmb": 0}
    assert thread.no_new_privs
    with socket.socket() as made:
        made.bind(("127.0.0.1", 80))
    attempts: list[Callable[[], None]] = [lambda: os.setuid(0), lambda: os.chroot("/"), lambda: os.kill(1, 0)]
    for attempt in attempts:
        with pytest.raises(PermissionError):
            attempt()
    child = subprocess.run(["cat", "/proc/self/status"], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert "CapEff:\t0000000000000000" in child


def test_a_capability_too_many_is_found() -> None:
    """The proof refuses a process that has more than what is to be kept."""
    drop_permanently(WHO.uid, WHO.gid, WHO.groups, 1 << CAP_NET_BIND_SERVICE)

    prove_dropped(WHO.uid, WHO.gid, WHO.groups, keep=1 << CAP_NET_BIND_SERVICE)
    with pytest.raises(NotPermittedError, match="has CapPrm 0x400"):
        prove_dropped(WHO.uid, WHO.gid, WHO.groups)


def test_ids_without_a_name() -> None:
    """Numbers that no account has will do."""
    drop_permanently(54321, 54322, (54322,))

    assert_dropped(os.getpid(), uid=54321, gid=54322, groups=(54322,))


def test_two_threads_are_refused() -> None:
    """With a second thread, whose credentials would stay, nothing is changed and the drop is refused."""
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        with pytest.raises(NotPermittedError, match="2 threads are running"):
            drop()
    finally:
        end.set()
        thread.join()
    assert os.geteuid() == 0
    assert effective_capabilities() != 0
    # The thread has ended for Python a moment before it has for the kernel.
    while len(os.listdir("/proc/self/task")) > 1:
        pass
    drop()


def test_root_is_no_user_to_drop_to() -> None:
    """A drop to uid 0 is refused though every call succeeds."""
    with pytest.raises(NotPermittedError, match="the user is root"):
        drop_permanently(0, WHO.gid, ())


@pytest.mark.parametrize("call", ["setgroups", "setresgid", "setresuid"])
def test_a_step_that_fails(call: str) -> None:
    """A step that the kernel refuses is a refusal of the whole, with status 77."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    setattr(os, call, refuse)
    with pytest.raises(NotPermittedError, match=f"drop to uid {WHO.uid}, gid {WHO.gid}: .*not permitted") as refusal:
        drop()
    assert refusal.value.status == 77


@pytest.mark.parametrize("call", ["setgroups", "setresgid", "setresuid"])
def test_a_step_that_does_nothing(call: str) -> None:
    """A step that claims success and did nothing is found by the proof."""
    os.setgroups([0, 4])
    setattr(os, call, lambda *_: None)

    with pytest.raises(NotPermittedError, match="is not proven"):
        drop()


def dropped_by_hand(*, saved_uid: int | None = None, groups: tuple[int, ...] = WHO.groups) -> None:
    """Drop without the product's code, completely but for what is asked to be left."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for capability in range(last + 1):
        LIBC.prctl(24, capability, 0, 0, 0)
    os.setgroups(groups)
    os.setresgid(WHO.gid, WHO.gid, WHO.gid)
    os.setresuid(WHO.uid, WHO.uid, WHO.uid if saved_uid is None else saved_uid)


def test_the_proof_accepts_a_complete_drop() -> None:
    """The proof of these tests has nothing against a drop that is complete."""
    dropped_by_hand()
    prctl.set_no_new_privs(1)

    prove_dropped(WHO.uid, WHO.gid, WHO.groups)


def test_the_proof_finds_a_saved_uid() -> None:
    """A saved user id of root is found, and that it can be taken back."""
    dropped_by_hand(saved_uid=0)
    prctl.set_no_new_privs(1)

    with pytest.raises(NotPermittedError, match="uids") as refusal:
        prove_dropped(WHO.uid, WHO.gid, WHO.groups)
    assert "seteuid(0) succeeded" in str(refusal.value)


def test_the_proof_finds_a_group() -> None:
    """A supplementary group too many is found."""
    dropped_by_hand(groups=(*WHO.groups, 0))
    prctl.set_no_new_privs(1)

    with pytest.raises(NotPermittedError, match="has groups"):
        prove_dropped(WHO.uid, WHO.gid, WHO.groups)


def test_the_proof_finds_missing_no_new_privs() -> None:
    """A process that could gain privileges by exec is found."""
    dropped_by_hand()

    with pytest.raises(NotPermittedError, match="lacks no_new_privs"):
        prove_dropped(WHO.uid, WHO.gid, WHO.groups)


def test_the_proof_finds_capabilities() -> None:
    """Capabilities kept over the change of user (PR_SET_KEEPCAPS) are found."""
    prctl.set_keepcaps(True)
    dropped_by_hand()
    prctl.set_no_new_privs(1)

    with pytest.raises(NotPermittedError, match="has CapPrm"):
        prove_dropped(WHO.uid, WHO.gid, WHO.groups)


def test_the_proof_finds_the_bounding_set() -> None:
    """A bounding set that is left counts where it could have been emptied, and only there."""
    os.setgroups(WHO.groups)
    os.setresgid(WHO.gid, WHO.gid, WHO.gid)
    os.setresuid(WHO.uid, WHO.uid, WHO.uid)
    prctl.set_no_new_privs(1)

    with pytest.raises(NotPermittedError, match="has CapBnd"):
        prove_dropped(WHO.uid, WHO.gid, WHO.groups)
    prove_dropped(WHO.uid, WHO.gid, WHO.groups, empty_bounding_set=False)


def test_the_proof_finds_another_thread() -> None:
    """A thread that kept root's ids is found: the kernel keeps credentials per thread."""
    up, end = threading.Event(), threading.Event()

    def stay() -> None:
        up.set()
        end.wait()

    threading.Thread(target=stay, daemon=True).start()
    up.wait()
    # The bare system calls, as glibc's functions change all threads.
    machine = os.uname().machine
    setresgid, setresuid = (119, 117) if machine == "x86_64" else (149, 147)
    LIBC.syscall(setresgid, WHO.gid, WHO.gid, WHO.gid)
    LIBC.syscall(setresuid, WHO.uid, WHO.uid, WHO.uid)
    assert os.getuid() == WHO.uid

    with pytest.raises(NotPermittedError, match=r"thread \d+ has uids \(0, 0, 0, 0\)"):
        prove_dropped(WHO.uid, WHO.gid, WHO.groups)


PROGRAM = """
import os, sys
from jvmbind.errors import JvmbindError
from jvmbind.root.drop import credentials, drop_permanently, effective_capabilities
print(hex(effective_capabilities()))
try:
    drop_permanently(int(sys.argv[1]), int(sys.argv[2]), tuple(os.getgroups()))
except JvmbindError as error:
    print(error)
    sys.exit(error.status)
(thread,) = credentials()
print({name: bits for name, bits in thread.capabilities.items() if name != "CapBnd" and bits}, thread.no_new_privs)
"""


def without_root(*options: str, uid: int = WHO.uid) -> subprocess.CompletedProcess[str]:
    """Run the drop in a process that an ordinary user starts, to the ids given."""
    head = ["setpriv", f"--reuid={WHO.uid}", f"--regid={WHO.gid}", "--init-groups", *options]
    command = [*head, sys.executable, "-I", "-c", PROGRAM, str(uid), str(WHO.gid)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_only_the_one_capability() -> None:
    """Started with nothing but CAP_NET_BIND_SERVICE (ambient), that is cleared from every set."""
    ended = without_root("--inh-caps=-all,+net_bind_service", "--ambient-caps=-all,+net_bind_service")

    assert ended.returncode == 0, ended
    assert ended.stdout.splitlines() == [hex(1 << 10), "{} True"]


def test_no_privilege_at_all() -> None:
    """A start without any privilege gets no_new_privs and passes the proof."""
    ended = without_root()

    assert ended.returncode == 0, ended
    assert ended.stdout.splitlines() == ["0x0", "{} True"]


def test_another_user_without_root() -> None:
    """Without root the ids must be one's own already."""
    ended = without_root(uid=54321)

    assert ended.returncode == 77, ended
    assert "is not proven" in ended.stdout
