"""What is really loaded at run time where it matters: before the drop, and in the supervisor.

Run by pytest, as anybody. Imports happen in child processes, isolated as in production.
"""

from __future__ import annotations

import ast
import io
import os
import subprocess
import sys
import sysconfig
import tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Of the broker's own code that runs with its privilege, without blank lines, comments and docstrings.
MOST_OF_THE_BROKER = 500

# Third-party code that may run with privilege.
ALLOWED_OUTSIDE = {"prctl", "_prctl"}
# Of jvmbind, what may run with privilege.
ALLOWED_OWN = ("jvmbind", "jvmbind.errors", "jvmbind.record", "jvmbind.spec", "jvmbind.root")

REPORT = """
import sys
before = set(sys.modules)
{imports}
print("\\n".join(sorted(set(sys.modules) - before)))
"""


def loaded_by(*modules: str) -> list[str]:
    """Return the names of all modules that a fresh isolated interpreter loads to import these."""
    code = REPORT.format(imports="\n".join(f"import {name}" for name in modules))
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd="/", text=True, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def modules_below(package: str) -> list[str]:
    """Return all modules of a package of jvmbind but those that start a program when imported."""
    folder = ROOT.joinpath(*package.split("."))
    names = [path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in sorted(folder.glob("*.py"))]
    return [name.removesuffix(".__init__") for name in names if not name.endswith(".__main__")]


def lines_of_code(path: Path) -> int:
    """Count the lines that hold more than a comment or a docstring."""
    text = path.read_text("utf-8")
    quiet = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type not in quiet]
    lines = {line for token in tokens for line in range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines -= set(range(node.lineno, (node.end_lineno or 0) + 1))
    return len(lines)


def test_privileged_loads_nothing_else() -> None:
    """What runs with privilege loads the standard library, prctl, and three parts of jvmbind: nothing else."""
    loaded = loaded_by(*modules_below("jvmbind.root"))

    own = {name for name in loaded if name.partition(".")[0] == "jvmbind"}
    outside = {name.partition(".")[0] for name in loaded} - {"jvmbind"} - sys.stdlib_module_names
    assert {name for name in own if name not in ALLOWED_OWN and not name.startswith("jvmbind.root.")} == set()
    assert outside <= ALLOWED_OUTSIDE


def test_the_broker_loads_what_it_serves_with() -> None:
    """The broker, which keeps its privilege for life, has nothing loaded of jvmbind but its own part and what is named here."""
    loaded = loaded_by("jvmbind.cli.broker", "jvmbind.broker.serve")

    parts = ["__init__", "files", "message", "policy", "serve"]
    own = {f"jvmbind.broker.{name}" for name in parts} | {"jvmbind.broker", "jvmbind.cli", "jvmbind.cli.broker", "jvmbind.listen"}
    own |= {f"jvmbind.posix.{name}" for name in ("cgroup", "inherited", "overflow", "passed_files", "user", "writing")} | {
        "jvmbind.posix",
        *ALLOWED_OWN,
    }
    found = {name for name in loaded if name.partition(".")[0] == "jvmbind" and not name.startswith("jvmbind.root.")}
    assert found <= own
    assert sum(lines_of_code(ROOT / "jvmbind" / "broker" / f"{name}.py") for name in parts) <= MOST_OF_THE_BROKER
    assert {name.partition(".")[0] for name in loaded} - {"jvmbind"} - sys.stdlib_module_names <= ALLOWED_OUTSIDE


def test_supervisor_loads_no_jpype() -> None:
    """The supervisor's process has neither JPype nor any part of the worker in it."""
    loaded = loaded_by(*modules_below("jvmbind.supervisor"))

    assert [name for name in loaded if name.partition(".")[0] in {"jpype", "_jpype", "numpy"}] == []
    assert [name for name in loaded if name.startswith(("jvmbind.worker", "jvmbind.handover"))] == []


# What each costs is in docs/benchmarks.md: a worker is started for every generation, and its JVM waits for it.
DEAR = {
    "collections",
    "contextlib",
    "enum",
    "functools",
    "ipaddress",
    "json",
    "logging",
    "pathlib",
    "re",
    "signal",
    "socket",
    "typing",
}


def test_worker_loads_nothing_dear_before_its_jvm() -> None:
    """Until the JVM is created a worker loads no module that makes a start longer; its responder does so beside it."""
    loaded = loaded_by("jvmbind.worker.main", "jvmbind.worker.jni", "jvmbind.worker.launch")

    assert DEAR & set(loaded) == set()
    assert [name for name in loaded if name in {"jvmbind.handover.binds", "jvmbind.handover.attendant"}] == []


def test_package_itself_loads_nothing() -> None:
    """Importing jvmbind alone loads no other module: each role pays for what it uses."""
    assert [name for name in loaded_by("jvmbind") if name not in {"jvmbind", "__future__"}] == []


def test_installed_package_is_what_is_tested() -> None:
    """tests/run.sh tests the wheel, not the checkout (it says so in JVMBIND_TESTS_INSTALLED)."""
    code = "import jvmbind; print(jvmbind.__file__)"
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd="/", text=True, capture_output=True, check=True)

    place = Path(done.stdout.strip())
    expected = Path(sysconfig.get_path("purelib")) if os.environ.get("JVMBIND_TESTS_INSTALLED") else place.parents[1]
    assert place.is_relative_to(expected)


def test_a_start_loads_no_other_command() -> None:
    """What makes units, looks for faults or lists services is not loaded by `run`, which root starts."""
    others = ("jvmbind.units", "jvmbind.doctor", "jvmbind.cli.unit", "jvmbind.cli.doctor", "jvmbind.cli.list", "jvmbind.cli.check")

    assert [name for name in loaded_by("jvmbind.cli", "jvmbind.cli.run") if name.startswith(others)] == []
