"""A hundred bad inputs: `check` and `run` say the same, with the same status, and `run` says it before it binds.

Run by pytest as root. Each input is a file that is good but for one thing. Its listener has an address that no machine
has (RFC 5737), so that a `run` which comes to the bind ends there, with 69, and is seen to have overlooked the input.
Must not import jvmbind.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support import jdks
from support.users import SERVICE_USER

pytestmark = [pytest.mark.root, pytest.mark.jvm]

USAGE, NOT_PERMITTED, CONFIGURATION, JAVA = 64, 77, 78, 1
BOTH = Path(__file__).resolve().parent.parent / "support" / "both.py"
NEWEST = [jdk for jdk in jdks.tested_jdks() if jdk.javac.exists()][-1]  # MAIN is the compiler, which not every runtime has
HOME = NEWEST.home
NOWHERE = "192.0.2.1:80"
MAIN = 'main = "com.sun.tools.javac.Main"\nclasspath = "{folder}"'


FOR_ROOT = "# for root alone"


def text(
    *,
    listen: str = f'["{NOWHERE}"]',
    user: str = f'"{SERVICE_USER}"',
    program: str = MAIN,
    home: str = f'"{HOME}"',
    options: str = "[]",
    top: str = "",
    more: str = "",
) -> str:
    """Return a file that is good, but for what is given."""
    options = "" if "jar" in program or "script" in program or "arguments" in program else f"options = {options}\n"
    options = options if "options" not in program else ""
    return f"listen = {listen}\nuser = {user}\n{top}\n[java]\nhome = {home}\n{program}\n{options}{more}\n"


def option(*words: str) -> str:
    """Return a good file with these options of the JVM."""
    return text(options=json.dumps(words))


# name -> (the file, the status, what the line must have in it); {folder} is one that everybody may read, {closed} one of root's.
INPUTS: dict[str, tuple[str, int, str]] = {
    # The file itself.
    "no TOML": ("= x", CONFIGURATION, "line 1, column 1: not TOML"),
    "a table twice": (text(more="[java]"), CONFIGURATION, "not TOML"),
    "an unknown key": (text(top="quite = true"), CONFIGURATION, "quite: unknown key.*did you mean 'quiet'"),
    "an unknown table": (text(more="[supervisor]\nready = 'accept'"), CONFIGURATION, "supervisor: unknown key.*'supervise'"),
    "a key of another table": (text(top="standby = 1"), CONFIGURATION, "standby: unknown key.*'supervise.standby'"),
    "a table for a value": (text(more="[security.umask]\nx = 1"), CONFIGURATION, "security.umask: expected an octal mask"),
    "a value for a table": (text(top="supervise = 1"), CONFIGURATION, "supervise: expected a table"),
    "a flag in quotes": (text(top='quiet = "yes"'), CONFIGURATION, "quiet: expected true or false"),
    "a verbose number": (text(top="verbose = 1"), CONFIGURATION, "verbose: expected true or false"),
    "a name with a blank": (text(top='name = "a b"'), CONFIGURATION, "name: expected a name"),
    "a hidden name": (text(top='name = ".x"'), CONFIGURATION, "name: expected a name"),
    "a name too long": (text(top=f'name = "{"x" * 65}"'), CONFIGURATION, "name: expected a name"),
    "env without a name": (text(top='env = ["=x"]'), CONFIGURATION, r"env\[0\]: expected NAME"),
    "env as a string": (text(top='env = "A"'), CONFIGURATION, "env: expected an array"),
    "inherit unknown": (text(top='inherit = "web"'), USAGE, "inherit: no listener 'web'"),
    # Times, numbers, words.
    "ready unknown": (text(more="[supervise]\nready = 'acept'"), CONFIGURATION, "supervise.ready.*did you mean 'accept'"),
    "ready without a host": (text(more="[supervise]\nready = 'http://'"), CONFIGURATION, "supervise.ready"),
    "ready status without an address": (text(more="[supervise]\nready_status = 200"), CONFIGURATION, "supervise.ready_status"),
    "a status of 99": (text(more="[supervise]\nready_status = 99"), CONFIGURATION, "supervise.ready_status"),
    "no time to start": (text(more="[supervise]\nstart_timeout = 0"), CONFIGURATION, "supervise.start_timeout: expected seconds"),
    "a stop in words": (text(more="[supervise]\nstop_timeout = 'soon'"), CONFIGURATION, "supervise.stop_timeout: expected seconds"),
    "a drain of two days": (text(more="[supervise]\ndrain_timeout = 172800"), CONFIGURATION, "supervise.drain_timeout"),
    "a negative drain": (text(more="[supervise]\nstop_drain_timeout = -1"), CONFIGURATION, "supervise.stop_drain_timeout"),
    "not a number": (text(more="[supervise]\nstart_timeout = nan"), CONFIGURATION, "supervise.start_timeout"),
    "a reload unknown": (text(more="[supervise]\nreload = 'always'"), CONFIGURATION, "supervise.reload: expected one of"),
    "a restart unknown": (text(more="[supervise]\nrestart = 'on-crashes'"), CONFIGURATION, "did you mean 'on-crash'"),
    "a back-off upside down": (text(more="[supervise.backoff]\nfirst = 9\nmax = 1"), CONFIGURATION, "longer than max"),
    "a back-off unknown": (text(more="[supervise.backoff]\nmin = 1"), CONFIGURATION, "supervise.backoff.min: unknown key"),
    "a limit of starts": (text(more="[supervise]\nstart_limit = 1001"), CONFIGURATION, "supervise.start_limit"),
    "half a standby": (text(more="[supervise]\nstandby = 0.5"), CONFIGURATION, "supervise.standby"),
    "a standby that is alone": (text(more="[supervise]\nstandby = 1\nreload = 'restart'"), CONFIGURATION, "supervise.standby"),
    "a standby and direct": (text(top="direct = true", more="[supervise]\nstandby = 1"), CONFIGURATION, "supervise.standby"),
    "a watchdog that does nothing": (text(more="[supervise.watchdog]\nactions = []"), CONFIGURATION, "supervise.watchdog.actions"),
    "a watchdog twice": (text(more="[supervise.watchdog]\nactions = ['log', 'log']"), CONFIGURATION, r"actions\[1\].*only once"),
    # Control and security.
    "a socket without a slash": (text(more="[control]\nsocket = 'x'"), CONFIGURATION, "control.socket: expected an absolute path"),
    "a socket too long": (text(more=f"[control]\nsocket = '/{'x' * 120}'"), CONFIGURATION, "control.socket"),
    "a group unknown": (text(more="[control]\ngroup = 'nosuchgroup'"), CONFIGURATION, "nosuchgroup"),
    "a right without a group": (text(more="[control]\nallow = ['stop']"), CONFIGURATION, "control.allow"),
    "a right unknown": (text(more="[control]\ngroup = 'daemon'\nallow = ['kill']"), CONFIGURATION, r"control.allow\[0\]"),
    "no network": (text(more="[security]\nisolate_network = true\nconnect_ports = [1]"), CONFIGURATION, "connects nowhere"),
    "a port to connect to in words": (text(more="[security]\nconnect_ports = ['x']"), CONFIGURATION, r"connect_ports\[0\]"),
    "new privileges": (text(more="[security]\nno_new_privs = false"), CONFIGURATION, "security.no_new_privs"),
    "a mask of nines": (text(more="[security]\numask = '999'"), CONFIGURATION, "security.umask"),
    "a mask as a number": (text(more="[security]\numask = 27"), CONFIGURATION, "security.umask"),
    "a resource unknown": (text(more="[security.limits]\nfiles = 9"), CONFIGURATION, "security.limits.files"),
    "a soft limit above": (text(more="[security.limits]\nnofile = [9, 8]"), CONFIGURATION, "security.limits.nofile"),
    "a limit that the kernel refuses": (text(more="[security.limits]\nnofile = 9000000000"), NOT_PERMITTED, "limit nofile"),
    # Listeners.
    "a port of words": (text(listen='["http"]'), CONFIGURATION, r"listen\[0\].*port"),
    "port 0": (text(listen='["0"]'), CONFIGURATION, "port from 1 to 65535"),
    "port 65536": (text(listen='["65536"]'), CONFIGURATION, "port from 1 to 65535"),
    "a host name": (text(listen='["localhost:80"]'), CONFIGURATION, "IP address"),
    "IPv6 without brackets": (text(listen='["::1:80"]'), CONFIGURATION, "brackets"),
    "half an address": (text(listen='["1.2.3:80"]'), CONFIGURATION, "IPv4"),
    "sctp": (text(listen='["80/sctp"]'), CONFIGURATION, "tcp or udp"),
    "an option unknown": (text(listen='["80,reusport"]'), CONFIGURATION, "option"),
    "a backlog of words": (text(listen='["80,backlog=x"]'), CONFIGURATION, "backlog"),
    "a relative socket": (text(listen='["unix:x"]'), CONFIGURATION, "absolute path"),
    "the same port twice": (text(listen='["80", "0.0.0.0:80"]'), CONFIGURATION, "same address"),
    "the same name twice": (text(listen='["a=80", "a=81"]'), CONFIGURATION, "'a'"),
    "a number": (text(listen="[80]"), CONFIGURATION, r"listen\[0\]: expected a listener in quotes"),
    "a name that is none": (text(listen='{ "9a" = "80" }'), CONFIGURATION, "listen.9a"),
    # Users.
    "no such user": (text(user='"nosuchuser"'), CONFIGURATION, "no user 'nosuchuser'"),
    "no such group": (text(user=f'"{SERVICE_USER}:nosuchgroup"'), CONFIGURATION, "no group 'nosuchgroup'"),
    "a number without an entry": (text(user='"54321"'), CONFIGURATION, "54321"),
    "root": (text(user='"root"'), CONFIGURATION, "that is root"),
    "root's group": (text(user=f'"{SERVICE_USER}:root"'), CONFIGURATION, "group 0"),
    "a user and nothing": (text(user=f'"{SERVICE_USER}:"'), CONFIGURATION, "user: expected USER"),
    "no user": (text().replace(f'user = "{SERVICE_USER}"', ""), USAGE, "--user"),
    # What is run.
    "nothing": (text(program=""), CONFIGURATION, "java: nothing to run"),
    "two things": (text(program='jar = "a.jar"\nmain = "M"'), CONFIGURATION, "java.main: java.jar already says"),
    "a class path of a jar": (text(program='jar = "a.jar"\nclasspath = "x"'), CONFIGURATION, "java.classpath"),
    "a script and direct": (text(program='script = ["x"]', top="direct = true"), CONFIGURATION, "a script needs a supervisor"),
    "no such home": (text(home='"/nosuch"'), CONFIGURATION, "/nosuch: no Java runtime there"),
    "a home that is bin": (text(home=f'"{HOME}/bin"'), CONFIGURATION, "bin: no Java runtime there.*expected the directory above"),
    "a home in a closed directory": (text(home='"{closed}/jdk"'), CONFIGURATION, "may not enter {closed}"),
    "no such jar": (text(program='jar = "/nosuch/a.jar"'), JAVA, "Unable to access jarfile /nosuch/a.jar"),
    "a jar that is not a jar": (text(program='jar = "{folder}/text"'), JAVA, "Invalid or corrupt jarfile"),
    "a jar that is a directory": (text(program='jar = "{folder}"'), JAVA, "Invalid or corrupt jarfile"),
    "a jar in a closed directory": (text(program='jar = "{closed}/a.jar"'), CONFIGURATION, "may not enter {closed}"),
    "a jar of root's": (text(program='jar = "{folder}/roots"'), CONFIGURATION, "roots: user .* may not read"),
    "no such script": (text(program='script = ["/nosuch/x.sh"]'), CONFIGURATION, "script /nosuch/x.sh"),
    "a script that is not executable": (text(program='script = ["{folder}/text"]'), CONFIGURATION, "may not execute"),
    "a script in a closed directory": (text(program='script = ["{closed}/x.sh"]'), CONFIGURATION, "may not enter {closed}"),
    "no such class in a class path of root's": (
        text(program='main = "no.Such"\nclasspath = "{closed}:{closed}/jdk"'),
        JAVA,
        (f"^jvmbind: class path entry {{closed}}: user {SERVICE_USER} may not enter it .chmod o.x.; java ignores it\n"
        f"jvmbind: class path entry {{closed}}/jdk: user {SERVICE_USER} may not enter {{closed}} .chmod o.x.; java .*\n"
        ".*Could not find or load main class no.Such"),
    ),
    "a script in the place of a class": (
        text(program='arguments = ["{folder}/start.sh", "run"]'),
        JAVA,
        "^jvmbind: {folder}/start.sh is a script, and run takes what comes after java: jvmbind wrap runs one\n.*main class",
    ),
    "no such class": (text(program='main = "no.Such"\nclasspath = "{folder}"'), JAVA, "Could not find or load main class no.Such"),
    "no class path": (text(program='main = "no.Such"\nclasspath = "/nosuch"'), JAVA, "ClassNotFoundException: no.Such"),
    # What the launcher or the JVM does not take.
    "a size in words": (option("-Xmx512megs"), JAVA, "Invalid maximum heap size: -Xmx512megs"),
    "a size in GB": (option("-Xms1GB"), JAVA, "Invalid initial heap size: -Xms1GB"),
    "a stack in words": (option("-Xss1meg"), JAVA, "Invalid thread stack size: -Xss1meg"),
    "a stack too small": (option("-Xss1k"), JAVA, "stack size specified is too small"),
    "a heap too small": (option("-Xmx1k"), JAVA, "Too small maximum heap"),
    "a heap upside down": (option("-Xms2g", "-Xmx1g"), JAVA, "Initial heap size set to a larger value than the maximum heap size"),
    "an unknown flag": (option("-XX:+UseG1GCC"), JAVA, r"Unrecognized VM option 'UseG1GCC'.*Did you mean '\(\+/-\)UseG1GC'"),
    "a flag without a sign": (option("-XX:UseG1GC"), JAVA, "Missing.*UseG1GC"),
    "a value for a flag": (option("-XX:UseG1GC=yes"), JAVA, "UseG1GC"),
    "a percentage of 101": (option("-XX:MaxRAMPercentage=101"), JAVA, "MaxRAMPercentage"),
    "a collector too many": (option("-XX:+UseG1GC", "-XX:+UseSerialGC"), JAVA, "Multiple garbage collectors selected"),
    "a collector of the past": (option("-XX:+UseConcMarkSweepGC"), JAVA, "UseConcMarkSweepGC"),
    "an experimental flag": (option("-XX:G1NewSizePercent=5"), JAVA, "G1NewSizePercent.*is experimental"),
    "an option unknown to all": (option("-Xfoo"), JAVA, "Unrecognized option: -Xfoo"),
    "an option of one letter": (option("-z"), JAVA, "Unrecognized option: -z"),
    "an option with two dashes": (option("--nosuch"), JAVA, "Unrecognized option: --nosuch"),
    "a log tag unknown": (option("-Xlog:gcc"), JAVA, "Invalid tag 'gcc' in log selection"),
    "a log in no directory": (option("-Xlog:gc*:file=/nosuch/gc.log"), JAVA, "Error opening log file '/nosuch/gc.log'"),
    "a log in root's directory": (option("-Xlog:gc:file={closed}/gc.log"), JAVA, "Error opening log file"),
    "an agent that is not there": (option("-javaagent:/nosuch.jar"), JAVA, "JAR manifest missing : /nosuch.jar"),
    "a native agent that is not there": (option("-agentpath:/nosuch.so"), JAVA, "Could not find agent library /nosuch.so"),
    "an options file that is not there": (option("-XX:VMOptionsFile=/nosuch"), JAVA, "Could not open options file '/nosuch'"),
    "a flags file that is not there": (option("-XX:Flags=/nosuch"), JAVA, "Could not open settings file /nosuch"),
    "an argument file that is not there": (text(program='arguments = ["@/nosuch", "M"]'), JAVA, "could not open `/nosuch'"),
    "a module that is not there": (option("--add-modules=no.such"), JAVA, "Module no.such not found"),
    "modules without a name": (option("--add-modules"), JAVA, "requires modules to be specified"),
    "a class path without a value": (text(program='arguments = ["-cp"]'), JAVA, "requires class path specification"),
    "a security manager": (option("-Djava.security.manager"), JAVA, "Security Manager"),
    "an archive that must be there": (option("-XX:SharedArchiveFile=/nosuch.jsa", "-Xshare:on"), JAVA, "archive"),
}  # fmt: skip
if NEWEST.feature < 24:  # JEP 486: until then a security manager was only deprecated
    del INPUTS["a security manager"]


@pytest.fixture(scope="module")
def folders(shared_directory: Path) -> dict[str, str]:
    """A folder that everybody may read, with files, and one that only root may enter, with a Java home and a jar."""
    folder, closed = shared_directory / "inputs", shared_directory / "inputs-closed"
    folder.mkdir()
    closed.mkdir(mode=0o700)
    for name, mode in (("text", 0o644), ("roots", 0o600)):
        (folder / name).write_text("no jar, no script")
        (folder / name).chmod(mode)
    (folder / "start.sh").write_text("#!/bin/sh\n")
    (folder / "start.sh").chmod(0o755)
    library = closed / "jdk" / "lib" / "server" / "libjvm.so"
    library.parent.mkdir(parents=True)
    library.symlink_to(HOME / "lib" / "server" / "libjvm.so")
    return {"folder": str(folder), "closed": str(closed)}


def run_both(folders: dict[str, str], texts: list[str], environment: dict[str, str]) -> list[dict[str, tuple[int, str, str]]]:
    """Return what both commands say of each file."""
    files = []
    for number, found in enumerate(texts):
        file = Path(folders["folder"], f"{number}.toml")
        for name, value in folders.items():
            found = found.replace(f"{{{name}}}", value)  # noqa: PLW2901
        file.write_text(found)
        file.chmod(0o600 if FOR_ROOT in found else 0o644)
        files.append(str(file))
    base = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    command = [sys.executable, "-I", str(BOTH), *files]
    done = subprocess.run(command, cwd="/", env=base | environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    answer: list[dict[str, tuple[int, str, str]]] = json.loads(done.stdout)
    return answer


def same(words: str) -> str:
    """Return what was said without what differs between two runs of one command."""
    return re.sub(r"\[[0-9.]+s\]", "[TIME]", words)


def test_a_hundred_bad_inputs(folders: dict[str, str]) -> None:
    """`run` and `check` refuse each input with the same words and status; `run` before the bind; one line where it is ours."""
    assert len(INPUTS) >= 100
    wrong = []
    for (name, (_, status, pattern)), said in zip(
        INPUTS.items(), run_both(folders, [found[0] for found in INPUTS.values()], {}), strict=True
    ):
        run, out, err = said["run"]
        check, report, words = said["check"]
        for folder, path in folders.items():
            pattern = pattern.replace(f"{{{folder}}}", path)  # noqa: PLW2901
        agree = (run, same(out + err)) == (check, same(words)) and run == status and re.search(pattern, words, re.DOTALL)
        one_line = status == JAVA or (words.count("\n") == 1 and words.startswith("jvmbind: "))
        shown = not report or re.search(r"^problem ", report, re.MULTILINE)
        if not (agree and one_line and shown and "Traceback" not in words + err):
            wrong.append(f"{name}: expected {status} {pattern!r}\n  run   {run} {out + err!r}\n  check {check} {words!r}")
    assert not wrong, "\n".join(wrong)


NOTES: dict[str, tuple[str, str]] = {
    "a class path entry that is not there": (
        text(program=MAIN.replace("{folder}", "{folder}:/nosuch/a.jar")),
        "class path entry /nosuch/a.jar: no such file or directory; java ignores it",
    ),
    "a wildcard without a jar": (
        text(program=MAIN.replace("{folder}", "{folder}:{folder}/*")),
        "class path entry {folder}/*: there is no jar; java ignores it",
    ),
    "a class path entry of root's": (
        text(program=MAIN.replace("{folder}", "{folder}:{folder}/roots")),
        f"class path entry {{folder}}/roots: user {SERVICE_USER} may not read it (chmod o+r); java ignores it",
    ),
    "a module path entry that is not there": (
        option("--module-path=/nosuch"),
        "module path entry /nosuch: no such file or directory; java ignores it",
    ),
    "a variable that is not set": (
        text(top='env = ["SHOP_KEY", "TZ=UTC"]'),
        "env SHOP_KEY: not set in the caller's environment, so not passed; expected a value there, or NAME=VALUE",
    ),
    "a JAVA_HOME that is none": (
        text(home=f'"{HOME}"').replace(f'home = "{HOME}"', ""),
        "JAVA_HOME /nosuch: no Java runtime there (/nosuch/lib/server/libjvm.so is missing); {default} is used",
    ),
    "a configuration for root alone": (
        text(top=FOR_ROOT),
        (
            f"configuration {{folder}}/6.toml: user {SERVICE_USER} cannot read it, so reload and restart will be refused "
            "(chgrp and chmod g+r)"
        ),
    ),
}


def test_what_is_said_and_not_refused(folders: dict[str, str]) -> None:
    """What java would leave out in silence, and a JAVA_HOME that is none, is one line of `run` and a note of `check`."""
    java = subprocess.run(["sh", "-c", "readlink -f $(command -v java)"], capture_output=True, text=True, check=True).stdout
    folders = {**folders, "default": str(Path(java).parent.parent)}
    said = run_both(folders, [found[0] for found in NOTES.values()], {"JAVA_HOME": "/nosuch"})
    for (_, note), both in zip(NOTES.values(), said, strict=True):
        for name, value in folders.items():
            note = note.replace(f"{{{name}}}", value)  # noqa: PLW2901
        status, _, err = both["run"]
        lines = err.splitlines()
        assert (status, lines[:-1]) == (69, [f"jvmbind: {note}"]), both
        assert "192.0.2.1" in lines[-1]
        status, report, err = both["check"]
        assert (status, err) == (0, ""), both
        assert re.findall(r"^note +(.*)$", report, re.MULTILINE) == [note]


def test_variables_that_the_service_does_not_get(folders: dict[str, str]) -> None:
    """`check` names each variable of the caller that is dropped, `run -v` does so once, and both name the option to keep it."""
    environment = {"SHOP_KEY": "secret-1", "HTTP_PROXY": "secret-2", "LD_DEBUG_OUTPUT": "secret-3", "\x1b[2J": "secret-4"}
    quiet, verbose = run_both(folders, [text(), text(top="verbose = true")], environment)

    assert quiet["run"][2].count("\n") == 1
    line = verbose["run"][2].splitlines()[0]
    names = "?[2J, HTTP_PROXY, LD_DEBUG_OUTPUT, SHOP_KEY"
    assert line == f"jvmbind: environment variables that the service does not get: {names}; --env NAME passes one"
    report = quiet["check"][1]
    assert re.search(rf"^not passed +{re.escape(names)} \(env = ", report, re.MULTILINE)
    assert "secret" not in report + line
