"""Who a service runs as, and the environment that is left to it."""

from __future__ import annotations

import os
import pwd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jvmbind.errors import ConfigurationError, JvmbindError, NotPermittedError, UsageError
from jvmbind.posix.user import DEFAULT_PATH, resolve_user, service_environment
from jvmbind.spec import UserSpec
from support.users import SERVICE_USER, UNNAMED_ID, user

SERVICE = user(SERVICE_USER)
OTHER = user("daemon")


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the code see root as the caller, whoever runs the tests."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "getegid", lambda: 0)
    monkeypatch.setattr(os, "getgroups", lambda: [0])


@pytest.fixture
def as_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the code see the service user as the caller."""
    monkeypatch.setattr(os, "geteuid", lambda: SERVICE.uid)
    monkeypatch.setattr(os, "getegid", lambda: SERVICE.gid)
    monkeypatch.setattr(os, "getgroups", lambda: [SERVICE.gid, 4242])


ENTRY = pwd.getpwnam(SERVICE_USER)


def others(gid: int) -> set[int]:
    """Return the service user's groups with another one in the place of its first."""
    return {gid, *SERVICE.groups} - {SERVICE.gid}


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SERVICE_USER, (SERVICE.uid, SERVICE.gid, {*SERVICE.groups}, SERVICE_USER, ENTRY.pw_dir)),
        (str(SERVICE.uid), (SERVICE.uid, SERVICE.gid, {*SERVICE.groups}, SERVICE_USER, ENTRY.pw_dir)),
        (f"{SERVICE_USER}:daemon", (SERVICE.uid, OTHER.gid, others(OTHER.gid), SERVICE_USER, ENTRY.pw_dir)),
        (f"{SERVICE.uid}:{OTHER.gid}", (SERVICE.uid, OTHER.gid, others(OTHER.gid), SERVICE_USER, ENTRY.pw_dir)),
        (f"{SERVICE_USER}:{UNNAMED_ID}", (SERVICE.uid, UNNAMED_ID, others(UNNAMED_ID), SERVICE_USER, ENTRY.pw_dir)),
        (f"{UNNAMED_ID}:daemon", (UNNAMED_ID, OTHER.gid, {OTHER.gid}, str(UNNAMED_ID), "/")),
        (f"{UNNAMED_ID}:{UNNAMED_ID}", (UNNAMED_ID, UNNAMED_ID, {UNNAMED_ID}, str(UNNAMED_ID), "/")),
    ],
)  # fmt: skip
def test_forms_of_a_user(text: str, expected: tuple[int, int, set[int], str, str]) -> None:
    """Name, number, and either with a group give these ids, groups, name and home."""
    found = resolve_user(text)

    assert (found.uid, found.gid, set(found.groups), found.name, found.home) == expected


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        (None, UsageError, "--user"),
        ("", UsageError, "expected USER"),
        (":", UsageError, "expected USER"),
        ("www-data:", UsageError, "expected USER"),
        ("a:b:c", UsageError, "expected USER"),
        ("root", ConfigurationError, "that is root"),
        ("0", ConfigurationError, "that is root"),
        ("0000", ConfigurationError, "that is root"),
        ("root:daemon", ConfigurationError, "that is root"),
        (":daemon", ConfigurationError, "that is root"),
        ("www-data:root", ConfigurationError, "group 0"),
        ("www-data:0", ConfigurationError, "group 0"),
        ("no-such-user", ConfigurationError, "no user 'no-such-user'"),
        ("www-data:no-such-group", ConfigurationError, "no group 'no-such-group'"),
        (str(UNNAMED_ID), ConfigurationError, f"--user {UNNAMED_ID}:GROUP"),
        # (uid_t) -1 leaves an id unchanged: setresuid(2)
        ("4294967295:daemon", ConfigurationError, "no user '4294967295'"),
        ("www-data:4294967295", ConfigurationError, "no group '4294967295'"),
        ("4294967296:daemon", ConfigurationError, "no user '4294967296'"),
        ("99999999999:daemon", ConfigurationError, "no user '99999999999'"),
        ("-1:daemon", ConfigurationError, "no user '-1'"),
        ("\u0663:daemon", ConfigurationError, "no user"),
    ],
)
def test_refused_users(text: str | None, error: type[JvmbindError], words: str) -> None:
    """Root in any spelling, unknown names, and numbers that the kernel would take as "unchanged" are refused."""
    with pytest.raises(error) as refusal:
        resolve_user(text)

    assert words in str(refusal.value)


@pytest.mark.usefixtures("as_service")
@pytest.mark.parametrize("text", [None, SERVICE_USER, str(SERVICE.uid), f"{SERVICE_USER}:{SERVICE_USER}", f":{SERVICE_USER}"])
def test_the_caller_itself(text: str | None) -> None:
    """Without root the caller may name itself, and keeps its own groups, which it cannot change."""
    found = resolve_user(text)

    assert (found.uid, found.gid, found.groups) == (SERVICE.uid, SERVICE.gid, (SERVICE.gid, 4242))


@pytest.mark.usefixtures("as_service")
@pytest.mark.parametrize("text", ["daemon", f"{SERVICE_USER}:daemon", ":daemon", f"{UNNAMED_ID}:{UNNAMED_ID}"])
def test_somebody_else_without_root(text: str) -> None:
    """Without root another user or group is refused with status 77 before anything is done."""
    with pytest.raises(NotPermittedError, match="only root can become another user"):
        resolve_user(text)


@given(st.text(max_size=30))
def test_any_user_text(text: str) -> None:
    """Any text is a user or an error of one line."""
    message = ""
    try:
        resolve_user(text)
    except JvmbindError as error:
        message = str(error)
    assert len(message.splitlines()) <= 1


USER = UserSpec(1234, 1234, (1234,), "shop", "/srv/shop", "/bin/sh")
NEVER = ("LD_", "PYTHON", "LISTEN_", "JVMBIND_", "SUDO_", "GCONV_PATH", "GLIBC_TUNABLES")
VARIABLES = st.one_of(
    st.builds(lambda prefix, rest: prefix + rest, st.sampled_from(NEVER), st.text("ABCDEFGHIJ_", max_size=10)),
    st.sampled_from(
        [
            "PATH",
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
            "LD_AUDIT",
            "PYTHONPATH",
            "LISTEN_FDS",
            "LISTEN_PID",
            "HOME",
            "USER",
            "SHELL",
            "LOGNAME",
            "LANG",
            "LC_ALL",
            "JAVA_HOME",
            "JAVA_TOOL_OPTIONS",
            "AWS_SECRET_ACCESS_KEY",
            "NOTIFY_SOCKET",
            "TZ",
        ]
    ),
    st.text("ABCXYZ_", min_size=1, max_size=8),
)
ENVIRONMENTS = st.dictionaries(VARIABLES, st.text("abc/:", max_size=5), max_size=12)


@given(ENVIRONMENTS, st.booleans())
def test_nothing_that_steers_the_loader_or_the_interpreter(caller: dict[str, str], preserve: bool) -> None:
    """For another user no LD_*, PYTHON*, LISTEN_* or SUDO_* of root's ever passes, not even with --preserve-env."""
    found = service_environment(caller, USER, changes_user=True, preserve=preserve)

    assert not [name for name in found if name.startswith(NEVER)]
    assert (found["HOME"], found["USER"], found["LOGNAME"], found["SHELL"]) == ("/srv/shop", "shop", "shop", "/bin/sh")
    if preserve:
        own = {"HOME", "USER", "LOGNAME", "SHELL"}
        rest = {name: value for name, value in caller.items() if name not in own and not name.startswith((*NEVER, "MALLOC_"))}
        assert rest.items() <= found.items()


@given(ENVIRONMENTS)
def test_environment_is_rebuilt(caller: dict[str, str]) -> None:
    """Without being asked, another user gets a short list of harmless variables and nothing else of the caller's."""
    found = service_environment(caller, USER, changes_user=True)

    harmless = {"PATH", "LANG", "LANGUAGE", "TZ", "TERM", "COLUMNS", "LINES", "JAVA_HOME", "CLASSPATH", "JDK_JAVA_OPTIONS"}
    harmless |= {"JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JOURNAL_STREAM", "INVOCATION_ID", "HOME", "USER", "LOGNAME", "SHELL"}
    assert all(name in harmless or name.startswith("LC_") for name in found)
    assert found["PATH"] == caller.get("PATH", DEFAULT_PATH)


@given(ENVIRONMENTS)
def test_the_callers_own_environment(caller: dict[str, str]) -> None:
    """A service of the caller itself keeps all of its environment but what announces descriptors to this process."""
    found = service_environment(caller, USER, changes_user=False)

    assert found == {name: value for name, value in caller.items() if not name.startswith(("LISTEN_", "JVMBIND_"))}


def test_asked_for() -> None:
    """--env NAME takes the caller's value where there is one, --env NAME=VALUE sets it, an empty value included."""
    found = service_environment({"A": "1", "B": "2"}, USER, ["A", "C=3", "D=", "E", "F=g=h"], changes_user=True)

    assert {name: found.get(name) for name in "ABCDEF"} == {"A": "1", "B": None, "C": "3", "D": "", "E": None, "F": "g=h"}


@pytest.mark.parametrize("item", ["", "=", "=x", "A\0B=1", "A=\0"])
def test_variables_that_cannot_be(item: str) -> None:
    """A variable without a name, or with a NUL, is wrong usage."""
    with pytest.raises(UsageError, match="expected NAME or NAME=VALUE"):
        service_environment({}, USER, [item], changes_user=True)


def test_user_without_a_shell() -> None:
    """A user without a shell in the database has SHELL=/usr/sbin/nologin."""
    assert service_environment({}, USER._replace(shell=""), changes_user=True)["SHELL"] == "/usr/sbin/nologin"
