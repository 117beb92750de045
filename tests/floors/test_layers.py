"""What imports what: the floors of the architecture as import-linter checks them, and rules on the source text.

Run by pytest, as anybody. jvmbind is read, not imported.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "jvmbind"
MODULES = sorted(PACKAGE.rglob("*.py"))
JPYPE = {"jpype", "_jpype"}
MOST_LINES = 400


def name_of(path: Path) -> str:
    """Return a module's file name below the checkout, as a test's id."""
    return path.relative_to(ROOT).as_posix()


def start_of(name: ast.expr, path: Path) -> str:
    """Return a module's name as far as the text tells it, "?" if it could lead out of the importing package."""
    own = ".".join(path.relative_to(ROOT).parent.parts) + "."
    if isinstance(name, ast.JoinedStr):
        name = name.values[0]
        if isinstance(name, ast.Constant) and not str(name.value).startswith(own):
            return "?"
    return str(name.value) if isinstance(name, ast.Constant) else "?"


def imports(path: Path) -> set[str]:
    """Return the top-level names that a module imports anywhere in it, functions included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            found.add(start_of(node.args[0], path).split(".")[0])
    return found


def test_import_linter() -> None:
    """All contracts in pyproject.toml are kept."""
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=100, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_one_module_imports_jpype() -> None:
    """JPype is imported in worker/jvm.py and nowhere else, not within a function either."""
    users = [name_of(path) for path in MODULES if imports(path) & JPYPE]

    assert users == ["jvmbind/worker/jvm.py"]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_import_by_computed_name(path: Path) -> None:
    """No module imports one outside its own package by a name made at run time, which no check here would see."""
    assert "?" not in imports(path)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_is_short(path: Path) -> None:
    """A module can be read in one go."""
    assert len(path.read_text("utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", [path for path in MODULES if path.stat().st_size], ids=name_of)
def test_module_says_what_it_is(path: Path) -> None:
    """Each module has a docstring."""
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))
