"""What `su`, `runuser` and `sudo` are asked for, as util-linux and sudo read their command lines. Pure."""

from __future__ import annotations

import os
import pwd

import pytest

from jvmbind.worker import same_user
from jvmbind.worker.same_user import Asked

ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("su me -c cmd", Asked("me", ("-c", "cmd"), "")),
        ("su -c cmd me", Asked("me", ("-c", "cmd"), "")),
        ("su - me -c cmd", Asked("me", ("-c", "cmd"), "", login=True)),
        ("su -l me -s /bin/sh -c cmd", Asked("me", ("-c", "cmd"), "/bin/sh", login=True)),
        ("su -s /bin/bash -c cmd - me", Asked("me", ("-c", "cmd"), "/bin/bash", login=True)),
        ("su --shell=/bin/sh me script one", Asked("me", ("script", "one"), "/bin/sh")),
        ("su -p me --command cmd", Asked("me", ("-c", "cmd"), "", preserve=True)),
        ("su me -- -x one", Asked("me", ("-x", "one"), "")),
        ("su", Asked("root", (), "")),
        ("su -g staff me", Asked("me", (), "", ("staff",))),
        ("runuser -u me -- cmd -l one", Asked("me", ("cmd", "-l", "one"))),
        ("runuser -u me cmd -l one", Asked("me", ("cmd", "-l", "one"))),
        ("runuser me -c cmd", Asked("me", ("-c", "cmd"), "")),
        ("runuser -l me -c cmd", Asked("me", ("-c", "cmd"), "", login=True)),
        ("sudo -u me cmd -u other", Asked("me", ("cmd", "-u", "other"), preserve=True)),
        ("sudo -nEHu me A=b cmd", Asked("me", ("cmd",), preserve=True, variables=("A=b",))),
        ("sudo --preserve-env=A,B --user=me -- cmd", Asked("me", ("cmd",), preserve=True)),
        ("sudo -iu me cmd one", Asked("me", ("-c", "cmd one"), "", login=True, preserve=True)),
        (
            "sudo -b -D /srv -g staff -u me cmd",
            Asked("me", ("cmd",), None, ("staff",), preserve=True, background=True, folder="/srv"),
        ),
        ("sudo cmd", Asked("root", ("cmd",), preserve=True)),
    ],
)
def test_read(words: str, expected: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each form of the three command lines names the user and the command that the real one would run."""
    monkeypatch.delenv("SHELL", raising=False)
    name, *rest = words.split()
    assert same_user.read(name, rest) == expected


@pytest.mark.parametrize("words", ["su --version", "sudo -l", "sudo -u me", "sudo -v", "runuser -u me", "su --nonsense me"])
def test_not_ours(words: str) -> None:
    """Questions about the program itself, and what cannot be understood, go to the real one."""
    name, *rest = words.split()
    with pytest.raises(same_user.NotOursError):
        same_user.read(name, rest)


def test_refusal() -> None:
    """The own user passes by name and by number; another one, an unknown one and a foreign group are refused with a reason."""
    assert same_user.refusal("su", Asked(ME, ())) == ""
    assert same_user.refusal("sudo", Asked(f"#{os.getuid()}", ())) == ""
    other = next(entry.pw_name for entry in pwd.getpwall() if entry.pw_uid != os.getuid())
    assert f"--user {other}" in same_user.refusal("su", Asked(other, ()))
    assert "no user nobody-at-all" in same_user.refusal("su", Asked("nobody-at-all", ()))
    assert "without group #4000000" in same_user.refusal("su", Asked(ME, (), groups=("#4000000",)))


def test_a_login_keeps_the_way_to_java() -> None:
    """A login clears the environment and reads the profile, and still finds the Java that wrap shows."""
    asked = Asked(ME, ("-c", "cmd"), "/bin/sh", login=True)
    command, environ = same_user.command_of(asked, {"A": "b", "JVMBIND_WRAP": "x"}, "/home of/java")
    assert command[:3] == ["/bin/sh", "-l", "-c"]
    assert "JAVA_HOME='/home of/java'" in command[3]
    assert "PATH='/home of/java/shims:/home of/java/bin:'\"$PATH\"" in command[3]
    assert command[4:] == ["/bin/sh", "/bin/sh", "-c", "cmd"]
    assert "A" not in environ
    assert environ["JVMBIND_WRAP"] == "x"
    assert environ["HOME"] == pwd.getpwuid(os.getuid()).pw_dir
