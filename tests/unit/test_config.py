"""The configuration: each key, each kind of mistake, and that file, command line and keyword arguments say the same.

Run by pytest, as anybody; pure but for files in a folder of its own.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jvmbind.config import load
from jvmbind.config.request import UNLIMITED, Limit, Request
from jvmbind.config.schema import FIELDS, TABLES, build, read_document
from jvmbind.errors import EX_CONFIG, EX_NOPERM, ConfigurationError, JvmbindError, NotPermittedError
from jvmbind.plan.options import OPTIONS, read_request
from jvmbind.spec import ListenSpec, ServiceSpec

RUNS = '[java]\njar = "/srv/shop.jar"\n'

# One key in the file, the same on the command line, and the field that both must fill.
SAME: dict[str, tuple[str, list[str], str, object]] = {
    "name": ('name = "shop"', ["-n", "shop"], "name", "shop"),
    "user": ('user = "shop:web"', ["-u", "shop:web"], "user", "shop:web"),
    "listen": ('[listen]\nhttp = "80"', ["-l", "http=80"], "listeners", (ListenSpec("http", "tcp", None, 80, 80),)),
    "inherit": ('inherit = "http"', ["--inherit", "http"], ".inherit", "http"),
    "direct": ("direct = true", ["--direct"], ".direct", True),
    "quiet": ("quiet = true", ["-q"], ".quiet", True),
    "log_format": ('log_format = "json"', ["--log-format", "json"], ".log_format", "json"),
    "verbose": ("verbose = true", ["-v"], "verbose", True),
    "env": ('env = ["A=1", "TZ"]', ["-e", "A=1", "-e", "TZ"], "environ", ("A=1", "TZ")),
    "preserve_env": ("preserve_env = true", ["--preserve-env"], "preserve_environ", True),
    "java.home": ('[java]\nhome = "/jdk"', ["--java-home", "/jdk"], "java_home", "/jdk"),
    "supervise.ready": ('[supervise]\nready = "listen"', ["--ready", "listen"], ".ready", "listen"),
    "supervise.ready_status": (
        '[supervise]\nready = "http://localhost/"\nready_status = 204',
        ["--ready", "http://localhost/", "--ready-status", "204"],
        ".ready_status",
        204,
    ),
    "supervise.start_timeout": ("[supervise]\nstart_timeout = 7", ["--start-timeout", "7"], ".start_timeout", 7.0),
    "supervise.stop_timeout": ("[supervise]\nstop_timeout = 7.5", ["--stop-timeout", "7.5"], ".stop_timeout", 7.5),
    "supervise.stop_drain_timeout": (
        "[supervise]\nstop_drain_timeout = 2.5",
        ["--stop-drain-timeout", "2.5"],
        ".stop_drain_timeout",
        2.5,
    ),
    "supervise.drain_timeout": ("[supervise]\ndrain_timeout = 0", ["--drain-timeout", "0"], ".drain_timeout", 0.0),
    "supervise.reload": ('[supervise]\nreload = "overlap"', ["--reload", "overlap"], ".reload", "overlap"),
    "supervise.restart": ('[supervise]\nrestart = "always"', ["--restart", "always"], ".restart", "always"),
    "supervise.backoff.first": ("[supervise.backoff]\nfirst = 2", ["--backoff-first", "2"], ".backoff_first", 2.0),
    "supervise.backoff.max": ("[supervise.backoff]\nmax = 3", ["--backoff-max", "3"], ".backoff_max", 3.0),
    "supervise.backoff.waiting": ("[supervise.backoff]\nwaiting = 5", ["--backoff-waiting", "5"], ".backoff_waiting", 5.0),
    "supervise.backoff.reset": ("[supervise.backoff]\nreset = 4", ["--backoff-reset", "4"], ".backoff_reset", 4.0),
    "supervise.start_limit": ("[supervise]\nstart_limit = 9", ["--start-limit", "9"], ".start_limit", 9),
    "supervise.standby": ("[supervise]\nstandby = 1", ["--standby", "1"], ".standby", 1),
    "supervise.watchdog.queue": ("[supervise.watchdog]\nqueue = 5", ["--queue-timeout", "5"], ".queue_timeout", 5.0),
    "supervise.watchdog.heartbeat": (
        "[supervise]\nwatchdog = { heartbeat = 6 }",
        ["--heartbeat-timeout", "6"],
        ".heartbeat_timeout",
        6.0,
    ),
    "supervise.watchdog.actions": (
        '[supervise.watchdog]\nactions = ["log", "dump"]',
        ["--watchdog", "log,dump"],
        ".watchdog",
        ("log", "dump"),
    ),
    "control.socket": ('[control]\nsocket = "/run/s"', ["--control-socket", "/run/s"], ".control", "/run/s"),
    "control.group": ('[control]\ngroup = "web"', ["--control-group", "web"], "control_group", "web"),
    "control.allow": (
        '[control]\ngroup = "web"\nallow = ["status", "reload"]',
        ["--control-group", "web", "--control-allow", "status,reload"],
        "control_allow",
        ("status", "reload"),
    ),
    "security.strict_binds": ("[security]\nstrict_binds = true", ["--strict-binds"], ".strict_binds", True),
    "security.connect_ports": (
        "[security]\nconnect_ports = [5432, 443]",
        ["--connect-ports", "5432,443"],
        ".connect_ports",
        (443, 5432),
    ),
    "security.isolate_network": ("[security]\nisolate_network = true", ["--isolate-network"], ".isolate_network", True),
    "security.umask": ('[security]\numask = "0027"', ["--umask", "0027"], "umask", 0o27),
    "security.limits": (
        '[security.limits]\nnofile = [1024, "unlimited"]\ncore = 0',
        ["--limit", "nofile=1024:unlimited", "--limit", "core=0"],
        "limits",
        (Limit("nofile", 1024, UNLIMITED), Limit("core", 0, 0)),
    ),
}
# Filled from elsewhere: what is run (tested below), the file's own path, and keys with one permitted value.
ELSEWHERE = {"security.no_new_privs", "java.daemon", "java.script"} | {
    f"java.{word}" for word in ("arguments", "jar", "main", "module", "classpath", "modulepath", "options", "args")
}


def from_text(text: str) -> Request:
    """Read a configuration from its text."""
    return build(load.read_text("service.toml", text.encode()), "service.toml")


def with_program(text: str) -> str:
    """Add what is run to a piece of configuration."""
    return text.replace("[java]\n", RUNS) if "[java]" in text else f"{text}\n{RUNS}"


def field(request: Request, target: str) -> object:
    """Return a field of the request, or of its specification behind a dot."""
    return getattr(request.template, target[1:]) if target.startswith(".") else getattr(request, target)


@pytest.mark.parametrize("key", SAME)
def test_file_and_command_line_say_the_same(key: str) -> None:
    """A key of the file and its option fill the same field with the same value, and change nothing else."""
    text, options, target, expected = SAME[key]
    by_file = from_text(with_program(text))
    by_options = read_request([*options, "--", "-jar", "/srv/shop.jar"])

    assert field(by_file, target) == expected
    assert by_file == by_options
    assert by_file != from_text(RUNS)


def test_every_key_is_in_that_table() -> None:
    """No key is left out of the comparison above."""
    assert set(SAME) | ELSEWHERE == set(FIELDS)


def test_every_field_can_be_said() -> None:
    """Every field of Request and ServiceSpec is filled by a key, but for those that a start or `-c` finds out."""
    targets = {found.target for found in FIELDS.values()}
    found_out = {"name", "java_home", "java_arguments", "listeners", "config", "command_line", "control_gid", "control_allow"}
    found_out |= {"at_start", "broker", "not_passed"}

    assert {f".{name}" for name in ServiceSpec._fields if name not in found_out} <= targets
    assert {name for name in Request._fields if name not in {"java_arguments", "template"}} <= targets


def test_every_option_has_a_key() -> None:
    """Each option of the command line fills a key of the file; the two keys without one have one permitted value, or are `--`."""
    assert {option.key for option in OPTIONS} <= set(FIELDS)
    assert set(FIELDS) - {option.key for option in OPTIONS} == ELSEWHERE - {"java.daemon"}


PROGRAMS = {
    'jar = "a.jar"': ("-jar", "a.jar"),
    'jar = "a.jar"\noptions = ["-Xmx1g"]\nargs = ["x", ""]': ("-Xmx1g", "-jar", "a.jar", "x", ""),
    'main = "M"\nclasspath = "lib/*"': ("-cp", "lib/*", "M"),
    'main = "M"\nclasspath = ["a.jar", "b.jar"]': ("-cp", "a.jar:b.jar", "M"),
    'module = "m/C"\nmodulepath = "mods"\nargs = ["x"]': ("-p", "mods", "-m", "m/C", "x"),
    'daemon = "D"\nclasspath = "d.jar"': ("-cp", "d.jar", "D"),
    'arguments = ["@file", "-version"]': ("@file", "-version"),
    'script = ["/opt/t/bin/catalina.sh", "run"]': (),
}


@pytest.mark.parametrize("text", PROGRAMS)
def test_what_is_run(text: str) -> None:
    """The table [java] becomes the arguments that would stand after `java`."""
    request = from_text(f"[java]\n{text}")

    assert request.java_arguments == PROGRAMS[text]
    assert request.template.daemon == ("D" if "daemon" in text else "")
    assert request.template.script == (("/opt/t/bin/catalina.sh", "run") if "script" in text else ())


MISTAKES = {
    "nmae = 'x'": r"service\.toml: nmae: unknown key; .*; did you mean 'name'\?",
    "[java]\noptoins = []": r"java\.optoins: unknown key; .*did you mean 'options'\?",
    "strict_binds = true": r"strict_binds: unknown key; .*'security\.strict_binds' is a key",
    "[supervise.backof]\nfirst = 1": r"supervise\.backof: unknown key.*did you mean 'backoff'\?",
    "java = 'x'": r"java: expected a table of .*, got 'x'",
    "name = 5": r"name: expected a name .*, got 5",
    "name = 'a/b'": r"name: expected",
    "name = '..'": r"name: expected",
    "name = 'broker.sock'": r"name: expected another name than that of the broker's socket",
    "user = 'a:'": r"user: expected USER, USER:GROUP or :GROUP, got 'a:'",
    "listen = 80": r"listen: expected a table of NAME = .LISTENER., or an array",
    "[listen]\nhttp = 80": r"listen\.http: expected a listener in quotes.*, got 80",
    "[listen]\nhttp = '80x'": r"listen\.http: listener 'http=80x', character 6: expected a port from 1 to 65535",
    "[listen]\n'a b' = '80'": r"listen\.a b: ",
    "listen = ['80', '80']": r"listen: listeners '80' and '80-2' want the same address",
    "listen = ['80', 5]": r"listen\[1\]: expected a listener in quotes",
    "direct = 1": r"direct: expected true or false, got 1",
    "env = 'A'": r"env: expected an array of NAME or NAME=VALUE",
    "env = ['=x']": r"env\[0\]: expected NAME or NAME=VALUE",
    "[supervise]\nstop_timeout = 0": r"supervise\.stop_timeout: expected seconds, more than 0 and at most 86400, got 0",
    "[supervise]\nstop_timeout = -1": r"supervise\.stop_timeout",
    "[supervise]\nstop_timeout = inf": r"supervise\.stop_timeout",
    "[supervise]\nstop_timeout = nan": r"supervise\.stop_timeout",
    "[supervise]\nstop_timeout = true": r"supervise\.stop_timeout.*got true",
    "[supervise]\nstop_timeout = '5'": r"supervise\.stop_timeout.*got '5'",
    "[supervise]\nstandby = 1.5": r"supervise\.standby: expected a number of generations from 0 to 16",
    "[supervise]\nstart_limit = -1": r"supervise\.start_limit",
    "[supervise]\nreload = 'overlp'": r"supervise\.reload: expected one of .*did you mean 'overlap'\?",
    "[supervise]\nreload = 'restart'\nstandby = 1": r"supervise\.standby: a standby is a second instance",
    "[supervise]\nrestart = 'on-crsh'": r"supervise\.restart: expected one of .*did you mean 'on-crash'\?",
    "[supervise]\nready = 'ftp://x'": r"supervise\.ready: expected one of accept, listen, connect, notify, or http",
    "[supervise]\nready = 'http://'": r"supervise\.ready",
    "[supervise]\nready_status = 200": r"supervise\.ready_status: has no meaning with ready = 'accept'",
    "[supervise.backoff]\nfirst = 60": r"supervise\.backoff\.first: first \(60 s\) is longer than max \(10 s\)",
    "[supervise.watchdog]\nactions = []": r"actions: expected an array of at least one of",
    "[supervise.watchdog]\nactions = ['log', 'log']": r"actions\[1\]: expected each of .* only once",
    "[control]\nallow = ['status']": r"control\.allow: .*expected control\.group as well",
    "[control]\ngroup = 'g'\nallow = ['shell']": r"control\.allow\[0\]: expected one of status",
    "[control]\nsocket = 'x'": r"control\.socket: expected an absolute path",
    "[security]\nisolate_network = 1": r"security\.isolate_network: expected true or false",
    "[security]\nisolate_network = true\nconnect_ports = [443]": r"security\.connect_ports: an isolated service connects nowhere",
    "listen = ['80,bind-only']\n[security]\nisolate_network = true": r"listen: an isolated .*no bind-only listener",
    "[security]\nconnect_ports = 443": r"connect_ports: expected an array of TCP ports, such as \[443, 5432\], got 443",
    "[security]\nconnect_ports = [443, 0]": r"connect_ports\[1\]: expected a TCP port from 1 to 65535, got 0",
    "[security]\nconnect_ports = [true]": r"connect_ports\[0\]: expected a TCP port",
    "[security]\nno_new_privs = false": r"security\.no_new_privs: expected true",
    "[security]\numask = 27": r"security\.umask: expected an octal mask in quotes",
    "[security]\numask = '8'": r"security\.umask",
    "[security]\numask = '7777'": r"security\.umask",
    "[security.limits]\nnofiles = 5": r"security\.limits\.nofiles: .*did you mean 'nofile'\?",
    "[security.limits]\nnofile = -1": r"security\.limits\.nofile: expected \[soft, hard\]",
    "[security.limits]\nnofile = [5, 4]": r"security\.limits\.nofile",
    "[security.limits]\nnofile = [1, 2, 3]": r"security\.limits\.nofile",
    "[security.limits]\nnofile = 99999999999999999999": r"security\.limits\.nofile",
    "name = 1979-05-27": r"name: expected",
    "name = 0x" + "f" * 9000: r"name: expected.*a very large number",
    "direct = true\n[supervise]\nstandby = 1": r"supervise\.standby: needs a supervisor",
}


@pytest.mark.parametrize("text", MISTAKES, ids=lambda text: text[:40])
def test_mistakes(text: str) -> None:
    """A mistake is refused in one line with the file, the key path and what was expected; status 78."""
    with pytest.raises(ConfigurationError, match=MISTAKES[text]) as caught:
        from_text(text if "[java]" in text or "java =" in text else with_program(text))

    assert caught.value.status == EX_CONFIG
    assert str(caught.value).startswith("service.toml: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("name = 'x'", "java: nothing to run"),
        ("[java]\njar = 'a'\nmain = 'b'", r"java\.main: java\.jar already says"),
        ("[java]\njar = 'a'\nclasspath = 'b'", r"java\.classpath: has no meaning beside java\.jar"),
        ("[java]\narguments = ['a']\nargs = ['b']", r"java\.args: has no meaning beside java\.arguments"),
        ("[java]\narguments = []", r"java\.arguments: expected an array of at least one"),
        ("[java]\nmain = ''", r"java\.main: expected the name of a main class"),
        ('[java]\nmain = "a\\u0000b"', r"java\.main"),
        ("direct = true\n[java]\nscript = ['a']", "direct: a script needs a supervisor"),
    ],
)
def test_what_is_run_is_said_once(text: str, pattern: str) -> None:
    """Nothing to run, two things to run, and keys that mean nothing together are refused."""
    with pytest.raises(ConfigurationError, match=pattern):
        from_text(text)


@pytest.mark.parametrize(
    ("data", "pattern"),
    [
        (b"a = \nb = 1", r"^f: line 1, column 5: not TOML: Invalid value$"),
        (b"a = 1\na = 2\n", r"^f: line 2, column 6: not TOML: Cannot overwrite a value$"),
        (b"x = 1\na = '", r"^f: line 2, column 6: not TOML: "),
        (b"# \xc3\xa4\n# \xc3\xa4\xff", r"^f: line 2, column 4: expected text in UTF-8$"),
        (b"a = " + b"[" * 100_000, r"^f: tables or arrays are nested too deeply$"),
        (b"a = " + b"9" * 5000, r"^f: not TOML: "),
    ],
    ids=["value", "twice", "end", "utf8", "deep", "digits"],
)
def test_syntax_errors(data: bytes, pattern: str) -> None:
    """What is not TOML is refused with the file, the line and the column."""
    with pytest.raises(ConfigurationError, match=pattern):
        load.read_text("f", data)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.datetimes(),
    st.just(dt.time(1)),
    st.sampled_from(["80", "accept", "unlimited", "0027", "http=80", "a:b", 10**400]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(st.text(max_size=8), st.sampled_from(sorted(set(".".join(FIELDS).split("."))))), inner, max_size=4
        ),
    ),
    max_leaves=8,
)


@given(st.sampled_from(sorted(FIELDS)), VALUES)
def test_any_value_of_any_key(key: str, value: object) -> None:
    """Whatever stands behind a key, the answer is a request or a JvmbindError of one short line."""
    document: dict[str, object] = {}
    table = document
    *above, last = key.split(".")
    for word in above:
        table = table.setdefault(word, {})  # type: ignore[assignment]
    table[last] = value
    try:
        build(read_document(document, "f") | {"java.jar": "a.jar"}, "f")
    except JvmbindError as error:
        assert str(error).startswith("f: ")  # noqa: PT017 - either outcome is right
        assert len(str(error)) < 1000  # noqa: PT017


@given(st.dictionaries(st.sampled_from(TABLES[""]), VALUES))
def test_any_document(document: dict[str, object]) -> None:
    """Whatever a document holds, the answer is a request or a JvmbindError."""
    try:
        build(read_document(document, "f"), "f")
    except JvmbindError:
        return


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """Whatever bytes a file holds, the answer is a request or a JvmbindError."""
    try:
        build(load.read_text("f", data), "f")
    except JvmbindError:
        return


@given(st.sampled_from(sorted(SAME)), st.sampled_from(sorted(SAME)))
def test_request_survives_json(one: str, two: str) -> None:
    """A request read back from its JSON is the same."""
    options = [*SAME[one][1], *SAME[two][1]]
    try:
        request = read_request([*options, "--", "-jar", "\udcff", ""])
    except JvmbindError:
        return  # two that exclude each other
    assert Request.from_json(request.to_json()) == request


def write(folder: Path, text: str = RUNS, mode: int = 0o644) -> Path:
    """Write a configuration file."""
    path = folder / "service.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_load_names_the_file_for_reload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request holds the absolute path of the file, and a command line that names it does too."""
    path = write(tmp_path)
    monkeypatch.chdir(tmp_path)

    assert load.load("service.toml").template.config == str(path)
    assert read_request(["-c", "service.toml"]) == load.load(str(path))


def test_options_override_the_file(tmp_path: Path) -> None:
    """An option replaces what the file says under its key, flags can be taken back, and `--` replaces what is run."""
    path = write(tmp_path, f'quiet = true\nname = "a"\n[listen]\nx = "80"\n[supervise]\nstandby = 1\n{RUNS}args = ["z"]\n')

    request = read_request(["-c", str(path), "-n", "b", "-l", "81", "--no-quiet", "--", "-cp", "p", "Main"])

    assert request.name == "b"
    assert [listener.port for listener in request.listeners] == [81]
    assert not request.template.quiet
    assert request.template.standby == 1
    assert request.java_arguments == ("-cp", "p", "Main")


@pytest.mark.parametrize("what", ["nothing", "a folder", "a pipe", "too much", "a NUL"])
def test_no_such_file(tmp_path: Path, what: str) -> None:
    """A path that is not a file of a sensible size is refused without waiting; status 78."""
    path = str(tmp_path / "x")
    if what == "a folder":
        os.mkdir(path)
    elif what == "a pipe":
        os.mkfifo(path)
    elif what == "too much":
        Path(path).write_bytes(b"#" * (1 << 21))
    elif what == "a NUL":
        path += "\0"

    with pytest.raises(ConfigurationError) as caught:
        load.load(path)
    assert caught.value.status == EX_CONFIG


@pytest.fixture
def privileged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the file be read as by a process with a privilege."""
    monkeypatch.setattr(load, "is_privileged", lambda: True)


@pytest.mark.usefixtures("privileged")
def test_own_file_is_trusted(tmp_path: Path) -> None:
    """With privilege a file of the caller that nobody else may write is read, through a symbolic link as well."""
    path = write(tmp_path)
    (tmp_path / "link").symlink_to(path)
    (tmp_path / "up").symlink_to(f"../{tmp_path.name}/./link")

    assert load.load(str(tmp_path / "up")).java_arguments == ("-jar", "/srv/shop.jar")


@pytest.mark.usefixtures("privileged")
@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_writable_file_is_refused(tmp_path: Path, mode: int) -> None:
    """With privilege a file that its group or everybody may write is refused; status 77."""
    path = write(tmp_path, mode=mode)

    with pytest.raises(NotPermittedError, match=f"{mode:04o}") as caught:
        load.load(str(path))
    assert caught.value.status == EX_NOPERM


@pytest.mark.usefixtures("privileged")
@pytest.mark.parametrize("way", ["straight", "through a link"])
def test_writable_folder_is_refused(tmp_path: Path, way: str) -> None:
    """With privilege a file in a folder where others could replace it is refused, and behind a link that they could turn."""
    folder = tmp_path / "open"
    folder.mkdir()
    path = write(folder)
    if way == "through a link":
        path = folder / "link"
        path.symlink_to(write(tmp_path))
    folder.chmod(0o777)

    with pytest.raises(NotPermittedError, match="open belongs to uid"):
        load.load(str(path))
    folder.chmod(0o1777)
    assert load.load(str(path))


def test_without_privilege_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process without privilege reads any file that it can: nothing of it is run with more rights than its own."""
    monkeypatch.setattr(load, "is_privileged", lambda: False)

    assert load.load(str(write(tmp_path, mode=0o666)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(st.sampled_from([*sorted({w for o in OPTIONS for w in o.words}), "-c", "x", "80", "--", "", "é", "1"]), max_size=8))
def test_any_command_line(argv: list[str]) -> None:
    """Whatever the arguments are, the answer is a request or a JvmbindError of one line."""
    try:
        read_request(argv)
    except JvmbindError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right


def test_reading_the_table_loads_no_toml_parser() -> None:
    """A start from the command line alone does not pay for tomllib."""
    import subprocess  # noqa: PLC0415

    code = "import sys, jvmbind.cli.run; sys.exit('tomllib' in sys.modules)"
    assert subprocess.run([sys.executable, "-I", "-c", code], check=False, timeout=30).returncode == 0
