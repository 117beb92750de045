"""The command line of `jvmbind run`: what it asks for, and that nothing but a UsageError comes of a wrong one."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jvmbind.errors import JvmbindError, UsageError
from jvmbind.plan.options import read_request
from jvmbind.spec import RESTART_POLICIES, parse_listen


def test_the_least() -> None:
    """Java's arguments alone ask for no listener and the caller's own identity, with the documented defaults."""
    request = read_request(["--", "-jar", "a.jar"])

    assert request.java_arguments == ("-jar", "a.jar")
    assert request.listeners == ()
    assert request.user is None
    assert (request.template.restart, request.template.direct) == ("on-failure", False)


def test_everything() -> None:
    """Each option arrives where it belongs."""
    options = (
        "-l 80 --listen dns=53/udp -u shop:web -n my-shop --direct --inherit dns --strict-binds --java-home /j --restart always"
    )
    more = ["--start-timeout", "5", "--stop-timeout", "0.5", "-e", "A", "-e", "B=1", "--preserve-env", "-q"]

    request = read_request([*options.split(), *more, "--", "Main", "--", "-l", "81"])

    assert request.listeners == (parse_listen("80"), parse_listen("dns=53/udp"))
    assert (request.user, request.name, request.java_home) == ("shop:web", "my-shop", "/j")
    assert (request.environ, request.preserve_environ) == (("A", "B=1"), True)
    assert request.java_arguments == ("Main", "--", "-l", "81")
    template = request.template
    assert (template.direct, template.inherit, template.strict_binds, template.quiet) == (True, "dns", True, True)
    assert (template.restart, template.start_timeout, template.stop_timeout) == ("always", 5.0, 0.5)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "no JAVA-ARGUMENTS"),
        (["-l", "80"], "no JAVA-ARGUMENTS"),
        (["Main"], "no service 'Main': there is no /etc/jvmbind/Main.toml; expected"),
        (["-c", "a.toml", "b"], "'b' and --config 'a.toml' both say what is to be run"),
        (["--"], "nothing after '--'"),
        (["-l", "80", "--"], "nothing after '--'"),
        (["-l", "--", "Main"], "expected one argument"),
        (["-l", "http", "--", "Main"], "a port from 1 to 65535"),
        (["--lis", "80", "--", "Main"], "unrecognized arguments: --lis"),
        (["Main", "--", "Main"], "no service 'Main'"),
        (["-Xmx5m", "--", "Main"], "-Xmx5m; options of the JVM stand behind --, or in java.options of the file (jvmbind run"),
        (["--restart", "sometimes", "--", "Main"], "expected one of"),
        (["--stop-timeout", "soon", "--", "Main"], "expected seconds"),
        (["--stop-timeout", "0", "--", "Main"], "expected seconds"),
        (["--stop-timeout", "-1", "--", "Main"], "expected"),
        (["--stop-timeout", "nan", "--", "Main"], "expected seconds"),
        (["--stop-timeout", "inf", "--", "Main"], "expected seconds"),
        (["--start-timeout", "86401", "--", "Main"], "expected seconds"),
        (["-n", "", "--", "Main"], "--name"),
        (["-n", "a/b", "--", "Main"], "--name"),
        (["-n", "a b", "--", "Main"], "--name"),
        (["-n", "..", "--", "Main"], "--name"),
        (["-n", "x" * 65, "--", "Main"], "--name"),
        (["--direct=yes", "--", "Main"], "--direct"),
    ],
)
def test_wrong_usage(argv: list[str], words: str) -> None:
    """Wrong usage is a UsageError of one line that names the trouble."""
    with pytest.raises(UsageError) as refusal:
        read_request(argv)

    assert words in str(refusal.value)
    assert len(refusal.value.args[0].splitlines()) == 1


def test_restart_policies_are_all_known() -> None:
    """Each restart policy of the specification can be asked for."""
    for policy in RESTART_POLICIES:
        assert read_request(["--restart", policy, "--", "Main"]).template.restart == policy


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """--help names every option and ends with status 0."""
    with pytest.raises(SystemExit) as end:
        read_request(["--help"])

    assert not end.value.code
    text = capsys.readouterr().out
    assert all(option in text for option in ("--listen", "--user", "--direct", "--restart", "--stop-timeout", "--strict-binds"))


WORDS = st.sampled_from(
    [
        "-l",
        "--listen",
        "-u",
        "-n",
        "--direct",
        "--inherit",
        "--strict-binds",
        "--restart",
        "--stop-timeout",
        "-e",
        "-q",
        "--",
        "80",
        "always",
        "5",
        "Main",
        "-x",
        "--listen=80",
        "-l80",
        "-qq",
        "--=",
        "-",
        "-jar",
        "�",
        "@file",
        "--user=",
    ]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(WORDS, st.text(max_size=10)), max_size=8))
def test_any_command_line(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    """Any list of words is a request or a JvmbindError, and nothing is printed but a help text that was asked for."""
    status: object = 0
    try:
        read_request(argv)
    except JvmbindError as error:
        status = error.status
    except SystemExit as end:
        status = end.code or 0
        assert any(word.startswith("-") and "h" in word for word in argv)
        assert capsys.readouterr().out.startswith("usage: ")
    assert status in {0, 64, 77, 78}
    captured = capsys.readouterr()
    assert captured.err == ""
