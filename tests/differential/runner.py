"""Runs one launch case with any command in place of `java` and makes two outcomes comparable.

Used by test_differential.py, and as a program for a quick look: `runner.py [--jdk N] [--supervised] [NAME...]` prints
every difference. Starts processes as an ordinary user where it can; must not import jvmbind.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.jdks import Jdk, tested_jdks
from support.users import SERVICE_USER, user

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from differential.cases import Case

TIMEOUT = 120.0

# What differs from one run of the same command to the next.
VARYING: tuple[tuple[str, str], ...] = (
    (r"@[0-9a-f]{4,}", "@HASH"),
    (r"0x[0-9a-f]+", "0xADDRESS"),
    (r"\b(pid|tid)=\d+", r"\1=N"),
    (r"\bpid \d+", "pid N"),
    (r"hs_err_pid\d+", "hs_err_pidN"),
    (r"core\.\d+", "core.N"),
    (r"\[\d+\.\d+s\]", "[TIME]"),
    (r"si_pid: \d+", "si_pid: N"),
    (r"\+0xADDRESS", "+OFFSET"),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a user sees of a finished process."""

    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Site:
    """Where the cases run: the built folder, and who runs them."""

    root: Path
    identity: Mapping[str, Any]
    home: str


def site(root: Path) -> Site:
    """Return the site for this run: another user when we are root, since root hides refused permissions."""
    if os.geteuid() != 0:
        return Site(root, {}, os.environ.get("HOME", "/"))
    service = user(SERVICE_USER)
    return Site(root, {"user": service.uid, "group": service.gid, "extra_groups": list(service.groups)}, service.home)


def environment(place: Site, case: Case) -> dict[str, str]:
    """Return the whole environment of a case."""
    base = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": place.home, "LANG": "C.UTF-8"}
    return base | {name: value.replace("{root}", str(place.root)) for name, value in case.env.items()}


def run(command: Sequence[str], case: Case, jdk: Jdk, place: Site) -> Outcome:
    """Run COMMAND with the arguments of the case and return how it went; TimeoutExpired when it does not end."""
    arguments = [text.format(root=place.root, feature=jdk.feature) if "{" in text else text for text in case.args]
    process = subprocess.Popen(
        [os.fsencode(word) for word in (*command, *arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=place.root,
        env=environment(place, case),
        **place.identity,
    )
    try:
        before = b""
        if case.signal:
            assert process.stdout is not None
            before = process.stdout.readline()
            while before and not before.endswith(b"ready\n"):
                line = process.stdout.readline()
                if not line:
                    break
                before += line
            process.send_signal(signal.Signals["SIG" + case.signal])
        stdout, stderr = process.communicate(case.stdin, timeout=TIMEOUT)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    return Outcome(process.returncode, os.fsdecode(before + stdout), os.fsdecode(stderr))


def comparable(text: str, case: Case) -> list[str]:
    """Return the lines that two runs must have in common."""
    for pattern, replacement in VARYING:
        text = re.sub(pattern, replacement, text)
    lines = [line for line in text.split("\n") if not any(re.search(pattern, line) for pattern in case.drop)]
    return sorted(lines) if case.unordered else lines


def differences(expected: Outcome, actual: Outcome, case: Case, *, supervised: bool) -> list[str]:
    """Return a description of every difference, empty when there is none.

    A supervisor outlives the JVM: a signal that ended it becomes status 128 + number, as in a shell, and is logged.
    """
    found: list[str] = []
    wanted = expected.status if case.status is None else case.status
    if supervised and wanted < 0:
        wanted = 128 - wanted
        case = replace(case, drop=[*case.drop, "jvmbind: generation 1 .* killed by SIG"])
    if wanted != actual.status:
        found.append(f"status: java {wanted}, jvmbind {actual.status}")
    for name in ("stdout", "stderr"):
        ours, theirs = comparable(getattr(actual, name), case), comparable(getattr(expected, name), case)
        if ours != theirs:
            found += [f"{name}:", *difflib.unified_diff(theirs, ours, "java", "jvmbind", n=0, lineterm="")]
    return found


def command_of(jvmbind: Sequence[str], jdk: Jdk, *, supervised: bool) -> list[str]:
    """Return what stands in place of `java`."""
    # A name of its own for each launch: two services of one name would share a control socket.
    kind = ["--restart", "never", "--name", f"launch-{uuid4().hex}"] if supervised else ["--direct"]
    return [*jvmbind, "run", *kind, "--quiet", "--preserve-env", "--java-home", str(jdk.home), "--"]


def main() -> int:
    """Run the named cases, all without a name, and print the differences."""
    from differential.cases import CASES  # noqa: PLC0415 - only as a program
    from differential.fixtures import build  # noqa: PLC0415

    parser = argparse.ArgumentParser()
    parser.add_argument("--jdk", type=int)
    parser.add_argument("--supervised", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    chosen = [case for case in CASES if not options.names or any(name in case.name for name in options.names)]
    bad = total = 0
    with tempfile.TemporaryDirectory(prefix="launches-") as folder:
        place = site(build(Path(folder)))
        for jdk in tested_jdks():
            if options.jdk not in {None, jdk.feature}:
                continue

            def compare(case: Case, jdk: Jdk = jdk) -> list[str]:
                jvmbind = command_of([sys.executable, "-I", "-m", "jvmbind"], jdk, supervised=options.supervised)
                try:
                    return differences(
                        run([jdk.java], case, jdk, place), run(jvmbind, case, jdk, place), case, supervised=options.supervised
                    )
                except subprocess.TimeoutExpired as error:
                    return [f"no end: {error.cmd[:4]}"]

            cases = [case for case in chosen if case.jdks[0] <= jdk.feature <= case.jdks[1]]
            cases = [case for case in cases if case.supervised or not options.supervised]
            with ThreadPoolExecutor(options.jobs) as pool:
                for case, found in zip(cases, pool.map(compare, cases), strict=True):
                    total += 1
                    if found:
                        bad += 1
                        print(f"=== {jdk} {case.name}: {[word[:60] for word in case.args[:12]]}")
                        print("\n".join(line[:300] for line in found[:30]), flush=True)
    print(f"{total} launches, {bad} differ")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
