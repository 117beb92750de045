"""The matrix: real, unmodified servers and start scripts under jvmbind, each beside plain `java` in the same run.

    python benchmarks/matrix --list
    python benchmarks/matrix --server tomcat11,jetty12 --java 25 --out results.jsonl
    python benchmarks/matrix --table results.jsonl        # the tables of docs/works-with.md

For each server and JDK: a client's exchange on a low port as an unprivileged user, the proof that no thread of any process
has a privilege, reloads under load (nothing lost), `kill -9` of the JVM (nobody refused), stop (Java's status, and the time
beside that of plain `java`). Prints one line for each, and appends it as JSON to --out. Run as root, where Maven Central can
be reached the first time; servers run in network namespaces of their own. Status 1 where one failed that runs under plain
`java`.
"""

# ruff: noqa: INP001 - programs of their own, no package
from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from recipes import RECIPES
from run import plain, supervised
from stage import CHECKOUT
from table import table

if TYPE_CHECKING:
    from recipe import Recipe

SLOWER_STOP = 0.5
"""Seconds that a stop may take longer than under plain `java`."""


def measure(recipe: Recipe, java: str, reloads: int) -> dict[str, object]:
    """Run one server on one JDK and return its row."""
    row: dict[str, object] = {"key": recipe.key, "title": recipe.title, "version": recipe.version, "java": java,
                              "how": "wrap" if recipe.script else "run", "listen": recipe.listen,
                              "options": recipe.options, "needs": recipe.needs, "commit": _commit()}  # fmt: skip
    try:
        row["plain"] = found = plain(java, recipe)
        if "failure" in found:
            return row | {"result": "not under java", "why": found["failure"]}
        row |= supervised(java, recipe, reloads)
    except Exception as error:  # noqa: BLE001 - one server must not end the run
        where = traceback.format_exc(limit=-3)
        return row | {"result": "matrix failed", "why": f"{error!r}"[:2000], "where": where}
    failures = list(row.get("failures", ()))  # type: ignore[call-overload]
    stop, status = row.get("stop"), row.get("status")
    if stop is not None and stop > found["stop"] + SLOWER_STOP:  # type: ignore[operator]
        failures.append(f"stop: {stop} s, java {found['stop']} s")
    # A script that is signalled with its JVM may have a status of its own; under jvmbind that is the JVM's, or what both said.
    expected = {143, found["status"]} if recipe.script else {found["status"]}
    if status is not None and status not in expected:
        failures.append(f"stop: status {status}, java {found['status']}")
    return row | {"failures": failures, "result": "failed" if failures else "ok"}


def _commit() -> str:
    command = ["/usr/bin/git", "-C", str(CHECKOUT), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="list the servers")
    parser.add_argument("--fetch", action="store_true", help="fetch what they need, and run nothing")
    parser.add_argument("--table", metavar="FILE", help="print the tables of results for docs/works-with.md")
    parser.add_argument("--server", default="", help="keys, separated by commas; default all")
    parser.add_argument("--java", default="17,25", help="feature versions of the JDKs")
    parser.add_argument("--reloads", type=int, default=2)
    parser.add_argument("--out", default="", metavar="FILE")
    options = parser.parse_args()
    wanted = options.server.split(",") if options.server else [recipe.key for recipe in RECIPES]
    unknown = set(wanted) - {recipe.key for recipe in RECIPES}
    if unknown:
        sys.exit(f"no such server: {', '.join(sorted(unknown))}; --list shows them")
    chosen = [recipe for recipe in RECIPES if recipe.key in wanted]
    if options.table:
        rows = [json.loads(line) for line in Path(options.table).read_text().splitlines()]
        sys.stdout.write(table(rows, RECIPES))
        return
    if options.list:
        for recipe in chosen:
            sys.stdout.write(f"{recipe.key:24} {recipe.title} {recipe.version}\n")
        return
    failed = False
    for recipe in chosen:
        for java in options.java.split(","):
            if options.fetch or int(java) < recipe.oldest:
                continue
            begun = time.monotonic()
            row = measure(recipe, java, options.reloads)
            row["took"] = round(time.monotonic() - begun)
            failed |= row["result"] in {"failed", "matrix failed"}
            _show(row)
            if options.out:
                with Path(options.out).open("a") as file:
                    file.write(json.dumps(row) + "\n")
    sys.exit(1 if failed else 0)


def _show(row: dict[str, object]) -> None:
    plain_java: dict[str, object] = row.get("plain", {})  # type: ignore[assignment]
    figures = {name: row[name] for name in ("first", "stop", "status") if name in row}
    sys.stdout.write(f"{row['result']:14} {row['key']} jdk{row['java']} ({row['took']} s) java {plain_java} jvmbind {figures}\n")
    for text in (row.get("why"), *row.get("failures", ())):  # type: ignore[misc]
        if text:
            sys.stdout.write(f"    {text[:600]}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
