"""What the service user may read, asked of the kernel, and whose code root runs. Run in child processes."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jvmbind.config.load import load
from jvmbind.errors import ConfigurationError, JavaLaunchError, NotPermittedError, UsageError
from jvmbind.plan.rights import as_user, check_readable
from jvmbind.posix.fds import open_fds
from jvmbind.spec import UserSpec
from support.users import User

pytestmark = pytest.mark.root


def as_spec(who: User) -> UserSpec:
    """Return a user as the product has it."""
    return UserSpec(who.uid, who.gid, who.groups, who.name, who.home, "/bin/sh")


def ask(who: User, question: Callable[[], None]) -> None:
    """Put a question as the user."""

    def asked() -> str:
        question()
        return ""

    assert as_user(as_spec(who), asked, changes_user=True) == ""


def refusal(who: User, path: Path, mode: int = os.R_OK) -> str:
    """Return why the user cannot have the path, "" where it can."""
    before = open_fds()
    try:
        ask(who, lambda: check_readable(as_spec(who), [("jar", str(path), mode)]))
    except ConfigurationError as error:
        return str(error)
    finally:
        assert open_fds() == before
        assert os.geteuid() == 0
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
    return ""


def test_readable(workspace: Path, service_user: User) -> None:
    """What the user can read or run passes, and neither a process nor a descriptor is left of the question."""
    file = workspace / "a.jar"
    file.touch(mode=0o644)

    assert refusal(service_user, file) == ""
    assert refusal(service_user, Path(sys.executable), os.X_OK) == ""
    assert refusal(service_user, workspace, os.R_OK | os.X_OK) == ""


def test_denied(workspace: Path, service_user: User) -> None:
    """The message names the user, the component that denies it, and the right that is missing."""
    folder = workspace / "private"
    folder.mkdir()
    file = folder / "a.jar"
    file.touch(mode=0o600)
    assert refusal(service_user, file).startswith(f"jar {file}: user {service_user.name} may not read it")
    assert "may not execute it" in refusal(service_user, file, os.X_OK)

    folder.chmod(0o700)
    assert f"user {service_user.name} may not enter {folder}" in refusal(service_user, file)


def test_groups_count(workspace: Path, service_user: User) -> None:
    """A right by a group of the user's is one, by a group of root's it is none."""
    file = workspace / "a.jar"
    file.touch()
    os.chown(file, 0, service_user.gid)
    file.chmod(0o640)
    assert refusal(service_user, file) == ""

    os.chown(file, 0, 0)
    assert "may not read it" in refusal(service_user, file)


def test_missing(workspace: Path, service_user: User) -> None:
    """A missing file, a missing folder and a file in the place of a folder are told apart."""
    (workspace / "file").touch()

    assert "no such file or directory" in refusal(service_user, workspace / "none.jar")
    assert f"no such file or directory: {workspace}/none" in refusal(service_user, workspace / "none" / "a.jar")
    assert f"{workspace}/file is not a directory" in refusal(service_user, workspace / "file" / "a.jar")


def test_links(workspace: Path, service_user: User) -> None:
    """A link counts for what it leads to."""
    hidden = workspace / "hidden"
    hidden.mkdir(mode=0o700)
    (hidden / "a.jar").touch(mode=0o644)
    (workspace / "a.jar").symlink_to(hidden / "a.jar")

    assert refusal(service_user, workspace / "a.jar") != ""


def test_odd_names(workspace: Path, service_user: User) -> None:
    """A name that is not UTF-8 or spans lines comes back whole, on one line."""
    for name in (b"\xff\xfe.jar", b"a\nb.jar"):
        path = Path(os.fsdecode(bytes(workspace) + b"/" + name))
        message = refusal(service_user, path)
        assert "no such file" in message
        assert len(message.splitlines()) == 1


def test_the_caller_itself(workspace: Path, service_user: User) -> None:
    """Where no user is changed the question is put to this process."""
    assert as_user(as_spec(service_user), lambda: str(os.getpid()), changes_user=False) == str(os.getpid())
    with pytest.raises(ConfigurationError, match="no such file"):
        check_readable(as_spec(service_user), [("jar", str(workspace / "none"), os.R_OK)])


def test_who_asks(service_user: User) -> None:
    """The question is asked by another process with the user's ids and groups, and nothing else of it comes back."""
    os.setgroups([0, 4])

    answer = as_user(
        as_spec(service_user),
        lambda: repr((os.getresuid(), os.getresgid(), sorted(os.getgroups()), os.getppid())),
        changes_user=True,
    )

    ids, groups = (service_user.uid,) * 3, (service_user.gid,) * 3
    assert answer == repr((ids, groups, sorted(service_user.groups), os.getpid()))
    assert os.getresuid() == (0, 0, 0)


@pytest.mark.parametrize("size", [0, 1, 1_000_000])
def test_long_answers(service_user: User, size: int) -> None:
    """An answer of any length comes back whole, with characters that are no UTF-8."""
    text = "\udcff\n" * size

    assert as_user(as_spec(service_user), lambda: text, changes_user=True) == text


@pytest.mark.parametrize("kind", [UsageError, ConfigurationError, NotPermittedError, JavaLaunchError])
def test_refusals_come_back(service_user: User, kind: type[UsageError]) -> None:
    """A refusal of the question is raised as what it was, with its notes."""

    def question() -> str:
        error = kind("no")
        error.add_note("a note")
        raise error

    with pytest.raises(kind, match="no") as refused:
        as_user(as_spec(service_user), question, changes_user=True)
    assert refused.value.__notes__ == ["a note"]


@pytest.mark.parametrize("end", ["exception", "exit", "signal"])
def test_a_question_that_dies(service_user: User, end: str) -> None:
    """A question that ends in another way is a refusal: no answer is never taken for a good one."""

    def question() -> str:
        if end == "exit":
            os._exit(0)
        if end == "signal":
            os.kill(os.getpid(), signal.SIGKILL)
        os.close(2)  # no traceback of this test's own
        raise ZeroDivisionError

    with pytest.raises(NotPermittedError, match=f"what user {service_user.name} may read"):
        as_user(as_spec(service_user), question, changes_user=True)


PROGRAM = """
import sys
if sys.argv[1]:
    sys.path.insert(0, sys.argv[1])
    import planted
if sys.argv[2]:
    sys.path.append(sys.argv[2])
from jvmbind.errors import JvmbindError
from jvmbind.root.owned import check_own_code
try:
    check_own_code()
except JvmbindError as error:
    print(error)
    sys.exit(error.status)
"""


def own_code(folder: Path | str = "", *, also: Path | str = "", isolated: bool = True) -> tuple[int, str]:
    """Run the check in a program that has loaded a module from `folder` and may from `also`; return its status and words."""
    option = ["-I"] if isolated else ["-E"]
    arguments = [str(folder), str(also)]
    command = [sys.executable, *option, "-B", "-c", PROGRAM, *arguments]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return ended.returncode, ended.stdout


@pytest.fixture
def planted(workspace: Path) -> Path:
    """A module in a folder of its own that only root may write."""
    folder = workspace / "code"
    folder.mkdir()
    (folder / "planted.py").touch(mode=0o644)
    return folder


def test_own_code(planted: Path) -> None:
    """Code that root alone may write passes, the installed package and interpreter included."""
    assert own_code() == (0, "")
    # The workspace is below the folder for temporary files, which is sticky.
    assert own_code(planted) == (0, "")


@pytest.mark.parametrize("place", ["file", "folder"])
@pytest.mark.parametrize("who", ["owner", "group", "supplementary group", "others"])
def test_code_of_others(planted: Path, service_user: User, place: str, who: str) -> None:
    """Code that another user owns or may write, or that lies in such a folder, is refused by its path."""
    path = planted / "planted.py" if place == "file" else planted
    mode = 0o644 if place == "file" else 0o755
    if who == "owner":
        os.chown(path, service_user.uid, 0)
    elif who == "group":
        os.chown(path, 0, service_user.gid)
        path.chmod(mode | 0o020)
    elif who == "supplementary group":
        os.chown(path, 0, 777)
        path.chmod(mode | 0o020)
    else:
        path.chmod(mode | 0o002)

    status, words = own_code(planted)

    assert status == 77
    assert f"root would run code that others may change: {path} belongs to uid" in words


def test_group_that_the_user_is_not_in(planted: Path) -> None:
    """10.4: nor may a group that the service user is not in: whoever is in it is not root."""
    os.chown(planted / "planted.py", 0, 778)
    (planted / "planted.py").chmod(0o664)

    status, words = own_code(planted)

    assert status == 77
    assert f"{planted / 'planted.py'} belongs to uid 0" in words


def grant(path: Path, who: User, right: int) -> None:
    """Give a single user a right by an access list, acl(5) as the kernel keeps it."""
    execute = 1 if path.is_dir() else 0
    # ACL_USER_OBJ, ACL_USER, ACL_GROUP_OBJ, ACL_MASK, ACL_OTHER
    entries = [(1, 6, -1), (2, right, who.uid), (4, 4, -1), (16, right, -1), (32, 4, -1)]
    packed = b"".join(struct.pack("<HHi", tag, bits | execute, holder) for tag, bits, holder in entries)
    os.setxattr(path, "system.posix_acl_access", struct.pack("<I", 2) + packed)


@pytest.mark.parametrize("place", ["file", "folder"])
def test_access_list(planted: Path, service_user: User, place: str) -> None:
    """10.4: an access list that lets a single user write is found, on the file and on a directory on the way."""
    path = planted / "planted.py" if place == "file" else planted

    grant(path, service_user, 6)
    status, words = own_code(planted)

    assert status == 77
    assert f"{path} belongs to uid 0" in words
    grant(path, service_user, 4)
    assert own_code(planted) == (0, "")


@pytest.mark.parametrize("place", ["file", "folder"])
def test_configuration_with_an_access_list(workspace: Path, service_user: User, place: str) -> None:
    """10.4: a configuration that an access list lets a single user write, itself or its folder, is not read by root."""
    folder = workspace / "etc"
    folder.mkdir()
    config = folder / "service.toml"
    config.write_text("listen = ['80']\n[java]\njar = '/x.jar'\n")
    path = config if place == "file" else folder

    grant(path, service_user, 4)
    load(str(config))
    grant(path, service_user, 6)
    with pytest.raises(NotPermittedError, match=f"{path} belongs to uid 0"):
        load(str(config))


def test_a_directory_of_the_search_path(planted: Path, service_user: User) -> None:
    """10.4: a directory in which Python looks for what it imports next belongs to the code, though nothing is loaded from it."""
    (planted / "later").mkdir()
    os.chown(planted / "later", service_user.uid, 0)

    status, words = own_code(planted, also=planted / "later")

    assert status == 77
    assert f"{planted / 'later'} belongs to uid {service_user.uid}" in words


def test_interpreter_that_is_not_isolated() -> None:
    """An interpreter whose search path others decide is refused."""
    status, words = own_code(isolated=False)

    assert status == 71
    assert "python -I" in words
