"""`--help`, the manual, the completions and docs/reference.md say the same. Runs the commands and packaging/pages, as anybody."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from jvmbind.cli import COMMANDS
from jvmbind.config.schema import FIELDS

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = (ROOT / "docs" / "reference.md").read_text("utf-8")
SECTIONS = dict(zip(*[iter(re.split(r"^## (.+)$", REFERENCE, flags=re.MULTILINE)[1:])] * 2, strict=True))
HELP = {"-h", "--help"}


def run(*command: str) -> str:
    """Return what a command prints; AssertionError on failure."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def negated(options: set[str]) -> set[str]:
    """Return the options without the --no- form of a flag, of which the reference speaks once for all."""
    return {one for one in options if not (one.startswith("--no-") and f"--{one[5:]}" in options)} - HELP


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return what packaging/pages makes, by the name of the file."""
    folder = tmp_path_factory.mktemp("pages")
    run(sys.executable, "-I", "-B", str(ROOT / "packaging" / "pages"), str(folder))
    return {path.name: path.read_text("utf-8") for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def helps() -> dict[str, set[str]]:
    """Return the options that each command shows in its help, `java` left out, which has none."""
    found = {}
    for name in set(COMMANDS) - {"java"}:
        lines = run(sys.executable, "-I", "-m", "jvmbind", name, "--help").splitlines()
        found[name] = {
            word
            for line in lines
            if re.match(r"  -", line)
            for word in re.findall(r"(?<![\w-])-{1,2}[a-zA-Z][\w-]*", line.split("  ")[1])
        }
    return found


def test_the_manual_has_the_options_of_each_help(pages: dict[str, str], helps: dict[str, set[str]]) -> None:
    """Each command has a page of the manual whose options are those of its --help, no more and no fewer."""
    for name, options in helps.items():
        (page,) = [text for file, text in pages.items() if re.fullmatch(rf"jvmbind-{name}\.\d", file)]
        tags = re.findall(r"^\.TP\n(.+)$", page.split(".SH OPTIONS")[1].split(".SH ")[0], re.MULTILINE)

        assert {word for tag in tags for word in re.findall(r"\\fB(-[^\\]*)\\fR", tag.replace("\\-", "-"))} == options, name
    assert "jvmbind-java.1" in pages


def test_the_reference_has_the_options_of_each_help(helps: dict[str, set[str]]) -> None:
    """A section of the reference names the options of its commands, no more and no fewer, and each command has a section."""
    told = set()
    for title, body in SECTIONS.items():
        names = set(title.split(", "))
        if not names <= set(COMMANDS):
            continue
        told |= names
        spans = re.findall(r"`(-[^`]*)`", re.sub(r"```.*?```", "", body, flags=re.DOTALL))
        named = {word for span in spans for word in re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z](?![\w-])", span)}
        of_commands = negated(set().union(*(helps.get(name, set()) for name in names)))

        assert {one for one in of_commands if one.startswith("--")} == named, f"docs/reference.md, section {title!r}"
    assert told == set(COMMANDS), "docs/reference.md has one section a command: ## NAME, or ## NAME, NAME"


def test_the_reference_and_the_manual_have_each_key(pages: dict[str, str]) -> None:
    """Each key of the configuration file is in a table of the reference and in jvmbind.toml(5), and no other key is."""
    tables = [part for part in re.split(r"\n\n", REFERENCE) if re.match(r"\| (option \| )?key( in the file)? \|", part)]
    cells = [line.strip("| ").split(" | ") for table in tables for line in table.splitlines()[2:]]
    named = {key for row in cells for key in re.findall(r"^`([a-z_.]+)`$", "\n".join(cell for cell in row[:2]), re.MULTILINE)}
    tags = re.findall(r"^\.TP\n\\fB(.+)\\fR$", pages["jvmbind.toml.5"], re.MULTILINE)

    assert named == set(FIELDS)
    assert tags == list(FIELDS)


def test_every_page_is_told_in_full(pages: dict[str, str]) -> None:
    """No page warns groff, and no entry of a page is empty."""
    for name, text in pages.items():
        if re.search(r"\.\d$", name):
            done = subprocess.run(
                ["groff", "-man", "-Tutf8", "-ww", "-z"], input=text, capture_output=True, text=True, timeout=60, check=False
            )
            assert (done.returncode, done.stderr) == (0, ""), name
            assert re.findall(r"^\.TP\n.+\n\.(?:$|TP|SH)", text, re.MULTILINE) == [], name


def test_completions_have_the_options_of_each_help(pages: dict[str, str], helps: dict[str, set[str]]) -> None:
    """The files for bash, zsh and fish name each option of each command beside that command."""
    bash, zsh, fish = (pages[name] for name in ("jvmbind", "_jvmbind", "jvmbind.fish"))
    for name, options in helps.items():
        (offered,) = re.findall(rf"^        {name}\)\n            offered='([^']*)'", bash, re.MULTILINE)
        (described,) = re.findall(rf"^        {name}\)\n(.*?);;", zsh, re.MULTILINE | re.DOTALL)
        seen = re.findall(rf"from {name}'((?: -[sl] [\w-]+)+)", fish)

        assert set(offered.split()) == options, name
        assert {one for one in options if f"){one}[" in described or f"*{one}[" in described} == options, name
        assert {
            f"-{'-' if kind == 'l' else ''}{word}" for one in seen for kind, word in re.findall(r"-([sl]) ([\w-]+)", one)
        } == options
